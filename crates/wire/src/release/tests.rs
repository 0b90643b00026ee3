//! The release of the wrapped key.

use super::{Release, ReleaseError, Released};
use crate::message::{FleetId, LeafIndex, SessionProof, WrappedKey};
use crate::opaque::{Parties, SessionKey};
use crate::testing::Seeded;

fn parties(leaf: u8) -> Parties {
    Parties {
        fleet: FleetId::new([1; 32]),
        leaf: LeafIndex::new([leaf; 32]),
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
