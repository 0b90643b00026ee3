//! What the machine does when what it leans on fails. (How it comes back from a crash is tested with
//! real processes.)

use keyhaven_vault_core::Memory;
use keyhaven_wire::channel::{self, Conversation};
use keyhaven_wire::message::{LeafIndex, Outcome, Request};

use super::*;
use crate::folder::FolderError;
use crate::os::SystemEntropy;

struct World {
    _temp: tempfile::TempDir,
    fleet: Fleet,
    machine: Machine,
}

fn world() -> World {
    let temp = tempfile::tempdir().unwrap();
    let fleet = create(&Folder::at(temp.path()), &mut SystemEntropy).unwrap();
    let machine = Machine::resume(&fleet, &mut SystemEntropy).unwrap();
    World {
        _temp: temp,
        fleet,
        machine,
    }
}

impl World {
    /// A question about how an account stands, and how its answer is opened.
    fn question(&self, name: &str) -> (Touch, Conversation) {
        let account = AccountName::parse(name).unwrap();
        let fleet = self.machine.host.core().fleet();
        let leaf = LeafIndex::of(&fleet, &account);
        let (key, question) = (
            self.machine.host.core().channel_key(),
            Request::Status { device: None },
        );
        let (request, conversation) =
            channel::seal_first(&fleet, key, &leaf, &question, &mut SystemEntropy).unwrap();
        (Touch { account, request }, conversation)
    }

    fn commit(&mut self, batch: Vec<Touch>) -> Result<Vec<Answered>, CommitError> {
        self.machine
            .commit(batch, HostTime::new(1), &mut SystemEntropy)
    }

    /// The machine after its store was backed up.
    fn backed_up(self, to: &std::path::Path) -> Self {
        self.stopped(|folder| {
            crate::backup::back_up(folder, to).unwrap();
        })
    }

    /// The machine as the next start finds it.
    fn restart(self) -> Self {
        self.stopped(|_| {})
    }

    /// The machine as it starts after something was done to its folder while it stood still.
    fn stopped(self, meanwhile: impl FnOnce(&std::path::Path)) -> Self {
        let Self {
            _temp,
            fleet,
            machine,
        } = self;
        drop(machine);
        meanwhile(_temp.path());
        let machine = Machine::resume(&fleet, &mut SystemEntropy).unwrap();
        Self {
            _temp,
            fleet,
            machine,
        }
    }
}

/// A place for the memory that is full.
struct Full;

impl Keeper for Full {
    fn keep(&mut self, _: &Memory) -> Result<(), FolderError> {
        Err(FolderError::at("cannot write", "core.memory".as_ref())(
            std::io::ErrorKind::StorageFull.into(),
        ))
    }
}

#[test]
fn answers_come_in_the_order_of_their_questions() {
    let mut world = world();
    let names = ["ada", "bob", "ada", "cyd"];
    let (batch, conversations): (Vec<_>, Vec<_>) =
        names.iter().map(|name| world.question(name)).unzip();
    let answers = world.commit(batch).unwrap();
    assert_eq!(world.machine.index(), 1, "one entry for the whole batch");
    for (answer, conversation) in answers.iter().zip(conversations) {
        let Answered::Sealed(reply) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(conversation.open(reply).unwrap().outcome, Outcome::Standing);
    }
}

/// VAULT-2: what cannot be remembered is not answered; the next start knows of it all the same.
#[test]
fn a_memory_that_cannot_be_kept_releases_nothing() {
    let mut world = world();
    world.machine.memory = Box::new(Full);
    let (touch, _) = world.question("ada");
    assert!(matches!(
        world.commit(vec![touch]),
        Err(CommitError::Memory(_))
    ));
    let mut world = world.restart();
    assert_eq!(world.machine.index(), 1, "the appended entry stands");
    let (touch, _) = world.question("ada");
    assert!(matches!(
        world.commit(vec![touch]).unwrap()[..],
        [Answered::Sealed(_)]
    ));
}

#[test]
fn a_request_sealed_to_nobody_is_unreadable_and_does_not_disturb_the_others() {
    let mut world = world();
    let (good, _) = world.question("ada");
    let mut bent = good.clone();
    if let Some(last) = bent.request.last_mut() {
        *last ^= 1;
    }
    let answers = world.commit(vec![bent, good]).unwrap();
    assert!(
        matches!(answers[..], [Answered::Unreadable, Answered::Sealed(_)]),
        "{answers:?}"
    );
}

/// VAULT-10: a tail that may not get longer is given up, and the vault answers.
#[test]
fn a_full_tail_is_given_up_and_the_vault_goes_on() {
    let mut world = world();
    let outside = tempfile::tempdir().unwrap();
    let backup = outside.path().join("backup");
    world = world.backed_up(&backup);
    let limits = TailLimits {
        segment_bytes: 4_000,
        tail_bytes: 20_000,
    };
    let path = world.fleet.tail();
    world.machine.tail = TailFolder::open_within(limits, &path, world.machine.fleet()).unwrap();
    let mut kept = 0;
    while path.exists() {
        let bytes: u64 = std::fs::read_dir(&path)
            .unwrap()
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum();
        assert!(bytes <= limits.tail_bytes);
        let (touch, _) = world.question("ada");
        let answers = world.commit(vec![touch]).unwrap();
        assert!(matches!(answers[..], [Answered::Sealed(_)]));
        kept += 1;
        assert!(kept < 20, "the tail has no bound");
    }
    assert!(kept > 4, "{kept}");
    let mut world = world.restart();
    assert_eq!(world.machine.index(), kept);
    let (touch, _) = world.question("ada");
    world.commit(vec![touch]).unwrap();
    assert!(!path.exists(), "it begins with the next backup");
}

impl World {
    fn newest_record(&self) -> Record {
        let (_, mac) = self.machine.committed().unwrap();
        let tail = self.machine.tail.as_ref().unwrap();
        tail.find(&mac).unwrap().unwrap()
    }
}

/// VAULT-5: what was appended and not captured before a crash is in the next record; what was captured
/// is not, however many starts there are, or the record would have no bound (VAULT-10).
#[test]
fn a_record_carries_what_the_tail_lacks_and_no_more() {
    let outside = tempfile::tempdir().unwrap();
    let backup = outside.path().join("backup");
    let mut world = world().backed_up(&backup);
    for _ in 0..4 {
        let (touch, _) = world.question("ada");
        world.commit(vec![touch]).unwrap();
        assert_eq!(world.newest_record().entries.len(), 1);
        world = world.restart();
    }
    for carried in 1..4 {
        std::fs::rename(world.fleet.tail(), outside.path().join("tail")).unwrap();
        let (touch, _) = world.question("bob");
        assert!(matches!(
            world.commit(vec![touch]),
            Err(CommitError::Tail(_))
        ));
        std::fs::rename(outside.path().join("tail"), world.fleet.tail()).unwrap();
        world = world.restart();
        assert_eq!(world.machine.index(), 4 + carried);
    }
    let (touch, _) = world.question("cyd");
    world.commit(vec![touch]).unwrap();
    assert_eq!(world.newest_record().entries.len(), 4);

    let index = world.machine.index();
    let World {
        _temp,
        fleet,
        machine,
    } = world;
    drop(machine);
    std::fs::copy(backup, fleet.store()).unwrap();
    let machine = Machine::resume(&fleet, &mut SystemEntropy).unwrap();
    assert_eq!(machine.index(), index);
    let names = ["ada", "bob", "cyd"].map(|name| AccountName::parse(name).unwrap());
    assert_eq!(machine.examine(&names).unwrap(), []);
}

/// VAULT-5: a record is on the medium before the memory that captures its entry; a disk that cannot take
/// it stops the vault.
#[test]
fn a_record_that_cannot_be_kept_releases_nothing() {
    let mut world = world();
    let outside = tempfile::tempdir().unwrap();
    let backup = outside.path().join("backup");
    world = world.backed_up(&backup);
    let memory = *world.machine.host.core().memory();
    std::fs::remove_dir_all(world.fleet.tail()).unwrap();
    let (touch, _) = world.question("ada");
    assert!(matches!(
        world.commit(vec![touch]),
        Err(CommitError::Tail(_))
    ));
    let kept = MemoryFile::read(&world.fleet.memory()).unwrap();
    assert_eq!(kept[0].memory, memory);
    let world = world.restart();
    assert_eq!(world.machine.index(), 1, "the appended entry stands");
}

/// VAULT-4, VAULT-8: a leaf that is not the one under the root is not opened, and whoever has
/// another is answered.
#[test]
fn a_damaged_record_stops_nobody_else() {
    let mut world = world();
    let (ada, _) = world.question("ada");
    world.commit(vec![ada.clone()]).unwrap();
    let (bob, _) = world.question("bob");
    world.commit(vec![bob.clone()]).unwrap();
    // The store's newest entry again, with Ada's leaf bent: only the host could do this.
    let World {
        _temp,
        fleet,
        machine,
    } = world;
    drop(machine);
    bend_leaf(&fleet, &ada.account);
    let machine = Machine::resume(&fleet, &mut SystemEntropy).unwrap();
    let mut world = World {
        _temp,
        fleet,
        machine,
    };
    let answers = world.commit(vec![ada.clone(), bob]).unwrap();
    assert!(
        matches!(answers[..], [Answered::Damaged, Answered::Sealed(_)]),
        "{answers:?}"
    );
    let accounts = [ada.account.clone(), AccountName::parse("bob").unwrap()];
    assert_eq!(world.machine.examine(&accounts).unwrap(), [ada.account]);
}

/// Bends the leaf of an account in the store's file, behind the engine's back.
fn bend_leaf(fleet: &Fleet, account: &AccountName) {
    use redb::ReadableTable as _;
    const NODES: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("nodes");
    let secrets = FleetSecrets::decode(&folder::read_private(&fleet.secrets()).unwrap()).unwrap();
    let leaf = LeafIndex::of(&secrets.fleet(), account);
    let database = redb::Database::open(fleet.store()).unwrap();
    let txn = database.begin_write().unwrap();
    {
        let mut nodes = txn.open_table(NODES).unwrap();
        let key: Vec<u8> = [&[2, 0], leaf.as_bytes().as_slice()].concat();
        let mut bytes = nodes.get(key.as_slice()).unwrap().unwrap().value().to_vec();
        bytes[100] ^= 1;
        nodes.insert(key.as_slice(), bytes.as_slice()).unwrap();
    }
    txn.commit().unwrap();
}
