//! Vault messages and the sealed channel: bytes to types and back.

pub mod bundle;
