//! Everything that cores ever made, as the tree that it is: committed or not, shown or not.
//!
//! An entry stands on the one whose MAC it names; a group's first one stands on nothing. Each keeps the store as it is after it, and each
//! record as the model says it should be after it, so that a host can show any core any past.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use keyhaven_vault_core::{Entry, Executed, Mac, Member, NodeKey, Range, Touch};
use keyhaven_wire::message::HostTime;
use rpds::RedBlackTreeMap;

use crate::model::{Expected, Model};
use crate::ranges::Holds;

/// The store after an entry.
pub type Store = RedBlackTreeMap<NodeKey, Vec<u8>>;

/// A request within an entry.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Which request, of all that people made; none for bytes that nobody made so.
    pub sent: Option<usize>,
    /// Whether the group holds the account.
    pub here: bool,
    /// What the model says of it.
    pub expected: Expected,
    /// The record after it.
    pub model: Model,
}

/// An entry and what it means.
#[derive(Debug)]
pub struct Page {
    /// The entry.
    pub entry: Entry,
    /// The store after it.
    pub store: Store,
    /// The records after it, by account.
    pub models: RedBlackTreeMap<usize, Model>,
    /// Whose the ranges of accounts are after it.
    pub holds: Holds,
    /// What was asked.
    pub asked: Vec<Asked>,
    /// Whether it is a step of a range, and no batch.
    pub moves: bool,
    /// Which cores said that they captured it.
    pub captured: BTreeSet<Member>,
}

/// Which entry stands on which.
#[derive(Clone, Debug, Default)]
pub struct Lineage {
    parents: Vec<Option<usize>>,
    depths: Vec<usize>,
    roots: Vec<usize>,
}

impl Lineage {
    /// Adds one on top of another.
    pub fn push(&mut self, parent: Option<usize>) -> usize {
        let depth = parent.map_or(0, |parent| self.depths[parent] + 1);
        let page = self.parents.len();
        self.roots
            .push(parent.map_or(page, |parent| self.roots[parent]));
        self.parents.push(parent);
        self.depths.push(depth);
        page
    }

    /// What an entry stands on.
    #[must_use]
    pub fn parent(&self, page: usize) -> Option<usize> {
        self.parents[page]
    }

    /// The first entry of its group.
    #[must_use]
    pub fn root(&self, page: usize) -> usize {
        self.roots[page]
    }

    /// Whether one stands on another, or is it.
    #[must_use]
    pub fn stands_on(&self, page: usize, below: usize) -> bool {
        let mut at = page;
        while self.depths[at] > self.depths[below] {
            match self.parents[at] {
                Some(parent) => at = parent,
                None => return false,
            }
        }
        at == below
    }
}

/// All entries.
#[derive(Debug, Default)]
pub struct Chronicle {
    pages: Vec<Page>,
    lineage: Lineage,
    by_mac: BTreeMap<[u8; 32], usize>,
}

impl Chronicle {
    /// The first entry of a group.
    pub fn begin(&mut self, entry: Entry, puts: Vec<(NodeKey, Vec<u8>)>, holds: Holds) -> usize {
        let page = Page {
            entry,
            store: puts.into_iter().collect(),
            models: RedBlackTreeMap::new(),
            holds,
            asked: Vec::new(),
            moves: false,
            captured: BTreeSet::new(),
        };
        self.push(None, page)
    }

    /// An entry that a core just made on top of `base`.
    pub fn write(
        &mut self,
        base: usize,
        executed: Executed,
        models: RedBlackTreeMap<usize, Model>,
        asked: Vec<Asked>,
    ) -> usize {
        let page = self.after(base, executed, models, asked);
        self.push(Some(base), page)
    }

    /// An entry by which a range went a step of its way. What is `taken` from the store after another
    /// group's entry, the host has copied.
    pub fn write_move(
        &mut self,
        base: usize,
        executed: Executed,
        holds: Holds,
        taken: Option<Taken>,
    ) -> usize {
        let mut models = self.pages[base].models.clone();
        let mut copied = Vec::new();
        if let Some(Taken {
            range,
            from,
            accounts,
        }) = taken
        {
            let from = &self.pages[from];
            let covered = from.store.iter().filter(|(key, _)| range.covers(key));
            copied.extend(covered.map(|(key, bytes)| (*key, bytes.clone())));
            for account in accounts {
                match from.models.get(&account) {
                    Some(model) => models.insert_mut(account, model.clone()),
                    None => {
                        models.remove_mut(&account);
                    }
                }
            }
        }
        let mut page = self.after(base, executed, models, Vec::new());
        for (key, bytes) in copied {
            page.store.insert_mut(key, bytes);
        }
        page.holds = holds;
        page.moves = true;
        self.push(Some(base), page)
    }

    fn after(
        &self,
        base: usize,
        executed: Executed,
        models: RedBlackTreeMap<usize, Model>,
        asked: Vec<Asked>,
    ) -> Page {
        let base = &self.pages[base];
        let mut store = base.store.clone();
        for (key, value) in executed.puts {
            store.insert_mut(key, value);
        }
        Page {
            entry: executed.entry,
            store,
            models,
            holds: base.holds.clone(),
            asked,
            moves: false,
            captured: BTreeSet::new(),
        }
    }

    fn push(&mut self, parent: Option<usize>, page: Page) -> usize {
        self.by_mac
            .insert(*page.entry.mac().as_bytes(), self.pages.len());
        self.pages.push(page);
        self.lineage.push(parent)
    }

    /// The entry with this MAC.
    #[must_use]
    pub fn find(&self, mac: Mac) -> Option<usize> {
        self.by_mac.get(mac.as_bytes()).copied()
    }

    /// All of them, in the order in which they were made.
    #[must_use]
    pub fn pages(&self) -> &[Page] {
        &self.pages
    }

    /// One of them.
    #[must_use]
    pub fn page(&self, page: usize) -> &Page {
        &self.pages[page]
    }

    /// A core said that it captured an entry.
    pub fn captured(&mut self, page: usize, member: Member) {
        self.pages[page].captured.insert(member);
    }

    /// Which stands on which.
    #[must_use]
    pub const fn lineage(&self) -> &Lineage {
        &self.lineage
    }
}

/// What is taken with a range.
#[derive(Debug)]
pub struct Taken {
    /// The range.
    pub range: Range,
    /// The entry by which another group gave it.
    pub from: usize,
    /// The accounts in it.
    pub accounts: Vec<usize>,
}

/// What a host hands to a core.
#[derive(Debug)]
pub struct Batch {
    /// The requests.
    pub touches: Vec<Touch>,
    /// Which of the people's requests they are.
    pub sent: Vec<Option<usize>>,
    /// What the host says the time is.
    pub now: HostTime,
}
