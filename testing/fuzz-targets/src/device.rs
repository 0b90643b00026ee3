//! What a device reads that came from paper, from a vault's host, or from its own disk.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signer as _, SigningKey};
use keyhaven_secrets::{BackupKey, typos};
use keyhaven_testkit::vault::{Person, VaultWorld};
use keyhaven_vault_client::{Known, PasswordVerifier, RememberedPassword};
use keyhaven_wire::bundle::{
    Bundle, Group, Measurement, OperatorSecret, Trust, UnixSeconds, VaultAddress,
};
use keyhaven_wire::channel::{Awaiting, ChannelKey, Conversation};
use keyhaven_wire::message::{FleetId, Request};

const NOW: UnixSeconds = UnixSeconds(1_800_000_001);
const SEED: [u8; 32] = [7; 32];

fn genuine() -> (Bundle, OperatorSecret) {
    let operator = OperatorSecret::from_bytes(SEED);
    let bundle = Bundle {
        fleet: FleetId::new([0xab; 32]),
        serial: 12,
        issued: UnixSeconds(1_800_000_000),
        expires: UnixSeconds(1_800_086_400),
        operator: operator.public(),
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
    };
    (bundle, operator)
}

fn note_over(text: &str, operator: &OperatorSecret) -> String {
    let vkey = operator.public().vkey();
    let mut parts = vkey.split('+');
    let (name, id) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let id = u32::from_str_radix(id, 16).unwrap_or(0).to_be_bytes();
    let signature = SigningKey::from_bytes(&SEED).sign(text.as_bytes());
    let signed = [id.as_slice(), &signature.to_bytes()].concat();
    format!("{text}\n\u{2014} {name} {}\n", BASE64.encode(signed))
}

/// A validation bundle: as it is, a note opens only if the pinned operator signed its text; signed by
/// the operator, a text is a bundle only in its one encoding. And a vault's address.
pub fn bundle(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else {
        return;
    };
    let (bundle, operator) = genuine();
    let trust = Trust::pinned(operator.public().pin());
    if let Ok(opened) = Bundle::open(text, &trust, NOW) {
        assert_eq!(opened, bundle, "a bundle that nobody signed opens");
    }
    let note = note_over(text, &operator);
    if let Ok(own) = Bundle::own(&note, &operator) {
        let again = own.sign(&operator).expect("its own operator");
        assert_eq!(again, note, "one encoding");
    }
    if let Ok(address) = text.parse::<VaultAddress>() {
        let again: VaultAddress = address.to_string().parse().expect("what is shown is read");
        assert_eq!(again.to_string(), address.to_string());
    }
}

/// A real note, its text, and texts of which each line was touched.
#[must_use]
pub fn bundle_seeds() -> Vec<Vec<u8>> {
    let (bundle, operator) = genuine();
    let note = bundle.sign(&operator).unwrap_or_default();
    let text = note.split("\n\n").next().unwrap_or_default().to_owned() + "\n";
    let mut seeds = vec![note.clone(), text.clone()];
    let lines: Vec<&str> = text.lines().collect();
    for at in 0..lines.len() {
        let mut fewer = lines.clone();
        let line = fewer.remove(at);
        seeds.push(fewer.join("\n") + "\n");
        fewer.push(line);
        seeds.push(fewer.join("\n") + "\n");
    }
    for number in ["0", "01", "+1", "-1", "18446744073709551616", ""] {
        seeds.push(text.replace("12", number));
    }
    let pin = operator.public().pin();
    for origin in [
        "http://127.0.0.1:7420",
        "https://vault.example/",
        "http:///",
        "ftp://x",
    ] {
        seeds.push(format!("{origin}/#{pin}"));
        seeds.push(format!("{origin}#{pin} "));
    }
    seeds.into_iter().map(String::into_bytes).collect()
}

/// The 64-digit key as somebody types it: what is read is shown in a form that is read as the same
/// key, and what is not read is repaired into keys that differ.
pub fn digits(bytes: &[u8]) {
    let typed = String::from_utf8_lossy(bytes);
    if let Ok(key) = BackupKey::parse_digits(&typed) {
        let shown = key.digits().to_string();
        assert!(BackupKey::parse_digits(&shown).is_ok_and(|again| again == key));
        let plain: String = shown.split(' ').collect();
        let mut meant: String = typed.chars().filter(char::is_ascii_alphanumeric).collect();
        meant.make_ascii_lowercase();
        assert_eq!(meant, plain, "the key is what was typed");
    }
    let mut asked = 0_usize;
    let _ = typos::repair(&typed, |_| {
        asked += 1;
        false
    });
    assert!(asked <= 100_000, "a repair tries a bounded number of keys");
}

/// Keys in many hands.
#[must_use]
pub fn digits_seeds() -> Vec<Vec<u8>> {
    let shown = BackupKey::from_bytes(core::array::from_fn(|at| u8::try_from(at * 7).unwrap_or(9)));
    let shown = shown.digits().to_string();
    let plain: String = shown.split(' ').collect();
    let mut seeds = vec![shown.clone(), plain.clone(), plain.to_uppercase()];
    for with in [
        "-", "\n", "\u{2003}", "\u{feff}", "\u{2212}", "  ", "o", "\0",
    ] {
        seeds.push(shown.replace(' ', with));
    }
    for at in 0..44 {
        let mut typed = plain.clone();
        typed.remove(at);
        seeds.push(typed.clone());
        typed.insert(at, ['0', 'g', 'O', 'é'][at % 4]);
        seeds.push(typed);
    }
    seeds.into_iter().map(String::into_bytes).collect()
}

/// What a device keeps between two steps and between two runs: conversations, what it awaits, the
/// remembered password, its verifier, how the record stood.
pub fn remembered(bytes: &[u8]) {
    if let Ok(kept) = Conversation::decode(bytes) {
        assert_eq!(kept.encode().expect("encodes").as_slice(), bytes);
    }
    if let Ok(kept) = Awaiting::decode(bytes) {
        assert_eq!(kept.encode().expect("encodes").as_slice(), bytes);
    }
    if let Ok(kept) = RememberedPassword::decode(bytes) {
        assert_eq!(kept.encode().as_slice(), bytes);
    }
    if let Ok(kept) = PasswordVerifier::decode(bytes) {
        assert_eq!(kept.encode().as_slice(), bytes);
    }
    if let Some(kept) = Known::decode(bytes) {
        assert_eq!(kept.encode().as_slice(), bytes);
    }
}

/// One of each that a device has kept, and each cut short at some places.
#[must_use]
pub fn remembered_seeds() -> Vec<Vec<u8>> {
    let mut world = VaultWorld::new(21);
    let alice = Person::new(&mut world, "alice");
    let (_, conversation) = alice.seal(&mut world, &Request::Status { device: None });
    let mut verifier = vec![1];
    for number in [64_u32, 1, 1] {
        verifier.extend(number.to_be_bytes());
    }
    verifier.extend([0x5a; 48]);
    let remembered = [[1; 72].as_slice(), &verifier].concat();
    let known = vec![0x84, 0x81, 1, 0x81, 2, 0x81, 3, 0x80];
    let known_flat = vec![0x84, 1, 2, 3, 0x80];
    let mut whole = vec![verifier, remembered, known, known_flat];
    whole.extend(conversation.encode().map(|bytes| bytes.to_vec()));
    let mut seeds = whole.clone();
    for bytes in whole {
        for at in (0..bytes.len()).step_by(bytes.len().div_ceil(14)) {
            seeds.push(bytes[..at].to_vec());
            let mut changed = bytes.clone();
            changed[at] ^= 0x41;
            seeds.push(changed);
        }
    }
    seeds
}
