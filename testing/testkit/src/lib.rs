//! Vectors with named outcomes, and builders of valid worlds, for every crate's tests.

pub mod entropy;
mod folder;
pub mod keys;
#[cfg(feature = "vault")]
pub mod vault;

pub use folder::copy_folder;
