//! A group of hosts as they ship, on disks, networks and a database that fail (F1-F5, F7-F12).
//!
//! The enemy of [`adversary`](crate::adversary) does what no honest host would. Here every host is the
//! one that ships (`keyhaven-vault-host`), and the store is asked as the shipping host asks it; what
//! is around them is unlucky instead: crashes between any two effects, messages that are lost, late,
//! twice and out of order, partitions, writes that time out and land later, a store that loses
//! commits, flushes in which the power is cut, tails that rot, memories put back and lost. The same
//! ledger watches.

mod acts;
mod disk;
mod effects;
mod faults;
mod peace;
mod tails;

use std::collections::BTreeSet;
use std::sync::Arc;

use keyhaven_vault_core::{Core, FleetSecrets, Index, Mac, Memory, Role};
use keyhaven_vault_host::{Ask, AskId, Host, HostId, Standing};
use keyhaven_vault_store::{LogEntry, MemoryStore, Step as Append, Store as _};
use keyhaven_wire::message::HostTime;

use self::disk::Disk;
use self::tails::Kept;

pub use self::acts::{Act, Weather};
pub use self::peace::settle;

use crate::beginning::{self, Beginning};
use crate::chance::Chance;
use crate::ledger::Ledger;
use crate::swarm::Swarm;
use crate::{Broken, Step};

/// A machine: a host while it runs, and its disk.
#[derive(Debug)]
pub struct Machine {
    host: Option<Host>,
    disk: Disk,
    /// Whether its memory may be put back unnoticed.
    victim: bool,
    /// Whether it stands still.
    paused: bool,
    /// What it has asked of store and disk.
    asks: Vec<(AskId, Arc<Ask>)>,
    /// The requests that its host executes.
    batch: Option<(Vec<Option<usize>>, HostTime)>,
    /// The entry of which its core withholds the answers.
    page: Option<usize>,
    /// The term that it was last seen to lead.
    led: Option<u64>,
}

/// A message on its way.
#[derive(Clone, Debug)]
struct Flight {
    from: usize,
    to: usize,
    bytes: Vec<u8>,
}

/// All machines, and what is between them.
#[derive(Debug)]
pub struct Group {
    /// The kind of run.
    pub swarm: Swarm,
    /// What was asked, made and answered.
    pub ledger: Ledger,
    weather: Weather,
    secrets: Arc<FleetSecrets>,
    machines: Vec<Machine>,
    flights: Vec<Flight>,
    /// From whom nothing arrives, and where.
    cut: BTreeSet<(usize, usize)>,
    store: MemoryStore,
    store_away: bool,
    backups: Vec<MemoryStore>,
    /// Appends of hosts that are gone, which may land yet.
    orphans: Vec<Arc<Ask>>,
    /// Machines whose disks were ever lost or damaged.
    lost: BTreeSet<usize>,
    /// Whether the hosts keep tails: a host that is alone may, all others do.
    tailed: bool,
    /// The first entry, which the first backup of the store ends with.
    genesis: (Index, Mac),
    /// The records that hosts ever kept.
    kept: Kept,
    /// Whether the store ever lost commits.
    went_back: bool,
    now: u64,
}

impl Group {
    /// A new fleet, whose machines all start.
    ///
    /// # Errors
    /// [`Broken`] if not even that works.
    pub fn new(seed: u64) -> Result<Self, Broken> {
        let swarm = Swarm::of_seed(seed);
        let mut chance = Chance::of_step(seed, u64::MAX - 1);
        let weather = Weather::of_seed(seed);
        let beginning = beginning::found(&swarm, &mut chance)?;
        let store = MemoryStore::new();
        let entry = LogEntry {
            index: keyhaven_vault_store::Index::new(0),
            bytes: beginning.entry.encode().to_vec(),
        };
        let nodes: Vec<_> = beginning
            .puts
            .into_iter()
            .map(|(key, bytes)| (key.as_bytes().to_vec(), bytes))
            .collect();
        store
            .append(&Append::one(None, &entry, &nodes))
            .map_err(|error| Broken(format!("a store cannot begin: {error}")))?;
        let machines = beginning
            .cores
            .iter()
            .enumerate()
            .map(|(at, core)| Machine::with(*core.memory(), Beginning::is_victim(&swarm, at)))
            .collect();
        let mut group = Self {
            ledger: beginning.ledger,
            swarm,
            weather,
            secrets: beginning.secrets,
            machines,
            flights: Vec::new(),
            cut: BTreeSet::new(),
            backups: vec![store.copy()],
            store,
            store_away: false,
            orphans: Vec::new(),
            lost: BTreeSet::new(),
            tailed: beginning.cores.len() > 1 || chance.percent(50),
            genesis: (beginning.entry.index(), beginning.entry.mac()),
            kept: Kept::new(),
            went_back: false,
            now: 1_000,
        };
        for at in 0..group.machines.len() {
            group.start(at, &mut chance)?;
        }
        Ok(group)
    }

    /// Starts a machine's host from its disk, unless that fails.
    fn start(&mut self, at: usize, chance: &mut Chance) -> Step {
        if !self.make_certain(at, chance)? {
            self.ledger
                .tell(|_| format!("  host {at} does not start: a flush failed"));
            return Ok(());
        }
        let memory = *self.machines[at].disk.memory();
        self.note_kept(at, &memory)?;
        let core = Core::resume(Arc::clone(&self.secrets), memory)
            .map_err(|error| Broken(format!("a kept memory was refused: {error}")))?;
        let peers = (0..self.machines.len())
            .filter(|peer| *peer != at)
            .map(id)
            .collect();
        let machine = &mut self.machines[at];
        let host = Host::new(core, peers, machine.disk.former, chance);
        machine.host = Some(match self.tailed {
            true => host.keeping_tail(),
            false => host,
        });
        self.ledger
            .tell(|_| format!("  host {at} starts from {:?}", memory.reach()));
        Ok(())
    }

    /// Stops a machine's host; what it had asked of the store may land yet.
    fn stop(&mut self, at: usize) {
        self.ledger.tell(|_| format!("  host {at} stops"));
        let machine = &mut self.machines[at];
        machine.host = None;
        machine.batch = None;
        machine.page = None;
        machine.led = None;
        let asks = std::mem::take(&mut machine.asks);
        self.orphans.extend(asks.into_iter().map(|(_, ask)| ask));
    }

    /// The machine whose host leads in the newest term and has nothing under way.
    fn ready(&self) -> Option<usize> {
        (0..self.machines.len())
            .filter(|at| {
                let host = self.machines[*at].host.as_ref();
                host.is_some_and(Host::wants_batch)
            })
            .max_by_key(|at| self.term(*at))
    }

    fn term(&self, at: usize) -> Option<u64> {
        match self.machines[at].host.as_ref()?.core().role() {
            Role::Leader { term } => Some(term.number()),
            Role::Witness | Role::Candidate { .. } => None,
        }
    }

    fn standing(&self, at: usize) -> Option<Standing> {
        self.machines[at].host.as_ref().map(Host::standing)
    }
}

impl Machine {
    const fn with(memory: Memory, victim: bool) -> Self {
        Self {
            host: None,
            disk: Disk::new(memory),
            victim,
            paused: false,
            asks: Vec::new(),
            batch: None,
            page: None,
            led: None,
        }
    }
}

fn id(at: usize) -> HostId {
    HostId(u16::try_from(at).unwrap_or(u16::MAX))
}

const fn at(id: HostId) -> usize {
    id.0 as usize
}
