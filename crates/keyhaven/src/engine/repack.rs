//! Emptying short packs: what the newest backup still needs of them is read from the source again and sent, with what a run
//! sends anyway.
//!
//! It is one more pass over the new index, behind everything else. Pages have been moved by then, where their database was
//! read. BACKUP-1: a file's bytes are moved only if all of the file still is the content that was backed up; otherwise it stays
//! where it was. BACKUP-2: nothing is deleted or forgotten, so that whatever is cut off leaves the older place.

use std::collections::BTreeSet;

use keyhaven_repo::entry::{ExtentList, FileEntry};
use keyhaven_repo::hash::ContentId;
use keyhaven_repo::layout::Extent;
use keyhaven_repo::names::PackName;
use keyhaven_repo::node::NodeError;
use keyhaven_repo::page_map::PageMap;
use keyhaven_repo::path::Key;
use keyhaven_repo::tree::{Cursor, TreeWriter};

use super::backup::Run;
use super::error::BackupError;
use super::join::to_source;
use super::media::{Known, MediaError, MediaWriter};
use super::nodes::Watched;
use super::tails::{Emptied, Repacked};
use super::target::relative;
use crate::progress::Stop;

/// The packs that could not be emptied.
#[derive(Default)]
struct Kept(BTreeSet<PackName>);

impl Kept {
    /// Notes that these extents stay where they are.
    fn keep(&mut self, emptied: &Emptied, extents: impl IntoIterator<Item = Extent>) {
        let held = extents.into_iter();
        let held = held.filter(|extent| emptied.vacated.holds(extent));
        self.0.extend(held.map(|extent| extent.pack));
    }
}

impl Run<'_> {
    /// Moves files and index nodes out of the packs that are emptied.
    pub(crate) fn repack(
        &mut self,
        files: &mut MediaWriter<'_>,
    ) -> Result<(Repacked, Option<Stop>), BackupError> {
        let mut kept = Kept::default();
        let mut stop = self.stopped;
        if self.emptied.is_empty() {
            return Ok((Repacked::default(), stop));
        }
        let mut cursor = Cursor::new(self.start.root);
        let mut tree = TreeWriter::new(self.start.root);
        loop {
            let mut watched = Watched::new(&mut self.nodes);
            let Some((key, entry)) = cursor.next(&mut watched)? else {
                break;
            };
            let on_the_way: Vec<Extent> = watched.met().collect();
            if stop.is_none() {
                stop = self.limits.check(self.outbox.handed()).err();
            }
            if stop.is_some() {
                kept.keep(&self.emptied, on_the_way);
                self.keep_entry(&entry, &mut kept)?;
                continue;
            }
            // Writing the first entry of a node anew rewrites the node, and those above it.
            let is_rewritten = on_the_way
                .iter()
                .any(|node| self.emptied.vacated.holds(node));
            let moved = self.move_entry(&key, &entry, files, &mut kept)?;
            if is_rewritten || moved.is_some() {
                tree.push(key, Some(moved.unwrap_or(entry)), &mut self.nodes)?;
                self.remember(files)?;
            }
        }
        self.start.root = tree.finish(&mut self.nodes)?;
        let emptied = self.emptied.sum(|pack, _| !kept.0.contains(pack));
        Ok((emptied, stop))
    }

    /// The entry with nothing in the packs that are emptied; none if it stays as it is.
    fn move_entry(
        &mut self,
        key: &Key,
        entry: &FileEntry,
        files: &mut MediaWriter<'_>,
        kept: &mut Kept,
    ) -> Result<Option<FileEntry>, BackupError> {
        let FileEntry::File {
            stat,
            content,
            extents,
        } = entry
        else {
            self.keep_entry(entry, kept)?;
            return Ok(None);
        };
        let vacated = &self.emptied.vacated;
        let mut watched = Watched::new(&mut self.nodes);
        let old = extents.load(stat.size, &mut watched)?;
        let is_list_moved = watched.met().any(|node| vacated.holds(&node));
        let moved = if old.iter().any(|extent| vacated.holds(extent)) {
            self.move_file(key, stat, content, &old, files)?
        } else {
            None
        };
        if moved.is_none() {
            kept.keep(&self.emptied, old.iter().copied());
            if !is_list_moved {
                return Ok(None);
            }
        }
        Ok(Some(FileEntry::File {
            stat: *stat,
            content: *content,
            extents: ExtentList::store(moved.unwrap_or(old), &mut self.nodes)?,
        }))
    }

    /// Where a content lies that is in no pack which is emptied; none if the file does not give it any more.
    fn move_file(
        &mut self,
        key: &Key,
        stat: &keyhaven_repo::entry::Stat,
        content: &ContentId,
        old: &[Extent],
        files: &mut MediaWriter<'_>,
    ) -> Result<Option<Vec<Extent>>, BackupError> {
        let vacated = &self.emptied.vacated;
        // Moved already: for another file of this content, or by a run that was cut off.
        if let Some(known) = self.contents.find(content)?
            && !known.iter().any(|extent| vacated.holds(extent))
        {
            return Ok(Some(known));
        }
        let path = self.source.join(relative(key));
        let known_as = Known {
            content: *content,
            extents: old,
        };
        match files.move_out(&path, &to_source(stat), known_as, vacated) {
            Ok(extents) => {
                self.contents.add(*content, stat.size, extents.clone());
                Ok(Some(extents))
            }
            Err(MediaError::File(_)) => Ok(None),
            Err(MediaError::Send(error)) => Err(error.into()),
            Err(MediaError::Contents(error)) => Err(error.into()),
        }
    }

    /// Notes what an entry that is not moved has in the packs that are emptied.
    fn keep_entry(&mut self, entry: &FileEntry, kept: &mut Kept) -> Result<(), NodeError> {
        let mut watched = Watched::new(&mut self.nodes);
        match entry {
            FileEntry::File { stat, extents, .. } => {
                let extents = extents.load(stat.size, &mut watched)?;
                kept.keep(&self.emptied, watched.met());
                kept.keep(&self.emptied, extents);
            }
            // Media lie in neither its index nor its pages.
            FileEntry::Database { pages, rows, .. } if self.emptied.has_other_than_media() => {
                kept.keep(&self.emptied, rows.iter().map(|rows| rows.extent));
                keep_pages(pages, &self.emptied, &mut watched, kept)?;
            }
            FileEntry::Database { .. } | FileEntry::Dir { .. } | FileEntry::Symlink { .. } => {}
        }
        Ok(())
    }
}

fn keep_pages(
    pages: &PageMap,
    emptied: &Emptied,
    watched: &mut Watched<'_, '_>,
    kept: &mut Kept,
) -> Result<(), NodeError> {
    for index in 0..pages.leaves() {
        let leaf = pages.leaf(index, watched)?;
        kept.keep(emptied, watched.met());
        let frames = leaf.frames().into_iter().map(|used| used.frame.extent);
        kept.keep(emptied, frames);
    }
    Ok(())
}
