//! What a restore or a verification could not bring back, and why.

use std::collections::BTreeMap;
use std::path::PathBuf;

use keyhaven_repo::node::NodeError;
use keyhaven_repo::path::Key;
use keyhaven_repo::tree::Gap;
use keyhaven_secrets::Remedy;

use super::error::RestoreError;
use super::nodes::store_error;
use super::target::relative;
use crate::store::StoreError;

/// Something that could not be brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The file, relative to the source; of a stretch the first path.
    pub path: PathBuf,
    /// How much is lost there.
    pub part: LostPart,
    /// Why, with the damaged object's name.
    pub reason: String,
    /// What helps: time, where a server may give later what it does not give now; a person, where the backup has it whole and the
    /// target cannot have it.
    pub remedy: Remedy,
}

/// How much of a backup could not be brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LostPart {
    /// One file, database or link.
    File {
        /// Its bytes.
        bytes: u64,
    },
    /// One folder. What the backup has in it is told by itself.
    Folder,
    /// All that the backup has from a path on, in the order of paths: its part of the index cannot
    /// be read, so nobody knows what else stood there.
    Stretch {
        /// The first path that is not lost; none where all the rest is.
        before: Option<PathBuf>,
    },
    /// All of the backup: its index cannot be read from its root on. A restore gives it as an error,
    /// [`RestoreError::NoRoot`].
    All,
}

/// The parts of the index that could not be read, by their first keys.
pub(crate) type Gaps = BTreeMap<Key, (Gap, NodeError)>;

impl Lost {
    pub(crate) fn file(key: &Key, bytes: u64, reason: String) -> Self {
        Self {
            path: relative(key),
            part: LostPart::File { bytes },
            reason,
            remedy: Remedy::Stop,
        }
    }

    /// What the target cannot have, if the error means no more than that: all else can be restored.
    pub(crate) fn misfit(
        key: &Key,
        part: LostPart,
        error: RestoreError,
    ) -> Result<Self, RestoreError> {
        let RestoreError::Misfit { misfit, .. } = error else {
            return Err(error);
        };
        Ok(Self {
            path: relative(key),
            part,
            reason: misfit.to_string(),
            remedy: Remedy::AskUser,
        })
    }

    /// The same, with what helps against what the store said.
    pub(crate) fn by(self, cause: Option<&StoreError>) -> Self {
        let remedy = remedy_of(cause);
        Self { remedy, ..self }
    }

    /// The stretches of paths that these gaps cost: neighbours with one cause are one.
    pub(crate) fn stretches(gaps: &Gaps) -> Vec<Self> {
        let mut stretches: Vec<Self> = Vec::new();
        for (gap, cause) in gaps.values() {
            let (path, reason) = (relative(&gap.first), told(cause));
            let end = gap.before.as_ref().map(relative);
            if let Some(last) = stretches.last_mut()
                && last.reason == reason
                && let LostPart::Stretch { before } = &mut last.part
                && before.as_ref() == Some(&path)
            {
                *before = end;
                continue;
            }
            stretches.push(Self {
                path,
                part: LostPart::Stretch { before: end },
                reason,
                remedy: remedy_of(store_error(cause)),
            });
        }
        stretches
    }
}

fn remedy_of(cause: Option<&StoreError>) -> Remedy {
    match cause {
        Some(StoreError::Withheld { .. }) => Remedy::RetryLater,
        Some(_) | None => Remedy::Stop,
    }
}

/// An error with what lies behind it: the object's name often stands only there.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut behind = error.source();
    while let Some(cause) = behind {
        let more = cause.to_string();
        // A transparent error says what its cause says.
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        behind = cause.source();
    }
    text
}

/// A store that cannot be reached ends a run, which is run again later; an object that is missing
/// or cut costs only the files that it holds, and so does one in whose place something else stands.
pub(crate) fn ends_the_run(error: &StoreError) -> bool {
    error.object().is_none()
}

pub(crate) fn ends_a_restore(error: &StoreError) -> bool {
    ends_the_run(error) && !matches!(error, StoreError::Withheld { .. })
}
