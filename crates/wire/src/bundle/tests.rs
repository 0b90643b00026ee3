//! A bundle opens exactly when the pinned operator signed it, now, for this fleet, above the floor.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::*;
use crate::channel::ChannelKey;

fn operator() -> OperatorSecret {
    OperatorSecret::from_bytes([7; 32])
}

fn bundle() -> Bundle {
    Bundle {
        fleet: FleetId::new([0xab; 32]),
        serial: 12,
        issued: UnixSeconds(1_800_000_000),
        expires: UnixSeconds(1_800_086_400),
        operator: operator().public(),
        channel_key: ChannelKey::new([2; 32]).public(),
        log_key: Some([9; 32]),
        group: Group {
            members: 3,
            quorum: 2,
            rollbacks: 0,
        },
        guesses: 10,
        lifetime_guesses: 100,
        measurement: Measurement::Sha384([5; 48]),
    }
}

fn trust() -> Trust {
    Trust::pinned(operator().public().pin())
}

fn open(bundle: &Bundle, trust: &Trust) -> Result<Bundle, BundleError> {
    Bundle::open(
        &bundle.sign(&operator()).unwrap(),
        trust,
        UnixSeconds(1_800_000_001),
    )
}

#[test]
fn what_was_signed_is_what_opens() {
    let plain = Bundle {
        log_key: None,
        measurement: Measurement::None,
        ..bundle()
    };
    for bundle in [bundle(), plain] {
        assert_eq!(open(&bundle, &trust()).unwrap(), bundle);
    }
}

#[test]
fn another_operator_is_refused_by_the_pin() {
    let other = OperatorSecret::from_bytes([8; 32]);
    let theirs = Bundle {
        operator: other.public(),
        ..bundle()
    };
    let note = theirs.sign(&other).unwrap();
    assert_eq!(
        Bundle::open(&note, &trust(), UnixSeconds(1_800_000_001)),
        Err(BundleError::Pin)
    );
    assert_eq!(bundle().sign(&other), Err(BundleError::Operator));
}

#[test]
fn every_flipped_byte_of_the_text_is_refused() {
    let note = bundle().sign(&operator()).unwrap();
    for at in 0..note.len() {
        let mut bytes = note.clone().into_bytes();
        bytes[at] ^= 0x01;
        let Ok(bent) = String::from_utf8(bytes) else {
            continue;
        };
        let opened = Bundle::open(&bent, &trust(), UnixSeconds(1_800_000_001));
        assert!(opened.is_err(), "byte {at} of the note may be bent unseen");
    }
}

#[test]
fn every_truncation_is_refused() {
    let note = bundle().sign(&operator()).unwrap();
    for (end, _) in note.char_indices() {
        assert!(Bundle::open(&note[..end], &trust(), UnixSeconds(1_800_000_001)).is_err());
    }
}

#[test]
fn a_witness_signature_is_ignored_and_a_second_bad_one_of_the_operator_is_not() {
    let note = bundle().sign(&operator()).unwrap();
    let witnessed = format!("{note}\u{2014} witness.example/w1 AAAAAAECAwQ=\n");
    assert!(Bundle::open(&witnessed, &trust(), UnixSeconds(1_800_000_001)).is_ok());

    let line = note.lines().last().unwrap().to_owned();
    let bent = format!("{note}{}AAAA\n", &line[..line.len() - 4]);
    assert!(Bundle::open(&bent, &trust(), UnixSeconds(1_800_000_001)).is_err());
}

#[test]
fn time_bounds_a_bundle_on_both_sides() {
    let note = bundle().sign(&operator()).unwrap();
    let at = |seconds| Bundle::open(&note, &trust(), UnixSeconds(seconds)).map(|_| ());
    let expires = bundle().expires;
    assert_eq!(at(expires.0 - 1), Ok(()));
    assert_eq!(at(expires.0), Err(BundleError::Expired { expires }));
    let issued = bundle().issued;
    assert_eq!(at(issued.0 - CLOCK_SKEW_SECONDS), Ok(()));
    assert_eq!(
        at(issued.0 - CLOCK_SKEW_SECONDS - 1),
        Err(BundleError::NotYet { issued })
    );
}

#[test]
fn an_operator_reads_its_own_bundle_whatever_its_date() {
    let note = bundle().sign(&operator()).unwrap();
    assert_eq!(Bundle::own(&note, &operator()), Ok(bundle()));
    let other = OperatorSecret::from_bytes([8; 32]);
    assert_eq!(Bundle::own(&note, &other), Err(BundleError::Signature));
}

#[test]
fn a_bundle_older_than_one_seen_is_refused() {
    let seen = Seen {
        fleet: bundle().fleet,
        serial: 12,
    };
    assert!(open(&bundle(), &trust().after(seen)).is_ok());
    let seen = Seen { serial: 13, ..seen };
    assert_eq!(
        open(&bundle(), &trust().after(seen)),
        Err(BundleError::Older {
            serial: 12,
            seen: 13
        })
    );
    let seen = Seen {
        fleet: FleetId::new([1; 32]),
        serial: 1,
    };
    assert_eq!(
        open(&bundle(), &trust().after(seen)),
        Err(BundleError::OtherFleet)
    );
}

/// VAULT-1: a fleet cannot talk a client into more guesses than ten.
#[test]
fn a_budget_above_ten_or_of_none_is_refused() {
    for guesses in [0, 11, 255] {
        let bundle = Bundle {
            guesses,
            ..bundle()
        };
        assert_eq!(
            open(&bundle, &trust()),
            Err(BundleError::Budget { guesses })
        );
    }
}

#[test]
fn a_group_that_breaks_the_quorum_rule_or_the_floor_is_refused() {
    let group = |members, quorum, rollbacks| Group {
        members,
        quorum,
        rollbacks,
    };
    for unsound in [
        group(0, 0, 0),
        group(3, 1, 0),
        group(2, 1, 0),
        group(3, 4, 0),
        group(3, 2, 1),
    ] {
        let bundle = Bundle {
            group: unsound,
            ..bundle()
        };
        assert_eq!(
            open(&bundle, &trust()),
            Err(BundleError::Group { group: unsound })
        );
    }
    for shipped in [
        group(1, 1, 0),
        group(3, 2, 0),
        group(5, 4, 1),
        group(7, 5, 2),
    ] {
        assert!(
            open(
                &Bundle {
                    group: shipped,
                    ..bundle()
                },
                &trust()
            )
            .is_ok()
        );
    }
    let weak = Bundle {
        group: group(1, 1, 0),
        ..bundle()
    };
    assert!(open(&weak, &trust().at_least(group(3, 2, 0))).is_err());
}

#[test]
fn another_spelling_of_the_same_bundle_is_refused_although_signed() {
    let text = text::encode(&bundle());
    for (from, to) in [
        ("serial 12", "serial +12"),
        ("serial 12", "serial 012"),
        ("fleet abab", "fleet ABab"),
        ("n=3 q=2 f=0", "n=3 q=2 f=0 x"),
        ("guesses 10\n", "guesses 10\nguesses 10\n"),
        ("log ed25519", "log  ed25519"),
    ] {
        let note = operator().sign_note(&text.replacen(from, to, 1));
        let opened = Bundle::open(&note, &trust(), UnixSeconds(1_800_000_001));
        assert!(
            matches!(opened, Err(BundleError::Malformed { .. })),
            "{to}: {opened:?}"
        );
    }
}

#[test]
fn an_address_reads_back_and_a_damaged_one_does_not() {
    let pin = operator().public().pin();
    let address = VaultAddress::new("http://127.0.0.1:7420/", pin).unwrap();
    let text = address.to_string();
    assert_eq!(text.parse::<VaultAddress>().unwrap(), address);
    assert_eq!(
        text.to_uppercase()
            .replace("HTTP", "http")
            .parse::<VaultAddress>()
            .unwrap(),
        address
    );
    assert_eq!(address.origin(), "http://127.0.0.1:7420");
    for (wrong, error) in [
        ("http://127.0.0.1:7420/", AddressError::NoPin),
        ("http://127.0.0.1:7420/#", AddressError::Pin),
        (&text[..text.len() - 1], AddressError::Pin),
        (&text.replace("http:", "ftp:"), AddressError::Scheme),
        (&text.replace("127.0.0.1:7420", "a@b"), AddressError::Host),
        (&text.replace("/#", "/path/#"), AddressError::Host),
    ] {
        assert_eq!(wrong.parse::<VaultAddress>(), Err(error), "{wrong}");
    }
}

#[test]
fn a_pin_has_one_spelling() {
    for byte in [0, 1, 0x55, 0xaa, 0xff] {
        let pin = Pin::from_bytes([byte; 32]);
        let text = pin.to_string();
        assert_eq!(text.len(), 52);
        assert_eq!(text.parse::<Pin>().unwrap(), pin);
    }
    // RFC 4648: thirty-two zero bytes are 52 times `a`; a last letter with spare bits set is none.
    assert_eq!(Pin::from_bytes([0; 32]).to_string(), "a".repeat(52));
    assert!(format!("{}b", "a".repeat(51)).parse::<Pin>().is_err());
}

/// The text, to the byte: other implementations read it.
#[test]
fn the_text_of_a_bundle_is_fixed() {
    let text = text::encode(&bundle());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "keyhaven vault bundle v1");
    assert_eq!(lines[1], format!("fleet {}", "ab".repeat(32)));
    assert_eq!(lines[2], "serial 12");
    assert_eq!(lines[3], "issued 1800000000");
    assert_eq!(lines[4], "expires 1800086400");
    assert!(lines[5].starts_with("operator ed25519 "));
    assert!(lines[6].starts_with("channel x-wing "));
    assert!(lines[7].starts_with("log ed25519 CQkJ"));
    assert_eq!(lines[8], "group n=3 q=2 f=0");
    assert_eq!(lines[9], "guesses 10");
    assert_eq!(lines[10], "lifetime-guesses 100");
    assert_eq!(lines[11], format!("measurement sha384 {}", "05".repeat(48)));
    assert_eq!(lines.len(), 12);
}
