//! The names of one folder in order, of which few are in memory at a time.

use std::collections::BTreeSet;
use std::ops::Range;
use std::os::fd::OwnedFd;

use rustix::fs::Dir;

use crate::leveldb;
use crate::sniff::owner_of;

/// Names in memory never take more, so that four bytes say where one lies.
const BYTES_MAX: usize = 1 << 30;

/// The names of a folder, least first.
///
/// A folder's own order is none. So each listing keeps the least names that come after those that were given, up to a limit, and
/// a folder of more names is listed again for the next of them: memory does not grow with what a folder holds.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// About how many bytes of memory the names may take.
    bytes_max: usize,
    bytes: Vec<u8>,
    /// Where each name begins and ends in `bytes`.
    spans: Vec<Span>,
    next: usize,
    /// What was given last by an earlier listing: only what comes after it is wanted.
    after: Option<Vec<u8>>,
    /// The least name that found no room.
    bound: Option<Vec<u8>>,
    /// Names that say what others are, as the first listing had them: those of companions of databases and of LevelDB.
    telling: BTreeSet<Vec<u8>>,
    companions: bool,
}

/// Where a name begins and ends.
type Span = (u32, u32);

/// What comes after a name in its folder is not known.
#[derive(Debug)]
pub(crate) struct CutOff {
    pub(crate) after: Vec<u8>,
    pub(crate) error: rustix::io::Errno,
}

impl Names {
    /// Lists a folder.
    pub(crate) fn list(folder: &OwnedFd, bytes_max: usize) -> rustix::io::Result<Self> {
        let mut names = Self {
            bytes_max: bytes_max.min(BYTES_MAX),
            ..Self::default()
        };
        names.fill(folder)?;
        Ok(names)
    }

    /// The next name in order.
    ///
    /// # Errors
    /// When the folder cannot be listed again.
    pub(crate) fn next(&mut self, folder: &OwnedFd) -> Result<Option<Vec<u8>>, CutOff> {
        if self.next == self.spans.len() && self.bound.take().is_some() {
            let after = self.spans.last().map(|span| slice(&self.bytes, *span));
            let after = after.unwrap_or_default().to_vec();
            self.after = Some(after.clone());
            self.fill(folder).map_err(|error| CutOff { after, error })?;
        }
        let span = self.spans.get(self.next);
        self.next = self.next.saturating_add(usize::from(span.is_some()));
        Ok(span.map(|span| slice(&self.bytes, *span).to_vec()))
    }

    /// Whether the folder had a name of those that say what others are.
    pub(crate) fn told(&self, name: &[u8]) -> bool {
        self.telling.contains(name)
    }

    /// Whether it had one that begins like this.
    pub(crate) fn told_prefix(&self, prefix: &[u8]) -> bool {
        let mut from = self.telling.range(prefix.to_vec()..);
        from.next().is_some_and(|name| name.starts_with(prefix))
    }

    /// Whether any name looks like a database's log, index or journal.
    pub(crate) fn has_companion_names(&self) -> bool {
        self.companions
    }

    fn fill(&mut self, folder: &OwnedFd) -> rustix::io::Result<()> {
        let entries = Dir::read_from(folder)?;
        self.bytes.clear();
        self.spans.clear();
        self.next = 0;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                self.offer(name);
            }
        }
        let bytes = &self.bytes;
        self.spans.sort_unstable_by_key(|span| slice(bytes, *span));
        Ok(())
    }

    fn offer(&mut self, name: &[u8]) {
        let is_companion = owner_of(name).is_some();
        match &self.after {
            None if is_companion || leveldb::is_mark(name) => {
                self.companions |= is_companion;
                self.telling.insert(name.to_vec());
            }
            Some(after) if name <= after.as_slice() => return,
            // Its database was looked at when it was not there: it would be taken for a file of its own.
            Some(_) if is_companion && !self.told(name) => return,
            _ => {}
        }
        if self
            .bound
            .as_ref()
            .is_some_and(|bound| name >= bound.as_slice())
        {
            return;
        }
        let start = self.end();
        self.bytes.extend_from_slice(name);
        self.spans.push((start, self.end()));
        let spans = self.spans.len().saturating_mul(size_of::<Span>());
        if self.bytes.len().saturating_add(spans) > self.bytes_max && self.spans.len() > 1 {
            self.drop_greatest();
        }
    }

    /// Makes room: the greatest quarter goes, and nothing as great is taken any more.
    fn drop_greatest(&mut self) {
        let kept = self.spans.len().saturating_mul(3).div_ceil(4);
        let kept = kept.min(self.spans.len().saturating_sub(1));
        let bytes = &self.bytes;
        let (_, bound, _) = self
            .spans
            .select_nth_unstable_by_key(kept, |span| slice(bytes, *span));
        self.bound = Some(slice(bytes, *bound).to_vec());
        self.spans.truncate(kept);
        // What is left moves together, in the order in which it lies.
        self.spans.sort_unstable();
        let mut end = 0_u32;
        for span in &mut self.spans {
            let moved = end.saturating_add(span.1.saturating_sub(span.0));
            self.bytes.copy_within(range(*span), end as usize);
            *span = (end, moved);
            end = moved;
        }
        self.bytes.truncate(end as usize);
    }

    fn end(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX)
    }
}

fn range((start, end): Span) -> Range<usize> {
    start as usize..end as usize
}

fn slice(bytes: &[u8], span: Span) -> &[u8] {
    bytes.get(range(span)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    fn given(names: &mut Names, folder: &OwnedFd) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(name) = names.next(folder).unwrap() {
            all.push(name);
        }
        all
    }

    #[test]
    fn names_are_the_same_however_few_have_room() {
        let folder = tempfile::tempdir().unwrap();
        let mut made = BTreeSet::new();
        for number in 0..500_u32 {
            let name = format!(
                "{:x}",
                u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            );
            File::create(folder.path().join(&name)).unwrap();
            made.insert(name.into_bytes());
        }
        let made: Vec<_> = made.into_iter().collect();
        let fd = OwnedFd::from(File::open(folder.path()).unwrap());
        for bytes_max in [0, 1, 40, 100, 1000, 10_000, 100_000] {
            let mut names = Names::list(&fd, bytes_max).unwrap();
            assert!(
                names.spans.len() <= (bytes_max / size_of::<Span>()).max(1),
                "{bytes_max}"
            );
            assert_eq!(given(&mut names, &fd), made, "{bytes_max}");
            assert!(names.next(&fd).unwrap().is_none());
        }
    }

    /// A journal that comes while a folder is listed a second time is no file: its database was there before it.
    #[test]
    fn a_companion_that_comes_between_two_listings_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str| fs::write(folder.path().join(name), "").unwrap();
        ["a.db", "b", "c", "c-wal"].into_iter().for_each(make);
        let fd = OwnedFd::from(File::open(folder.path()).unwrap());
        let mut names = Names::list(&fd, 0).unwrap();
        assert_eq!(names.next(&fd).unwrap().unwrap(), b"a.db");
        assert!(names.has_companion_names());
        assert!(names.told(b"c-wal") && !names.told(b"a.db-journal"));
        ["a.db-journal", "bb"].into_iter().for_each(make);
        assert_eq!(
            given(&mut names, &fd),
            ["b", "bb", "c", "c-wal"].map(|name| name.as_bytes().to_vec())
        );
    }

    #[test]
    fn a_folder_that_cannot_be_listed_again_does_not_end_there() {
        let folder = tempfile::tempdir().unwrap();
        let a = folder.path().join("a");
        fs::write(&a, "").unwrap();
        fs::write(folder.path().join("b"), "").unwrap();
        let fd = OwnedFd::from(File::open(folder.path()).unwrap());
        let mut names = Names::list(&fd, 0).unwrap();
        assert_eq!(names.next(&fd).unwrap().unwrap(), b"a");
        let no_folder = OwnedFd::from(File::open(a).unwrap());
        let cut_off = names.next(&no_folder).unwrap_err();
        assert_eq!(cut_off.after, b"a");
        assert_eq!(cut_off.error, rustix::io::Errno::NOTDIR);
    }
}
