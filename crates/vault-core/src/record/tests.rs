//! A record's bounds and bytes.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString as _};

use keyhaven_testkit::entropy::SeededEntropy;
use keyhaven_wire::channel::FollowKeys;
use keyhaven_wire::codec;
use keyhaven_wire::message::{
    AttemptNumber, ChangeNumber, ChangedBy, DEVICES_MAX, DeviceKey, DigestBytes, FleetId,
    Freshness, Generation, HostTime, LeafIndex, Line, RegistrationId, Wait, WrappedKey,
};
use keyhaven_wire::opaque::server::{GenerationKeys, Pending};
use keyhaven_wire::opaque::{Cost, RegistrationUpload};
use proptest::prelude::*;

use super::{Armed, Life, Live, Record};
use crate::leaf::{self, BODY_BYTES, LEAF_BYTES};
use crate::policy::Policy;
use crate::secrets::FleetSecrets;
use crate::ticket::{ProofBody, RecoverTicket, RegisterTicket, TicketBody};
use keyhaven_wire::suite::Standard;

fn digest(byte: u8) -> DigestBytes {
    DigestBytes::new([byte; 32])
}

fn live() -> Live {
    Live {
        keys: GenerationKeys::new([0x11; 160]),
        upload: RegistrationUpload::new([0x22; 192]),
        wrapped: WrappedKey::new([0x33; 72]),
        cost: Cost::parse(Cost::MEMORY_KIB_MAX, Cost::PASSES_MAX, Cost::LANES_MAX).unwrap(),
        proven: Some(AttemptNumber::new(u64::MAX)),
    }
}

/// Every list full, every option taken. Only the attempts' numbers are small, because attempts are
/// made one by one.
fn full() -> Record {
    let mut record = Record::vacant(&Policy::DEFAULT);
    record.life = Life::Live(Box::new(live()));
    record.generation = Generation::new(u64::MAX);
    record.line = Line::new(u32::MAX);
    record.change = ChangeNumber::new(u64::MAX);
    record.last_change = Some(digest(0x44));
    record.changed_by = ChangedBy::Device(DeviceKey::new([0x55; 32]));
    record.armed = Some(Armed {
        id: RegistrationId::new([0x66; 16]),
        digest: digest(0x77),
    });
    for byte in 0..u8::try_from(DEVICES_MAX).unwrap() {
        record.devices.add(DeviceKey::new([byte; 32])).unwrap();
    }
    for number in 1..=20_u8 {
        let attempt = AttemptNumber::new(u64::from(number));
        record.history.answered(HostTime::new(u64::MAX));
        if number > 10 {
            record
                .guesses
                .spend(attempt, digest(0x90 | number))
                .unwrap();
        }
    }
    record
        .waits
        .begin(Wait::LastGuesses, &Policy::DEFAULT, HostTime::new(u64::MAX));
    record
        .waits
        .begin(Wait::FreshStart, &Policy::DEFAULT, HostTime::new(u64::MAX));
    record.freshness = Some(Freshness {
        sequence: u64::MAX,
        digest: digest(0x88),
    });
    record
}

fn secrets() -> FleetSecrets {
    FleetSecrets::generate(&Standard, Policy::DEFAULT, &mut SeededEntropy::new(1)).unwrap()
}

/// VAULT-10: a record has one size, and the greatest there can be fits, with room for the numbers to
/// grow: eight bytes for each of the ten outstanding attempts and the three totals.
///
/// Past fault, juicebox-systems/juicebox-hsm-realm a619012: the size of a record was that of small numbers.
#[test]
fn the_greatest_record_fits_its_leaf() {
    let bytes = codec::encode(&full()).unwrap();
    let numbers_grow = (10 + 3) * 8;
    let needed = 2 + bytes.len() + numbers_grow;
    assert!(needed <= BODY_BYTES, "{needed} of {BODY_BYTES}");
}

#[test]
fn a_leaf_reads_back_and_no_two_sealings_are_alike() {
    let (secrets, mut entropy) = (secrets(), SeededEntropy::new(2));
    let (fleet, index) = (FleetId::new([1; 32]), LeafIndex::new([2; 32]));
    for record in [Record::vacant(&Policy::DEFAULT), full()] {
        let mut seal =
            || leaf::seal(secrets.record(), &fleet, &index, &record, &mut entropy).unwrap();
        let (one, two) = (seal(), seal());
        assert_eq!((one.len(), two.len()), (LEAF_BYTES, LEAF_BYTES));
        assert_ne!(one[1..25], two[1..25], "BACKUP-5: a fresh nonce each time");
        let other = LeafIndex::new([3; 32]);
        let open =
            |index: &LeafIndex, leaf: &[u8]| leaf::open(secrets.record(), &fleet, index, leaf);
        assert_eq!(open(&index, &one), Some(record));
        assert_eq!(open(&other, &one), None);
        assert_eq!(open(&index, &one[..LEAF_BYTES - 1]), None);
        let mut changed = two;
        for at in [0, 1, 30, LEAF_BYTES - 1] {
            changed[at] ^= 1;
            assert_eq!(open(&index, &changed), None);
            changed[at] ^= 1;
        }
    }
}

/// The bytes of a record are fixed: `docs/vault-protocol.md`.
#[test]
fn the_bytes_of_a_record_are_fixed() {
    let hash = |record: &Record| {
        blake3::hash(&codec::encode(record).unwrap())
            .to_hex()
            .to_string()
    };
    let vacant = codec::encode(&Record::vacant(&Policy::DEFAULT)).unwrap();
    let hex: String = vacant.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN_VACANT);
    assert_eq!(hash(&full()), GOLDEN_FULL);
}

const GOLDEN_VACANT: &str = "8b820080000000f6820080f680820a808383000000008083f6f600";
const GOLDEN_FULL: &str = "5ed273b5ffbe165d8e3e9146898a623dd8089df1335f308e697b591f7844c918";

/// VAULT-4: nothing of a generation's keys is in a record that was destroyed or deleted.
#[test]
fn a_dead_record_holds_no_key() {
    let mut record = full();
    record.destroy();
    let bytes = codec::encode(&record).unwrap();
    for secret in [[0x11; 32], [0x22; 32], [0x33; 32]] {
        assert!(!bytes.windows(32).any(|window| window == secret));
    }
}

#[test]
fn tickets_and_proofs_read_back_for_their_own_account_and_kind_only() {
    let (secrets, mut entropy) = (secrets(), SeededEntropy::new(3));
    let (fleet, leaf) = (FleetId::new([1; 32]), LeafIndex::new([2; 32]));
    let follow = FollowKeys::new([9; 64]);
    let tickets = [
        TicketBody::Register(RegisterTicket {
            follow: follow.clone(),
            id: RegistrationId::new([1; 16]),
            generation: Generation::new(u64::MAX),
            keys: GenerationKeys::new([2; 160]),
        }),
        TicketBody::Recover(RecoverTicket {
            follow: follow.clone(),
            generation: Generation::new(u64::MAX),
            attempt: AttemptNumber::new(u64::MAX),
            ke1: digest(3),
            pending: Pending::new([4; 128]),
        }),
    ];
    for ticket in tickets {
        let sealed = ticket
            .seal(secrets.ticket(), &fleet, &leaf, &mut entropy)
            .unwrap();
        let opened = TicketBody::open(&sealed, secrets.ticket(), &fleet, &leaf).unwrap();
        assert_eq!(opened.follow(), &follow);
        let other = LeafIndex::new([3; 32]);
        assert!(TicketBody::open(&sealed, secrets.ticket(), &fleet, &other).is_none());
    }
    let proof = ProofBody {
        generation: Generation::new(u64::MAX),
        attempt: AttemptNumber::new(u64::MAX),
    };
    let sealed = proof
        .seal(secrets.ticket(), &fleet, &leaf, &mut entropy)
        .unwrap();
    assert_eq!(
        ProofBody::open(&sealed, secrets.ticket(), &fleet, &leaf),
        Some(proof)
    );
    assert!(ProofBody::open(&sealed, secrets.ticket(), &fleet, &LeafIndex::new([3; 32])).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// A1: no reader of stored bytes panics.
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = codec::decode::<Record>(&bytes);
        let _ = codec::decode::<TicketBody>(&bytes);
        let _ = crate::log::Entry::decode(&bytes);
        let _ = crate::log::Memory::decode(&bytes);
        let _ = FleetSecrets::decode(&bytes);
    }

    /// A changed byte in a stored record is refused or another record with one encoding.
    #[test]
    fn a_changed_record_never_panics(at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let mut bytes = codec::encode(&full()).unwrap().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(record) = codec::decode::<Record>(&bytes) {
            prop_assert_eq!(&codec::encode(&record).unwrap()[..], &bytes[..]);
        }
    }
}
