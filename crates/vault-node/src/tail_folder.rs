//! The tail as a folder: one file a segment, named by its number.
//!
//! Which bytes go where, [`Tail`] says. Here they are brought to the medium, each before the next: a
//! segment is begun beside its name, flushed and renamed; a record is written at the end of the newest
//! and flushed. No file is ever written over; but the newest is replaced, by the same bytes, at each start.

use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use keyhaven_secrets::Remedy;
use keyhaven_vault_core::{Index, Mac};
use keyhaven_vault_host::Record;
use keyhaven_vault_host::tail::{
    Frame, HEADER_BYTES, Header, Place, Tail, TailError, TailLimits, Write,
};
use keyhaven_wire::message::FleetId;

use crate::folder::{self, FolderError};

/// A segment's name is its number in so many digits, so that names and numbers have one order.
const NAME_DIGITS: usize = 16;

/// The folder, open.
#[derive(Debug)]
pub(crate) struct TailFolder {
    path: PathBuf,
    tail: Tail,
    /// The segment that was written to last.
    newest: Option<(u64, File)>,
}

/// Why a tail cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TailFault {
    /// Its files are not what this host wrote, or may not get longer.
    #[error(transparent)]
    Tail(#[from] TailError),
    /// A file could not be read or written.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

impl TailFault {
    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Tail(error) => error.remedy(),
            Self::Folder(error) => error.remedy(),
        }
    }
}

/// What can be told of a tail without reading its records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Glance {
    pub(crate) bytes: u64,
    pub(crate) covered: Option<Index>,
}

impl TailFolder {
    /// Begins a tail behind a backup of the store that ends with this entry.
    pub(crate) fn begin(
        path: &Path,
        fleet: FleetId,
        covered: (Index, Mac),
    ) -> Result<Self, TailFault> {
        folder::make_folder(path, false)?;
        if let Some(parent) = path.parent() {
            folder::sync_folder(parent)?;
        }
        let (tail, write) = Tail::begin(fleet, TailLimits::DEFAULT, Some(covered));
        let mut folder = Self {
            path: path.to_owned(),
            tail,
            newest: None,
        };
        folder.write(write)?;
        Ok(folder)
    }

    /// Reads a tail and checks all of it; none if there is none.
    pub(crate) fn open(path: &Path, fleet: FleetId) -> Result<Option<Self>, TailFault> {
        Self::open_within(TailLimits::DEFAULT, path, fleet)
    }

    /// The same, with other limits.
    pub(crate) fn open_within(
        limits: TailLimits,
        path: &Path,
        fleet: FleetId,
    ) -> Result<Option<Self>, TailFault> {
        let mut opening = Tail::open(fleet, limits);
        for segment in segments(path)? {
            opening.segment(segment, read(&name(path, segment))?)?;
        }
        let Some((tail, again)) = opening.done() else {
            return Ok(None);
        };
        let mut folder = Self {
            path: path.to_owned(),
            tail,
            newest: None,
        };
        // VAULT-5: what was read is on the medium, before anything leans on it.
        folder.write(again)?;
        Ok(Some(folder))
    }

    /// What can be told without reading it all, also while a server writes to it.
    pub(crate) fn glance(path: &Path) -> Result<Option<Glance>, TailFault> {
        let segments = segments(path)?;
        let Some(newest) = segments.last() else {
            return Ok(None);
        };
        let mut bytes = 0_u64;
        for segment in &segments {
            // It may be trimmed at this moment.
            let length = fs::metadata(name(path, *segment)).map_or(0, |meta| meta.len());
            bytes = bytes.saturating_add(length);
        }
        let newest_path = name(path, *newest);
        let mut head = Vec::new();
        File::open(&newest_path)
            .and_then(|file| file.take(HEADER_BYTES).read_to_end(&mut head))
            .map_err(FolderError::at("cannot read", &newest_path))?;
        let header = Header::decode(*newest, &head)?;
        Ok(Some(Glance {
            bytes,
            covered: header.covered.map(|(index, _)| index),
        }))
    }

    /// The tail itself.
    pub(crate) const fn tail(&self) -> &Tail {
        &self.tail
    }

    /// Keeps a record: it is on the medium when this returns (VAULT-5).
    pub(crate) fn keep(&mut self, record: &Record) -> Result<(), TailFault> {
        for write in self.tail.keep(record)? {
            self.write(write)?;
        }
        Ok(())
    }

    /// The record that ends with this entry, read again and checked again.
    pub(crate) fn find(&self, last: &Mac) -> Result<Option<Record>, TailFault> {
        let Some(place) = self.tail.find(last) else {
            return Ok(None);
        };
        let path = name(&self.path, place.segment);
        let bytes = part(&path, place).map_err(FolderError::at("cannot read", &path))?;
        Ok(Some(Frame::open(place, &bytes)?))
    }

    /// Lets go of the records that a backup of the store covers.
    pub(crate) fn cover(&mut self, head: (Index, Mac), committed: bool) -> Result<bool, TailFault> {
        let Some(writes) = self.tail.cover(head, committed) else {
            return Ok(false);
        };
        for write in writes {
            self.write(write)?;
        }
        Ok(true)
    }

    /// Removes all of it: a tail that cannot go on leads nothing forward. It is gone at once, whenever a
    /// crash comes.
    pub(crate) fn give_up(self) -> Result<(), TailFault> {
        let old = self.path.with_added_extension("old");
        let remove = || {
            if old.exists() {
                fs::remove_dir_all(&old)?;
            }
            fs::rename(&self.path, &old)?;
            // Before the host goes on without it: a tail that came back would lack what was captured since.
            if let Some(parent) = self.path.parent() {
                File::open(parent)?.sync_all()?;
            }
            fs::remove_dir_all(&old)
        };
        remove().map_err(FolderError::at("cannot remove", &self.path))?;
        Ok(())
    }

    fn write(&mut self, write: Write) -> Result<(), TailFault> {
        match write {
            Write::Begin { segment, bytes } => {
                folder::replace(&name(&self.path, segment), &bytes)?;
                self.newest = None;
            }
            Write::Extend { segment, at, bytes } => {
                let path = name(&self.path, segment);
                let failed = FolderError::at("cannot write", &path);
                match &self.newest {
                    Some((open, file)) if *open == segment => extend(file, at, &bytes),
                    Some(_) | None => {
                        let opened = OpenOptions::new().write(true).open(&path);
                        opened.and_then(|file| {
                            extend(&file, at, &bytes)?;
                            self.newest = Some((segment, file));
                            Ok(())
                        })
                    }
                }
                .map_err(failed)?;
            }
            Write::Remove { segment } => {
                let path = name(&self.path, segment);
                fs::remove_file(&path).map_err(FolderError::at("cannot remove", &path))?;
                folder::sync_folder(&self.path)?;
            }
        }
        Ok(())
    }
}

fn extend(file: &File, at: u64, bytes: &[u8]) -> std::io::Result<()> {
    file.write_all_at(bytes, at)?;
    file.sync_data()
}

fn part(path: &Path, place: Place) -> std::io::Result<Vec<u8>> {
    let length = usize::try_from(place.bytes).map_err(std::io::Error::other)?;
    let mut bytes = vec![0; length];
    File::open(path)?.read_exact_at(&mut bytes, place.at)?;
    Ok(bytes)
}

fn name(folder: &Path, segment: u64) -> PathBuf {
    folder.join(format!("{segment:0NAME_DIGITS$}"))
}

/// The numbers of the segments in a folder, in order; none if there is no folder. What has another
/// name is no segment: one that was being begun when the process died.
fn segments(path: &Path) -> Result<Vec<u64>, FolderError> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let failed = || FolderError::at("cannot read", path);
    let mut segments = Vec::new();
    for file in fs::read_dir(path).map_err(failed())? {
        let file = file.map_err(failed())?.file_name();
        let number = file.to_str().and_then(|name| name.parse().ok());
        segments.extend(number.filter(|number| *file == *name(Path::new(""), *number)));
    }
    segments.sort_unstable();
    Ok(segments)
}

fn read(path: &Path) -> Result<Vec<u8>, FolderError> {
    fs::read(path).map_err(FolderError::at("cannot read", path))
}

#[cfg(test)]
mod tests;
