//! What a store shows is on its medium, before anybody builds on it.
//!
//! A flush that failed leaves bytes that can be read and are not on the medium, and no later flush brings them
//! there: Linux takes them for clean (Rebello et al., *Can Applications Recover from fsync Failures?*, USENIX
//! ATC 2020). A host whose flush failed stops; but its next start finds the step whole, builds on it, and all
//! that is acknowledged then stands, after a loss of power, on pages that are not there.
//!
//! ```text
//!   closed by whoever had it open ─────────────────────────────► the engine opens it
//!   not closed ──► every byte written again ──► one flush ─┬───► the engine opens it
//!                                                          └─ failed: no store is opened
//! ```
//!
//! Bytes that are written again have to be flushed again. A loss of power meanwhile leaves of each sector what was
//! read or what the medium had: one of the mixtures that the flush which failed could have left, and the
//! engine tells them apart by its checksums. It is done in place, so that it needs no room.

use std::io;

use redb::StorageBackend;

/// How a file of the engine begins, from its `docs/design.md`; then one byte of flags.
const MAGIC: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";
/// The flag that stands while a process has the file open, and after one that did not close it. It is taken away
/// by the last flush of all, if no write and no flush before it failed.
const OPEN: u8 = 2;
const BYTES_AT_ONCE: usize = 1024 * 1024;

/// Brings what can be read of a file that was not closed to the medium, all of it.
pub(crate) fn make_certain(medium: &impl StorageBackend) -> io::Result<()> {
    if !was_left_open(medium)? {
        return Ok(());
    }
    let length = medium.len()?;
    medium.set_len(length)?;
    let mut bytes = vec![0; BYTES_AT_ONCE];
    let mut at = 0;
    while at < length {
        let rest = usize::try_from(length.saturating_sub(at)).unwrap_or(BYTES_AT_ONCE);
        bytes.truncate(rest);
        medium.read(at, &mut bytes)?;
        medium.write(at, &bytes)?;
        at = at.saturating_add(bytes.len() as u64);
    }
    medium.sync_data()
}

/// Whether this is a file of the engine that nobody has closed. Any other is left as it is.
fn was_left_open(medium: &impl StorageBackend) -> io::Result<bool> {
    let mut head = [0; MAGIC.len() + 1];
    if medium.len()? < head.len() as u64 {
        return Ok(false);
    }
    medium.read(0, &mut head)?;
    let [magic @ .., flags] = head;
    Ok(magic == MAGIC && flags & OPEN != 0)
}
