//! The backup format: packs, manifests, page maps and snapshots.
mod codec;
pub mod compress;
pub mod entry;
pub mod extents;
pub mod hash;
pub mod keyring;
pub mod layout;
pub mod marker;
pub mod names;
pub mod node;
pub mod object;
pub mod pack;
pub mod page_map;
pub mod path;
pub mod snapshot;
pub mod tree;
