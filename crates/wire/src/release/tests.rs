//! The wrapped key and its release.

use keyhaven_secrets::BackupKey;

use super::{Release, ReleaseError, Released, unwrap, wrap};
use crate::message::{FleetId, LeafIndex, SessionProof, WrappedKey};
use crate::opaque::{ExportKey, Parties, SessionKey};
use crate::testing::Seeded;

fn parties(leaf: u8) -> Parties {
    Parties {
        fleet: FleetId::new([1; 32]),
        leaf: LeafIndex::new([leaf; 32]),
    }
}

#[test]
fn a_wrapped_key_opens_under_its_export_key_for_its_account_only() {
    let mut entropy = Seeded::new(1);
    let key = BackupKey::generate(&mut entropy);
    let export = ExportKey::new([5; 64]);
    let wrapped = wrap(&key, &export, &parties(2), &mut entropy).unwrap();
    assert!(unwrap(&wrapped, &export, &parties(2)).unwrap() == key);
    assert_ne!(
        wrapped,
        wrap(&key, &export, &parties(2), &mut entropy).unwrap()
    );
    let refused = Err(ReleaseError::DoesNotOpen);
    let opens = |wrapped, export, parties| unwrap(&wrapped, &export, &parties).map(|_| ());
    assert_eq!(opens(wrapped, ExportKey::new([6; 64]), parties(2)), refused);
    assert_eq!(opens(wrapped, export.clone(), parties(3)), refused);
    for at in 0..WrappedKey::BYTES {
        let mut bytes = *wrapped.as_bytes();
        bytes[at] ^= 1;
        assert_eq!(
            opens(WrappedKey::new(bytes), export.clone(), parties(2)),
            refused
        );
    }
}

#[test]
fn a_release_opens_in_its_session_only() {
    let mut entropy = Seeded::new(2);
    let session = SessionKey::new([5; 64]);
    for proof in [None, Some(SessionProof::new([7; 104]))] {
        let release = Release {
            wrapped: WrappedKey::new([6; 72]),
            proof,
        };
        let sealed = release.seal(&session, &parties(2), &mut entropy).unwrap();
        assert_eq!(Release::open(&sealed, &session, &parties(2)), Ok(release));
        let refused = Err(ReleaseError::DoesNotOpen);
        let other = SessionKey::new([6; 64]);
        assert_eq!(Release::open(&sealed, &other, &parties(2)), refused);
        assert_eq!(Release::open(&sealed, &session, &parties(3)), refused);
        for at in 0..Released::BYTES {
            let mut bytes = *sealed.as_bytes();
            bytes[at] ^= 1;
            let changed = Released::new(bytes);
            assert_eq!(Release::open(&changed, &session, &parties(2)), refused);
        }
    }
}
