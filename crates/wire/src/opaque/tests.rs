//! What this suite refuses, and that both halves meet.

use alloc::format;

use keyhaven_secrets::Entropy;
use proptest::prelude::*;

use super::client::{login_finish, login_start, register_finish, register_start};
use super::server::{GenerationKeys, Pending, check_upload};
use super::{
    Cost, Ke1, Ke2, Ke3, OpaqueError, Parties, RegistrationRequest, RegistrationResponse,
    RegistrationUpload,
};
use crate::message::{AttemptNumber, FleetId, LeafIndex};
use crate::testing::Seeded;

const PASSWORD: &[u8] = b"correct horse battery";

fn cost() -> Cost {
    Cost::parse(8, 1, 1).unwrap()
}

fn parties() -> Parties {
    Parties {
        fleet: FleetId::new([1; 32]),
        leaf: LeafIndex::new([2; 32]),
    }
}

fn registered(entropy: &mut dyn Entropy) -> (GenerationKeys, RegistrationUpload) {
    let keys = GenerationKeys::draw(entropy).unwrap();
    let (state, request) = register_start(PASSWORD, entropy).unwrap();
    let response = keys.evaluate(&parties(), &request).unwrap();
    let done = register_finish(&state, PASSWORD, &response, &cost(), &parties(), entropy).unwrap();
    (keys, done.upload)
}

#[test]
fn both_halves_agree_under_the_default_cost() {
    let mut entropy = Seeded::new(1);
    let keys = GenerationKeys::draw(&mut entropy).unwrap();
    let cost = Cost::DEFAULT;
    let (state, request) = register_start(PASSWORD, &mut entropy).unwrap();
    let response = keys.evaluate(&parties(), &request).unwrap();
    let done =
        register_finish(&state, PASSWORD, &response, &cost, &parties(), &mut entropy).unwrap();
    let (login, ke1) = login_start(PASSWORD, &mut entropy).unwrap();
    let attempt = AttemptNumber::new(1);
    let (ke2, pending) = keys
        .respond(&parties(), &done.upload, &cost, attempt, &ke1)
        .unwrap();
    let logged_in = login_finish(&login, PASSWORD, &ke2, &cost, &parties(), &mut entropy).unwrap();
    assert_eq!(logged_in.export, done.export);
    let proven = pending
        .prove(&crate::suite::Standard, &logged_in.ke3)
        .unwrap();
    assert_eq!(proven.session(), &logged_in.session);
}

/// VAULT-2: KE2 is a function of the generation's secret, the attempt and KE1.
#[test]
fn ke2_is_the_same_for_the_same_guess_and_another_for_any_other() {
    let mut entropy = Seeded::new(2);
    let (keys, upload) = registered(&mut entropy);
    let (_, ke1) = login_start(PASSWORD, &mut entropy).unwrap();
    let (_, other) = login_start(PASSWORD, &mut entropy).unwrap();
    let respond = |attempt, ke1: &Ke1| {
        keys.respond(
            &parties(),
            &upload,
            &cost(),
            AttemptNumber::new(attempt),
            ke1,
        )
        .unwrap()
        .0
    };
    assert_eq!(respond(1, &ke1), respond(1, &ke1));
    // All that may be alike is the evaluation, which has no randomness: the first 32 bytes.
    let nonces = |ke2: Ke2| ke2.as_bytes()[32..].to_vec();
    assert_ne!(nonces(respond(1, &ke1)), nonces(respond(2, &ke1)));
    assert_ne!(nonces(respond(1, &ke1)), nonces(respond(1, &other)));
}

#[test]
fn a_wrong_password_another_account_another_fleet_and_another_cost_do_not_open() {
    let mut entropy = Seeded::new(3);
    let (keys, upload) = registered(&mut entropy);
    let elsewhere = Parties {
        leaf: LeafIndex::new([9; 32]),
        ..parties()
    };
    let other_fleet = Parties {
        fleet: FleetId::new([9; 32]),
        ..parties()
    };
    let cheaper = Cost::parse(16, 1, 1).unwrap();
    for (password, with, at) in [
        (&b"incorrect"[..], parties(), cost()),
        (PASSWORD, elsewhere, cost()),
        (PASSWORD, other_fleet, cost()),
        (PASSWORD, parties(), cheaper),
    ] {
        let (login, ke1) = login_start(password, &mut entropy).unwrap();
        let (ke2, _) = keys
            .respond(&parties(), &upload, &cost(), AttemptNumber::new(1), &ke1)
            .unwrap();
        let refused = login_finish(&login, password, &ke2, &at, &with, &mut entropy).unwrap_err();
        assert_eq!(refused, OpaqueError::WrongPassword);
    }
}

/// RFC 9807, section 10.7; RFC 9497, section 5.1: elements are validated on both sides.
#[test]
fn the_identity_and_encodings_that_are_not_canonical_are_refused() {
    let mut entropy = Seeded::new(4);
    let (keys, upload) = registered(&mut entropy);
    let identity = [0; 32];
    // The field's prime, an odd ("negative") field element, and one that is no square's image.
    let mut prime = [0xff; 32];
    (prime[0], prime[31]) = (0xed, 0x7f);
    let mut negative = [0; 32];
    negative[0] = 1;
    let all_ones = [0xff; 32];
    for bad in [identity, prime, negative, all_ones] {
        let refused = keys.evaluate(&parties(), &RegistrationRequest::new(bad));
        assert_eq!(refused, Err(OpaqueError::InvalidElement));

        let (login, ke1) = login_start(PASSWORD, &mut entropy).unwrap();
        // The blinded element, then the client's key share (after its nonce).
        for at in [0, 64] {
            let mut bytes = *ke1.as_bytes();
            bytes[at..at + 32].copy_from_slice(&bad);
            let refused = keys.respond(
                &parties(),
                &upload,
                &cost(),
                AttemptNumber::new(1),
                &Ke1::new(bytes),
            );
            assert!(matches!(refused, Err(OpaqueError::InvalidElement)));
        }
        // The evaluated element, then the server's key share.
        let (ke2, _) = keys
            .respond(&parties(), &upload, &cost(), AttemptNumber::new(1), &ke1)
            .unwrap();
        for at in [0, 224] {
            let mut bytes = *ke2.as_bytes();
            bytes[at..at + 32].copy_from_slice(&bad);
            let refused = login_finish(
                &login,
                PASSWORD,
                &Ke2::new(bytes),
                &cost(),
                &parties(),
                &mut entropy,
            );
            assert_eq!(refused.unwrap_err(), OpaqueError::InvalidElement);
        }
        // The client's public key in an upload.
        let mut bytes = *upload.as_bytes();
        bytes[..32].copy_from_slice(&bad);
        let refused = check_upload(&RegistrationUpload::new(bytes));
        assert_eq!(refused, Err(OpaqueError::InvalidElement));
    }
}

#[test]
fn a_server_that_reflects_the_clients_element_is_refused() {
    let mut entropy = Seeded::new(5);
    let (keys, upload) = registered(&mut entropy);
    let (state, request) = register_start(PASSWORD, &mut entropy).unwrap();
    let mut response = *keys.evaluate(&parties(), &request).unwrap().as_bytes();
    response[..32].copy_from_slice(request.as_bytes());
    let response = RegistrationResponse::new(response);
    let refused = register_finish(
        &state,
        PASSWORD,
        &response,
        &cost(),
        &parties(),
        &mut entropy,
    );
    assert_eq!(refused.unwrap_err(), OpaqueError::InvalidElement);

    let (login, ke1) = login_start(PASSWORD, &mut entropy).unwrap();
    let (ke2, _) = keys
        .respond(&parties(), &upload, &cost(), AttemptNumber::new(1), &ke1)
        .unwrap();
    let mut bytes = *ke2.as_bytes();
    bytes[..32].copy_from_slice(&ke1.as_bytes()[..32]);
    let refused = login_finish(
        &login,
        PASSWORD,
        &Ke2::new(bytes),
        &cost(),
        &parties(),
        &mut entropy,
    );
    assert_eq!(refused.unwrap_err(), OpaqueError::InvalidElement);
}

#[test]
fn a_decoy_is_answered_like_a_record_and_opens_for_nobody() {
    let mut entropy = Seeded::new(8);
    let keys = GenerationKeys::draw(&mut entropy).unwrap();
    let upload = super::server::decoy_upload();
    assert_eq!(check_upload(&upload), Ok(()));
    let (login, ke1) = login_start(PASSWORD, &mut entropy).unwrap();
    let one = AttemptNumber::new(1);
    let (ke2, _) = keys
        .respond(&parties(), &upload, &cost(), one, &ke1)
        .unwrap();
    let refused = login_finish(&login, PASSWORD, &ke2, &cost(), &parties(), &mut entropy);
    assert!(refused.is_err());
}

/// BACKUP-3: nothing secret is printed.
#[test]
fn debug_of_secrets_is_redacted() {
    let mut entropy = Seeded::new(6);
    let (keys, _) = registered(&mut entropy);
    assert_eq!(format!("{keys:?}"), "GenerationKeys(..)");
    let (login, _) = login_start(PASSWORD, &mut entropy).unwrap();
    assert_eq!(format!("{login:?}"), "LoginState(..)");
    assert_eq!(format!("{:?}", Pending::new([7; 128])), "Pending(..)");
}

#[test]
fn a_cost_out_of_bounds_is_no_cost() {
    assert!(Cost::DEFAULT.is_at_least(&Cost::FLOOR));
    assert!(!cost().is_at_least(&Cost::FLOOR));
    for (memory, passes, lanes) in [
        (0, 1, 1),
        (7, 1, 1),
        (8, 0, 1),
        (8, 1, 0),
        (8, 1, 2),
        (Cost::MEMORY_KIB_MAX + 1, 1, 1),
        (65_536, 17, 1),
        (65_536, 1, 17),
        (u32::MAX, u32::MAX, u32::MAX),
    ] {
        assert!(Cost::parse(memory, passes, lanes).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// A1: bytes from outside are refused or taken, and never panic.
    #[test]
    fn random_messages_never_panic(seed in any::<u64>()) {
        let mut entropy = Seeded::new(seed);
        let (keys, upload) = registered(&mut entropy);
        let (state, _) = register_start(PASSWORD, &mut entropy).unwrap();
        let (login, ke1) = login_start(PASSWORD, &mut entropy).unwrap();
        let one = AttemptNumber::new(1);
        let random_ke1 = Ke1::new(keyhaven_secrets::random(&mut entropy));
        let random_upload = RegistrationUpload::new(keyhaven_secrets::random(&mut entropy));
        let request = RegistrationRequest::new(keyhaven_secrets::random(&mut entropy));
        let response = RegistrationResponse::new(keyhaven_secrets::random(&mut entropy));
        let ke2 = Ke2::new(keyhaven_secrets::random(&mut entropy));
        let ke3 = Ke3::new(keyhaven_secrets::random(&mut entropy));
        let _ = keys.evaluate(&parties(), &request);
        let _ = keys.respond(&parties(), &upload, &cost(), one, &random_ke1);
        let _ = keys.respond(&parties(), &random_upload, &cost(), one, &ke1);
        let _ = GenerationKeys::new(keyhaven_secrets::random(&mut entropy))
            .respond(&parties(), &upload, &cost(), one, &ke1);
        // A random response can be two valid elements: then a registration for nobody comes of it.
        let _ = register_finish(&state, PASSWORD, &response, &cost(), &parties(), &mut entropy);
        prop_assert!(login_finish(&login, PASSWORD, &ke2, &cost(), &parties(), &mut entropy).is_err());
        prop_assert!(Pending::new(keyhaven_secrets::random(&mut entropy)).prove(&crate::suite::Standard, &ke3).is_err());
    }
}
