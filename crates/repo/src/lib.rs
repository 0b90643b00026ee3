//! The backup format: packs, manifests, page maps and snapshots.
mod codec;
pub mod hash;
pub mod keyring;
pub mod layout;
pub mod names;
pub mod object;
pub mod pack;
