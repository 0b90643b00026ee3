//! A first pass over the source: what has changed, and whether something terrible happened.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use keyhaven_repo::node::{NodeError, NodeRef};
use keyhaven_repo::page_map::PageMap;
use keyhaven_repo::path::Key;
use keyhaven_source::guard::Census;
use keyhaven_source::{Item, Rules, SkipReason, Stat, WalkError, walk};

use super::join::{Join, Kind, Met, Reading};
use super::nodes::Nodes;
use super::rows::Tier;
use super::target::relative;
use crate::nesting::{Kept, NestedError};
use crate::progress::{Meter, Notice};

/// A database as the newest manifest has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    pub(crate) pages: PageMap,
    /// By rows, the patches on these pages.
    pub(crate) rows: Option<NodeRef>,
}

/// A database that is new or has changed.
pub(crate) struct Changed {
    pub(crate) key: Key,
    pub(crate) path: PathBuf,
    pub(crate) stat: Stat,
    pub(crate) old: Option<Stored>,
    pub(crate) how: Reading,
}

/// What a pass over the source found.
#[derive(Default)]
pub(crate) struct Survey {
    pub(crate) census: Census,
    pub(crate) databases: Vec<Changed>,
    pub(crate) media_files: u64,
    pub(crate) media_bytes: u64,
    /// Folders, links and what is gone.
    pub(crate) small: u64,
    pub(crate) skipped: Skipped,
}

impl Survey {
    /// Whether the newest snapshot already holds all of it.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.databases.is_empty() && self.media_files == 0 && self.small == 0
    }

    /// Bytes of all that has changed.
    pub(crate) fn bytes(&self) -> u64 {
        self.database_bytes().saturating_add(self.media_bytes)
    }

    /// Bytes of the changed databases.
    pub(crate) fn database_bytes(&self) -> u64 {
        self.databases
            .iter()
            .fold(0, |sum, changed| sum.saturating_add(changed.stat.size))
    }
}

/// What one pass over the source could not look at.
#[derive(Default)]
pub(crate) struct Skipped {
    /// How much of it is content that a complete backup would hold.
    pub(crate) count: u64,
    /// What a person was told of, up to a limit, so that nobody hears of it twice.
    told: BTreeSet<Key>,
}

/// More than a person reads.
const TOLD_MAX: usize = 1_000;

impl Skipped {
    /// Begins another pass, for which only counts what it comes upon itself.
    pub(crate) fn begin_again(&mut self) {
        self.count = 0;
    }

    /// Notes what is skipped, and tells of it.
    pub(crate) fn note(&mut self, key: Key, reason: SkipReason, meter: &mut Meter<'_>) {
        let matters = matters(reason);
        self.count = self.count.saturating_add(u64::from(matters));
        if self.told.contains(&key) {
            return;
        }
        let (path, reason) = (relative(&key), reason.to_string());
        meter.notice(&match matters {
            true => Notice::Pending { path, reason },
            false => Notice::LeftOut { path, reason },
        });
        if self.told.len() < TOLD_MAX {
            self.told.insert(key);
        }
    }
}

/// A survey could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SurveyError {
    #[error(transparent)]
    Walk(#[from] WalkError),
    #[error(transparent)]
    Nested(#[from] NestedError),
    #[error(transparent)]
    Node(#[from] NodeError),
}

/// Compares the source, in which nothing of `kept` may be met, with a tree.
pub(crate) fn survey(
    (source, kept): (&Path, &Kept),
    rules: &Rules,
    root: Option<NodeRef>,
    tier: Tier,
    nodes: &mut Nodes<'_>,
    meter: &mut Meter<'_>,
) -> Result<Survey, SurveyError> {
    let nested = Cell::new(None);
    let walked = walk(source, rules)?.inspect(|item| {
        if let Item::Dir { key, stat } = item
            && let Err(error) = kept.check(stat, || key.below(source))
        {
            nested.set(Some(error));
        }
    });
    let join = Join::new(walked, root);
    // BACKUP-1: by pages means the exact bytes, also where nothing has changed since rows were sent.
    let mut join = join.by_pages(tier == Tier::Pages);
    let mut found = Survey::default();
    while let Some(met) = join.next(nodes)? {
        // BACKUP-3: before anything of it is read.
        if let Some(error) = nested.take() {
            return Err(error.into());
        }
        meter.add(1, 0);
        match met {
            Met::Unchanged {
                kind: Kind::File,
                bytes,
            } => found.census.count_file(bytes),
            Met::Unchanged {
                kind: Kind::Database,
                bytes,
            } => found.census.count_database(bytes),
            Met::Unchanged {
                kind: Kind::Other, ..
            } => {}
            Met::File { stat, .. } => {
                found.census.count_file(stat.size);
                found.media_files = found.media_files.saturating_add(1);
                found.media_bytes = found.media_bytes.saturating_add(stat.size);
            }
            Met::Database {
                key,
                path,
                stat,
                old,
                how,
            } => {
                found.census.count_database(stat.size);
                found.databases.push(Changed {
                    key,
                    path,
                    stat,
                    old,
                    how,
                });
            }
            Met::Small { .. } | Met::Gone { .. } => found.small = found.small.saturating_add(1),
            Met::Skipped { key, reason } => found.skipped.note(key, reason, meter),
        }
    }
    Ok(found)
}

/// Whether what was skipped is content that a complete backup would hold.
fn matters(reason: SkipReason) -> bool {
    !matches!(
        reason,
        SkipReason::Pipe | SkipReason::Socket | SkipReason::Device | SkipReason::Excluded
    )
}
