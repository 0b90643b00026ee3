//! What a signature is good for, and what not.

use alloc::format;

use super::{DeviceSecret, Statement, verify};
use crate::message::{
    Action, Change, ChangeNumber, DeviceKey, DeviceSigned, LeafIndex, PasswordClaim,
    RegisterAuthority, RegisterFinish, RegistrationId, Signature, StatusNonce, WrappedKey,
};
use crate::opaque::{Cost, Ke1, RegistrationUpload};
use crate::suite::Standard;
use crate::testing::{Seeded, unhex};

fn finish(device: u8) -> RegisterFinish {
    RegisterFinish {
        upload: RegistrationUpload::new([1; 192]),
        wrapped: WrappedKey::new([2; 72]),
        cost: Cost::DEFAULT,
        device: Some(DeviceKey::new([device; 32])),
        authority: RegisterAuthority::First,
    }
}

/// RFC 8032, section 7.1, test 1: the key that a seed makes.
#[test]
fn a_seed_makes_the_rfcs_key() {
    let seed = unhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    let key = unhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    let device = DeviceSecret::new(seed.try_into().unwrap());
    assert_eq!(device.public().as_bytes()[..], key);
}

/// One signature, one statement: no other kind, content or account.
#[test]
fn a_signature_is_good_for_its_own_statement_only() {
    let device = DeviceSecret::generate(&mut Seeded::new(1));
    let (leaf, other) = (LeafIndex::new([1; 32]), LeafIndex::new([2; 32]));
    let (nonce, ke1) = (StatusNonce::new([3; 32]), Ke1::new([4; 96]));
    let id = RegistrationId::new([5; 16]);
    let change = |number| Change {
        number: ChangeNumber::new(number),
        action: Action::Delete,
    };
    let (one, two) = (change(1), change(2));
    let (same, changed) = (finish(1), finish(2));
    let register = |password, finish| Statement::Register {
        id: &id,
        password,
        finish,
    };
    let statements = [
        Statement::Status { nonce: &nonce },
        Statement::Recover { ke1: &ke1 },
        Statement::Change(&one),
        Statement::Change(&two),
        register(PasswordClaim::MayBeSame, &same),
        register(PasswordClaim::Different, &same),
        register(PasswordClaim::Different, &changed),
    ];
    for (at, statement) in statements.iter().enumerate() {
        let signed = device.sign(&leaf, statement).unwrap();
        for (as_if, other) in statements.iter().enumerate() {
            assert_eq!(
                verify(&Standard, &leaf, other, &signed).is_some(),
                at == as_if
            );
        }
        assert!(verify(&Standard, &other, statement, &signed).is_none());
        assert_eq!(
            verify(&Standard, &leaf, statement, &signed).unwrap().key(),
            device.public()
        );
    }
}

/// Keys of small order and encodings that are none verify nothing.
#[test]
fn weak_keys_and_damaged_signatures_verify_nothing() {
    let device = DeviceSecret::generate(&mut Seeded::new(2));
    let leaf = LeafIndex::new([1; 32]);
    let signed = device.sign_status(&leaf, &mut Seeded::new(3)).unwrap();
    let statement = Statement::Status {
        nonce: &signed.extra,
    };
    assert!(verify(&Standard, &leaf, &statement, &signed).is_some());
    for at in 0..64 {
        let mut bytes = *signed.signature.as_bytes();
        bytes[at] ^= 1;
        let changed = DeviceSigned {
            signature: Signature::new(bytes),
            ..signed
        };
        assert!(verify(&Standard, &leaf, &statement, &changed).is_none());
    }
    let mut identity = [0; 32];
    identity[0] = 1;
    for key in [[0; 32], identity, [0xff; 32]] {
        for signature in [[0; 64], *signed.signature.as_bytes()] {
            let weak = DeviceSigned {
                key: DeviceKey::new(key),
                signature: Signature::new(signature),
                extra: signed.extra,
            };
            assert!(verify(&Standard, &leaf, &statement, &weak).is_none());
        }
    }
}

/// BACKUP-3.
#[test]
fn a_devices_secret_is_not_printed() {
    assert_eq!(
        format!("{:?}", DeviceSecret::new([7; 32])),
        "DeviceSecret(..)"
    );
}
