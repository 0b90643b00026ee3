//! Which accounts a group answers for, and how a range of them goes to another group.
//!
//! A fleet's first group begins with all accounts. Every other begins with none, and gains them only
//! so:
//!
//! ```text
//!        the group that takes                      the group that gives
//!                                   ── Wish ──▶    Give: slot := given, to whom, turn, content
//!   Take: slot := turn + 1, content ◀─ Transfer ──       (leaves when its entry is committed)
//! ```
//!
//! Both steps are entries of their group's log, and a transfer is withheld until its entry is committed,
//! as any answer is (VAULT-2). So whoever takes a range takes it from a group that can never use it
//! again, however its hosts roll back, replay or partition. A range's turn counts how often it has gone
//! on: who has it at a turn is the only one that can give it in that turn, and nobody takes a turn
//! that is not later than the one in which it gave the range away itself. So each turn is taken once, and
//! at any time at most one group holds an account (VAULT-1). And no range is lost on its way (VAULT-5):
//! a transfer is said again until the range has gone on, and a group can always take what was given
//! to it.
//!
//! The records themselves are sealed for the fleet, not for a group: the hosts copy the nodes and
//! leaves of the range from store to store, and the core believes them as far as they hash up to the
//! content that was given.

use crate::core::{Answer, CoreError};
use crate::log::{GroupId, Transfer, Wish};
use crate::secrets::FleetSecrets;
use crate::tree::{Given, PartialTree, Range, Slot, Turn};

/// One step of a range's way from one group to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeStep {
    /// The group gives a range to the one that would have it.
    Give(Wish),
    /// The group takes what it was given.
    Take(Transfer),
}

/// What came of a [`RangeStep`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeAnswer {
    /// The range is given: for the group that wished for it.
    Given(Transfer),
    /// The range is this group's.
    Taken(Range),
}

/// Why a step of a range was refused. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RangeError {
    /// This group does not hold the range, or has given it to somebody else.
    #[error("this group does not hold the range")]
    NotHere,
    /// The statement is not for this group, or is its own.
    #[error("the statement is not meant for this group")]
    NotForThisGroup,
    /// This group has taken this transfer before, whether it has the range still or gave it on.
    #[error("this group has taken the range before by this transfer, or by a later one")]
    TakenBefore,
}

impl RangeStep {
    /// The range.
    #[must_use]
    pub const fn range(&self) -> Range {
        match self {
            Self::Give(wish) => wish.range,
            Self::Take(transfer) => transfer.range,
        }
    }

    /// Takes the step in the group's tree. What was given already is given again, and changes nothing:
    /// whoever lost the statement gets it so.
    pub(crate) fn apply(
        &self,
        secrets: &FleetSecrets,
        group: GroupId,
        tree: &mut PartialTree<'_>,
    ) -> Result<Answer, CoreError> {
        let before = tree.range(self.range())?;
        let (slot, answer) = match self {
            Self::Give(wish) => {
                wish.verify(secrets.log())?;
                if wish.by == group {
                    return Err(RangeError::NotForThisGroup.into());
                }
                let given = given(before, wish)?;
                let transfer = Transfer::make(secrets.log(), group, wish.range, &given);
                (Slot::Given(given), RangeAnswer::Given(transfer))
            }
            Self::Take(transfer) => {
                transfer.verify(secrets.log())?;
                if transfer.to != group {
                    return Err(RangeError::NotForThisGroup.into());
                }
                let turn = taken(before, transfer)?;
                let content = transfer.content;
                (
                    Slot::Own { turn, content },
                    RangeAnswer::Taken(transfer.range),
                )
            }
        };
        tree.set_range(self.range(), slot)?;
        Ok(Answer::Range(answer))
    }
}

/// What is given to whoever wishes: what this group holds, or what it has given to the same before.
fn given(before: Slot, wish: &Wish) -> Result<Given, RangeError> {
    match before {
        Slot::Own { turn, content } => Ok(Given {
            to: wish.by,
            turn,
            content,
        }),
        Slot::Given(given) if given.to == wish.by => Ok(given),
        Slot::Given(_) | Slot::Foreign => Err(RangeError::NotHere),
    }
}

/// The turn at which a range is this group's, if it may take it.
fn taken(before: Slot, transfer: &Transfer) -> Result<Turn, CoreError> {
    // VAULT-1: a turn that this group has been through is over for it.
    let is_new = match before {
        Slot::Foreign => true,
        Slot::Given(given) => given.turn < transfer.turn,
        Slot::Own { .. } => false,
    };
    if !is_new {
        return Err(RangeError::TakenBefore.into());
    }
    transfer.turn.next().ok_or(CoreError::Bound)
}
