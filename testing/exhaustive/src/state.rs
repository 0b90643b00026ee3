//! A state: the cores, and everything that they ever said.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

use std::sync::Arc;

use keyhaven_vault_core::{Call, Capture, Core, Entry, Memory, NodeKey, Report, dangerous};

/// An entry that a core made.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) entry: Entry,
    /// Which one it stands on.
    pub(crate) on: Option<usize>,
    /// Which of the guesses it carries out.
    pub(crate) guess: Option<usize>,
    /// The store after it.
    pub(crate) store: Arc<BTreeMap<NodeKey, Vec<u8>>>,
}

/// What the hosts have of a group, and the cores themselves.
pub struct State {
    pub(crate) cores: Vec<Core>,
    /// The memories that each core had, as far as its host may put one back.
    pub(crate) images: Vec<Vec<Memory>>,
    pub(crate) made: Vec<Made>,
    pub(crate) calls: Vec<Call>,
    pub(crate) reports: Vec<Report>,
    /// Captures, with the entry that each is of.
    pub(crate) captures: Vec<(usize, Capture)>,
    /// The guesses that were answered with a KE2.
    pub(crate) answered: BTreeSet<usize>,
    /// The entries of which answers left.
    pub(crate) released: BTreeSet<usize>,
    pub(crate) crashes: u8,
    /// How many of the cores that are alike at the beginning the hosts have turned to.
    pub(crate) touched: usize,
    /// What a core said that none may ever say.
    pub(crate) broken: Option<String>,
}

impl State {
    /// Everything that tells this state from another, whatever the order in which it came about.
    fn describe(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for (core, images) in self.cores.iter().zip(&self.images) {
            hasher.update(&dangerous::describe(core));
            hasher.update(&[0xff, 0]);
            let images: BTreeSet<_> = images.iter().map(Memory::encode).collect();
            for image in images {
                hasher.update(&image);
            }
        }
        let sets: [BTreeSet<Vec<u8>>; 5] = [
            self.made
                .iter()
                .map(|made| made.entry.mac().as_bytes().to_vec())
                .collect(),
            self.calls
                .iter()
                .map(|call| call.encode().to_vec())
                .collect(),
            self.reports
                .iter()
                .map(|report| report.encode().to_vec())
                .collect(),
            self.captures
                .iter()
                .map(|(_, capture)| capture.encode().to_vec())
                .collect(),
            self.released
                .iter()
                .map(|page| self.made[*page].entry.mac().as_bytes().to_vec())
                .collect(),
        ];
        for set in sets {
            hasher.update(&[0xff, 1]);
            for bytes in set {
                hasher.update(&bytes);
            }
        }
        for guess in &self.answered {
            hasher.update(&[0xff, 2, u8::try_from(*guess).unwrap_or(u8::MAX)]);
        }
        let touched = u8::try_from(self.touched).unwrap_or(u8::MAX);
        hasher.update(&[self.crashes, touched, u8::from(self.broken.is_some())]);
        *hasher.finalize().as_bytes()
    }

    /// Whether all entries of which answers left lie on one line.
    pub(crate) fn is_one_line(&self) -> bool {
        let parents: BTreeMap<usize, Option<usize>> = self
            .made
            .iter()
            .enumerate()
            .map(|(page, made)| (page, made.on))
            .collect();
        let stands_on = |page: usize, below: usize| {
            let mut at = Some(page);
            while let Some(page) = at {
                if page == below {
                    return true;
                }
                at = parents.get(&page).copied().flatten();
            }
            false
        };
        let released: Vec<usize> = self.released.iter().copied().collect();
        released.iter().all(|one| {
            released
                .iter()
                .all(|other| stands_on(*one, *other) || stands_on(*other, *one))
        })
    }
}

impl Clone for State {
    fn clone(&self) -> Self {
        Self {
            cores: self.cores.iter().map(dangerous::copy).collect(),
            images: self.images.clone(),
            made: self.made.clone(),
            calls: self.calls.clone(),
            reports: self.reports.clone(),
            captures: self.captures.clone(),
            answered: self.answered.clone(),
            released: self.released.clone(),
            crashes: self.crashes,
            touched: self.touched,
            broken: self.broken.clone(),
        }
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.describe() == other.describe()
    }
}

impl Eq for State {}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.describe().hash(hasher);
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("entries", &self.made.len())
            .field("answered", &self.answered)
            .field("released", &self.released)
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}
