//! VAULT-11: when faults stop and a quorum is connected, each group goes on.

use keyhaven_vault_core::{Range, RangeStep, Role, Touch};
use keyhaven_wire::message::HostTime;

use crate::beginning::quorum_is_here;
use crate::chance::Chance;
use crate::chronicle::Batch;
use crate::ranges::{Hold, Statement};
use crate::world::World;
use crate::{Broken, Step};

/// Lets honest hosts take over: every core runs on with the memory that it has, one of each group stands
/// for election, ranges on their way arrive, and everybody's record is asked for. What comes back is
/// checked as ever (VAULT-5: so an acknowledged registration is still there).
///
/// # Errors
/// [`Broken`] when a group does not go on though a quorum of it is there.
pub fn settle(world: &mut World, chance: &mut Chance) -> Step {
    for at in 0..world.places.len() {
        if let Some(nvram) = &world.places[at].nvram {
            nvram.heal();
        }
        let memory = *world.places[at].core.memory();
        world.restart(at, memory)?;
    }
    let leaders: Vec<Option<usize>> = (0..world.groups())
        .map(|group| go_on(world, group, chance))
        .collect::<Result<_, Broken>>()?;
    let all = leaders.iter().copied().collect::<Option<Vec<usize>>>();
    if let Some(leaders) = all {
        bring_home(world, &leaders, chance)?;
    }
    for leader in leaders.into_iter().flatten() {
        answer_everybody(world, leader, chance)?;
    }
    Ok(())
}

/// Elects a leader of a group, if enough of it is left.
fn go_on(world: &mut World, group: usize, chance: &mut Chance) -> Result<Option<usize>, Broken> {
    // As many elections as there are cores: each of them is the candidate once.
    let places = of_group(world, group);
    for at in &places {
        if elect(world, *at, chance)? {
            return Ok(Some(*at));
        }
    }
    let memories = places.iter().map(|at| world.places[*at].core.memory());
    if quorum_is_here(memories, &world.swarm.policy.quorum) {
        return Err(Broken(
            "VAULT-11: a quorum is here, and nobody can be elected".to_owned(),
        ));
    }
    world
        .ledger
        .meet("too many cores forgot: the group stopped");
    Ok(None)
}

fn of_group(world: &World, group: usize) -> Vec<usize> {
    (0..world.places.len())
        .filter(|at| world.places[*at].group == group)
        .collect()
}

/// VAULT-5: whatever was given and not yet taken can be taken still, though every statement of it was
/// lost. Then each range is in one group.
fn bring_home(world: &mut World, leaders: &[usize], chance: &mut Chance) -> Step {
    let ranges: Vec<_> = world.ledger.chronicle.page(0).holds.ranges().collect();
    for range in ranges {
        let mut holders = 0;
        for leader in leaders {
            holders += usize::from(hold(world, *leader, range)? == Hold::Own);
        }
        if holders > 1 {
            return Err(Broken(format!("VAULT-1: {holders} groups hold {range}")));
        }
        if holders == 0 && !is_taken(world, leaders, range, chance)? {
            return Err(Broken(format!(
                "VAULT-5: {range} was given, and nobody can take it any more"
            )));
        }
    }
    Ok(())
}

/// What a range is to the group of a leader that has just been elected.
fn hold(world: &World, leader: usize, range: Range) -> Result<Hold, Broken> {
    let base = world
        .base(leader)
        .ok_or_else(|| Broken("VAULT-11: a leader without a base".to_owned()))?;
    Ok(world.ledger.chronicle.page(base).holds.of(range))
}

/// Has everybody who gave a range give it again to everybody, and everybody take what comes of it.
fn is_taken(
    world: &mut World,
    leaders: &[usize],
    range: Range,
    chance: &mut Chance,
) -> Result<bool, Broken> {
    for to in leaders {
        let wish = world.places[*to].core.wish(range);
        let wish = wish.map_err(|error| Broken(format!("VAULT-11: no wish: {error}")))?;
        for from in leaders.iter().filter(|from| *from != to) {
            if !commit_step(world, *from, RangeStep::Give(wish), chance)? {
                continue;
            }
            let Some(Statement::Transfer(given, _)) = world.ledger.statements.last().copied()
            else {
                return Err(Broken("VAULT-11: nothing is said of a gift".to_owned()));
            };
            if commit_step(world, *to, RangeStep::Take(given), chance)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn commit_step(
    world: &mut World,
    at: usize,
    step: RangeStep,
    chance: &mut Chance,
) -> Result<bool, Broken> {
    match world.step_of_range(at, step)? {
        Some(page) => commit(world, at, page, chance).map(|()| true),
        None => Ok(false),
    }
}

fn elect(world: &mut World, at: usize, chance: &mut Chance) -> Result<bool, Broken> {
    let above = world.newest_term();
    let Ok(call) = world.places[at].core.stand(above, chance) else {
        return Ok(false);
    };
    let mut reports = Vec::new();
    for other in of_group(world, world.places[at].group) {
        if let Ok(report) = world.places[other].core.promise(&call) {
            world.keep(other)?;
            reports.push(report);
        }
    }
    world.lead(at, &reports)?;
    Ok(matches!(world.places[at].core.role(), Role::Leader { .. }))
}

fn answer_everybody(world: &mut World, at: usize, chance: &mut Chance) -> Step {
    for account in 0..world.ledger.people.accounts() {
        let sent = world.ledger.people.status(account, chance);
        let batch = Batch {
            touches: vec![Touch {
                account: world.ledger.people.name(account).clone(),
                request: world.ledger.people.sent()[sent].bytes.clone(),
            }],
            sent: vec![Some(sent)],
            now: HostTime::new(world.now),
        };
        let base = world
            .base(at)
            .ok_or_else(|| Broken("VAULT-11: a leader without a base".to_owned()))?;
        let page = world
            .execute(at, batch, base, chance)?
            .ok_or_else(|| Broken("VAULT-11: a leader does not execute".to_owned()))?;
        commit(world, at, page, chance)?;
    }
    Ok(())
}

/// Has the whole group capture an entry, and its leader release what it answered.
fn commit(world: &mut World, at: usize, page: usize, chance: &mut Chance) -> Step {
    for witness in of_group(world, world.places[at].group) {
        world.capture(witness, page)?;
    }
    let captures: Vec<_> = world
        .captures
        .iter()
        .rev()
        .take_while(|(of, _)| *of == page)
        .map(|(_, capture)| *capture)
        .collect();
    match world.release(at, &captures, chance)? {
        true => Ok(()),
        false => Err(Broken(
            "VAULT-11: a quorum was elected by, and does not commit".to_owned(),
        )),
    }
}
