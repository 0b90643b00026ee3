//! What is backed up: live SQLite databases and media folders.
