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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A file, what was written of it, and how much of that was there at the last flush.
    #[derive(Debug, Default)]
    struct Medium {
        file: Vec<u8>,
        done: Mutex<(Vec<u8>, Option<usize>)>,
        fails: bool,
    }

    impl StorageBackend for Medium {
        fn len(&self) -> io::Result<u64> {
            Ok(self.file.len() as u64)
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            let at = usize::try_from(offset).unwrap();
            out.copy_from_slice(&self.file[at..at.saturating_add(out.len())]);
            Ok(())
        }

        fn set_len(&self, length: u64) -> io::Result<()> {
            assert_eq!(length, self.len()?);
            Ok(())
        }

        fn sync_data(&self) -> io::Result<()> {
            if self.fails {
                return Err(io::Error::other("the disk failed"));
            }
            let mut done = self.done.lock().unwrap();
            done.1 = Some(done.0.len());
            Ok(())
        }

        fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            let mut done = self.done.lock().unwrap();
            assert_eq!(done.0.len() as u64, offset, "in order");
            done.0.extend(bytes);
            Ok(())
        }
    }

    fn medium(magic: &[u8], flags: u8, length: usize) -> Medium {
        let mut file = [magic, &[flags]].concat();
        file.extend((file.len()..length).map(|at| at.to_le_bytes()[0]));
        Medium {
            file,
            ..Medium::default()
        }
    }

    /// VAULT-5: not by what an engine flushes later, which may be nothing.
    #[test]
    fn what_was_left_open_is_written_again_and_then_flushed() {
        for length in [10, 11, BYTES_AT_ONCE, 3 * BYTES_AT_ONCE + 1] {
            let mut open = medium(&MAGIC, OPEN | 5, length);
            make_certain(&open).unwrap();
            let (written, flushed) = std::mem::take(&mut *open.done.lock().unwrap());
            assert!(written == open.file, "{length}");
            assert_eq!(flushed, Some(length));
            open.fails = true;
            make_certain(&open).unwrap_err();
        }
    }

    #[test]
    fn what_was_closed_and_what_is_no_store_is_left_alone() {
        let not_open = [
            medium(&MAGIC, 5, 4096),
            medium(b"SQLite fo", OPEN, 4096),
            medium(&MAGIC[..4], OPEN, 5),
            medium(b"", OPEN, 0),
        ];
        for left in not_open {
            make_certain(&left).unwrap();
            assert_eq!(*left.done.lock().unwrap(), (Vec::new(), None), "{left:?}");
        }
    }
}
