//! The source beside the newest manifest: both sorted by path, met in one pass.
//!
//! The manifest is the state. What is unchanged is told by what the file system says now and what
//! the manifest says it said then, so memory does not grow with the source.

use std::iter::Peekable;
use std::path::{Path, PathBuf};

use keyhaven_repo::entry::FileEntry;
use keyhaven_repo::node::{NodeError, NodeRef, NodeStore};
use keyhaven_repo::path::Key;
use keyhaven_repo::tree::Cursor;
use keyhaven_source::{Content, Item, PathKey, Patience, Signature, SkipReason, Stat, Walk};

use super::companions::Strays;
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
    /// Not at all: what stands there is no database any more.
    None,
}

/// Meets a walk with a tree.
pub(crate) struct Join<W: Iterator<Item = Item> = Walk> {
    walk: Peekable<W>,
    cursor: Cursor,
    old: Option<(Key, FileEntry)>,
    begun: bool,
    /// Whether a database that stands by rows is to stand by pages.
    by_pages: bool,
    unseen: Unseen,
    strays: Strays,
}

/// Where nothing was seen: what the tree knows there is not gone, it is unknown.
enum Unseen {
    Nothing,
    Below(PathKey),
    All,
}

impl From<Item> for Unseen {
    /// What an item that could not be taken leaves unseen.
    fn from(item: Item) -> Self {
        if let Item::CutOff { folder, .. } = item {
            folder.map_or(Self::All, Self::Below)
        } else {
            Self::Below(item.key().clone())
        }
    }
}

impl<W: Iterator<Item = Item>> Join<W> {
    pub(crate) fn new(walk: W, root: Option<NodeRef>) -> Self {
        Self {
            walk: walk.peekable(),
            cursor: Cursor::new(root),
            old: None,
            begun: false,
            by_pages: false,
            unseen: Unseen::Nothing,
            strays: Strays::default(),
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
            // BACKUP-1: a file that was a database leaves its state in the backup, and a log of now beside it is of another.
            if let Item::Regular(regular) = &item
                && let Ok(key) = Key::parse(regular.key().as_bytes())
                && self.strays.has(&key)
            {
                if before.is_some() {
                    return Ok(Some(Met::Gone { key }));
                }
                continue;
            }
            let met = self.meet(item, before);
            if let Met::Database { key, .. } = &met {
                self.strays.database(key.clone());
            }
            return Ok(Some(met));
        }
    }

    fn is_unseen(&self, key: &Key) -> bool {
        match &self.unseen {
            Unseen::Nothing => false,
            Unseen::Below(above) => {
                let rest = key.as_bytes().strip_prefix(above.as_bytes());
                rest.is_some_and(|rest| rest.first().is_none_or(|&byte| byte == 0))
            }
            Unseen::All => true,
        }
    }

    fn meet(&mut self, item: Item, before: Option<FileEntry>) -> Met {
        let place = item.key().clone();
        // A walk gives nothing that is no path below its root; longer than a path may be, perhaps.
        let Ok(key) = Key::parse(place.as_bytes()) else {
            let shown = Key::parse(b"(a path that is too long)");
            self.unseen = Unseen::from(item);
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
            Item::CutOff { kind, .. } => {
                self.unseen = Unseen::from(item);
                let reason = SkipReason::CutOff(kind);
                Met::Skipped { key, reason }
            }
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
                    // BACKUP-1: a header that was destroyed makes no photo of a database.
                    Ok(Content::File | Content::Logged) if is_destroyed(before.as_ref(), &path) => {
                        Met::Database {
                            key,
                            path,
                            stat,
                            old: stored_of(before),
                            how: Reading::None,
                        }
                    }
                    Ok(Content::File) => Met::File { key, path, stat },
                    Ok(Content::Opaque | Content::Logged) => {
                        self.database(key, path, stat, before, Reading::Opaque)
                    }
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
        self.unseen = Unseen::Below(place);
        Met::Skipped { key, reason }
    }
}

fn is_as_it_was(stat: &Stat, before: Option<&FileEntry>) -> bool {
    matches!(before, Some(FileEntry::File { stat: old, .. }) if stat.is_unchanged_since(&to_source(old)))
}

/// Whether a file that is no SQLite database was one, or an encrypted one that it cannot be any more.
fn is_destroyed(before: Option<&FileEntry>, path: &Path) -> bool {
    let Some(FileEntry::Database { signature, .. }) = before else {
        return false;
    };
    let Ok(old) = Signature::decode(signature) else {
        return false;
    };
    old.is_of_sqlite()
        || Signature::take(path, Patience::default())
            .is_ok_and(|now| old.is_of_a_cipher_that_is_not_in(&now))
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

#[cfg(test)]
mod tests {
    use std::io;

    use keyhaven_repo::hash::NodeDigest;
    use keyhaven_repo::layout::Extent;
    use keyhaven_repo::names::PackName;
    use keyhaven_repo::node::NodeKind;
    use keyhaven_repo::tree::update;

    use super::*;
    use crate::engine::target::relative;

    /// Nodes, each at the offset that is its number.
    #[derive(Default)]
    struct Memory(Vec<Vec<u8>>);

    impl NodeStore for Memory {
        fn load(&mut self, node: &NodeRef) -> Result<Vec<u8>, NodeError> {
            let raw = self.0.get(node.extent.offset as usize);
            raw.cloned().ok_or(NodeError::Malformed)
        }

        fn save(&mut self, _: NodeKind, raw: &[u8]) -> Result<NodeRef, NodeError> {
            let offset = u32::try_from(self.0.len()).unwrap();
            let len = u32::try_from(raw.len()).unwrap();
            self.0.push(raw.to_vec());
            Ok(NodeRef {
                extent: Extent {
                    pack: PackName::from_bytes([0; 32]),
                    offset,
                    len,
                },
                raw_len: len,
                digest: NodeDigest::from_bytes([0; 32]),
            })
        }
    }

    fn place(path: &str) -> PathKey {
        PathKey::parse(path.replace('/', "\0").into_bytes()).unwrap()
    }

    /// BACKUP-1: a folder that could not be listed to its end has lost nothing by it.
    #[test]
    fn what_a_listing_did_not_come_to_is_not_gone() {
        let mut nodes = Memory::default();
        let stat = Stat::from(&rustix::fs::stat("/").unwrap());
        let old = ["a", "in", "in/a", "in/b", "in/b/c", "in-2", "z"].map(|path| {
            let key = Key::parse(place(path).as_bytes()).unwrap();
            let stat = to_repo(&stat);
            (key, Some(FileEntry::Dir { stat }))
        });
        let root = update(None, old, &mut nodes).unwrap();
        let mut gone = |seen: &[&str], last: &str, folder: Option<&str>| {
            let dir = |path: &&str| Item::Dir {
                key: place(path),
                stat,
            };
            let mut items: Vec<Item> = seen.iter().map(dir).collect();
            let at = items.iter().position(|item| item.key() == &place(last));
            let cut_off = Item::CutOff {
                key: place(last),
                folder: folder.map(place),
                kind: io::ErrorKind::Other,
            };
            items.insert(at.unwrap() + 1, cut_off);
            let mut join = Join::new(items.into_iter(), root);
            let mut gone = Vec::new();
            while let Some(met) = join.next(&mut nodes).unwrap() {
                if let Met::Gone { key } = met {
                    gone.push(relative(&key));
                }
            }
            gone
        };
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(
            gone(&["in", "in/a", "z"], "in/a", Some("in")),
            paths(&["a", "in-2"])
        );
        assert_eq!(
            gone(&["in", "in/b", "in-2"], "in/b", Some("in")),
            paths(&["a", "in/a", "z"])
        );
        assert_eq!(gone(&["a", "in", "in/b"], "in/b", None), paths(&["in/a"]));
    }
}
