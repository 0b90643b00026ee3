//! The channel: known answers, what it binds, and what it refuses.

use alloc::string::ToString as _;
use alloc::vec;
use alloc::vec::Vec;

use hpke::kem::XWing;
use hpke::{Deserializable as _, Kem as _, Serializable as _};
use keyhaven_secrets::Entropy;
use proptest::prelude::*;

use super::keys::{FromEntropy, PrivateKey, PublicKey};
use super::{
    Awaiting, ChannelError, ChannelKey, ChannelPublicKey, Conversation, FollowKeys,
    SEALED_REPLY_BYTES, SEALED_REQUEST_BYTES, Sealed, parse, seal_first,
};
use crate::message::{
    AccountName, Denial, FleetId, Followup, LeafIndex, Outcome, Reply, Request, Ticket, Wait,
};
use crate::opaque::Ke3;
use crate::suite::Standard;
use crate::testing::{Seeded, samples, unhex};

const DRAFT: &str = include_str!("../../testdata/xwing-draft-vectors.txt");

struct Script(Vec<u8>);

impl Entropy for Script {
    fn fill(&mut self, out: &mut [u8]) {
        let drawn: Vec<u8> = self.0.drain(..out.len()).collect();
        for (slot, byte) in out.iter_mut().zip(drawn) {
            *slot = byte;
        }
    }
}

/// The drafts of X-Wing differ between crates: this one is the draft's final form, by its vectors.
#[test]
fn x_wing_gives_the_drafts_known_answers() {
    let values: Vec<(&str, Vec<u8>)> = DRAFT
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| !name.starts_with('#'))
        .map(|(name, hex)| (name, unhex(hex)))
        .collect();
    assert_eq!(values.len(), 15);
    for vector in values.chunks(5) {
        let [(_, sk), (_, pk), (_, eseed), (_, ct), (_, ss)] = vector else {
            panic!("five values");
        };
        let private = PrivateKey::from_bytes(sk).unwrap();
        assert_eq!(XWing::sk_to_pk(&private).to_bytes()[..], pk[..]);
        let ours = ChannelKey::new(sk.clone().try_into().unwrap()).public();
        assert_eq!(ours.as_bytes()[..], pk[..]);

        let public = PublicKey::from_bytes(pk).unwrap();
        let mut seed = Script(eseed.clone());
        let (secret, encapsulated) =
            XWing::encap_with_rng(&public, None, &mut FromEntropy(&mut seed)).unwrap();
        assert_eq!(encapsulated.to_bytes()[..], ct[..]);
        assert_eq!(secret.0[..], ss[..]);
        let secret = XWing::decap(&private, None, &encapsulated).unwrap();
        assert_eq!(secret.0[..], ss[..]);
    }
}

struct Pair {
    fleet: FleetId,
    leaf: LeafIndex,
    key: ChannelKey,
    entropy: Seeded,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let mut entropy = Seeded::new(seed);
        let fleet = FleetId::new([1; 32]);
        Self {
            fleet,
            leaf: LeafIndex::of(&fleet, &AccountName::parse("alice").unwrap()),
            key: ChannelKey::generate(&mut entropy),
            entropy,
        }
    }

    fn request() -> Request {
        Request::BeginWait {
            wait: Wait::LastGuesses,
        }
    }

    fn seal(&mut self) -> (Vec<u8>, Conversation) {
        let public = self.key.public();
        seal_first(
            &self.fleet,
            &public,
            &self.leaf,
            &Self::request(),
            &mut self.entropy,
        )
        .unwrap()
    }

    fn open(&self, bytes: &[u8]) -> Result<super::Opened, ChannelError> {
        match parse(bytes)? {
            Sealed::First(first) => {
                first.open(&Standard, &self.fleet, &self.key.opening()?, &self.leaf)
            }
            Sealed::Second(_) => panic!("a first request"),
        }
    }
}

fn reply() -> Reply {
    Reply {
        outcome: Outcome::Denied(Denial::NoRecord),
        standing: samples::standing(),
    }
}

#[test]
fn a_conversation_of_two_exchanges_goes_through() {
    let mut pair = Pair::new(1);
    let (bytes, conversation) = pair.seal();
    assert_eq!(bytes.len(), SEALED_REQUEST_BYTES);
    let opened = pair.open(&bytes).unwrap();
    assert_eq!(opened.request().unwrap(), Pair::request());
    let follow = opened.follow().unwrap().clone();
    let sealed = opened
        .into_answering()
        .seal(&reply(), &mut pair.entropy)
        .unwrap();
    assert_eq!(sealed.len(), SEALED_REPLY_BYTES);

    // A client that was interrupted goes on from what it stored.
    let stored = conversation.encode().unwrap();
    let conversation = Conversation::decode(&stored).unwrap();
    assert_eq!(conversation.open(&sealed).unwrap(), reply());

    let ticket = Ticket::new([7; 384]);
    let followup = Followup::RecoverFinish {
        ke3: Ke3::new([3; 64]),
    };
    let (bytes, awaiting) = conversation
        .seal_second(&ticket, &followup, &mut pair.entropy)
        .unwrap();
    assert_eq!(bytes.len(), SEALED_REQUEST_BYTES);
    let Sealed::Second(second) = parse(&bytes).unwrap() else {
        panic!("a second request");
    };
    assert_eq!(second.ticket(), ticket);
    let opened = second.open(&pair.fleet, &follow, &pair.leaf).unwrap();
    assert_eq!(opened.followup().unwrap(), followup);
    assert!(opened.follow().is_none());
    let sealed = opened
        .into_answering()
        .seal(&reply(), &mut pair.entropy)
        .unwrap();
    let awaiting = Awaiting::decode(&awaiting.encode().unwrap()).unwrap();
    assert_eq!(awaiting.open(&sealed).unwrap(), reply());
    assert_eq!(conversation.open(&sealed), Err(ChannelError::DoesNotOpen));
}

#[test]
fn a_request_opens_for_its_own_account_fleet_and_key_only() {
    let mut pair = Pair::new(2);
    let (bytes, _) = pair.seal();
    let Sealed::First(first) = parse(&bytes).unwrap() else {
        panic!("a first request");
    };
    let bob = LeafIndex::of(&pair.fleet, &AccountName::parse("bob").unwrap());
    let key = pair.key.opening().unwrap();
    let refused = first.open(&Standard, &pair.fleet, &key, &bob);
    assert_eq!(refused.unwrap_err(), ChannelError::DoesNotOpen);
    let refused = first.open(&Standard, &FleetId::new([9; 32]), &key, &pair.leaf);
    assert_eq!(refused.unwrap_err(), ChannelError::DoesNotOpen);
    let other = ChannelKey::generate(&mut pair.entropy);
    let refused = first.open(
        &Standard,
        &pair.fleet,
        &other.opening().unwrap(),
        &pair.leaf,
    );
    assert_eq!(refused.unwrap_err(), ChannelError::OtherKey);
    // The other key's id with the wrong key: ML-KEM rejects implicitly, and the seal does not open.
    let mut claimed = bytes.clone();
    claimed[2..10].copy_from_slice(other.public().id().as_bytes());
    let Sealed::First(first) = parse(&claimed).unwrap() else {
        panic!("a first request");
    };
    let refused = first.open(
        &Standard,
        &pair.fleet,
        &other.opening().unwrap(),
        &pair.leaf,
    );
    assert_eq!(refused.unwrap_err(), ChannelError::DoesNotOpen);
}

/// A1, A2: every byte of a request counts.
#[test]
fn a_request_with_any_byte_changed_does_not_open() {
    let mut pair = Pair::new(3);
    let (bytes, conversation) = pair.seal();
    // Every byte of header and tag, and a sample of the rest: opening costs 0.3 ms.
    let sample = (0..12).chain((12..2154).step_by(37)).chain(2154..2170);
    for at in sample {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(pair.open(&changed).is_err(), "byte {at}");
    }

    let ticket = Ticket::new([7; 384]);
    let followup = Followup::RecoverFinish {
        ke3: Ke3::new([3; 64]),
    };
    let follow = pair.open(&bytes).unwrap().follow().unwrap().clone();
    let (bytes, _) = conversation
        .seal_second(&ticket, &followup, &mut pair.entropy)
        .unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let opened = parse(&changed).and_then(|sealed| match sealed {
            Sealed::Second(second) => second.open(&pair.fleet, &follow, &pair.leaf),
            Sealed::First(first) => {
                first.open(&Standard, &pair.fleet, &pair.key.opening()?, &pair.leaf)
            }
        });
        assert!(opened.is_err(), "byte {at}");
    }
}

#[test]
fn a_reply_opens_for_its_own_request_only() {
    let mut pair = Pair::new(4);
    let (bytes, conversation) = pair.seal();
    let (_, another) = pair.seal();
    let answering = pair.open(&bytes).unwrap().into_answering();
    let sealed = answering.seal(&reply(), &mut pair.entropy).unwrap();
    let again = answering.seal(&reply(), &mut pair.entropy).unwrap();
    assert_ne!(sealed, again, "BACKUP-5: a fresh nonce each time");
    assert!(conversation.open(&again).is_ok());
    assert_eq!(another.open(&sealed), Err(ChannelError::DoesNotOpen));
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(conversation.open(&changed).is_err(), "byte {at}");
    }
}

/// A1: lengths and versions.
#[test]
fn every_other_length_and_version_is_refused() {
    let mut pair = Pair::new(5);
    let (mut bytes, conversation) = pair.seal();
    for length in (0..bytes.len()).step_by(13) {
        let refused = parse(&bytes[..length]).unwrap_err();
        assert!(matches!(refused, ChannelError::Length { .. }));
        let refused = conversation.open(&bytes[..length.min(2088)]).unwrap_err();
        assert!(matches!(refused, ChannelError::Length { .. }));
    }
    bytes.push(0);
    assert!(matches!(parse(&bytes), Err(ChannelError::Length { .. })));
    bytes.pop();
    for version in [0, 2, 255] {
        bytes[0] = version;
        assert_eq!(
            parse(&bytes).unwrap_err(),
            ChannelError::Version { version }
        );
    }
    bytes[0] = 1;
    bytes[1] = 3;
    assert!(matches!(parse(&bytes), Err(ChannelError::Version { .. })));
    let mut reply = vec![0; SEALED_REPLY_BYTES];
    assert_eq!(
        conversation.open(&reply),
        Err(ChannelError::Version { version: 0 })
    );
    reply[0] = 1;
    assert_eq!(conversation.open(&reply), Err(ChannelError::DoesNotOpen));
}

#[test]
fn a_channel_key_that_is_none_is_refused() {
    let mut pair = Pair::new(6);
    let good = pair.key.public();
    assert_eq!(ChannelPublicKey::parse(good.as_bytes()), Ok(good));
    assert!(ChannelPublicKey::parse(&good.as_bytes()[1..]).is_err());
    // ML-KEM's encapsulation key check (FIPS 203, 7.2): coefficients are below q.
    let mut bad = *good.as_bytes();
    bad[..3].copy_from_slice(&[0xff; 3]);
    assert_eq!(ChannelPublicKey::parse(&bad), Err(ChannelError::InvalidKey));
    let refused = seal_first(
        &pair.fleet,
        &ChannelPublicKey::new(bad),
        &pair.leaf,
        &Pair::request(),
        &mut pair.entropy,
    );
    assert_eq!(refused.unwrap_err(), ChannelError::InvalidKey);
}

/// The bytes on the wire are fixed: `docs/vault-protocol.md`.
#[test]
fn the_bytes_of_the_channel_are_fixed() {
    let mut pair = Pair::new(7);
    let (bytes, conversation) = pair.seal();
    let id = pair.key.public().id();
    assert_eq!(bytes[..2], [1, 1]);
    assert_eq!(bytes[2..10], id.as_bytes()[..]);
    let digest = |bytes: &[u8]| blake3::hash(bytes).to_hex().to_string();
    let answering = pair.open(&bytes).unwrap().into_answering();
    let reply = answering.seal(&reply(), &mut pair.entropy).unwrap();
    let followup = Followup::RecoverFinish {
        ke3: Ke3::new([3; 64]),
    };
    let (second, _) = conversation
        .seal_second(&Ticket::new([7; 384]), &followup, &mut pair.entropy)
        .unwrap();
    let golden = [digest(&bytes), digest(&reply), digest(&second)];
    assert_eq!(golden, GOLDEN);
}

/// Digests of a first request, a reply and a second request.
const GOLDEN: [&str; 3] = [
    "2debb928f7bd897e5e371dfa5d1170df74220446a07c42342b24a85dde96cf63",
    "b8956b150205c3c22d44bc31c42e2b739dc67a0598e6d135302f5917f829b80f",
    "26016d2e4ec2af6c9dc980ac33b5ab6f917563a398c3e2ec8fb229a6e97bb6b7",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// A1: random bytes never panic and never open.
    #[test]
    fn random_bytes_do_not_open(seed in any::<u64>(), kind in 1_u8..3) {
        let mut entropy = Seeded::new(seed);
        let mut bytes = vec![0; SEALED_REQUEST_BYTES];
        entropy.fill(&mut bytes);
        bytes[..2].copy_from_slice(&[1, kind]);
        let key = ChannelKey::new([1; 32]).opening().unwrap();
        bytes[2..10].copy_from_slice(key.id().as_bytes());
        let fleet = FleetId::new([1; 32]);
        let leaf = LeafIndex::new([2; 32]);
        let opened = match parse(&bytes).unwrap() {
            Sealed::First(first) => first.open(&Standard, &fleet, &key, &leaf),
            Sealed::Second(second) => second.open(&fleet, &FollowKeys::new([3; 64]), &leaf),
        };
        prop_assert!(opened.is_err());
    }
}
