//! What a host is sent by somebody who says that he is another host of the group.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use keyhaven_testkit::entropy::SeededEntropy;
use keyhaven_testkit::vault::{Person, VaultWorld};
use keyhaven_vault_core::{Core, Mac, Quorum, Term, dangerous};
use keyhaven_vault_host::{Effect, Host, HostId, Input, Message, Puts, Record};

use crate::edits;

/// A follower's core, and the messages that the hosts of its group really send.
struct Group {
    follower: Core,
    said: Vec<Vec<u8>>,
    /// The records among them.
    records: BTreeSet<Vec<u8>>,
}

impl Group {
    fn new() -> Self {
        let mut world = VaultWorld::group(11, Quorum::THREE);
        let alice = Person::new(&mut world, "alice");
        let _ = alice.standing(&mut world);
        let follower = dangerous::copy(world.core_at(2));
        // A batch that the follower has not heard of.
        let (request, _) = alice.seal(
            &mut world,
            &keyhaven_wire::message::Request::Status { device: None },
        );
        let executed = world
            .execute(&[(alice.account.clone(), request)])
            .expect("an honest host");
        world.append(&executed);
        let entry = executed.entry;
        let puts: Puts = executed.puts.into_iter().collect();
        let record = |entries: &[_], puts: &Puts| {
            Arc::new(Record {
                entries: entries.to_vec(),
                puts: puts.clone(),
            })
        };
        let before = world.log()[world.log().len() - 2];
        let records = [record(&[entry], &puts), record(&[before, entry], &puts)];
        let capture = world.capture_at(0, &entry).expect("its own entry");
        let mut candidate = dangerous::copy(world.core_at(1));
        let call = candidate
            .stand(entry.term(), &mut SeededEntropy::new(5))
            .expect("a member");
        let report = dangerous::copy(world.core_at(0))
            .promise(&call)
            .expect("a newer term");
        let (go, come) = (world.memory_at(0).member(), world.memory_at(1).member());
        let messages = [
            Message::Call(call),
            Message::Report(Box::new(report)),
            Message::Newer(Term::new(9)),
            Message::Captured(capture),
            Message::Alive(Term::new(9)),
            Message::Need(entry.mac()),
            Message::Admit { go, come },
            Message::Tail {
                last: entry.mac(),
                record: None,
            },
            Message::Tail {
                last: entry.mac(),
                record: Some(Arc::clone(&records[0])),
            },
            Message::Record(Arc::clone(&records[0])),
            Message::Record(Arc::clone(&records[1])),
        ];
        let bytes = |message: &Message| message.encode().expect("within its bounds");
        Self {
            follower,
            said: messages.iter().map(bytes).collect(),
            records: records
                .iter()
                .map(|record| record.encode().expect("within its bounds"))
                .collect(),
        }
    }
}

fn with_group<T>(work: impl FnOnce(&Group) -> T) -> T {
    thread_local!(static GROUP: RefCell<Group> = RefCell::new(Group::new()));
    GROUP.with(|group| work(&group.borrow()))
}

/// A message as it comes, and one of a group's with edits. It has one encoding; a follower that hears
/// it keeps no record that the group did not make, and captures nothing without one (VAULT-5, VAULT-8);
/// what it does is bounded (VAULT-10).
pub fn between(bytes: &[u8]) {
    with_group(|group| {
        hear(group, bytes);
        if let Some((which, edit)) = bytes.split_first() {
            let said = &group.said[usize::from(*which) % group.said.len()];
            hear(group, &edits::apply(said, edit));
        }
        if let Ok(record) = Record::decode(bytes) {
            assert_eq!(record.encode().expect("it fits"), bytes, "one encoding");
        }
    });
}

fn hear(group: &Group, bytes: &[u8]) {
    let Ok(message) = Message::decode(bytes) else {
        return;
    };
    assert_eq!(message.encode().expect("it fits"), bytes, "one encoding");
    let entropy = &mut SeededEntropy::new(6);
    let core = dangerous::copy(&group.follower);
    let before = *core.memory();
    let mut host = Host::new(core, vec![HostId(0), HostId(1)], None, entropy);
    let from = HostId(0);
    let mut kept: Option<Mac> = None;
    let effects = host.handle(Input::Message { from, message }, entropy);
    assert!(effects.len() <= 4, "VAULT-10: one message, much to do");
    for effect in effects {
        match effect {
            Effect::KeepTail(record) => {
                let bytes = record.encode().expect("it fits");
                assert!(
                    group.records.contains(&bytes),
                    "VAULT-8: a forged record is kept"
                );
                kept = record.last().map(keyhaven_vault_core::Entry::mac);
            }
            Effect::KeepMemory(memory) => {
                let head = memory.head().map(keyhaven_vault_core::Head::mac);
                assert!(
                    head == before.head().map(keyhaven_vault_core::Head::mac) || head == kept,
                    "VAULT-5: a capture without its record"
                );
            }
            Effect::Send { message, .. } => {
                assert!(
                    message.encode().is_ok(),
                    "VAULT-10: an answer without bound"
                );
            }
            Effect::SendTail { .. }
            | Effect::Ask { .. }
            | Effect::Answer(_)
            | Effect::Notice(_) => {}
        }
    }
}

/// The messages, and edits of each.
#[must_use]
pub fn between_seeds() -> Vec<Vec<u8>> {
    with_group(|group| {
        let mut seeds = group.said.clone();
        seeds.extend(group.records.iter().cloned());
        for which in 0..group.said.len() {
            let which = u8::try_from(which).expect("few");
            for edit in edits::seeds().into_iter().step_by(6) {
                seeds.push([&[which], edit.as_slice()].concat());
            }
        }
        seeds
    })
}
