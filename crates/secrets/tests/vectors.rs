//! The test kit's vectors of 64-digit keys and their repairs.
#![expect(clippy::panic, reason = "a test that cannot go on must fail")]

use keyhaven_secrets::typos::{RepairError, repair};
use keyhaven_secrets::{BackupKey, DigitsError, Typo};
use keyhaven_testkit::keys::Vector;

/// The key in hexadecimal, read by the test's own hand.
fn key(vector: &Vector) -> BackupKey {
    let digits = vector.value("key").unwrap_or_default();
    let mut key = [0; 32];
    for (byte, pair) in key.iter_mut().zip(digits.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).unwrap_or_default();
        *byte = u8::from_str_radix(pair, 16).unwrap_or_default();
    }
    BackupKey::from_bytes(key)
}

#[test]
fn digits_are_read_and_refused_as_the_vectors_say() {
    for vector in Vector::all("digits") {
        let name = vector.name();
        let at = vector.number("at").unwrap_or_default();
        let found = vector.number("found").unwrap_or_default();
        let expected = match vector.outcome() {
            "ok" => Ok(key(&vector)),
            "not-a-digit" => Err(DigitsError::NotADigit { position: at }),
            "wrong-length" => Err(DigitsError::WrongLength { found }),
            other => panic!("{name}: no such outcome: {other}"),
        };
        assert_eq!(BackupKey::parse_digits(&vector.typed()), expected, "{name}");
    }
}

#[test]
fn mistakes_are_repaired_and_refused_as_the_vectors_say() {
    for vector in Vector::all("repair") {
        let name = vector.name();
        let right = key(&vector);
        let at = vector.number("at");
        match (
            vector.outcome(),
            repair(&vector.typed(), |candidate| *candidate == right),
        ) {
            ("ok", Ok(repaired)) => {
                assert!(repaired.key == right, "{name}");
                assert_eq!(repaired.typo, None, "{name}");
            }
            ("repaired", Ok(repaired)) => {
                assert!(repaired.key == right, "{name}");
                assert_eq!(repaired.typo.map(place), at, "{name}");
            }
            ("too-far", Err(RepairError::TooFar { found, .. })) => {
                assert_eq!(Some(found), vector.number("found"), "{name}");
            }
            ("none-opens", Err(RepairError::NoneOpens)) => {}
            (outcome, got) => panic!("{name}: {outcome} is due, and it was {got:?}"),
        }
    }
}

fn place(typo: Typo) -> usize {
    match typo {
        Typo::Changed { position }
        | Typo::Swapped { position }
        | Typo::Missing { position }
        | Typo::Extra { position } => position,
        other => panic!("no such mistake: {other:?}"),
    }
}
