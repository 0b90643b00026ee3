//! What goes wrong with machines, networks and the store.

use std::sync::Arc;

use keyhaven_vault_core::{Member, Newcomer};

use super::{Group, disk};
use crate::Step;
use crate::chance::Chance;
use crate::invariants::Event;

/// Backups of the store that are kept.
const BACKUPS_MAX: usize = 6;

impl Group {
    /// F5: a memory is put back, unnoticed, of as many machines as the policy bears.
    pub(super) fn roll_back(&mut self, chance: &mut Chance) -> Step {
        let victims: Vec<usize> = (0..self.machines.len())
            .filter(|at| self.machines[*at].victim)
            .collect();
        let Some(at) = chance.one(&victims).copied() else {
            return Ok(());
        };
        let disk = &self.machines[at].disk;
        let name = disk.memory().member();
        let images = disk.images_of(name);
        let Some(memory) = chance.one(&images).copied() else {
            return Ok(());
        };
        self.stop(at);
        self.ledger.meet("a memory was put back");
        self.machines[at].disk.put_memory(memory);
        self.ledger.note(&Event::RolledBack { core: name })?;
        self.start(at, chance)
    }

    /// F10, F12: a core's memory is lost, alone or with all that is on its machine's disk. No more at
    /// once than the group bears, but seldom: then it stops.
    pub(super) fn forget(&mut self, disk: bool, chance: &mut Chance) -> Step {
        let at = chance.below(self.machines.len());
        let bears = self.here() > usize::from(self.swarm.policy.quorum.captures);
        // What a store lost that was put back, the tails have to cover.
        let covered = !self.went_back || self.may_lose(at);
        let too_many = chance.below(2_000) == 0;
        if !(bears || too_many) || (disk && !covered) {
            return Ok(());
        }
        self.stop(at);
        self.ledger.meet(match disk {
            true => "a disk was lost",
            false => "a memory was lost",
        });
        let core = Newcomer::draw(chance).join(Arc::clone(&self.secrets));
        let machine = &mut self.machines[at];
        let memory = machine.disk.memory();
        let former = match memory.head() {
            Some(_) => Some(memory.member()),
            None => machine.disk.former.or(Some(memory.member())),
        };
        machine.disk.former = former;
        machine.disk.put_first_memory(*core.memory());
        if disk {
            machine.disk.lose_tail();
            self.lost.insert(at);
        }
        self.start(at, chance)
    }

    /// How many machines have cores under names of the newest roster.
    fn here(&self) -> usize {
        let roster = self.roster();
        self.machines
            .iter()
            .filter(|machine| roster.contains(&machine.disk.memory().member()))
            .count()
    }

    /// The newest roster; before anybody has captured anything, all.
    pub(super) fn roster(&self) -> Vec<Member> {
        let memories = self.machines.iter().map(|machine| machine.disk.memory());
        let newest = memories
            .clone()
            .filter_map(|memory| memory.head())
            .max_by_key(|head| head.reach());
        match newest {
            Some(head) => head.membership().members().copied().collect(),
            None => memories.map(|memory| memory.member()).collect(),
        }
    }

    /// How many machines may be lost.
    pub(super) fn losses_borne(&self) -> usize {
        let quorum = self.swarm.policy.quorum;
        usize::from(quorum.members.saturating_sub(quorum.captures))
    }

    /// F3: a bit of a tail on a disk is another. What was lost so counts as a lost disk.
    pub(super) fn rot(&mut self, chance: &mut Chance) {
        let at = chance.below(self.machines.len());
        if !self.may_lose(at) {
            return;
        }
        if self.machines[at].disk.rot(chance) {
            self.lost.insert(at);
            self.ledger.meet("a tail rotted");
            self.ledger.tell(|_| format!("  the tail of host {at}"));
        }
    }

    /// F8: partitions of every kind: one machine alone, two halves, one direction, a bridge.
    pub(super) fn cut(&mut self, chance: &mut Chance) {
        let count = self.machines.len();
        let all = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
        let one = chance.below(count);
        let side = chance.below(1 << count);
        let on_side = |at: usize| side >> at & 1 == 1;
        let bridge = chance.below(count);
        let kind = chance.below(4);
        self.cut = all
            .filter(|(from, to)| match kind {
                0 => *from == one || *to == one,
                1 => on_side(*from) != on_side(*to),
                2 => on_side(*from) && !on_side(*to),
                _ => on_side(*from) != on_side(*to) && *from != bridge && *to != bridge,
            })
            .collect();
    }

    /// All that was only away is back.
    pub(super) fn heal(&mut self) {
        self.cut.clear();
        self.store_away = false;
        for machine in &mut self.machines {
            machine.paused = false;
        }
    }

    pub(super) fn back_up(&mut self, chance: &mut Chance) {
        if self.backups.len() >= BACKUPS_MAX {
            // The first one stays: it is what an operator falls back to.
            let old = 1 + chance.below(self.backups.len() - 1);
            self.backups.remove(old);
        }
        self.backups.push(self.store.copy());
    }

    /// F7: the store is put back to a backup. Whatever was under way with it is gone: a database that
    /// is restored knows nothing of connections to what it was before. Only while the tails cover
    /// what it loses: beyond that the group is gone, and rightly.
    pub(super) fn put_back(&mut self, chance: &mut Chance) -> Step {
        if !self.tailed || self.lost.len() > self.losses_borne() {
            return Ok(());
        }
        self.went_back = true;
        let Some(backup) = chance.one(&self.backups) else {
            return Ok(());
        };
        self.store.put_back(backup);
        self.ledger.meet("the store lost commits");
        let store = disk::newest(&self.store).map(|head| head.index().number());
        self.ledger
            .tell(|_| format!("  the store is at {store:?} again"));
        self.drop_connections(chance)
    }

    /// An operator reads that the group is gone, and puts back the oldest backup: the tails lead from
    /// there to where the cores are.
    pub(super) fn put_back_oldest(&mut self, chance: &mut Chance) -> Step {
        let Some(oldest) = self.backups.first() else {
            return Ok(());
        };
        self.ledger.meet("an operator put back an older backup");
        self.store.put_back(oldest);
        self.drop_connections(chance)
    }

    /// Whether this machine's disk may be lost and the tails of the others still cover everything.
    fn may_lose(&self, at: usize) -> bool {
        self.lost.contains(&at) || self.lost.len() < self.losses_borne()
    }

    /// All that was under way with the store is lost, and every host is told so.
    pub(super) fn drop_connections(&mut self, chance: &mut Chance) -> Step {
        self.orphans.clear();
        for at in 0..self.machines.len() {
            for (id, _) in std::mem::take(&mut self.machines[at].asks) {
                let said = keyhaven_vault_host::Said::Trouble;
                self.drive(at, keyhaven_vault_host::Input::Said { id, said }, chance)?;
            }
        }
        Ok(())
    }

    /// An append whose host is gone lands after all.
    pub(super) fn land(&mut self, chance: &mut Chance) {
        let at = chance.below(self.orphans.len().max(1));
        if at < self.orphans.len() && !self.store_away {
            let ask = self.orphans.remove(at);
            self.ledger.meet("a late append arrived");
            let _ = self.answer_of_store(&ask);
        }
    }
}
