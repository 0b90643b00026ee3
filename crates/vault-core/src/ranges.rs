//! Which accounts a group answers for, and how a range of them goes to another group.
//!
//! A fleet's first group begins with all accounts. Every other begins with none, and gains them only
//! so:
//!
//! ```text
//!        the group that takes                               the group that gives
//!   Await: slot := awaited, nonce     ── Wish ──▶   Give: slot := given, to whom, nonce, content
//!   Take:  slot := content            ◀─ Transfer ──      (both leave when their entry is committed)
//! ```
//!
//! Each of the three is an entry of its group's log, and its statement is withheld until that is
//! committed, as any answer is (VAULT-2). So whoever takes a range takes it from a group that can
//! never use it again, however its hosts roll back, replay or partition; and a transfer is accepted
//! once, for its nonce is awaited once (VAULT-1). At any time at most one group holds an account.
//!
//! The records themselves are sealed for the fleet, not for a group: the hosts copy the nodes and
//! leaves of the range from store to store, and the core believes them as far as they hash up to the
//! content that was given.

use keyhaven_secrets::Entropy;

use crate::core::{Answer, CoreError};
use crate::log::{GroupId, Transfer, Wish};
use crate::secrets::FleetSecrets;
use crate::tree::{Away, Content, Given, Holding, Nonce, PartialTree, Range, Slot};

/// One step of a range's way from one group to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeStep {
    /// The group asks for a range.
    Await(Range),
    /// The group gives a range to the one that asks for it.
    Give(Wish),
    /// The group takes what it was given.
    Take(Transfer),
}

/// What came of a [`RangeStep`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeAnswer {
    /// The range is awaited: for the group that has it.
    Awaited(Wish),
    /// The range is given: for the group that asked.
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
    /// This group holds the range, or a part of it.
    #[error("this group holds the range, or a part of it, already")]
    Here,
    /// A larger range was asked for or given as a whole; this one is a part of it.
    #[error("the range is a part of one that was asked for or given as a whole")]
    Part,
    /// The statement is not for this group, or is its own.
    #[error("the statement is not meant for this group")]
    NotForThisGroup,
    /// This group does not await this transfer: it took it before, or never asked for it.
    #[error("this group does not await this transfer, or has taken it before")]
    NotAwaited,
}

impl RangeStep {
    /// The range.
    #[must_use]
    pub const fn range(&self) -> Range {
        match self {
            Self::Await(range) => *range,
            Self::Give(wish) => wish.range,
            Self::Take(transfer) => transfer.range,
        }
    }

    /// Takes the step in the group's tree. A step that was taken already changes nothing and says the
    /// same again: whoever lost its statement gets it so.
    pub(crate) fn apply(
        &self,
        secrets: &FleetSecrets,
        group: GroupId,
        tree: &mut PartialTree<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<Answer, CoreError> {
        let holding = tree.holding(self.range())?;
        let (slot, answer) = match self {
            Self::Await(range) => {
                let nonce = awaited(holding, entropy)?;
                let wish = Wish::make(secrets.log(), group, *range, nonce);
                (Slot::Away(Away::Awaited(nonce)), RangeAnswer::Awaited(wish))
            }
            Self::Give(wish) => {
                wish.verify(secrets.log())?;
                if wish.by == group {
                    return Err(RangeError::NotForThisGroup.into());
                }
                let given = Given {
                    to: wish.by,
                    nonce: wish.nonce,
                    content: to_give(holding, wish)?,
                };
                let transfer = Transfer::make(secrets.log(), group, wish, given.content);
                (Slot::Away(Away::Given(given)), RangeAnswer::Given(transfer))
            }
            Self::Take(transfer) => {
                transfer.verify(secrets.log())?;
                if transfer.to != group {
                    return Err(RangeError::NotForThisGroup.into());
                }
                if holding != Holding::Away(Away::Awaited(transfer.nonce)) {
                    return Err(RangeError::NotAwaited.into());
                }
                let taken = RangeAnswer::Taken(transfer.range);
                (transfer.content.slot(), taken)
            }
        };
        tree.hold(self.range(), slot)?;
        Ok(Answer::Range(answer))
    }
}

/// The nonce under which a range may be awaited: that of the wish which stands already, or a new one.
/// A wish that somebody may have granted is never forgotten for another.
fn awaited(holding: Holding, entropy: &mut dyn Entropy) -> Result<Nonce, RangeError> {
    match holding {
        Holding::Away(Away::Awaited(nonce)) => Ok(nonce),
        Holding::Away(Away::Foreign | Away::Given(_)) => {
            Ok(Nonce(keyhaven_secrets::random(entropy)))
        }
        Holding::Own(_) => Err(RangeError::Here),
        Holding::Part => Err(RangeError::Part),
    }
}

/// What is in the range that is wished for: what this group holds, or what it has given to this very
/// wish before.
fn to_give(holding: Holding, wish: &Wish) -> Result<Content, RangeError> {
    match holding {
        Holding::Own(content) => Ok(content),
        Holding::Away(Away::Given(given)) if given.to == wish.by && given.nonce == wish.nonce => {
            Ok(given.content)
        }
        Holding::Away(_) => Err(RangeError::NotHere),
        Holding::Part => Err(RangeError::Part),
    }
}
