//! What a malicious store can do to a repository, one thing at a time (F15, BACKUP-4).

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use keyhaven::store::{Listed, ObjectFolder, ObjectPath, Store, StoreError};

use crate::memory::MemoryStore;
use crate::over::{Over, Through};

/// Single bits that are flipped in each object: its first and last byte and places between.
const FLIPS_PER_OBJECT: usize = 12;

/// One tampering. `Display` gives its name, which tells the object and what was done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutation {
    /// One bit of an object is another.
    FlipBit {
        /// The object.
        path: ObjectPath,
        /// The byte.
        offset: usize,
        /// The bit, 0 to 7.
        bit: u8,
    },
    /// An object ends early.
    Truncate {
        /// The object.
        path: ObjectPath,
        /// What is left.
        len: usize,
    },
    /// Bytes stand behind an object's end.
    Extend {
        /// The object.
        path: ObjectPath,
        /// How many zero bytes.
        by: usize,
    },
    /// Two objects stand under each other's names.
    Swap {
        /// One object.
        one: ObjectPath,
        /// The other.
        other: ObjectPath,
    },
    /// An object's bytes also replace another's.
    Overwrite {
        /// The object that is lost.
        path: ObjectPath,
        /// Whose bytes stand there now.
        with: ObjectPath,
    },
    /// An object has the bytes that an older state of the store had under its name.
    Replay {
        /// The object.
        path: ObjectPath,
        /// The old bytes.
        bytes: Arc<[u8]>,
    },
    /// An object is gone.
    Delete {
        /// The object.
        path: ObjectPath,
    },
    /// An object also stands under a name of no object.
    Duplicate {
        /// The object.
        path: ObjectPath,
        /// The second name.
        copy: ObjectPath,
    },
    /// An object can be got, and no list names it.
    Hide {
        /// The object.
        path: ObjectPath,
    },
    /// Lists name an object that is not there.
    Invent {
        /// The object.
        path: ObjectPath,
    },
    /// Lists give an object another length than it has.
    Misreport {
        /// The object.
        path: ObjectPath,
        /// The length that lists give.
        len: u64,
    },
    /// Lists are in reverse order.
    ReverseList,
    /// Lists name every object twice.
    DoubleList,
    /// Lists end after so many objects.
    ShortenList {
        /// How many are named.
        len: usize,
    },
    /// The whole store is as it was in the past.
    RollBack,
    /// The whole store is empty.
    Empty,
}

impl fmt::Display for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FlipBit { path, offset, bit } => write!(f, "flip {path} byte {offset} bit {bit}"),
            Self::Truncate { path, len } => write!(f, "truncate {path} to {len}"),
            Self::Extend { path, by } => write!(f, "extend {path} by {by}"),
            Self::Swap { one, other } => write!(f, "swap {one} and {other}"),
            Self::Overwrite { path, with } => write!(f, "overwrite {path} with {with}"),
            Self::Replay { path, .. } => write!(f, "replay an older {path}"),
            Self::Delete { path } => write!(f, "delete {path}"),
            Self::Duplicate { path, copy } => write!(f, "duplicate {path} as {copy}"),
            Self::Hide { path } => write!(f, "hide {path}"),
            Self::Invent { path } => write!(f, "invent {path}"),
            Self::Misreport { path, len } => write!(f, "misreport {path} as {len} bytes"),
            Self::ReverseList => f.write_str("reverse the list"),
            Self::DoubleList => f.write_str("double the list"),
            Self::ShortenList { len } => write!(f, "shorten the list to {len}"),
            Self::RollBack => f.write_str("roll the whole store back"),
            Self::Empty => f.write_str("empty the whole store"),
        }
    }
}

impl Mutation {
    /// The object that the mutation is about, if it is about one.
    #[must_use]
    pub fn path(&self) -> Option<&ObjectPath> {
        match self {
            Self::FlipBit { path, .. }
            | Self::Truncate { path, .. }
            | Self::Extend { path, .. }
            | Self::Swap { one: path, .. }
            | Self::Overwrite { path, .. }
            | Self::Replay { path, .. }
            | Self::Delete { path }
            | Self::Duplicate { path, .. }
            | Self::Hide { path }
            | Self::Invent { path }
            | Self::Misreport { path, .. } => Some(path),
            Self::ReverseList
            | Self::DoubleList
            | Self::ShortenList { .. }
            | Self::RollBack
            | Self::Empty => None,
        }
    }

    /// A copy of `store` that was tampered with. [`Mutation::RollBack`] needs the older state and
    /// is applied by [`Mutation::apply_with`].
    #[must_use]
    pub fn apply(&self, store: &MemoryStore) -> Through<Tampered> {
        self.apply_with(store, None)
    }

    /// As [`Mutation::apply`], with the state that the store had in the past.
    #[must_use]
    pub fn apply_with(
        &self,
        store: &MemoryStore,
        older: Option<&MemoryStore>,
    ) -> Through<Tampered> {
        let mut tampered = Tampered {
            store: store.copy(),
            list: ListTrick::Honest,
        };
        let objects = &tampered.store;
        match self {
            Self::FlipBit { path, offset, bit } => edit(objects, path, |bytes| {
                if let Some(byte) = bytes.get_mut(*offset) {
                    *byte ^= 1_u8.rotate_left(u32::from(*bit));
                }
            }),
            Self::Truncate { path, len } => edit(objects, path, |bytes| bytes.truncate(*len)),
            Self::Extend { path, by } => edit(objects, path, |bytes| {
                bytes.resize(bytes.len().saturating_add(*by), 0);
            }),
            Self::Swap { one, other } => {
                if let (Some(a), Some(b)) = (objects.take(one), objects.take(other)) {
                    objects.plant(one.clone(), b);
                    objects.plant(other.clone(), a);
                }
            }
            Self::Overwrite { path, with } => {
                if let Some(bytes) = objects.bytes(with) {
                    objects.plant(path.clone(), bytes);
                }
            }
            Self::Replay { path, bytes } => objects.plant(path.clone(), Arc::clone(bytes)),
            Self::Delete { path } => {
                objects.take(path);
            }
            Self::Duplicate { path, copy } => {
                if let Some(bytes) = objects.bytes(path) {
                    objects.plant(copy.clone(), bytes);
                }
            }
            Self::Hide { path } => tampered.list = ListTrick::Hide(path.clone()),
            Self::Invent { path } => tampered.list = ListTrick::Invent(path.clone()),
            Self::Misreport { path, len } => {
                tampered.list = ListTrick::Misreport(path.clone(), *len);
            }
            Self::ReverseList => tampered.list = ListTrick::Reverse,
            Self::DoubleList => tampered.list = ListTrick::Double,
            Self::ShortenList { len } => tampered.list = ListTrick::Shorten(*len),
            Self::RollBack => {
                if let Some(older) = older {
                    tampered.store = older.copy();
                }
            }
            Self::Empty => tampered.store = MemoryStore::new(),
        }
        Through(tampered)
    }
}

/// Every mutation of what `store` holds, and with `older`, of its past.
///
/// The order is fixed: object by object in the order of their names, then the list, then the whole
/// store.
pub fn mutations(
    store: &MemoryStore,
    older: Option<&MemoryStore>,
) -> impl Iterator<Item = Mutation> + use<> {
    let objects = store.objects();
    let past: BTreeMap<_, _> = older
        .map(MemoryStore::objects)
        .unwrap_or_default()
        .into_iter()
        .collect();
    let mut all = Vec::new();
    for (at, (path, bytes)) in objects.iter().enumerate() {
        all.extend(of_bytes(path, bytes.len()));
        // The next object of the same folder tree, and the next of another: a swap within a kind
        // must be caught by the name, one across kinds by the kind.
        let later = objects.iter().skip(at.saturating_add(1));
        let kind = |path: &ObjectPath| path.components().next().map(str::to_owned);
        let mut same = later
            .clone()
            .filter(|(other, _)| kind(other) == kind(path))
            .map(|(other, _)| other);
        let mut different = later
            .clone()
            .filter(|(other, _)| kind(other) != kind(path))
            .map(|(other, _)| other);
        for other in same.next().into_iter().chain(different.next()) {
            all.push(Mutation::Swap {
                one: path.clone(),
                other: other.clone(),
            });
            all.push(Mutation::Overwrite {
                path: path.clone(),
                with: other.clone(),
            });
        }
        if let Some(old) = past.get(path).filter(|old| *old != bytes) {
            all.push(Mutation::Replay {
                path: path.clone(),
                bytes: Arc::clone(old),
            });
        }
        all.push(Mutation::Delete { path: path.clone() });
        if let Some(copy) = sibling(path) {
            all.push(Mutation::Duplicate {
                path: path.clone(),
                copy: copy.clone(),
            });
            all.push(Mutation::Invent { path: copy });
        }
        all.push(Mutation::Hide { path: path.clone() });
        all.push(Mutation::Misreport {
            path: path.clone(),
            len: (bytes.len() as u64).saturating_add(1),
        });
    }
    all.push(Mutation::ReverseList);
    all.push(Mutation::DoubleList);
    let count = objects.len();
    for len in [0, count >> 1, count.saturating_sub(1)] {
        all.push(Mutation::ShortenList { len });
    }
    if older.is_some() {
        all.push(Mutation::RollBack);
    }
    all.push(Mutation::Empty);
    all.into_iter()
}

/// One mutation of what `store` holds, every kind as likely as any other; none of a store of fewer than two objects.
/// `draw` gives a number below its argument.
pub fn drawn_mutation(
    store: &MemoryStore,
    draw: &mut dyn FnMut(usize) -> usize,
) -> Option<Mutation> {
    let objects = store.objects();
    let (path, bytes) = objects.get(draw(objects.len()))?;
    let (path, len) = (path.clone(), bytes.len());
    let other = || {
        let others = objects.iter().map(|(other, _)| other);
        others.filter(|other| **other != path).cloned()
    };
    Some(match draw(13) {
        0 | 1 => Mutation::FlipBit {
            offset: draw(len),
            bit: u8::try_from(draw(8)).unwrap_or(0),
            path,
        },
        2 => Mutation::Truncate {
            len: draw(len),
            path,
        },
        3 => Mutation::Extend {
            by: draw(100_000).saturating_add(1),
            path,
        },
        kind @ (4 | 5) => {
            let mut others: Vec<_> = other().collect();
            let other = (!others.is_empty()).then(|| others.swap_remove(draw(others.len())))?;
            if kind == 4 {
                Mutation::Swap { one: path, other }
            } else {
                Mutation::Overwrite { path, with: other }
            }
        }
        6 => Mutation::Delete { path },
        7 => match sibling(&path) {
            Some(copy) => Mutation::Duplicate { path, copy },
            None => Mutation::Delete { path },
        },
        8 => Mutation::Invent {
            path: sibling(&path).unwrap_or(path),
        },
        9 => Mutation::Hide { path },
        10 => Mutation::Misreport {
            len: draw(len.saturating_mul(2)) as u64,
            path,
        },
        11 => Mutation::ShortenList {
            len: draw(objects.len()),
        },
        _ => match draw(3) {
            0 => Mutation::ReverseList,
            1 => Mutation::DoubleList,
            _ => Mutation::Empty,
        },
    })
}

/// The mutations of one object's own bytes.
fn of_bytes(path: &ObjectPath, len: usize) -> Vec<Mutation> {
    let mut all = Vec::new();
    let last = len.saturating_sub(1);
    let mut offsets: Vec<usize> = (0..FLIPS_PER_OBJECT)
        .filter_map(|n| {
            last.checked_mul(n)?
                .checked_div(FLIPS_PER_OBJECT.saturating_sub(1))
        })
        .filter(|offset| *offset < len)
        .collect();
    offsets.dedup();
    for (offset, bit) in offsets.into_iter().zip((0..8).cycle()) {
        all.push(Mutation::FlipBit {
            path: path.clone(),
            offset,
            bit,
        });
    }
    let mut lens = vec![0, 1, len >> 1, last];
    lens.retain(|cut| *cut < len);
    lens.dedup();
    all.extend(lens.into_iter().map(|len| Mutation::Truncate {
        path: path.clone(),
        len,
    }));
    all.extend([1, 4096].map(|by| Mutation::Extend {
        path: path.clone(),
        by,
    }));
    all
}

/// A name of the same form that differs in its last character.
fn sibling(path: &ObjectPath) -> Option<ObjectPath> {
    let text = path.as_str();
    let last = text.chars().next_back()?;
    let other = if last == '0' { '1' } else { '0' };
    let stem = text.strip_suffix(last)?;
    ObjectPath::parse(&format!("{stem}{other}")).ok()
}

fn edit(store: &MemoryStore, path: &ObjectPath, work: impl FnOnce(&mut Vec<u8>)) {
    if let Some(bytes) = store.take(path) {
        let mut bytes = bytes.to_vec();
        work(&mut bytes);
        store.plant(path.clone(), bytes.into());
    }
}

/// A store that was tampered with. It can be written to like any other.
#[derive(Debug)]
pub struct Tampered {
    store: MemoryStore,
    list: ListTrick,
}

#[derive(Debug)]
enum ListTrick {
    Honest,
    Hide(ObjectPath),
    Invent(ObjectPath),
    Misreport(ObjectPath, u64),
    Reverse,
    Double,
    Shorten(usize),
}

impl Tampered {
    /// The objects, as they are now.
    #[must_use]
    pub fn objects(&self) -> &MemoryStore {
        &self.store
    }

    fn listed(&self, folder: &ObjectFolder) -> Vec<Listed> {
        let mut all: Vec<Listed> = self
            .store
            .objects()
            .into_iter()
            .filter(|(path, _)| folder.holds(path))
            .map(|(path, bytes)| Listed {
                path,
                len: bytes.len() as u64,
            })
            .collect();
        match &self.list {
            ListTrick::Honest => {}
            ListTrick::Hide(path) => all.retain(|listed| listed.path != *path),
            ListTrick::Invent(path) => {
                if folder.holds(path) {
                    all.push(Listed {
                        path: path.clone(),
                        len: 4096,
                    });
                }
            }
            ListTrick::Misreport(path, len) => {
                for listed in all.iter_mut().filter(|listed| listed.path == *path) {
                    listed.len = *len;
                }
            }
            ListTrick::Reverse => all.reverse(),
            ListTrick::Double => all.extend(all.clone()),
            ListTrick::Shorten(len) => all.truncate(*len),
        }
        all
    }
}

impl Over for Tampered {
    fn behind(&self) -> &dyn Store {
        &self.store
    }

    fn visit(
        &self,
        folder: &ObjectFolder,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        for listed in self.listed(folder) {
            if each(listed).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Unlike an honest store's, this list is handed over as it is: unsorted, with doubles.
    fn list(&self, folder: &ObjectFolder) -> Result<Vec<Listed>, StoreError> {
        Ok(self.listed(folder))
    }

    fn describe(&self) -> String {
        "a store that was tampered with".to_owned()
    }
}
