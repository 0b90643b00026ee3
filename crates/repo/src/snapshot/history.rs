//! What a set of snapshots says together: heads, descent, and whether the store serves an old state.
//!
//! All of it is computed from the snapshots that opened, so a store can at most leave some out.

use std::collections::{BTreeMap, BTreeSet};

use super::Predecessor;
use crate::names::{SnapshotDigest, SnapshotName, WriterId};

/// The place of one snapshot in the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Where it lies.
    pub name: SnapshotName,
    /// What its bytes are.
    pub digest: SnapshotDigest,
    /// Its number.
    pub sequence: u64,
    /// Which installation wrote it.
    pub writer: WriterId,
    /// The device's clock when it was made, in seconds since 1970.
    pub device_time_s: i64,
    /// Whether it holds all of the source.
    pub complete: bool,
    /// Whether it is kept until a person lets it go.
    pub pinned: bool,
    /// What it follows.
    pub predecessors: Vec<Predecessor>,
}

/// A snapshot that somebody else than the store remembers: the vault's record, or local state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Note {
    /// Its number.
    pub sequence: u64,
    /// What its bytes are.
    pub digest: SnapshotDigest,
}

/// Whether what the store serves is as new as it must be (BACKUP-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// The head is the noted snapshot or descends from it: it is at least that new.
    FreshAtLeast {
        /// The noted number.
        sequence: u64,
    },
    /// Every snapshot that the store serves is older than the noted one.
    RolledBack {
        /// The noted number.
        noted: u64,
        /// The highest number that the store serves; 0 if it serves none.
        newest: u64,
    },
    /// There are snapshots as new as the noted one, but none descends from it: another history.
    Forked {
        /// The noted number.
        noted: u64,
        /// The highest number that the store serves.
        newest: u64,
    },
    /// Nothing was noted, so nothing can be said.
    NotVerified,
}

/// Which snapshot to go by, and how far it can be trusted to be the newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement<'a> {
    /// The newest acceptable head: with a note, the newest that descends from it; without one, the
    /// newest. `None` if there is no acceptable one.
    pub head: Option<&'a Link>,
    /// What the note says about it.
    pub freshness: Freshness,
    /// All other heads, newest first. They are kept and shown, never dropped.
    pub others: Vec<&'a Link>,
}

/// All snapshots of a store that opened.
#[derive(Debug, Clone, Default)]
pub struct History {
    links: BTreeMap<SnapshotDigest, Link>,
}

impl FromIterator<Link> for History {
    /// A store that serves a snapshot twice, or under any order, makes the same history.
    fn from_iter<I: IntoIterator<Item = Link>>(links: I) -> Self {
        Self {
            links: links.into_iter().map(|link| (link.digest, link)).collect(),
        }
    }
}

impl History {
    /// All snapshots, newest first: by number, then by the device's clock, then by digest, so that
    /// everybody sees one order.
    #[must_use]
    pub fn newest_first(&self) -> Vec<&Link> {
        let mut links: Vec<_> = self.links.values().collect();
        links.sort_by_key(|link| {
            core::cmp::Reverse((link.sequence, link.device_time_s, link.digest))
        });
        links
    }

    /// One snapshot.
    #[must_use]
    pub fn link(&self, digest: &SnapshotDigest) -> Option<&Link> {
        self.links.get(digest)
    }

    /// How many snapshots there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// The snapshots that no other follows, newest first. Two devices at once make two.
    #[must_use]
    pub fn heads(&self) -> Vec<&Link> {
        let followed: BTreeSet<_> = self
            .links
            .values()
            .flat_map(|link| link.predecessors.iter().map(|before| before.digest))
            .collect();
        let mut heads = self.newest_first();
        heads.retain(|link| !followed.contains(&link.digest));
        heads
    }

    /// Snapshots that others follow but the store does not serve: collected, or hidden.
    #[must_use]
    pub fn missing(&self) -> Vec<Predecessor> {
        let mut seen = BTreeSet::new();
        self.links
            .values()
            .flat_map(|link| link.predecessors.iter())
            .filter(|before| !self.links.contains_key(&before.digest) && seen.insert(before.digest))
            .copied()
            .collect()
    }

    /// A snapshot and everything before it that the store serves, newest first.
    #[must_use]
    pub fn line_of(&self, head: &SnapshotDigest) -> Vec<&Link> {
        let reached = self.reach(head);
        let mut line = self.newest_first();
        line.retain(|link| reached.contains(&link.digest));
        line
    }

    /// Whether `head` is `ancestor` or descends from it. The ancestor itself need not be served:
    /// a digest in a sealed predecessor list is proof enough.
    #[must_use]
    pub fn descends_from(&self, head: &SnapshotDigest, ancestor: &SnapshotDigest) -> bool {
        self.reach(head).contains(ancestor)
    }

    /// Every digest that is reached from one, that one included.
    fn reach(&self, head: &SnapshotDigest) -> BTreeSet<SnapshotDigest> {
        let mut reached = BTreeSet::from([*head]);
        let mut open = vec![*head];
        while let Some(digest) = open.pop() {
            let link = self.links.get(&digest);
            for before in link.into_iter().flat_map(|link| &link.predecessors) {
                if reached.insert(before.digest) {
                    open.push(before.digest);
                }
            }
        }
        reached
    }

    /// Chooses the head to go by, given what was noted outside the store.
    ///
    /// BACKUP-4: with a note, a store that hides, rolls back or forks cannot pass off what it
    /// serves as the newest: only a head that descends from the noted snapshot is accepted.
    #[must_use]
    pub fn judge(&self, note: Option<&Note>) -> Judgement<'_> {
        let mut heads = self.heads();
        let newest = heads.first().map_or(0, |link| link.sequence);
        let (head, freshness) = match note {
            None => (heads.first().copied(), Freshness::NotVerified),
            Some(note) => {
                let noted = note.sequence;
                let head = heads
                    .iter()
                    .copied()
                    .find(|link| self.descends_from(&link.digest, &note.digest));
                let freshness = match head {
                    Some(_) => Freshness::FreshAtLeast { sequence: noted },
                    None if newest < noted => Freshness::RolledBack { noted, newest },
                    None => Freshness::Forked { noted, newest },
                };
                (head, freshness)
            }
        };
        heads.retain(|link| head.is_none_or(|head| head.digest != link.digest));
        Judgement {
            head,
            freshness,
            others: heads,
        }
    }
}
