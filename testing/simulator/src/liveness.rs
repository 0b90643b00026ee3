//! VAULT-11: when faults stop and a quorum is connected, the group goes on.

use keyhaven_vault_core::{Role, Touch};
use keyhaven_wire::message::HostTime;

use crate::beginning::quorum_is_here;
use crate::chance::Chance;
use crate::chronicle::Batch;
use crate::world::World;
use crate::{Broken, Step};

/// Lets honest hosts take over: every core runs on with the memory that it has, one stands for
/// election, all answer, and everybody's record is asked for. What comes back is checked as ever
/// (VAULT-5: so an acknowledged registration is still there).
///
/// # Errors
/// [`Broken`] when the group does not go on though a quorum of it is there.
pub fn settle(world: &mut World, chance: &mut Chance) -> Step {
    for at in 0..world.places.len() {
        if let Some(nvram) = &world.places[at].nvram {
            nvram.heal();
        }
        let memory = *world.places[at].core.memory();
        world.restart(at, memory)?;
    }
    // As many elections as there are cores: each of them is the candidate once.
    for at in 0..world.places.len() {
        if elect(world, at, chance)? {
            return answer_everybody(world, at, chance);
        }
    }
    let memories = world.places.iter().map(|place| place.core.memory());
    if quorum_is_here(memories, &world.swarm.policy.quorum) {
        return Err(Broken(
            "VAULT-11: a quorum is here, and nobody can be elected".to_owned(),
        ));
    }
    world
        .ledger
        .meet("too many cores forgot: the group stopped");
    Ok(())
}

fn elect(world: &mut World, at: usize, chance: &mut Chance) -> Result<bool, Broken> {
    let above = world.newest_term();
    let Ok(call) = world.places[at].core.stand(above, chance) else {
        return Ok(false);
    };
    let mut reports = Vec::new();
    for other in 0..world.places.len() {
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
        for witness in 0..world.places.len() {
            world.capture(witness, page)?;
        }
        let captures: Vec<_> = world
            .captures
            .iter()
            .rev()
            .take_while(|(of, _)| *of == page)
            .map(|(_, capture)| *capture)
            .collect();
        if !world.release(at, &captures, chance)? {
            return Err(Broken(
                "VAULT-11: a quorum was elected by, and does not commit".to_owned(),
            ));
        }
    }
    Ok(())
}
