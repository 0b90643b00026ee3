//! What a writer committed: one digest a line, in the order of the commits.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{CorpusError, at};
use crate::image::ImageDigest;

/// The states that a writer committed, in order. The first is the one that it found.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    order: BTreeMap<ImageDigest, usize>,
}

impl Journal {
    /// Reads the journal that a [`Writer`](crate::Writer) wrote. A last line that is being
    /// written is left out.
    ///
    /// # Errors
    /// When the file cannot be read, or holds anything but digests.
    pub fn read(path: &Path) -> Result<Self, CorpusError> {
        let text = fs::read_to_string(path).map_err(at(path))?;
        let whole = text
            .rfind('\n')
            .and_then(|end| text.get(..end))
            .unwrap_or_default();
        let mut order = BTreeMap::new();
        for (n, line) in whole.lines().enumerate() {
            let digest = ImageDigest::parse(line).ok_or_else(|| CorpusError::Journal {
                path: path.to_owned(),
                line: n + 1,
            })?;
            order.entry(digest).or_insert(n);
        }
        Ok(Self { order })
    }

    /// The place of a state among the commits, counted from 0; `None` when it was never
    /// committed.
    #[must_use]
    pub fn position(&self, digest: &ImageDigest) -> Option<usize> {
        self.order.get(digest).copied()
    }

    /// How many different states were committed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether no state was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

/// A journal that is being written.
#[derive(Debug)]
pub(crate) struct Recorder {
    path: PathBuf,
    file: File,
    /// How many states it holds.
    pub(crate) states: u64,
}

impl Recorder {
    pub(crate) fn create(path: &Path) -> Result<Self, CorpusError> {
        let file = File::create(path).map_err(at(path))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            states: 0,
        })
    }

    pub(crate) fn record(&mut self, digest: ImageDigest) -> Result<(), CorpusError> {
        self.file
            .write_all(format!("{digest}\n").as_bytes())
            .map_err(at(&self.path))?;
        self.states += 1;
        Ok(())
    }
}
