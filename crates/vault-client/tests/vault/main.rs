//! The client against the real trusted core, in one process, over a line that can be cut anywhere.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    reason = "a test that cannot go on must fail"
)]

mod change;
mod connect;
mod hostile;
mod recover;
mod register;
mod watch;
mod world;
