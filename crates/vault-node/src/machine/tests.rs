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

    /// The machine as the next start finds it.
    fn restart(self) -> Self {
        let Self {
            _temp,
            fleet,
            machine,
        } = self;
        drop(machine);
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
