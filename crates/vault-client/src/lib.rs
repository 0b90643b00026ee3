//! Register, recover, change and delete at a vault; pinned fleet keys.
