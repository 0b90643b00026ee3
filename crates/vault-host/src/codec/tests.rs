//! One encoding of each record and message: golden bytes, what is refused, and what is bounded.

use std::sync::OnceLock;

use keyhaven_testkit::entropy::SeededEntropy;
use keyhaven_testkit::vault::{Person, VaultWorld};
use keyhaven_vault_core::{Quorum, dangerous};
use keyhaven_wire::message::LeafIndex;
use proptest::prelude::*;

use super::*;
use crate::record::Puts;

const GOLDEN: &str = include_str!("../../testdata/golden-host.txt");

/// A vector: its name, what comes of it, its bytes.
fn golden() -> impl Iterator<Item = (&'static str, &'static str, Vec<u8>)> {
    let lines = GOLDEN.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let mut parts = line.split(' ');
        let mut part = || parts.next().unwrap();
        let (name, outcome, hex) = (part(), part(), part());
        let pairs = hex.as_bytes().chunks(2);
        let bytes =
            pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap());
        (name, outcome, bytes.collect())
    })
}

fn vector(wanted: &str) -> Vec<u8> {
    let found = golden().find(|(name, _, _)| *name == wanted);
    found.unwrap().2
}

/// Decodes, encodes again, and says what came of it.
fn outcome(name: &str, bytes: &[u8]) -> String {
    let again = match name.split_once('/') {
        Some(("record", _)) => Record::decode(bytes).map(|record| record.encode().unwrap()),
        _ => Message::decode(bytes).map(|message| message.encode().unwrap()),
    };
    match again {
        Ok(again) => {
            assert_eq!(again, bytes, "{name} has one encoding");
            "whole".to_owned()
        }
        Err(DecodeError::Log(_)) => "Log".to_owned(),
        Err(error) => format!("{error:?}"),
    }
}

/// The bytes are fixed, and so is what is refused: `docs/host-bytes.md`.
#[test]
fn every_vector_ends_as_it_says() {
    let mut outcomes = std::collections::BTreeSet::new();
    for (name, expected, bytes) in golden() {
        assert_eq!(outcome(name, &bytes), expected, "{name}");
        outcomes.insert(expected);
    }
    assert_eq!(outcomes.len(), 10, "every cause of a refusal: {outcomes:?}");
}

/// A1: every truncation and every byte too many is refused.
#[test]
fn no_part_of_a_vector_is_a_vector() {
    for (name, outcome_whole, bytes) in golden() {
        if outcome_whole != "whole" {
            continue;
        }
        for length in 0..bytes.len() {
            assert_ne!(
                outcome(name, &bytes[..length]),
                "whole",
                "{name} cut to {length}"
            );
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(outcome(name, &longer), "Trailing", "{name} and a byte");
    }
}

#[test]
fn a_record_is_its_entries_and_then_its_puts_by_rising_keys() {
    let entry = Entry::decode(&vector("record/replaced")[7..]).unwrap();
    let (low, high) = (NodeKey::root(), NodeKey::from_bytes([2; NodeKey::BYTES]));
    let record = Record {
        entries: vec![entry, entry],
        puts: Puts::from([(high, vec![7, 8, 9]), (low, Vec::new())]),
    };
    let golden = [
        &[1, 0, 2, 0, 0, 0, 2][..],
        &entry.encode(),
        &entry.encode(),
        low.as_bytes(),
        &[0, 0],
        high.as_bytes(),
        &[0, 3, 7, 8, 9],
    ]
    .concat();
    assert_eq!(record.encode().unwrap(), golden);
    assert_eq!(record.encoded_bytes(), golden.len());
    let last = Mac::from_bytes([5; 32]);
    let found = Message::Tail {
        last,
        record: Some(Arc::new(record)),
    };
    let golden = [&[1, 7][..], &[5; 32], &[1], &golden].concat();
    assert_eq!(found.encode().unwrap(), golden);
    assert_eq!(Message::decode(&golden), Ok(found));
}

/// VAULT-10: what is longer than any honest record is neither made nor taken, and a count alone
/// reserves nothing.
#[test]
fn what_has_no_bound_is_refused() {
    let entry = Entry::decode(&vector("record/replaced")[7..]).unwrap();
    let with = |entries: usize, puts: Puts| Record {
        entries: vec![entry; entries],
        puts,
    };
    let put = |at: u32, length: usize| {
        let mut key = [0; NodeKey::BYTES];
        key[..4].copy_from_slice(&at.to_be_bytes());
        (NodeKey::from_bytes(key), vec![0; length])
    };
    let puts = |count: u32, length| (0..count).map(|at| put(at, length)).collect::<Puts>();
    assert!(with(1, Puts::new()).encode().is_ok());
    assert!(with(RECORD_ENTRIES_MAX, Puts::new()).encode().is_ok());
    assert!(with(1, puts(65_536, 4)).encode().is_ok());
    assert!(with(1, puts(1, PUT_BYTES_MAX)).encode().is_ok());
    for refused in [
        with(0, Puts::new()),
        with(RECORD_ENTRIES_MAX + 1, Puts::new()),
        with(1, puts(65_537, 4)),
        with(1, puts(1, PUT_BYTES_MAX + 1)),
        with(1, puts(40_000, 1_664)),
    ] {
        assert_eq!(refused.encode(), Err(EncodeError));
    }
    let long = vec![1; RECORD_BYTES_MAX + 1];
    assert_eq!(Record::decode(&long), Err(DecodeError::TooLarge));
}

/// The longest put that a record holds is the longest that a core makes.
#[test]
fn a_leaf_is_the_longest_put() {
    let mut world = VaultWorld::new(1);
    let alice = Person::new(&mut world, "alice");
    let _ = alice.standing(&mut world);
    let longest = world.store().values().map(Vec::len).max();
    assert_eq!(longest, Some(PUT_BYTES_MAX));
}

/// What the cores of a group really said, as parts of messages.
struct Said {
    entries: Vec<Entry>,
    puts: Puts,
    capture: Capture,
    call: Call,
    report: Report,
    member: Member,
}

fn said() -> &'static Said {
    static SAID: OnceLock<Said> = OnceLock::new();
    SAID.get_or_init(|| {
        let mut world = VaultWorld::group(1, Quorum::THREE);
        for at in 0..6 {
            let person = Person::new(&mut world, &format!("person-{at}"));
            let _ = person.standing(&mut world);
        }
        let entries = world.log().to_vec();
        let last = *entries.last().unwrap();
        let mut candidate = dangerous::copy(world.core_at(1));
        let call = candidate
            .stand(last.term(), &mut SeededEntropy::new(5))
            .unwrap();
        Said {
            puts: world.store().clone(),
            capture: world.captures(&last)[0],
            report: dangerous::copy(world.core_at(2)).promise(&call).unwrap(),
            call,
            member: world.memory_at(0).member(),
            entries,
        }
    })
}

fn records() -> impl Strategy<Value = Arc<Record>> {
    let said = said();
    let entries = prop::collection::vec(prop::sample::select(said.entries.clone()), 1..9);
    let puts: Vec<(NodeKey, Vec<u8>)> = said
        .puts
        .iter()
        .map(|(key, put)| (*key, put.clone()))
        .collect();
    let made = (
        prop::array::uniform32(any::<u8>()),
        prop::collection::vec(any::<u8>(), 0..80),
    );
    let made = made.prop_map(|(index, put)| {
        let key = [&[2, 0], LeafIndex::new(index).as_bytes().as_slice()].concat();
        (NodeKey::from_bytes(key.try_into().unwrap()), put)
    });
    let puts = prop::collection::vec(prop_oneof![prop::sample::select(puts), made], 0..12);
    (entries, puts).prop_map(|(entries, puts)| {
        Arc::new(Record {
            entries,
            puts: puts.into_iter().collect(),
        })
    })
}

fn messages() -> impl Strategy<Value = Message> {
    let said = said();
    let mac = prop::array::uniform32(any::<u8>()).prop_map(Mac::from_bytes);
    let name = prop::array::uniform16(any::<u8>()).prop_map(Member::from_bytes);
    let term = any::<u64>().prop_map(Term::new);
    prop_oneof![
        Just(Message::Call(said.call)),
        Just(Message::Report(Box::new(said.report))),
        Just(Message::Captured(said.capture)),
        term.clone().prop_map(Message::Newer),
        term.prop_map(Message::Alive),
        records().prop_map(Message::Record),
        mac.clone().prop_map(Message::Need),
        (mac, prop::option::of(records()))
            .prop_map(|(last, record)| Message::Tail { last, record }),
        name.prop_map(|come| Message::Admit {
            go: said.member,
            come
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn records_and_messages_come_back(record in records(), message in messages()) {
        let bytes = record.encode().unwrap();
        prop_assert_eq!(record.encoded_bytes(), bytes.len());
        prop_assert_eq!(&Record::decode(&bytes).unwrap(), &*record);
        let bytes = message.encode().unwrap();
        prop_assert!(bytes.len() <= MESSAGE_BYTES_MAX);
        prop_assert_eq!(Message::decode(&bytes).unwrap(), message);
    }

    /// A1: a changed byte is refused, or is another message with an encoding of its own.
    #[test]
    fn changed_bytes_make_no_second_encoding(message in messages(), at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let mut bytes = message.encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(other) = Message::decode(&bytes) {
            prop_assert_eq!(other.encode().unwrap(), bytes);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..900)) {
        let _ = Message::decode(&bytes);
        let _ = Record::decode(&bytes);
    }
}
