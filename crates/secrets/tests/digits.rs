//! The 64-digit form: what is read, what is refused, and which typing mistakes are repaired.
#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a test that cannot go on must fail"
)]

use keyhaven_secrets::typos::{RepairError, repair};
use keyhaven_secrets::{BackupKey, DigitsError, Remedy, Typo};
use keyhaven_testkit::entropy::SeededEntropy;
use proptest::prelude::*;

const SHOWN: &str =
    "0001 0203 0405 0607 0809 0a0b 0c0d 0e0f 1011 1213 1415 1617 1819 1a1b 1c1d 1e1f";

fn counting() -> BackupKey {
    BackupKey::from_bytes(std::array::from_fn(|i| u8::try_from(i).unwrap()))
}

fn opens(right: &BackupKey) -> impl FnMut(&BackupKey) -> bool + '_ {
    move |candidate| candidate == right
}

/// The golden form. It is on paper in drawers: it never changes.
#[test]
fn the_digits_stand_in_sixteen_groups_of_four() {
    assert_eq!(counting().digits().to_string(), SHOWN);
    assert_eq!(counting().digits().groups().count(), 16);
    let lines: Vec<String> = counting()
        .digits()
        .lines()
        .map(|line| line.to_string())
        .collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines.join(" "), SHOWN);
}

#[test]
fn any_case_and_any_spacing_are_read() {
    let plain = SHOWN.replace(' ', "");
    for typed in [
        plain.clone(),
        plain.to_uppercase(),
        format!("  {SHOWN}\r\n"),
        SHOWN.replace(' ', "\n"),
        SHOWN.replace(' ', "-"),
        SHOWN.replace(' ', " \u{2014} "),
        SHOWN.replace(' ', "\u{a0}"),
        format!("\u{feff}{}", SHOWN.replace(' ', "\u{200b}")),
    ] {
        assert!(
            BackupKey::parse_digits(&typed).unwrap() == counting(),
            "{typed:?}"
        );
    }
}

#[test]
fn anything_else_is_refused_by_place() {
    let plain = SHOWN.replace(' ', "");
    let refused = |typed: &str| BackupKey::parse_digits(typed).unwrap_err();
    assert_eq!(refused(""), DigitsError::WrongLength { found: 0 });
    assert_eq!(refused(&plain[1..]), DigitsError::WrongLength { found: 63 });
    assert_eq!(
        refused(&format!("{plain}0")),
        DigitsError::WrongLength { found: 65 }
    );
    assert_eq!(
        refused(&"0".repeat(10_000)),
        DigitsError::WrongLength { found: 10_000 }
    );
    assert_eq!(
        refused(&plain.replacen('0', "o", 1)),
        DigitsError::NotADigit { position: 1 }
    );
    assert_eq!(
        refused(&plain.replace("1f", "1g")),
        DigitsError::NotADigit { position: 64 }
    );
    assert_eq!(refused("0x00"), DigitsError::NotADigit { position: 2 });
    // A digit of another script and a full-width digit are not digits of the key.
    assert_eq!(refused("\u{663}"), DigitsError::NotADigit { position: 1 });
    assert_eq!(refused("\u{ff10}"), DigitsError::NotADigit { position: 1 });
    assert_eq!(refused("").remedy(), Remedy::AskUser);
}

#[test]
fn neighbours_are_all_changes_and_then_all_swaps() {
    let key = counting();
    let neighbours: Vec<_> = key.neighbours().collect();
    let changed = neighbours
        .iter()
        .filter(|n| matches!(n.typo, Typo::Changed { .. }))
        .count();
    assert_eq!(changed, 64 * 15);
    let digits: Vec<char> = SHOWN.replace(' ', "").chars().collect();
    let unequal = digits.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert_eq!(neighbours.len() - changed, unequal);
    assert!(neighbours.iter().all(|n| n.key != key));
    let distinct: std::collections::BTreeSet<[u8; 32]> =
        neighbours.iter().map(|n| *n.key.expose()).collect();
    assert_eq!(distinct.len(), neighbours.len());
}

#[test]
fn a_key_typed_right_is_taken_as_it_is() {
    let mut calls = 0;
    let repaired = repair(SHOWN, |candidate| {
        calls += 1;
        *candidate == counting()
    })
    .unwrap();
    assert_eq!((repaired.typo, calls), (None, 1));
}

#[test]
fn an_unreadable_digit_is_filled_in() {
    let typed = SHOWN.replacen("0203", "o203", 1);
    let repaired = repair(&typed, opens(&counting())).unwrap();
    assert!(repaired.key == counting());
    assert_eq!(repaired.typo, Some(Typo::Changed { position: 5 }));
}

#[test]
fn a_key_of_something_else_is_said_to_be_so() {
    let mut calls = 0;
    let refused = repair(SHOWN, |_| {
        calls += 1;
        false
    });
    assert_eq!(refused.unwrap_err(), RepairError::NoneOpens);
    assert!(calls <= 1088, "{calls} candidates");
    assert_eq!(RepairError::NoneOpens.remedy(), Remedy::AskUser);
}

#[test]
fn what_is_two_mistakes_away_is_not_tried() {
    let plain = SHOWN.replace(' ', "");
    let far = |typed: &str| repair(typed, |_| panic!("no candidate is tried")).unwrap_err();
    assert_eq!(
        far("my dog's name"),
        RepairError::TooFar {
            found: 11,
            unreadable: 8
        }
    );
    assert_eq!(
        far(&plain[2..]),
        RepairError::TooFar {
            found: 62,
            unreadable: 0
        }
    );
    assert_eq!(
        far(&format!("{plain}00")),
        RepairError::TooFar {
            found: 66,
            unreadable: 0
        }
    );
    assert_eq!(
        far(&plain.replace("1e1f", "xyz1")),
        RepairError::TooFar {
            found: 64,
            unreadable: 3
        }
    );
    assert_eq!(
        far(&"0".repeat(100_000)),
        RepairError::TooFar {
            found: 100_000,
            unreadable: 0
        }
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn shown_digits_read_back(seed: u64, upper: bool, spaces in proptest::collection::vec(0usize..79, 0..20)) {
        let key = BackupKey::generate(&mut SeededEntropy::new(seed));
        let mut typed = key.digits().to_string();
        for at in spaces {
            typed.insert(at, ' ');
        }
        if upper {
            typed = typed.to_uppercase();
        }
        prop_assert!(BackupKey::parse_digits(&typed).unwrap() == key);
    }

    #[test]
    fn no_text_makes_the_parser_panic(typed in ".{0,200}") {
        let parsed = BackupKey::parse_digits(&typed);
        let hexadecimal = typed.chars().filter(char::is_ascii_hexdigit).count();
        prop_assert!(parsed.is_err() || hexadecimal == 64);
        let _ = repair(&typed, |_| false);
    }

    /// Whatever single mistake is made, the right key is found, and it is said where.
    #[test]
    fn any_one_mistake_is_repaired(seed: u64, at in 0usize..63, to in 0u8..16, kind in 0u8..4) {
        let key = BackupKey::generate(&mut SeededEntropy::new(seed));
        let mut typed: Vec<char> = key.digits().to_string().replace(' ', "").chars().collect();
        let digit = char::from_digit(u32::from(to), 16).unwrap();
        match kind {
            0 => typed[at] = digit,
            1 => typed.swap(at, at + 1),
            2 => typed.insert(at, digit),
            _ => drop(typed.remove(at)),
        }
        let typed: String = typed.into_iter().collect();
        let repaired = repair(&typed, opens(&key)).unwrap();
        prop_assert!(repaired.key == key);
        prop_assert_eq!(repaired.typo.is_none(), BackupKey::parse_digits(&typed).is_ok_and(|k| k == key));
    }
}
