//! The host of a vault core: HTTP, disk, accounts, metrics.
