//! The repository format from outside: what is written comes back exactly or not at all.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "tests count small numbers, and an overflow fails them"
)]

#[cfg(test)]
mod packs;
#[cfg(test)]
mod page_maps;
#[cfg(test)]
mod snapshots;
#[cfg(test)]
mod trees;
#[cfg(test)]
mod world;
