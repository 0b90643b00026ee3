//! Reading a plain file as one state.

use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;

use keyhaven_secrets::Remedy;

use crate::item::{SkipReason, open_listed};
use crate::stat::{Stat, now_ns};
use crate::written::WrittenOut;

/// Why a file was not read as one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It changed while it was read. Read it again; if it never rests, report it as pending.
    #[error("the file changed while it was read")]
    Changed,
    /// It is gone, or something else stands in its place.
    #[error("the file vanished or was replaced")]
    Vanished,
    /// We may not read it.
    #[error("the file may not be read")]
    Denied,
    /// The disk or the file system failed.
    #[error("the file could not be read ({0})")]
    Io(io::ErrorKind),
    /// The sink asked to stop.
    #[error("reading was stopped")]
    Stopped,
}

impl FileError {
    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Changed | Self::Vanished | Self::Stopped => Remedy::RetryLater,
            Self::Denied | Self::Io(_) => Remedy::AskUser,
        }
    }

    fn from_io(error: &io::Error) -> Self {
        Self::from(SkipReason::from_io(error))
    }
}

impl From<SkipReason> for FileError {
    fn from(reason: SkipReason) -> Self {
        match reason {
            SkipReason::Denied => Self::Denied,
            SkipReason::Io(kind) | SkipReason::CutOff(kind) => Self::Io(kind),
            SkipReason::Vanished
            | SkipReason::Replaced
            | SkipReason::Pipe
            | SkipReason::Socket
            | SkipReason::Device
            | SkipReason::UnknownType
            | SkipReason::TooDeep
            | SkipReason::OtherDevice
            | SkipReason::InUse
            | SkipReason::Excluded => Self::Vanished,
        }
    }
}

/// A plain file that is being read and must not change meanwhile.
///
/// Read it to its end with [`StableFile::read`], straight into the caller's own buffer; the bytes
/// count only when [`StableFile::finish`] has said so.
#[derive(Debug)]
pub struct StableFile {
    file: File,
    before: Stat,
    begun_ns: i64,
    /// Whether each change from now on stamps it.
    is_watched: bool,
    taken: u64,
}

impl StableFile {
    /// Opens the file that a walk listed with `listed`.
    ///
    /// # Errors
    /// `Changed` when it is not as it was listed any more.
    pub fn open(path: &Path, listed: &Stat, written: &WrittenOut) -> Result<Self, FileError> {
        let begun_ns = now_ns();
        let file = open_listed(path, listed)?;
        let is_watched = written.watches(&file, listed);
        let before = stat_of(&file)?;
        if !before.is_unchanged_since(listed) {
            return Err(FileError::Changed);
        }
        Ok(Self {
            file,
            before,
            begun_ns,
            is_watched,
            taken: 0,
        })
    }

    /// The size that the file must have.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.before.size
    }

    /// Reads what comes next into `buffer`: zero bytes at the end only. Never gives more bytes
    /// than [`StableFile::size`].
    ///
    /// # Errors
    /// `Changed` when the file ends before its size.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, FileError> {
        let left = self.before.size.saturating_sub(self.taken);
        let want = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let buffer = buffer.get_mut(..want).unwrap_or_default();
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.file.read(buffer) {
                Ok(0) => return Err(FileError::Changed),
                Ok(read) => {
                    self.taken = self.taken.saturating_add(u64::try_from(read).unwrap_or(0));
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(FileError::from_io(&error)),
            }
        }
    }

    /// Ends the reading, and gives the stat to remember: one that matches nothing if the file was
    /// touched so recently that a later change might not show.
    ///
    /// # Errors
    /// `Changed` when not all was read or the file changed meanwhile.
    pub fn finish(self) -> Result<Stat, FileError> {
        let after = stat_of(&self.file)?;
        if self.taken != self.before.size || !after.is_unchanged_since(&self.before) {
            return Err(FileError::Changed);
        }
        Ok(match self.is_watched {
            true => after.settled_at(self.begun_ns),
            false => after.unsettled(),
        })
    }
}

/// How much of a file is read at once.
const READ_BYTES: usize = 256 * 1024;

/// Reads a whole file into `sink` and gives the stat to remember, as [`StableFile`] does.
///
/// # Errors
/// When it could not be read as one state. What `sink` took is then worth nothing.
pub fn read_stable(
    path: &Path,
    listed: &Stat,
    written: &WrittenOut,
    sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<Stat, FileError> {
    let mut file = StableFile::open(path, listed, written)?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return file.finish();
        }
        if sink(buffer.get(..read).unwrap_or_default()).is_break() {
            return Err(FileError::Stopped);
        }
    }
}

fn stat_of(file: &File) -> Result<Stat, FileError> {
    match rustix::fs::fstat(file) {
        Ok(stat) => Ok(Stat::from(&stat)),
        Err(error) => Err(FileError::from_io(&error.into())),
    }
}
