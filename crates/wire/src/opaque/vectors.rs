//! The official vectors of RFC 9807, appendix C, for this suite: two real ones and a fake one.
//!
//! The text in `testdata` is the RFC's own. Every message is made by the functions that ship; only
//! the randomness and, as in the RFC, the missing key stretching are the test's.

use alloc::borrow::ToOwned as _;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use keyhaven_secrets::Entropy;
use opaque_ke::ServerSetup;

use super::rng::FromEntropy;
use super::suite::{Bound, Stretch, Suite};
use super::{Ke1, RegistrationUpload, client, server};

const TEXT: &str = include_str!("../../testdata/rfc9807-appendix-c.txt");

/// One vector: names to bytes.
struct Vector(BTreeMap<String, Vec<u8>>);

impl Vector {
    /// The section that begins with this heading.
    fn section(heading: &str) -> Self {
        let (_, body) = TEXT.split_once(heading).unwrap();
        let until = body.find("Test Vector").unwrap_or(body.len());
        let mut values: BTreeMap<String, String> = BTreeMap::new();
        let mut name = String::new();
        for line in body[..until].lines().filter(|line| line.starts_with("   ")) {
            let line = line.trim();
            let hex = match line.split_once(':') {
                Some((key, value)) => {
                    name = key.to_owned();
                    value.trim()
                }
                None => line,
            };
            values.entry(name.clone()).or_default().push_str(hex);
        }
        let bytes = values
            .into_iter()
            .filter_map(|(name, hex)| Some((name, unhex(&hex)?)));
        Self(bytes.collect())
    }

    fn get(&self, name: &str) -> Vec<u8> {
        self.0[name].clone()
    }

    fn array<const N: usize>(&self, name: &str) -> [u8; N] {
        self.get(name).try_into().unwrap()
    }

    fn bound(&self) -> Bound {
        Bound::of_vector(
            self.0.get("client_identity").cloned(),
            self.0.get("server_identity").cloned(),
            self.get("Context"),
        )
    }

    fn setup(&self) -> ServerSetup<Suite> {
        let key = self.get("server_public_key");
        let setup = [
            self.get("oprf_seed"),
            self.get("server_private_key"),
            // Stands in for the public key of fake records, which the real ones do not use.
            key,
        ];
        ServerSetup::deserialize(&setup.concat()).unwrap()
    }

    /// The server's draws for KE2: the engine's own fake masking key first, which a record that
    /// exists does not use.
    fn server_entropy(&self) -> Script {
        Script::of([
            vec![0; 64],
            self.get("masking_nonce"),
            self.get("server_keyshare_seed"),
            self.get("server_nonce"),
        ])
    }
}

fn unhex(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = hex
        .chars()
        .map(|digit| u8::try_from(digit.to_digit(16)?).ok())
        .collect();
    Some(
        digits?
            .chunks(2)
            .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
            .collect(),
    )
}

/// Randomness that was written down. Asking for more than that fails the test.
struct Script(VecDeque<u8>);

impl Script {
    fn of(parts: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self(parts.into_iter().flatten().collect())
    }

    /// The engine draws a scalar as 64 bytes and reduces them: a canonical scalar stays itself.
    fn scalar(bytes: Vec<u8>) -> Vec<u8> {
        [bytes, vec![0; 32]].concat()
    }
}

impl Entropy for Script {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            *byte = self.0.pop_front().unwrap();
        }
    }
}

fn a_real_vector_holds(heading: &str) {
    let vector = Vector::section(heading);
    let password = vector.get("password");
    let credential = vector.get("credential_identifier");
    let (bound, setup) = (vector.bound(), vector.setup());

    let mut blind = Script::of([Script::scalar(vector.get("blind_registration"))]);
    let (state, request) = client::register_start(&password, &mut blind).unwrap();
    assert_eq!(request.as_bytes()[..], vector.get("registration_request"));
    let response = server::evaluate_bound(&setup, &credential, &request).unwrap();
    assert_eq!(response.as_bytes()[..], vector.get("registration_response"));
    let registered = client::register_finish_bound(
        &state,
        &password,
        &response,
        &Stretch::Identity,
        &bound,
        &mut Script::of([vector.get("envelope_nonce")]),
    )
    .unwrap();
    assert_eq!(
        registered.upload.as_bytes()[..],
        vector.get("registration_upload")
    );
    assert_eq!(registered.export.expose()[..], vector.get("export_key"));

    let mut draws = Script::of([
        Script::scalar(vector.get("blind_login")),
        vector.get("client_keyshare_seed"),
        vector.get("client_nonce"),
    ]);
    let (login, ke1) = client::login_start(&password, &mut draws).unwrap();
    assert_eq!(ke1.as_bytes()[..], vector.get("KE1"));
    let (ke2, pending) = server::respond_bound(
        &setup,
        &credential,
        &registered.upload,
        &ke1,
        &bound,
        &mut FromEntropy(&mut vector.server_entropy()),
    )
    .unwrap();
    assert_eq!(ke2.as_bytes()[..], vector.get("KE2"));
    let logged_in = client::login_finish_bound(
        &login,
        &password,
        &ke2,
        &Stretch::Identity,
        &bound,
        &mut Script::of([]),
    )
    .unwrap();
    assert_eq!(logged_in.ke3.as_bytes()[..], vector.get("KE3"));
    assert_eq!(logged_in.export.expose()[..], vector.get("export_key"));
    assert_eq!(logged_in.session.expose()[..], vector.get("session_key"));
    let proven = pending
        .prove(&crate::suite::Standard, &logged_in.ke3)
        .unwrap();
    assert_eq!(proven.session().expose()[..], vector.get("session_key"));
}

#[test]
fn real_vector_1_without_identities_holds() {
    a_real_vector_holds("C.1.1.  OPAQUE-3DH Real Test Vector 1");
}

#[test]
fn real_vector_2_with_identities_holds() {
    a_real_vector_holds("C.1.2.  OPAQUE-3DH Real Test Vector 2");
}

/// The RFC's fake record is a record with an envelope of zeros. This vault never fakes one (it says
/// "no record", inside the seal), so the vector checks KE2 only.
#[test]
fn fake_vector_1_holds() {
    let vector = Vector::section("C.2.1.  OPAQUE-3DH Fake Test Vector 1");
    let fake = [
        vector.get("client_public_key"),
        vector.get("masking_key"),
        vec![0; 96],
    ];
    let (ke2, _) = server::respond_bound(
        &vector.setup(),
        &vector.get("credential_identifier"),
        &RegistrationUpload::new(fake.concat().try_into().unwrap()),
        &Ke1::new(vector.array("KE1")),
        &vector.bound(),
        &mut FromEntropy(&mut vector.server_entropy()),
    )
    .unwrap();
    assert_eq!(ke2.as_bytes()[..], vector.get("KE2"));
}
