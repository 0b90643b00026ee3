//! Backup key, 64-digit form, derived keys and passwords: zeroized, redacted newtypes.
