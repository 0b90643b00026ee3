//! A vault of one core in this process, and a line to it that can be cut at every step.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keyhaven_secrets::{BackupKey, Password};
use keyhaven_testkit::entropy::SeededEntropy;
use keyhaven_vault_client::{
    AccountName, Cost, DeviceSecret, Group, MemoryJournal, NewDevice, Policy, RegisterBy,
    Registered, Transport, TransportError, UnixSeconds, Vault, VaultAddress, VaultError,
};
use keyhaven_vault_core::{Answer, Core, NodeKey, Touch, prove};
use keyhaven_wire::bundle::{Bundle, Measurement, OperatorSecret};
use keyhaven_wire::message::HostTime;

pub(crate) const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

/// A host with a core: store in memory, one request at a time.
pub(crate) struct World {
    host: Mutex<Host>,
    pub(crate) operator: OperatorSecret,
    pub(crate) bundle: Bundle,
    seed: AtomicU64,
}

struct Host {
    core: Core,
    store: BTreeMap<NodeKey, Vec<u8>>,
    entropy: SeededEntropy,
    now: HostTime,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_policy(keyhaven_vault_core::Policy::DEFAULT)
    }

    pub(crate) fn with_policy(policy: keyhaven_vault_core::Policy) -> Self {
        let mut entropy = SeededEntropy::new(1);
        let (core, genesis) = Core::genesis(policy, &[], &mut entropy).unwrap();
        let operator = OperatorSecret::from_bytes([7; 32]);
        let bundle = Bundle {
            fleet: core.fleet(),
            serial: 5,
            issued: NOW,
            expires: UnixSeconds(NOW.0 + 86_400),
            operator: operator.public(),
            channel_key: *core.channel_key(),
            log_key: None,
            group: Group {
                members: 1,
                quorum: 1,
                rollbacks: 0,
            },
            guesses: policy.guesses,
            lifetime_guesses: policy.lifetime_guesses,
            measurement: Measurement::None,
        };
        let store = genesis.puts.into_iter().collect();
        let host = Mutex::new(Host {
            core,
            store,
            entropy,
            now: HostTime::new(NOW.0),
        });
        Self {
            host,
            operator,
            bundle,
            seed: AtomicU64::new(100),
        }
    }

    pub(crate) fn address(&self) -> VaultAddress {
        VaultAddress::new("http://127.0.0.1:7420", self.operator.public().pin()).unwrap()
    }

    /// Randomness that no other call gets.
    pub(crate) fn entropy(&self) -> SeededEntropy {
        SeededEntropy::new(self.seed.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn pass(&self, time: Duration) {
        let mut host = self.host.lock().unwrap();
        host.now = HostTime::new(host.now.number() + time.as_secs());
    }

    /// A client of `amara`'s, as a fresh process would make it, over a line with this fault.
    pub(crate) fn vault(&self, fault: Fault) -> Vault<Line<'_>> {
        self.connect(self.line(fault), quick())
    }

    pub(crate) fn vault_with(&self, policy: Policy) -> Vault<Line<'_>> {
        self.connect(self.line(Fault::None), policy)
    }

    pub(crate) fn line(&self, fault: Fault) -> Line<'_> {
        Line {
            world: self,
            account: account(),
            fault,
            exchanges: AtomicU64::new(0),
        }
    }

    fn connect<'a>(&'a self, line: Line<'a>, policy: Policy) -> Vault<Line<'a>> {
        let mut memory = NewDevice::new();
        Vault::connect(&self.address(), &account(), line, &mut memory, NOW, policy).unwrap()
    }

    pub(crate) fn registered(&self) -> BackupKey {
        let key = BackupKey::from_bytes([0x42; 32]);
        let by = RegisterBy::First;
        self.register(&mut MemoryJournal::new(), PASSWORD, &key, None, by)
            .unwrap();
        key
    }

    pub(crate) fn register(
        &self,
        journal: &mut MemoryJournal,
        typed: &str,
        key: &BackupKey,
        device: Option<&DeviceSecret>,
        by: RegisterBy<'_>,
    ) -> Result<Registered, VaultError> {
        let device = device.map(DeviceSecret::public);
        let vault = self.vault(Fault::None);
        vault.register(
            journal,
            &password(typed),
            key,
            device,
            by,
            &mut self.entropy(),
        )
    }

    pub(crate) fn guess(&self, typed: &str) -> Result<BackupKey, VaultError> {
        let mut journal = MemoryJournal::new();
        self.vault(Fault::None)
            .recover(&mut journal, &password(typed), None, &mut self.entropy())
            .map(|recovered| recovered.key)
    }

    pub(crate) fn left(&self) -> u8 {
        self.vault(Fault::None)
            .standing(None, &mut self.entropy())
            .unwrap()
            .guesses_left
    }

    pub(crate) fn device(&self) -> DeviceSecret {
        DeviceSecret::generate(&mut self.entropy())
    }

    pub(crate) fn serve(
        &self,
        account: &AccountName,
        sealed: &[u8],
    ) -> Result<Vec<u8>, TransportError> {
        let mut host = self.host.lock().unwrap();
        let Host {
            core,
            store,
            entropy,
            now,
        } = &mut *host;
        let read = |key: &NodeKey| Ok::<_, ()>(store.get(key).cloned());
        let proof = prove(&core.fleet(), [account], read).unwrap();
        let touch = Touch {
            account: account.clone(),
            request: sealed.to_vec(),
        };
        let executed = core.execute(vec![touch], &proof, *now, entropy).unwrap();
        store.extend(executed.puts);
        let capture = core.capture(&executed.entry).unwrap();
        match core.release(&[capture]).unwrap().pop() {
            Some(Answer::Sealed(reply)) => Ok(reply),
            _ => Err(TransportError::Unreadable),
        }
    }
}

pub(crate) const PASSWORD: &str = "walnut trapeze 4 lagoon";

pub(crate) fn password(typed: &str) -> Password {
    Password::parse(typed).unwrap()
}

pub(crate) fn account() -> AccountName {
    AccountName::parse("amara").unwrap()
}

/// Argon2id as cheap as it goes, and no pauses: for tests alone.
pub(crate) fn quick() -> Policy {
    Policy::default()
        .dangerous_with_cost(Cost::parse(8, 1, 1).unwrap())
        .with_resends(0, Duration::ZERO)
}

/// Where a line breaks. Exchanges are counted from 0, the bundle left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// The n-th request never arrives, and nothing after it.
    Before(u64),
    /// The n-th request arrives and its answer is lost; nothing after it arrives.
    After(u64),
    /// Every answer comes back with one bit flipped.
    Bent,
}

impl Fault {
    /// Every way to cut a conversation of `exchanges` steps.
    pub(crate) fn all(exchanges: u64) -> impl Iterator<Item = Self> {
        (0..exchanges).flat_map(|step| [Self::Before(step), Self::After(step)])
    }
}

pub(crate) struct Line<'a> {
    world: &'a World,
    account: AccountName,
    fault: Fault,
    exchanges: AtomicU64,
}

impl Transport for Line<'_> {
    fn bundle(&self) -> Result<String, TransportError> {
        Ok(self.world.bundle.sign(&self.world.operator).unwrap())
    }

    fn exchange(&self, sealed: &[u8]) -> Result<Vec<u8>, TransportError> {
        let step = self.exchanges.fetch_add(1, Ordering::Relaxed);
        match self.fault {
            Fault::Before(cut) if step >= cut => Err(TransportError::Unreachable),
            Fault::After(cut) if step > cut => Err(TransportError::Unreachable),
            Fault::After(cut) if step == cut => {
                self.world.serve(&self.account, sealed)?;
                Err(TransportError::Unreachable)
            }
            Fault::Bent => {
                let mut reply = self.world.serve(&self.account, sealed)?;
                *reply.last_mut().unwrap() ^= 1;
                Ok(reply)
            }
            Fault::None | Fault::Before(_) | Fault::After(_) => {
                self.world.serve(&self.account, sealed)
            }
        }
    }
}
