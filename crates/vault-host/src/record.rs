//! Records: what a host keeps on its disk before its core captures.

use std::collections::BTreeMap;

use keyhaven_vault_core::{Core, Entry, Index, Mac, NodeKey, fits};

/// Changed nodes and leaves.
pub type Puts = BTreeMap<NodeKey, Vec<u8>>;

/// How the store comes from one committed state to a later one.
///
/// Mostly this is one entry and what it changed. When leaders died before what they appended was
/// captured, the next leader's first entry carries theirs: nobody knows then whether they are
/// committed, and this record is what brings them back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The entries, oldest first, each on top of the one before it.
    pub entries: Vec<Entry>,
    /// All that they changed, as it is after the last one.
    pub puts: Puts,
}

impl Record {
    /// The entry that it leads to.
    #[must_use]
    pub fn last(&self) -> Option<&Entry> {
        self.entries.last()
    }

    /// The entry that it leads on from: nothing but zeros before the first of all.
    #[must_use]
    pub fn from(&self) -> Option<Mac> {
        self.entries.first().map(Entry::previous)
    }

    /// The index of its first entry.
    #[must_use]
    pub fn first(&self) -> Option<Index> {
        self.entries.first().map(Entry::index)
    }

    /// Whether cores made its entries, each stands on the one before it, and what it would put into
    /// the store is what they changed.
    pub(crate) fn is_whole(&self, core: &Core) -> bool {
        let chained = self
            .entries
            .array_windows()
            .all(|[before, entry]| entry.previous() == before.mac());
        let Some(last) = self.last() else {
            return false;
        };
        chained
            && self.entries.iter().all(|entry| core.vouch(entry).is_ok())
            && fits(&last.root(), &self.puts)
    }

    /// Its entries that a store at this entry lacks; none if the record does not lead on from there.
    pub(crate) fn after(&self, store: Option<&Entry>) -> Option<&[Entry]> {
        let Some(store) = store else {
            let begins = self.first() == Some(Index::new(0));
            return begins.then_some(self.entries.as_slice());
        };
        if self.from() == Some(store.mac()) {
            return Some(&self.entries);
        }
        let within = self.entries.iter().position(|entry| entry == store)?;
        self.entries.get(within.checked_add(1)?..)
    }
}
