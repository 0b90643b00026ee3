//! The backup format: packs, manifests, page maps and snapshots.
