//! The backup key, its derived keys and what they never show.

use keyhaven_secrets::{
    BackupKey, DerivedKey, Entropy, KeyFingerprint, Label, Password, PasswordError, Remedy, random,
};
use keyhaven_testkit::entropy::SeededEntropy;

fn wiped<T: zeroize::ZeroizeOnDrop>() {}

fn hex(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(bytes)
}

#[test]
fn every_secret_type_is_wiped_when_it_is_dropped() {
    wiped::<BackupKey>();
    wiped::<DerivedKey>();
    wiped::<Password>();
    wiped::<keyhaven_secrets::Digits>();
}

/// BACKUP-3: no secret reaches a log through `Debug`.
#[test]
fn debug_shows_nothing_of_a_secret() {
    let key = BackupKey::from_bytes([0xab; 32]);
    assert_eq!(format!("{key:?}"), "BackupKey(redacted)");
    assert_eq!(format!("{:?}", key.digits()), "Digits(redacted)");
    assert_eq!(
        format!("{:?}", key.derive(Label::WrapKeyring, b"")),
        "DerivedKey(redacted)"
    );
    assert_eq!(
        format!("{:?}", Password::parse("hunter2").unwrap()),
        "Password(redacted)"
    );
    let neighbour = key.neighbours().next().unwrap();
    assert!(format!("{neighbour:?}").contains("BackupKey(redacted)"));
}

#[test]
fn a_generated_key_is_what_the_entropy_gave() {
    let key = BackupKey::generate(&mut SeededEntropy::new(7));
    assert_eq!(key.expose(), &random::<32>(&mut SeededEntropy::new(7)));
    assert!(key == BackupKey::from_bytes(*key.expose()));
    assert!(key != BackupKey::generate(&mut SeededEntropy::new(8)));
}

#[test]
fn entropy_passes_through_references_and_boxes() {
    let mut source = SeededEntropy::new(3);
    let mut boxed: Box<dyn Entropy> = Box::new(SeededEntropy::new(3));
    let mut by_reference = [0; 16];
    let source: &mut dyn Entropy = &mut source;
    source.fill(&mut by_reference);
    let mut by_box = [0; 16];
    boxed.fill(&mut by_box);
    assert_eq!(by_reference, by_box);
    assert_eq!(random::<16>(&mut boxed), random::<16>(source));
}

/// RFC 5869, appendix A.1, through the same crate: the label's string is HKDF's `info`.
#[test]
fn derivation_is_hkdf_sha256_with_the_label_as_info() {
    // Computed with Python's `hmac` module, independently of this code.
    let key = BackupKey::from_bytes(std::array::from_fn(|i| u8::try_from(i).unwrap()));
    let salt: Vec<u8> = (0x60..0x80).collect();
    let derived: Vec<String> = Label::ALL
        .iter()
        .map(|label| hex(key.derive(*label, &salt).expose()))
        .collect();
    assert_eq!(derived, KNOWN_SALTED);
    let derived: Vec<String> = Label::ALL
        .iter()
        .map(|label| hex(key.derive(*label, b"").expose()))
        .collect();
    assert_eq!(derived, KNOWN_UNSALTED);
}

#[test]
fn no_two_labels_share_a_domain_string() {
    let mut domains: Vec<&str> = Label::ALL.iter().map(|label| label.domain()).collect();
    assert!(
        domains
            .iter()
            .all(|domain| domain.starts_with("keyhaven v1 "))
    );
    domains.sort_unstable();
    domains.dedup();
    assert_eq!(domains.len(), Label::ALL.len());
}

#[test]
fn a_fingerprint_names_a_key_and_reads_back() {
    let key = BackupKey::from_bytes([1; 32]);
    let name = key.fingerprint();
    assert_ne!(name, BackupKey::from_bytes([2; 32]).fingerprint());
    assert_eq!(KeyFingerprint::from_bytes(*name.as_bytes()), name);
    assert!(name.to_string().starts_with("kf-"));
    assert_eq!(name.to_string().len(), 15);
    let counting = BackupKey::from_bytes(std::array::from_fn(|i| u8::try_from(i).unwrap()));
    assert_eq!(counting.fingerprint().to_string(), "kf-52b0fcbdc044");
}

/// RFC 8265, section 4.3, table 3.
#[test]
fn a_password_is_normalised_as_rfc_8265_says() {
    let bytes = |typed: &str| Password::parse(typed).unwrap().expose_bytes().to_vec();
    assert_eq!(
        bytes("correct horse battery staple"),
        b"correct horse battery staple"
    );
    assert_eq!(
        bytes("Correct Horse Battery Staple"),
        b"Correct Horse Battery Staple"
    );
    assert_eq!(
        bytes("\u{3c0}\u{df}\u{e5}"),
        "\u{3c0}\u{df}\u{e5}".as_bytes()
    );
    assert_eq!(bytes("Jack of \u{2666}s"), "Jack of \u{2666}s".as_bytes());
    assert_eq!(bytes("foo\u{1680}bar"), b"foo bar");
    assert_eq!(Password::parse("").unwrap_err(), PasswordError::Empty);
    assert_eq!(
        Password::parse("my cat is a \u{9}by").unwrap_err(),
        PasswordError::Disallowed
    );
}

#[test]
fn the_same_word_composed_or_not_is_the_same_password() {
    let composed = Password::parse("caf\u{e9}").unwrap();
    let decomposed = Password::parse("cafe\u{301}").unwrap();
    assert!(composed == decomposed);
    assert!(composed != Password::parse("cafe").unwrap());
}

#[test]
fn a_password_has_a_bounded_length() {
    assert!(Password::parse(&"a".repeat(1024)).is_ok());
    assert_eq!(
        Password::parse(&"a".repeat(1025)).unwrap_err(),
        PasswordError::TooLong
    );
    // U+0344 decomposes and composes to two characters: normalising can make text longer.
    let grows = "\u{344}".repeat(512);
    assert_eq!(Password::parse(&grows).unwrap_err(), PasswordError::TooLong);
    assert_eq!(PasswordError::TooLong.remedy(), Remedy::AskUser);
}

const KNOWN_SALTED: [&str; 4] = [
    "7a19354a381a659fffa77240912be08f32550c4641f5365e5834165b0d7acd5f",
    "b095eee35ec3c27aa3ff850165771aecf2fbecebc084d4a1522c03cb1f5a5948",
    "ed38866a636dddd152c504eae5d4c7aec193366bbe9bae7b6c839522237d598e",
    "5656dc0dc2b4427ebfcb88a89cbe17698ef6140bbd9e85f5afff7ee108c6b33d",
];

const KNOWN_UNSALTED: [&str; 4] = [
    "b69ed805c4a657aa9c0909107ae72d8be72976cae142e85bb199d8f9f540b66c",
    "52b0fcbdc044a852cace7597d5ef1135721eb047a7345a972518e7fbad7713e7",
    "276a49a1c628349e5cb3a946e2c31f7b6b3c6f11ce1ef786a5949b6c38c0daab",
    "e1fcea28976e4b8ec965ae402be627e2973b839ad7b7c641e76dfa0e8de73677",
];
