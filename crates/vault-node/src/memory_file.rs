//! The core's memory as a file: two places, written in turn.
//!
//! A batch's answers wait for this file, so it is made to be flushed quickly. Replacing a file by a
//! rename takes two flushes that the file system must journal (8.2 ms measured on a busy machine);
//! writing one of two places of a file whose blocks are allocated takes one that it need not
//! (1.6 ms). The place that holds the newest memory is never written to: a write that is torn or
//! lost leaves the memory before, and the core is led forward from it along the store's log. Each start
//! replaces the file by one with the same bytes, so that what it goes on from is on the medium.
//!
//! ```text
//!   offset 0      the memory after entry i      386 bytes, then zeros
//!   offset 4096   the memory after entry i + 1  386 bytes, then zeros to 8192
//! ```

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use keyhaven_vault_core::{MEMORY_BYTES, Memory};

use crate::folder::{self, FolderError};

/// A sector of every disk, and a page: writing one place cannot tear the other.
const PLACE_BYTES: usize = 4096;
const FILE_BYTES: usize = 2 * PLACE_BYTES;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    First,
    Second,
}

impl Place {
    const BOTH: [Self; 2] = [Self::First, Self::Second];

    fn offset(self) -> u64 {
        match self {
            Self::First => 0,
            Self::Second => 4096,
        }
    }

    fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// Keeps the core's memory. A host with a better place than a file (a TPM's counter, an HSM) has
/// another keeper.
pub(crate) trait Keeper: Send {
    /// Keeps this memory in place of the one before: it is on the medium when this returns.
    fn keep(&mut self, memory: &Memory) -> Result<(), FolderError>;
}

/// The file, open.
#[derive(Debug)]
pub(crate) struct MemoryFile {
    file: File,
    path: PathBuf,
    newest: Place,
}

/// A memory that stands in the file. Whether it is this fleet's, the core says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) memory: Memory,
    place: Place,
}

impl MemoryFile {
    /// Makes the file with a first memory.
    pub(crate) fn create(path: &Path, memory: &Memory) -> Result<(), FolderError> {
        let mut bytes = memory.encode().to_vec();
        bytes.resize(FILE_BYTES, 0);
        folder::replace(path, &bytes)
    }

    /// Writes what can be read of the file again, and flushes it. VAULT-4: a flush that failed leaves a memory that
    /// can be read and is not on the medium. A core that went on from it would write the next one over the only
    /// place that is there.
    pub(crate) fn make_certain(path: &Path) -> Result<(), FolderError> {
        folder::replace(path, &folder::read_private(path)?)
    }

    /// What stands in the file, newest first; empty when neither place holds a memory.
    pub(crate) fn read(path: &Path) -> Result<Vec<Kept>, FolderError> {
        let bytes = folder::read_private(path)?;
        let mut kept: Vec<Kept> = Place::BOTH
            .into_iter()
            .zip(bytes.chunks(PLACE_BYTES))
            .filter_map(|(place, bytes)| {
                let memory = Memory::decode(bytes.get(..MEMORY_BYTES)?).ok()?;
                Some(Kept { memory, place })
            })
            .collect();
        kept.sort_by_key(|kept| std::cmp::Reverse(kept.memory.reach()));
        Ok(kept)
    }

    /// Opens the file to go on from one of the memories that were read: the next is written to the
    /// other place.
    pub(crate) fn open(path: &Path, from: &Kept) -> Result<Self, FolderError> {
        let file = OpenOptions::new()
            .write(true)
            .open(path)
            .map_err(FolderError::at("cannot open", path))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            newest: from.place,
        })
    }
}

impl Keeper for MemoryFile {
    fn keep(&mut self, memory: &Memory) -> Result<(), FolderError> {
        let place = self.newest.other();
        self.file
            .write_all_at(&memory.encode(), place.offset())
            .and_then(|()| self.file.sync_data())
            .map_err(FolderError::at("cannot write", &self.path))?;
        self.newest = place;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use keyhaven_testkit::entropy::SeededEntropy;
    use keyhaven_vault_core::{Core, Policy};

    use super::*;

    /// A memory is made by a core only; these are of fleets of their own, which serves as well here.
    fn memory(seed: u64) -> Memory {
        let (_, genesis) =
            Core::genesis(Policy::DEFAULT, &[], &mut SeededEntropy::new(seed)).unwrap();
        genesis.memory
    }

    #[test]
    fn the_newest_memory_is_never_written_over() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("core.memory");
        MemoryFile::create(&path, &memory(0)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 8192);
        let kept = MemoryFile::read(&path).unwrap();
        let mut file = MemoryFile::open(&path, &kept[0]).unwrap();
        for seed in 1..6 {
            file.keep(&memory(seed)).unwrap();
            let stand: Vec<Memory> = MemoryFile::read(&path)
                .unwrap()
                .iter()
                .map(|kept| kept.memory)
                .collect();
            assert_eq!(stand.len(), 2);
            assert!(stand.contains(&memory(seed)) && stand.contains(&memory(seed - 1)));
        }
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 8192);
    }

    #[test]
    fn a_torn_place_leaves_the_other() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("core.memory");
        MemoryFile::create(&path, &memory(0)).unwrap();
        let kept = MemoryFile::read(&path).unwrap();
        MemoryFile::open(&path, &kept[0])
            .unwrap()
            .keep(&memory(1))
            .unwrap();
        let whole = std::fs::read(&path).unwrap();
        for (torn, left) in [(0, memory(1)), (4096, memory(0))] {
            let mut bytes = whole.clone();
            bytes[torn] = 0;
            std::fs::write(&path, bytes).unwrap();
            let stand = MemoryFile::read(&path).unwrap();
            assert_eq!(stand.len(), 1);
            assert_eq!(stand[0].memory, left);
            // The next memory goes where the torn one stands, not over the good one.
            MemoryFile::open(&path, &stand[0])
                .unwrap()
                .keep(&memory(2))
                .unwrap();
            let stand: Vec<Memory> = MemoryFile::read(&path)
                .unwrap()
                .iter()
                .map(|kept| kept.memory)
                .collect();
            assert!(stand.contains(&memory(2)) && stand.contains(&left));
        }
    }

    #[test]
    fn a_short_or_empty_file_holds_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("core.memory");
        for bytes in [&b""[..], &[1; 100], &[0; FILE_BYTES]] {
            folder::replace(&path, bytes).unwrap();
            assert!(MemoryFile::read(&path).unwrap().is_empty());
        }
    }
}
