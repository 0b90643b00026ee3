//! One encoding of each message: golden bytes, and what is refused.

use alloc::borrow::ToOwned as _;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::{AccountError, AccountName, FleetId, Followup, LeafIndex, Reply, Request};
use crate::channel::{FIRST_BODY_BYTES, REPLY_BODY_BYTES, SECOND_BODY_BYTES};
use crate::codec::{self, DecodeError};
use crate::testing::{samples, unhex};

const GOLDEN: &str = include_str!("../../testdata/golden-messages.txt");

fn golden() -> BTreeMap<&'static str, Vec<u8>> {
    GOLDEN
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .map(|(name, hex)| (name, unhex(hex)))
        .collect()
}

/// Every message, as the golden file names it.
fn encoded() -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for (name, request) in samples::requests() {
        all.insert(
            format!("request/{name}"),
            codec::encode(&request).unwrap().to_vec(),
        );
    }
    for (name, followup) in samples::followups() {
        all.insert(
            format!("followup/{name}"),
            codec::encode(&followup).unwrap().to_vec(),
        );
    }
    for (name, reply) in samples::replies() {
        all.insert(
            format!("reply/{name}"),
            codec::encode(&reply).unwrap().to_vec(),
        );
    }
    for (name, statement) in samples::statements() {
        all.insert(format!("statement/{name}"), statement);
    }
    let leaf = LeafIndex::of(
        &FleetId::new([1; 32]),
        &AccountName::parse("alice").unwrap(),
    );
    all.insert("leaf-index/alice".to_owned(), leaf.as_bytes().to_vec());
    all
}

/// The bytes of every message are fixed: `docs/vault-protocol.md`. When a change is meant, the test
/// prints the new file.
#[test]
fn the_bytes_of_every_message_are_fixed() {
    let golden = golden();
    let now = encoded();
    let differs = now.len() != golden.len()
        || now
            .iter()
            .any(|(name, bytes)| golden.get(name.as_str()) != Some(bytes));
    if differs {
        for (name, bytes) in &now {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            std::println!("{name} {hex}");
        }
        panic!("the golden messages differ; the file that would match is printed above");
    }
}

fn decodes(name: &str, bytes: &[u8]) -> bool {
    if name.starts_with("request/") {
        codec::decode::<Request>(bytes).is_ok()
    } else if name.starts_with("followup/") {
        codec::decode::<Followup>(bytes).is_ok()
    } else {
        codec::decode::<Reply>(bytes).is_ok()
    }
}

/// A1: every truncation and every byte too many is refused.
#[test]
fn messages_read_back_and_no_part_of_one_is_a_message() {
    for (name, bytes) in golden() {
        if name.starts_with("statement/") || name.starts_with("leaf-index/") {
            continue;
        }
        assert!(decodes(name, &bytes), "{name}");
        for length in 0..bytes.len() {
            assert!(!decodes(name, &bytes[..length]), "{name} cut to {length}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(!decodes(name, &longer), "{name} and a byte");
    }
}

/// A1: a changed byte is refused or another message, and encodes to itself.
#[test]
fn a_changed_byte_never_panics_and_never_makes_a_second_encoding() {
    for (name, bytes) in golden() {
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= flip;
                if let Ok(message) = codec::decode::<Request>(&changed) {
                    assert_eq!(codec::encode(&message).unwrap()[..], changed, "{name}");
                }
                if let Ok(message) = codec::decode::<Followup>(&changed) {
                    assert_eq!(codec::encode(&message).unwrap()[..], changed, "{name}");
                }
                if let Ok(message) = codec::decode::<Reply>(&changed) {
                    assert_eq!(codec::encode(&message).unwrap()[..], changed, "{name}");
                }
            }
        }
    }
}

/// The greatest message of each kind fits its body: so no honest core or client ever fails to seal.
#[test]
fn the_greatest_messages_fit_their_bodies() {
    for (name, request) in samples::requests() {
        assert!(
            codec::encode_padded(&request, FIRST_BODY_BYTES).is_ok(),
            "{name}"
        );
    }
    for (name, followup) in samples::followups() {
        assert!(
            codec::encode_padded(&followup, SECOND_BODY_BYTES).is_ok(),
            "{name}"
        );
    }
    for (name, mut reply) in samples::replies() {
        reply.standing = samples::greatest_standing();
        assert!(
            codec::encode_padded(&reply, REPLY_BODY_BYTES).is_ok(),
            "{name}"
        );
    }
}

#[test]
fn padding_lengths_and_other_encodings_are_refused() {
    let request = Request::Status { device: None };
    let body = codec::encode_padded(&request, 64).unwrap();
    assert_eq!(codec::decode_padded::<Request>(&body), Ok(request));
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut body = body.to_vec();
        change(&mut body);
        codec::decode_padded::<Request>(&body).unwrap_err()
    };
    assert_eq!(refused(&|body| body[63] = 1), DecodeError::Padding);
    assert_eq!(refused(&|body| body[0] = 0xff), DecodeError::Truncated);
    assert_eq!(refused(&|body| body.truncate(1)), DecodeError::Truncated);
    assert_eq!(refused(&|body| body[1] -= 1), DecodeError::Padding);
    assert_eq!(refused(&|body| body[1] += 1), DecodeError::NotCanonical);
    assert_eq!(refused(&|body| body[1] = 0), DecodeError::Padding);
    assert!(codec::encode_padded(&Request::Status { device: None }, 4).is_err());
    // A number written longer than it need be: 0 as 0x1800.
    assert_eq!(
        codec::decode::<super::Generation>(&[0x18, 0x00]),
        Err(DecodeError::NotCanonical)
    );
}

#[test]
fn an_account_has_a_name_of_1_to_255_bytes_without_control_characters() {
    assert_eq!(AccountName::parse(""), Err(AccountError::Empty));
    assert!(AccountName::parse(&"a".repeat(255)).is_ok());
    let long = "a".repeat(256);
    assert_eq!(
        AccountName::parse(&long),
        Err(AccountError::TooLong { bytes: 256 })
    );
    for bad in ["a\nb", "\0", "a\u{7f}", "\u{85}"] {
        assert_eq!(AccountName::parse(bad), Err(AccountError::ControlCharacter));
    }
    let fleet = FleetId::new([1; 32]);
    let (one, two) = ("alice", "alicf");
    let leaf = |name| LeafIndex::of(&fleet, &AccountName::parse(name).unwrap());
    assert_ne!(leaf(one), leaf(two));
    assert_ne!(
        leaf(one),
        LeafIndex::of(&FleetId::new([2; 32]), &AccountName::parse(one).unwrap())
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// A1: no decoder panics on random bytes.
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        let _ = codec::decode::<Request>(&bytes);
        let _ = codec::decode::<Followup>(&bytes);
        let _ = codec::decode::<Reply>(&bytes);
        let _ = codec::decode_padded::<Request>(&bytes);
        let _ = codec::decode_padded::<Reply>(&bytes);
        let _ = crate::channel::Conversation::decode(&bytes);
        let _ = crate::channel::Awaiting::decode(&bytes);
    }
}
