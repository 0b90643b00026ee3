//! Ranges of accounts on their way from group to group: what the model says of them, and the enemy
//! that moves them.

use std::collections::BTreeMap;
use std::sync::Arc;

use keyhaven_vault_core::{
    Core, CoreError, GroupId, Member, Newcomer, Range, RangeStep, Transfer, Wish, prove_range,
};
use keyhaven_wire::message::LeafIndex;

use crate::adversary::flip;
use crate::chance::Chance;
use crate::chronicle::Taken;
use crate::world::World;
use crate::{Broken, Step};

/// What a range is to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Its own.
    Own,
    /// Never its own, so far.
    Foreign,
    /// Given away.
    Given,
}

/// What a group holds of the ranges in which somebody has an account.
#[derive(Clone, Debug)]
pub struct Holds(BTreeMap<Range, Hold>);

impl Holds {
    /// All of them alike.
    pub fn all(ranges: impl IntoIterator<Item = Range>, hold: Hold) -> Self {
        Self(ranges.into_iter().map(|range| (range, hold)).collect())
    }

    /// The ranges.
    pub fn ranges(&self) -> impl Iterator<Item = Range> {
        self.0.keys().copied()
    }

    /// What one is to the group.
    #[must_use]
    pub fn of(&self, range: Range) -> Hold {
        self.0[&range]
    }

    /// Whether the group has this account.
    #[must_use]
    pub fn has(&self, leaf: &LeafIndex) -> bool {
        self.held().iter().any(|range| range.holds(leaf))
    }

    /// The group's own.
    #[must_use]
    pub fn held(&self) -> Vec<Range> {
        let own = self.0.iter().filter(|(_, hold)| **hold == Hold::Own);
        own.map(|(range, _)| *range).collect()
    }

    /// What holds after a step that a core took.
    fn after(&self, step: &RangeStep) -> Result<Self, Broken> {
        let before = self.of(step.range());
        let hold = match (step, before) {
            (RangeStep::Give(_), Hold::Own | Hold::Given) => Hold::Given,
            (RangeStep::Take(_), Hold::Foreign | Hold::Given) => Hold::Own,
            _ => {
                return Err(Broken(format!(
                    "VAULT-1: a core took the step {step:?}, and the range was {before:?}"
                )));
            }
        };
        let mut after = self.clone();
        after.0.insert(step.range(), hold);
        Ok(after)
    }
}

/// What a group has said of a range.
#[derive(Clone, Copy, Debug)]
pub enum Statement {
    /// It would have it.
    Wish(Wish),
    /// It gave it, by this entry.
    Transfer(Transfer, usize),
}

impl World {
    /// Founds one group more, which holds nobody.
    ///
    /// # Errors
    /// [`Broken`] if not even that works.
    pub fn found_another(&mut self, seed: u64, chance: &mut Chance) -> Step {
        let group = self.groups();
        let others: Vec<Newcomer> = (1..self.swarm.policy.quorum.members)
            .map(|_| Newcomer::draw(chance))
            .collect();
        let names: Vec<Member> = others.iter().map(Newcomer::member).collect();
        let secrets = Arc::clone(&self.secrets);
        let (founder, first) = Core::found_group(secrets, &names, chance)
            .map_err(|error| Broken(format!("another group cannot begin: {error}")))?;
        let holds = Holds::all(self.ledger.chronicle.page(0).holds.ranges(), Hold::Foreign);
        let page = self.ledger.chronicle.begin(first.entry, first.puts, holds);
        self.roots.push(page);
        let name = founder.memory().member();
        self.ledger.chronicle.captured(page, name);
        let others = others
            .into_iter()
            .map(|newcomer| newcomer.join(Arc::clone(&self.secrets)));
        let cores: Vec<Core> = std::iter::once(founder).chain(others).collect();
        for (at, core) in cores.into_iter().enumerate() {
            self.put_up(seed, group, at, core)?;
        }
        Ok(())
    }

    fn group_of(&self, id: GroupId) -> usize {
        let chronicle = &self.ledger.chronicle;
        let is_its = |root: &usize| chronicle.page(*root).entry.group() == id;
        self.roots.iter().position(is_its).unwrap_or(0)
    }

    /// Lets a group take a step with a range, and commits it or not.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn move_range(&mut self, chance: &mut Chance) -> Step {
        let statement = match chance.percent(80) {
            true => chance.recent(&self.ledger.statements),
            false => chance.one(&self.ledger.statements),
        };
        let statement = statement.copied().filter(|_| chance.percent(75));
        let group = match statement {
            Some(Statement::Transfer(transfer, _)) if chance.percent(80) => {
                self.group_of(transfer.to())
            }
            Some(_) | None => self.some_group(chance),
        };
        let Some(at) = self.leader_of(group, chance) else {
            return Ok(());
        };
        if self.places[at].pending.is_some() {
            return Ok(());
        }
        let step = match statement {
            Some(Statement::Wish(wish)) => RangeStep::Give(wish),
            Some(Statement::Transfer(transfer, _)) => RangeStep::Take(transfer),
            None => {
                let ranges: Vec<Range> = self.ledger.chronicle.page(0).holds.ranges().collect();
                let range = ranges[chance.below(ranges.len())];
                if let Ok(wish) = self.places[at].core.wish(range) {
                    self.ledger.statements.push(Statement::Wish(wish));
                }
                return Ok(());
            }
        };
        if chance.percent(10) {
            return self.forge_step(at, &step, chance);
        }
        match self.step_of_range(at, step)? {
            Some(page) => self.push_through(at, page, chance),
            None => Ok(()),
        }
    }

    /// Hands a leader a step.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn step_of_range(&mut self, at: usize, step: RangeStep) -> Result<Option<usize>, Broken> {
        let Some(base) = self.base(at) else {
            return Ok(None);
        };
        self.ledger.taken += 1;
        self.ledger
            .tell(|_| format!("  core {at} is to take the step {step:?}"));
        let store = &self.ledger.chronicle.page(base).store;
        let proof = prove_range(step.range(), |key| Ok::<_, ()>(store.get(key).cloned()))
            .map_err(|error| Broken(format!("a store that is whole proves nothing: {error:?}")))?;
        let executed = match self.places[at].core.range(&step, &proof) {
            Ok(executed) => executed,
            Err(CoreError::Proof(error)) => {
                return Err(Broken(format!(
                    "VAULT-4: the right store was refused: {error}"
                )));
            }
            Err(CoreError::Range(_)) => {
                self.ledger.meet("refused: a step of a range");
                return Ok(None);
            }
            Err(error) => return self.refused(&error).map(|()| None),
        };
        self.ledger.trace(executed.entry.mac().as_bytes());
        let holds = self.ledger.chronicle.page(base).holds.after(&step)?;
        let taken = match step {
            RangeStep::Take(transfer) => Some(self.what_is_taken(transfer)?),
            RangeStep::Give(_) => None,
        };
        let page = self
            .ledger
            .chronicle
            .write_move(base, executed, holds, taken);
        self.places[at].pending = Some(page);
        self.ledger
            .tell(|ledger| format!("  core {at} makes {}", ledger.named(page)));
        Ok(Some(page))
    }

    fn what_is_taken(&self, transfer: Transfer) -> Result<Taken, Broken> {
        let given = self.ledger.statements.iter().find_map(|said| match said {
            Statement::Transfer(said, page) if *said == transfer => Some(*page),
            Statement::Transfer(..) | Statement::Wish(_) => None,
        });
        let people = &self.ledger.people;
        let in_range = |account: &usize| transfer.range().holds(people.leaf(*account));
        Ok(Taken {
            range: transfer.range(),
            from: given.ok_or_else(|| {
                Broken("VAULT-2: a core took a range that nobody was told of".to_owned())
            })?,
            accounts: (0..people.accounts()).filter(in_range).collect(),
        })
    }

    fn forge_step(&mut self, at: usize, step: &RangeStep, chance: &mut Chance) -> Step {
        let forged = match step {
            RangeStep::Give(wish) => Wish::decode(&flip(wish.encode().to_vec(), chance))
                .ok()
                .map(RangeStep::Give),
            RangeStep::Take(transfer) => {
                Transfer::decode(&flip(transfer.encode().to_vec(), chance))
                    .ok()
                    .map(RangeStep::Take)
            }
        };
        let (Some(step), Some(base)) = (forged, self.base(at)) else {
            return Ok(());
        };
        let store = &self.ledger.chronicle.page(base).store;
        let proof = prove_range(step.range(), |key| Ok::<_, ()>(store.get(key).cloned()));
        let proof = proof.map_err(|error| Broken(format!("{error:?}")))?;
        match self.places[at].core.range(&step, &proof) {
            Ok(_) => Err(Broken(
                "VAULT-1: a core took a statement that nobody made".to_owned(),
            )),
            Err(_) => Ok(()),
        }
    }
}
