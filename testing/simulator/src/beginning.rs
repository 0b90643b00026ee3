//! How the fleet of every run begins, and how many of its cores it needs to go on.

use std::sync::Arc;

use keyhaven_vault_core::{
    Core, Entry, FleetSecrets, Member, Memory, Newcomer, NodeKey, Quorum, dangerous,
};

use crate::Broken;
use crate::chance::Chance;
use crate::chronicle::Chronicle;
use crate::ledger::Ledger;
use crate::people::People;
use crate::ranges::{Hold, Holds};
use crate::swarm::Swarm;

/// A fleet of which the first group has made its first entry.
#[derive(Debug)]
pub struct Beginning {
    /// The fleet's secrets, which no host ever sees.
    pub secrets: Arc<FleetSecrets>,
    /// The cores, the founder first.
    pub cores: Vec<Core>,
    /// The first entry.
    pub entry: Entry,
    /// The nodes of the first tree.
    pub puts: Vec<(NodeKey, Vec<u8>)>,
    /// What watches the run.
    pub ledger: Ledger,
}

impl Beginning {
    /// Whether this core's memory may be put back unnoticed: of as many as the policy bears.
    #[must_use]
    pub fn is_victim(swarm: &Swarm, at: usize) -> bool {
        swarm.rollbacks && at < usize::from(swarm.policy.quorum.rollbacks)
    }
}

/// Founds a fleet in which nobody has registered yet.
///
/// # Errors
/// [`Broken`] if not even that works.
pub fn found(swarm: &Swarm, chance: &mut Chance) -> Result<Beginning, Broken> {
    let (hands, suite) = swarm.suite();
    let others: Vec<Newcomer> = (1..swarm.policy.quorum.members)
        .map(|_| Newcomer::draw(chance))
        .collect();
    let names: Vec<Member> = others.iter().map(Newcomer::member).collect();
    let (founder, genesis) = dangerous::genesis(suite, swarm.policy, &names, chance)
        .map_err(|error| Broken(format!("a group cannot begin: {error}")))?;
    let secrets = dangerous::decode(suite, &genesis.secrets)
        .map_err(|error| Broken(format!("secrets cannot be read: {error}")))?;
    let secrets = Arc::new(secrets);
    let people = People::new(
        hands,
        secrets.fleet(),
        *secrets.channel_key(),
        swarm,
        chance,
    );
    let mut chronicle = Chronicle::default();
    let holds = Holds::all(people.ranges(), Hold::Own);
    let page = chronicle.begin(genesis.entry, genesis.puts.clone(), holds);
    chronicle.captured(page, founder.memory().member());
    let others = others
        .into_iter()
        .map(|newcomer| newcomer.join(Arc::clone(&secrets)));
    Ok(Beginning {
        cores: std::iter::once(founder).chain(others).collect(),
        entry: genesis.entry,
        puts: genesis.puts,
        ledger: Ledger::open(swarm, people, chronicle)?,
        secrets,
    })
}

/// Whether as many cores as the policy asks for run under names of the newest roster, and of the
/// one before while that stands.
pub fn quorum_is_here<'a>(
    memories: impl Iterator<Item = &'a Memory> + Clone,
    quorum: &Quorum,
) -> bool {
    let newest = memories
        .clone()
        .filter_map(Memory::head)
        .max_by_key(|head| head.reach());
    let Some(head) = newest else { return false };
    let here: Vec<Member> = memories.map(Memory::member).collect();
    let voters: Vec<&Member> = head.membership().voters().collect();
    voters.chunks(usize::from(quorum.members)).all(|roster| {
        let there = roster.iter().filter(|name| here.contains(name)).count();
        there >= usize::from(quorum.captures)
    })
}
