//! The source beside the newest manifest: both sorted by path, met in one pass.
//!
//! The manifest is the state. What is unchanged is told by what the file system says now and what
//! the manifest says it said then, so memory does not grow with the source.

use std::iter::Peekable;
use std::path::PathBuf;

use keyhaven_repo::entry::FileEntry;
use keyhaven_repo::node::{NodeError, NodeRef, NodeStore};
use keyhaven_repo::path::Key;
use keyhaven_repo::tree::Cursor;
use keyhaven_source::{Content, Item, PathKey, Patience, Signature, SkipReason, Stat, Walk};

use super::survey::Stored;

/// What stands at one path, now and in the newest manifest.
#[derive(Debug)]
pub(crate) enum Met {
    /// As it was.
    Unchanged { kind: Kind, bytes: u64 },
    /// A folder or a link that is new or changed: the entry says all of it.
    Small { key: Key, entry: FileEntry },
    /// A file that is new or changed.
    File { key: Key, path: PathBuf, stat: Stat },
    /// A database that is new or changed.
    Database {
        key: Key,
        path: PathBuf,
        stat: Stat,
        old: Option<Stored>,
        how: Reading,
    },
    /// It was there and is gone.
    Gone { key: Key },
    /// It cannot be taken; what an older backup has of it stays.
    Skipped { key: Key, reason: SkipReason },
}

/// What an unchanged path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Database,
    Other,
}

/// How a database's pages are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// From its files, through SQLite where somebody has it open.
    Live,
    /// From its files, which cannot be understood without its key.
    Opaque,
    /// From a connection of the program that has it open.
    Supplied,
}

/// Meets a walk with a tree.
pub(crate) struct Join {
    walk: Peekable<Walk>,
    cursor: Cursor,
    old: Option<(Key, FileEntry)>,
    begun: bool,
    /// Whether a database that stands by rows is to stand by pages.
    by_pages: bool,
    /// Below this, nothing was seen: what the tree knows there is not gone, it is unknown.
    unseen: Option<PathKey>,
}

impl Join {
    pub(crate) fn new(walk: Walk, root: Option<NodeRef>) -> Self {
        Self {
            walk: walk.peekable(),
            cursor: Cursor::new(root),
            old: None,
            begun: false,
            by_pages: false,
            unseen: None,
        }
    }

    /// Takes a database that stands by rows for changed: its exact bytes were asked for.
    pub(crate) fn by_pages(self, by_pages: bool) -> Self {
        Self { by_pages, ..self }
    }

    /// The next path, in order.
    pub(crate) fn next(&mut self, nodes: &mut dyn NodeStore) -> Result<Option<Met>, NodeError> {
        if !self.begun {
            self.begun = true;
            self.old = self.cursor.next(nodes)?;
        }
        loop {
            let now = self.walk.peek().map(|item| item.key().as_bytes());
            let old = self.old.as_ref().map(|(key, _)| key.as_bytes());
            let order = match (now, old) {
                (None, None) => return Ok(None),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(now), Some(old)) => now.cmp(old),
            };
            if order.is_gt() {
                let Some((key, _)) = self.old.take() else {
                    continue;
                };
                self.old = self.cursor.next(nodes)?;
                if !self.is_unseen(&key) {
                    return Ok(Some(Met::Gone { key }));
                }
                continue;
            }
            let Some(item) = self.walk.next() else {
                continue;
            };
            let mut before = None;
            if order.is_eq() {
                before = self.old.take().map(|(_, entry)| entry);
                self.old = self.cursor.next(nodes)?;
            }
            return Ok(Some(self.meet(item, before)));
        }
    }

    fn is_unseen(&self, key: &Key) -> bool {
        self.unseen.as_ref().is_some_and(|above| {
            let (above, key) = (above.as_bytes(), key.as_bytes());
            key.strip_prefix(above)
                .is_some_and(|rest| rest.first().is_none_or(|&byte| byte == 0))
        })
    }

    fn meet(&mut self, item: Item, before: Option<FileEntry>) -> Met {
        let place = item.key().clone();
        // A walk gives nothing that is no path below its root; longer than a path may be, perhaps.
        let Ok(key) = Key::parse(place.as_bytes()) else {
            let shown = Key::parse(b"(a path that is too long)");
            self.unseen = Some(place);
            return match shown {
                Ok(key) => Met::Skipped {
                    key,
                    reason: SkipReason::TooDeep,
                },
                Err(_) => Met::Unchanged {
                    kind: Kind::Other,
                    bytes: 0,
                },
            };
        };
        match item {
            Item::Dir { stat, .. } => {
                let stat = to_repo(&stat);
                match before {
                    Some(FileEntry::Dir { stat: old })
                        if (old.mode, old.mtime_ns) == (stat.mode, stat.mtime_ns) =>
                    {
                        Met::Unchanged {
                            kind: Kind::Other,
                            bytes: 0,
                        }
                    }
                    _ => Met::Small {
                        key,
                        entry: FileEntry::Dir { stat },
                    },
                }
            }
            Item::Symlink { stat, target, .. } => {
                use std::os::unix::ffi::OsStringExt as _;
                let (stat, target) = (to_repo(&stat), target.into_vec());
                match before {
                    Some(FileEntry::Symlink { target: old, .. }) if old == target => {
                        Met::Unchanged {
                            kind: Kind::Other,
                            bytes: 0,
                        }
                    }
                    _ => Met::Small {
                        key,
                        entry: FileEntry::Symlink { stat, target },
                    },
                }
            }
            Item::Skipped { reason, .. } => self.skipped(place, key, reason),
            Item::Regular(regular) => {
                let stat = *regular.stat();
                if let Some(FileEntry::File { stat: old, .. }) = &before
                    && regular.is_unchanged_plain_file(&to_source(old))
                {
                    return Met::Unchanged {
                        kind: Kind::File,
                        bytes: stat.size,
                    };
                }
                let path = regular.path().to_path_buf();
                match regular.content() {
                    // Beside a name like a log's it had to be opened to be told.
                    Ok(Content::File) if is_as_it_was(&stat, before.as_ref()) => Met::Unchanged {
                        kind: Kind::File,
                        bytes: stat.size,
                    },
                    Ok(Content::File) => Met::File { key, path, stat },
                    Ok(Content::Opaque) => self.database(key, path, stat, before, Reading::Opaque),
                    Ok(Content::Database) => self.database(key, path, stat, before, Reading::Live),
                    Ok(Content::Supplied) => Met::Database {
                        key,
                        path,
                        stat,
                        old: stored_of(before),
                        how: Reading::Supplied,
                    },
                    Err(reason) => self.skipped(place, key, reason),
                }
            }
        }
    }

    fn database(
        &self,
        key: Key,
        path: PathBuf,
        stat: Stat,
        before: Option<FileEntry>,
        how: Reading,
    ) -> Met {
        if let Some(FileEntry::Database {
            signature, rows, ..
        }) = &before
            && !(self.by_pages && rows.is_some())
            && let Ok(old) = Signature::decode(signature)
            && let Ok(now) = Signature::take(&path, Patience::default())
            && now.is_unchanged_since(&old)
        {
            return Met::Unchanged {
                kind: Kind::Database,
                bytes: stat.size,
            };
        }
        Met::Database {
            key,
            path,
            stat,
            old: stored_of(before),
            how,
        }
    }

    fn skipped(&mut self, place: PathKey, key: Key, reason: SkipReason) -> Met {
        self.unseen = Some(place);
        Met::Skipped { key, reason }
    }
}

fn is_as_it_was(stat: &Stat, before: Option<&FileEntry>) -> bool {
    matches!(before, Some(FileEntry::File { stat: old, .. }) if stat.is_unchanged_since(&to_source(old)))
}

fn stored_of(before: Option<FileEntry>) -> Option<Stored> {
    match before {
        Some(FileEntry::Database { pages, rows, .. }) => Some(Stored { pages, rows }),
        _ => None,
    }
}

/// The manifest's form of what the file system says.
pub(crate) fn to_repo(stat: &Stat) -> keyhaven_repo::entry::Stat {
    let Stat {
        size,
        mtime_ns,
        ctime_ns,
        inode,
        device,
        mode,
    } = *stat;
    keyhaven_repo::entry::Stat {
        size,
        mtime_ns,
        ctime_ns,
        inode,
        device,
        mode,
    }
}

/// The source's form of what the manifest says.
pub(crate) fn to_source(stat: &keyhaven_repo::entry::Stat) -> Stat {
    let keyhaven_repo::entry::Stat {
        size,
        mtime_ns,
        ctime_ns,
        inode,
        device,
        mode,
    } = *stat;
    Stat {
        size,
        mtime_ns,
        ctime_ns,
        inode,
        device,
        mode,
    }
}
