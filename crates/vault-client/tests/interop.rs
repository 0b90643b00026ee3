//! OPAQUE (RFC 9807) spoken with somebody else's implementation, in both directions: the same
//! messages, byte for byte, under the identities, the context and the stretching that a vault uses.

use keyhaven_testkit::entropy::SeededEntropy;
use keyhaven_wire::message::{AttemptNumber, FleetId, LeafIndex};
use keyhaven_wire::opaque::server::{GenerationKeys, check_upload};
use keyhaven_wire::opaque::{
    Cost, Ke1, Ke2, Ke3, OpaqueError, Parties, RegistrationRequest, RegistrationResponse,
    RegistrationUpload, client,
};
use keyhaven_wire::suite::Standard;
// ristretto255, SHA-512, 3DH, Argon2id with 64 MiB, three passes and four lanes: a vault's suite.
use pakery_crypto::OpaqueRistretto255Argon2 as Theirs;
use pakery_opaque::{
    ClientLogin, ClientRegistration, KE1, KE2, KE3, OpaqueError as TheirError, RegistrationRecord,
    RegistrationRequest as TheirRequest, RegistrationResponse as TheirResponse, ServerLogin,
    ServerRegistration, ServerSetup,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;

const PASSWORD: &[u8] = b"walnut trapeze 4 lagoon";
const COST: Cost = Cost::DEFAULT;
const SERVER: [u8; 32] = [1; 32];
const CLIENT: [u8; 32] = [2; 32];

fn parties() -> Parties {
    Parties {
        fleet: FleetId::new(SERVER),
        leaf: LeafIndex::new(CLIENT),
    }
}

/// The label, then memory, passes and lanes, four big-endian bytes each.
fn context() -> Vec<u8> {
    let numbers = [COST.memory_kib(), COST.passes(), COST.lanes()];
    let numbers = numbers.map(u32::to_be_bytes).concat();
    [b"keyhaven v1 opaque".as_slice(), &numbers].concat()
}

#[test]
fn their_client_registers_and_recovers_at_our_core() {
    let rng = &mut ChaCha20Rng::seed_from_u64(1);
    let keys = GenerationKeys::draw(&mut SeededEntropy::new(1)).unwrap();

    let (request, state) = ClientRegistration::<Theirs>::start(PASSWORD, rng).unwrap();
    let request = RegistrationRequest::new(request.serialize().try_into().unwrap());
    let response = keys.evaluate(&parties(), &request).unwrap();
    let response = TheirResponse::deserialize::<Theirs>(response.as_bytes()).unwrap();
    let (record, registered_export) = state.finish(&response, &SERVER, &CLIENT, rng).unwrap();
    let upload = RegistrationUpload::new(record.serialize().try_into().unwrap());
    check_upload(&upload).unwrap();

    let login = |typed: &[u8], rng: &mut ChaCha20Rng| {
        let (ke1, state) = ClientLogin::<Theirs>::start(typed, rng).unwrap();
        let ke1 = Ke1::new(ke1.serialize().try_into().unwrap());
        let attempt = AttemptNumber::new(1);
        let (ke2, pending) = keys
            .respond(&parties(), &upload, &COST, attempt, &ke1)
            .unwrap();
        let ke2 = KE2::deserialize::<Theirs>(ke2.as_bytes()).unwrap();
        state
            .finish(&ke2, &context(), &SERVER, &CLIENT)
            .map(|finished| (finished, pending))
    };
    let ((ke3, session, export), pending) = login(PASSWORD, rng).unwrap();
    assert_eq!(export.as_slice(), registered_export.as_slice());
    let proven = pending
        .prove(&Standard, &Ke3::new(ke3.serialize().try_into().unwrap()))
        .unwrap();
    assert_eq!(proven.session().expose().as_slice(), session.as_bytes());
    assert!(pending.prove(&Standard, &Ke3::new([0; 64])).is_err());
    assert!(login(b"wrong", rng).is_err());
}

#[test]
fn our_client_registers_and_recovers_at_their_server() {
    let rng = &mut ChaCha20Rng::seed_from_u64(2);
    let entropy = &mut SeededEntropy::new(2);
    let setup = ServerSetup::<Theirs>::new(rng).unwrap();
    let credential = &CLIENT;

    let (state, request) = client::register_start(PASSWORD, entropy).unwrap();
    let request = TheirRequest::deserialize::<Theirs>(request.as_bytes()).unwrap();
    let response = ServerRegistration::start(&setup, &request, credential).unwrap();
    let response = RegistrationResponse::new(response.serialize().try_into().unwrap());
    let registered =
        client::register_finish(&state, PASSWORD, &response, &COST, &parties(), entropy).unwrap();
    let record = RegistrationRecord::deserialize::<Theirs>(registered.upload.as_bytes()).unwrap();

    let mut login = |typed: &[u8]| {
        let (state, ke1) = client::login_start(typed, entropy).unwrap();
        let ke1 = KE1::deserialize::<Theirs>(ke1.as_bytes()).unwrap();
        let (ke2, waiting) = ServerLogin::<Theirs>::start(
            &setup,
            &record,
            &ke1,
            credential,
            &context(),
            &SERVER,
            &CLIENT,
            rng,
        )
        .unwrap();
        let ke2 = Ke2::new(ke2.serialize().try_into().unwrap());
        client::login_finish(&state, typed, &ke2, &COST, &parties(), entropy)
            .map(|finished| (finished, waiting))
    };
    let (finished, waiting) = login(PASSWORD).unwrap();
    assert!(finished.export == registered.export);
    let ke3 = KE3::deserialize::<Theirs>(finished.ke3.as_bytes()).unwrap();
    let session = waiting.finish(&ke3).unwrap();
    assert_eq!(session.as_bytes(), finished.session.expose().as_slice());
    assert_eq!(login(b"wrong").err(), Some(OpaqueError::WrongPassword));
}

/// A9: a cost that somebody changes on the way is bound into the transcript, so the login fails.
#[test]
fn a_context_of_another_cost_is_another_login() {
    let rng = &mut ChaCha20Rng::seed_from_u64(3);
    let keys = GenerationKeys::draw(&mut SeededEntropy::new(3)).unwrap();
    let (request, state) = ClientRegistration::<Theirs>::start(PASSWORD, rng).unwrap();
    let request = RegistrationRequest::new(request.serialize().try_into().unwrap());
    let response = keys.evaluate(&parties(), &request).unwrap();
    let response = TheirResponse::deserialize::<Theirs>(response.as_bytes()).unwrap();
    let (record, _) = state.finish(&response, &SERVER, &CLIENT, rng).unwrap();
    let upload = RegistrationUpload::new(record.serialize().try_into().unwrap());

    let (ke1, state) = ClientLogin::<Theirs>::start(PASSWORD, rng).unwrap();
    let ke1 = Ke1::new(ke1.serialize().try_into().unwrap());
    let other = Cost::parse(65_536, 4, 4).unwrap();
    let attempt = AttemptNumber::new(1);
    let (ke2, _) = keys
        .respond(&parties(), &upload, &other, attempt, &ke1)
        .unwrap();
    let ke2 = KE2::deserialize::<Theirs>(ke2.as_bytes()).unwrap();
    let refused: Result<_, TheirError> = state.finish(&ke2, &context(), &SERVER, &CLIENT);
    assert!(refused.is_err());
}
