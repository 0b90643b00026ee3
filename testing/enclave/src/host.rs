//! The hosts of a group of three cores, and the store they share.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use keyhaven_secrets::Entropy;
use keyhaven_vault_core::{
    Answer, Core, Entry, FleetSecrets, Newcomer, NodeKey, Policy, Quorum, Touch, prove,
};
use keyhaven_wire::message::{AccountName, HostTime};

/// Three cores, of which the first of the list leads.
pub(crate) struct Hosts {
    cores: Vec<Core>,
    secrets: Vec<u8>,
    store: BTreeMap<NodeKey, Vec<u8>>,
    head: Entry,
}

impl Hosts {
    pub(crate) fn begin(entropy: &mut dyn Entropy) -> Option<Self> {
        let policy = Policy {
            quorum: Quorum::THREE,
            ..Policy::DEFAULT
        };
        let others = [Newcomer::draw(entropy), Newcomer::draw(entropy)];
        let names = [others[0].member(), others[1].member()];
        let (first, genesis) = Core::genesis(policy, &names, entropy).ok()?;
        let mut hosts = Self {
            cores: Vec::from([first]),
            secrets: genesis.secrets.to_vec(),
            store: genesis.puts.into_iter().collect(),
            head: genesis.entry,
        };
        for newcomer in others {
            let mut core = newcomer.join(hosts.secrets()?);
            core.capture(&hosts.head).ok()?;
            hosts.cores.push(core);
        }
        Some(hosts)
    }

    pub(crate) fn leader(&self) -> Option<&Core> {
        self.cores.first()
    }

    fn secrets(&self) -> Option<FleetSecrets> {
        FleetSecrets::decode(&self.secrets).ok()
    }

    /// One request, all the way: executed, appended, captured by whoever is there, released.
    pub(crate) fn exchange(
        &mut self,
        account: &AccountName,
        request: Vec<u8>,
        entropy: &mut dyn Entropy,
    ) -> Option<Answer> {
        let leader = self.cores.first_mut()?;
        let proof = prove(&leader.fleet(), [account], |key| {
            Ok::<_, ()>(self.store.get(key).cloned())
        });
        let touch = Touch {
            account: account.clone(),
            request,
        };
        let now = HostTime::new(1_800_000_000);
        let executed = leader
            .execute(Vec::from([touch]), &proof.ok()?, now, entropy)
            .ok()?;
        self.store.extend(executed.puts);
        self.head = executed.entry;
        let captures: Vec<_> = self
            .cores
            .iter_mut()
            .filter_map(|core| core.capture(&executed.entry).ok())
            .collect();
        self.cores.first_mut()?.release(&captures).ok()?.pop()
    }

    /// The leader is gone for good. The next core goes on from its memory, and is elected.
    pub(crate) fn lose_the_leader(&mut self, entropy: &mut dyn Entropy) -> Option<()> {
        self.cores.remove(0);
        let memory = *self.leader()?.memory();
        *self.cores.first_mut()? = Core::resume(self.secrets()?, memory).ok()?;
        let call = self
            .cores
            .first_mut()?
            .stand(self.head.term(), entropy)
            .ok()?;
        let reports: Vec<_> = self
            .cores
            .iter_mut()
            .filter_map(|core| core.promise(&call).ok())
            .collect();
        self.cores.first_mut()?.lead(&reports).ok()?;
        Some(())
    }
}

/// A request that is sealed to nobody gets an answer from each leader: that it cannot be read.
#[cfg(not(feature = "person"))]
pub(crate) fn serves_who_cannot_be_read(entropy: &mut dyn Entropy) -> Option<bool> {
    let account = AccountName::parse("alice").ok()?;
    let mut hosts = Hosts::begin(entropy)?;
    for _ in 0..2 {
        let key = hosts.leader()?.channel_key().id();
        let noise = [0x5a; keyhaven_wire::channel::SEALED_REQUEST_BYTES - 10];
        let request = [[1, 1].as_slice(), key.as_bytes(), &noise].concat();
        if hosts.exchange(&account, request, entropy)? != Answer::Unreadable {
            return Some(false);
        }
        if hosts.head.index().number() == 1 {
            hosts.lose_the_leader(entropy)?;
        }
    }
    Some(true)
}
