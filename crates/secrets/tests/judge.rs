//! Which passwords are refused, and with which words.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use keyhaven_secrets::{Password, Remedy, SCORE_FLOOR, WeakReason};

fn reason(typed: &str) -> WeakReason {
    Password::parse(typed)
        .unwrap()
        .judge(&["amara@example.org", "amara"])
        .unwrap_err()
        .reason()
}

#[test]
fn common_and_guessable_passwords_are_refused_with_a_plain_reason() {
    assert_eq!(reason("123456"), WeakReason::MostCommon);
    assert_eq!(reason("password"), WeakReason::MostCommon);
    assert_eq!(reason("letmein"), WeakReason::MostCommon);
    assert_eq!(reason("P@ssw0rd"), WeakReason::LikeCommon);
    assert_eq!(reason("amara"), WeakReason::AboutAccount);
    assert_eq!(reason("Keyhaven1"), WeakReason::AboutAccount);
    assert_eq!(reason("aaaaaaaaaa"), WeakReason::Repeats);
    assert_eq!(reason("hgfedcba"), WeakReason::Sequence);
    assert_eq!(reason("13.4.1987"), WeakReason::Date);
    assert_eq!(reason("xq7"), WeakReason::TooShort);
}

#[test]
fn words_that_do_not_belong_together_are_strong() {
    for typed in [
        "correct horse battery staple",
        "walnut trapeze 4 lagoon",
        "Grüße vom Fjordpferd",
    ] {
        let strength = Password::parse(typed).unwrap().judge(&["amara"]).unwrap();
        assert!(strength.score() >= SCORE_FLOOR, "{typed}");
        assert!(strength.guesses_log10() >= 8.0, "{typed}");
    }
}

/// BACKUP-3: the refusal can be logged; it repeats nothing of what was typed.
#[test]
fn a_refusal_does_not_repeat_the_password() {
    let refused = Password::parse("dragon1987")
        .unwrap()
        .judge(&[])
        .unwrap_err();
    let said = format!("{refused} {refused:?}");
    assert!(!said.contains("dragon") && !said.contains("1987"), "{said}");
    assert_eq!(refused.remedy(), Remedy::AskUser);
}

#[test]
fn a_long_password_is_judged_in_bounded_time() {
    assert!(
        Password::parse(&"a".repeat(1024))
            .unwrap()
            .judge(&[])
            .is_err()
    );
}
