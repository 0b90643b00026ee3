//! What a client and a core say to each other, under the seal.

use keyhaven_testkit::vault::{Person, VaultWorld};
use keyhaven_wire::channel::{FIRST_BODY_BYTES, REPLY_BODY_BYTES, SECOND_BODY_BYTES};
use keyhaven_wire::codec;
use keyhaven_wire::message::{
    Action, Authority, Change, ChangeNumber, Denial, DeviceKey, Followup, LeafIndex, Outcome,
    RegistrationId, Reply, Request, SessionProof, Wait,
};
use keyhaven_wire::opaque::{Ke1, Ke3, RegistrationRequest};
use minicbor::{Decode, Encode};

/// A decoded message has one encoding, and fits the body that it travels in (VAULT-10).
fn one_encoding<T: Encode<()> + for<'b> Decode<'b, ()>>(bytes: &[u8], body_bytes: usize) {
    if let Ok(message) = codec::decode::<T>(bytes) {
        let again = codec::encode(&message).expect("what decodes encodes");
        assert_eq!(again.as_slice(), bytes, "one encoding");
        let body = codec::encode_padded(&message, body_bytes).expect("it fits its body");
        assert!(codec::decode_padded::<T>(&body).is_ok(), "and comes back");
    }
    if let Ok(message) = codec::decode_padded::<T>(bytes) {
        let again = codec::encode_padded(&message, bytes.len()).expect("it fitted");
        assert_eq!(again.as_slice(), bytes, "one padded encoding");
    }
}

/// Requests and follow-ups.
pub fn request(bytes: &[u8]) {
    one_encoding::<Request>(bytes, FIRST_BODY_BYTES);
    one_encoding::<Followup>(bytes, SECOND_BODY_BYTES);
}

/// Replies.
pub fn reply(bytes: &[u8]) {
    one_encoding::<Reply>(bytes, REPLY_BODY_BYTES);
}

/// One request of most kinds, bare and padded.
#[must_use]
pub fn request_seeds() -> Vec<Vec<u8>> {
    let ke1 = Ke1::new([0xa1; 96]);
    let change = |action| Request::Change {
        change: Change {
            number: ChangeNumber::new(24),
            action,
        },
        authority: Authority::Session(SessionProof::new([0xa5; 104])),
    };
    let requests = [
        Request::Status { device: None },
        Request::RecoverStart { ke1, device: None },
        Request::RegisterStart {
            id: RegistrationId::new([0xa3; 16]),
            request: RegistrationRequest::new([0xa4; 32]),
        },
        Request::BeginWait {
            wait: Wait::FreshStart,
        },
        change(Action::Delete),
        change(Action::DeviceAdd(DeviceKey::new([0xd3; 32]))),
        change(Action::CancelWait(Wait::LastGuesses)),
        change(Action::LiftCap),
    ];
    let finish = Followup::RecoverFinish {
        ke3: Ke3::new([0xa6; 64]),
    };
    let mut seeds = Vec::new();
    for request in &requests {
        seeds.extend(codec::encode(request).map(|bytes| bytes.to_vec()));
        seeds.extend(codec::encode_padded(request, 300).map(|bytes| bytes.to_vec()));
    }
    seeds.extend(codec::encode(&finish).map(|bytes| bytes.to_vec()));
    let mut world = VaultWorld::new(1);
    let alice = Person::new(&mut world, "alice");
    let leaf = LeafIndex::of(&world.core().fleet(), &alice.account);
    if let Ok(signed) = alice.device.sign_status(&leaf, world.entropy()) {
        let signed = Request::Status {
            device: Some(signed),
        };
        seeds.extend(codec::encode(&signed).map(|bytes| bytes.to_vec()));
    }
    seeds
}

/// Replies as a core gives them to somebody who registers, mistypes, recovers and looks.
#[must_use]
pub fn reply_seeds() -> Vec<Vec<u8>> {
    let mut world = VaultWorld::new(2);
    let alice = Person::new(&mut world, "alice");
    let vacant = alice.ask(&mut world, &Request::Status { device: None });
    let registered = alice.register(&mut world, "right");
    let wrong = alice.guess_wrong(&mut world);
    let start = alice.try_password(&mut world, "right").step1;
    let owner = alice.owner_standing(&mut world);
    let _ = alice.send(&mut world, &start);
    let denied = Reply {
        standing: wrong.standing.clone(),
        outcome: Outcome::Denied(Denial::Malformed),
    };
    let replies = [vacant, registered, wrong, owner, denied];
    let bare = replies.iter().flat_map(codec::encode);
    let padded = replies
        .iter()
        .flat_map(|reply| codec::encode_padded(reply, 1024));
    bare.chain(padded).map(|bytes| bytes.to_vec()).collect()
}
