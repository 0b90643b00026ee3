//! VAULT-5, VAULT-11: when the faults stop, the group goes on, with all that it acknowledged.

use keyhaven_vault_core::{Member, Touch};
use keyhaven_vault_host::{Input, Standing};
use keyhaven_wire::message::HostTime;

use super::Group;
use crate::beginning::quorum_is_here;
use crate::chance::Chance;
use crate::chronicle::Batch;
use crate::{Broken, Step};

/// VAULT-11: within so many ticks of every host, a leader stands ready: a few elections at the longest
/// patience.
pub(super) const TICKS_TO_A_LEADER: usize = 240;
/// And an account is answered within so many, elections in between included.
pub(super) const TICKS_TO_AN_ANSWER: usize = 240;
/// Exchanges between two ticks at most, or hosts talk without end.
const EXCHANGES_MAX: usize = 20_000;

/// Lets everything be well from now on.
///
/// # Errors
/// [`Broken`] when the group does not go on though a quorum of it is there.
pub fn settle(group: &mut Group, chance: &mut Chance) -> Step {
    group.weather.crash = 0;
    group.weather.tear = 0;
    group.weather.flush_fails = 0;
    group.weather.bend = 0;
    group.weather.timeout = 0;
    group.heal();
    group.orphans.clear();
    for at in 0..group.machines.len() {
        if group.machines[at].host.is_none() {
            group.start(at, chance)?;
        }
    }
    let lead = until(group, TICKS_TO_A_LEADER, chance, |group| {
        group.ready().is_some()
    })?;
    if !lead {
        if !group.somebody_knows() {
            group
                .ledger
                .meet("the founder's disk was lost before anybody else took part");
            return Ok(());
        }
        if group.hurt() > group.losses_borne() {
            group
                .ledger
                .meet("more machines were hurt than a group bears: it stopped");
            return Ok(());
        }
        if group.quorum_is_here() {
            return Err(Broken(format!(
                "VAULT-11: a quorum is here, and nobody leads after {TICKS_TO_A_LEADER} ticks: {:?}",
                (0..group.machines.len())
                    .map(|at| group.standing(at))
                    .collect::<Vec<_>>()
            )));
        }
        group
            .ledger
            .meet("too many cores forgot: the group of hosts stopped");
        return Ok(());
    }
    for account in 0..group.ledger.people.accounts() {
        if answer(group, account, chance)? {
            continue;
        }
        // A leader needs reports of the newest roster; to commit, while a change of members is under
        // way, captures of the one before as well.
        if group.quorum_is_here() {
            return Err(Broken(format!(
                "VAULT-11: account {account} is not answered after {TICKS_TO_AN_ANSWER} ticks"
            )));
        }
        group
            .ledger
            .meet("too many cores forgot: the group of hosts stopped");
        return Ok(());
    }
    Ok(())
}

/// Hands a request to whoever is ready to take it, until it is answered; says whether it was.
fn answer(group: &mut Group, account: usize, chance: &mut Chance) -> Result<bool, Broken> {
    let sent = group.ledger.people.status(account, chance);
    let released = group.ledger.met.get("released").copied();
    for _ in 0..TICKS_TO_AN_ANSWER {
        if let Some(at) = group.ready() {
            let request = &group.ledger.people.sent()[sent];
            let batch = Batch {
                touches: vec![Touch {
                    account: group.ledger.people.name(account).clone(),
                    request: request.bytes.clone(),
                }],
                sent: vec![Some(sent)],
                now: HostTime::new(group.now),
            };
            group.hand(at, batch, chance)?;
            exchange(group, chance)?;
            if group.ledger.met.get("released").copied() != released {
                return Ok(true);
            }
        }
        tick(group, chance)?;
    }
    Ok(false)
}

/// Ticks until something holds.
fn until(
    group: &mut Group,
    ticks: usize,
    chance: &mut Chance,
    holds: impl Fn(&Group) -> bool,
) -> Result<bool, Broken> {
    for _ in 0..ticks {
        exchange(group, chance)?;
        if holds(group) {
            return Ok(true);
        }
        tick(group, chance)?;
    }
    Ok(false)
}

/// All hosts tick once, and everything that follows from it arrives.
fn tick(group: &mut Group, chance: &mut Chance) -> Step {
    for at in 0..group.machines.len() {
        group.drive(at, Input::Tick, chance)?;
    }
    exchange(group, chance)?;
    // An operator reads that the group is gone, and puts back the oldest backup: the tails lead from
    // there to where the cores are.
    let gone = (0..group.machines.len()).any(|at| group.standing(at) == Some(Standing::Gone));
    if gone && group.tailed {
        group.put_back_oldest(chance)?;
    }
    Ok(())
}

/// Delivers and answers until nothing is under way.
fn exchange(group: &mut Group, chance: &mut Chance) -> Step {
    for _ in 0..EXCHANGES_MAX {
        if !group.flights.is_empty() {
            let flight = group.flights.remove(0);
            group.deliver(flight, chance)?;
            continue;
        }
        let asking = (0..group.machines.len()).find(|at| !group.machines[*at].asks.is_empty());
        match asking {
            Some(at) => group.say(at, 0, chance)?,
            None => return Ok(()),
        }
    }
    Err(Broken("VAULT-10: hosts talk without end".to_owned()))
}

impl Group {
    fn quorum_is_here(&self) -> bool {
        let memories = self.machines.iter().map(|machine| machine.disk.memory());
        quorum_is_here(memories, &self.swarm.policy.quorum)
    }

    /// Whether a machine whose disk was never lost has captured anything.
    fn somebody_knows(&self) -> bool {
        let whole = (0..self.machines.len()).filter(|at| !self.lost.contains(at));
        whole
            .map(|at| self.machines[at].disk.memory())
            .any(|memory| memory.head().is_some())
    }

    /// How many machines have a disk that was lost or damaged, or a core that forgot and was not taken
    /// in again: a change of members that takes it in may be on a lost disk itself, until it is over.
    fn hurt(&self) -> usize {
        let memories = self.machines.iter().map(|machine| machine.disk.memory());
        let heads = memories.filter_map(|memory| memory.head());
        let newest = heads.max_by_key(|head| head.reach());
        let members = usize::from(self.swarm.policy.quorum.members);
        let voters: Vec<Member> = newest
            .iter()
            .flat_map(|head| head.membership().voters().copied())
            .collect();
        let hurt = |at: &usize| {
            let name = self.machines[*at].disk.memory().member();
            let taken_in = voters.chunks(members).all(|roster| roster.contains(&name));
            self.lost.contains(at) || !taken_in
        };
        (0..self.machines.len()).filter(hurt).count()
    }
}
