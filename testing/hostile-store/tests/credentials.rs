//! Where credentials may come from, and that they go nowhere else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "a test program, helpers included: a failure is a panic"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use keyhaven::store::{Credentials, CredentialsError, StoreAddress};

const S3: &str = "s3://bucket";
const DAV: &str = "webdavs://host/";

fn from(address: &str, set: &[(&str, &str)]) -> Result<bool, CredentialsError> {
    let address = StoreAddress::parse(address).unwrap();
    Credentials::from_variables(&address, |name| {
        set.iter()
            .find(|(set, _)| *set == name)
            .map(|(_, value)| (*value).to_owned())
    })
    .map(|found| {
        assert!(!format!("{found:?}").contains("CANARY"));
        found.is_some()
    })
}

#[test]
fn the_environment_gives_both_or_nothing() {
    let ours = [
        ("KEYHAVEN_STORE_USER", "CANARY"),
        ("KEYHAVEN_STORE_SECRET", "CANARY"),
    ];
    let amazons = [
        ("AWS_ACCESS_KEY_ID", "CANARY"),
        ("AWS_SECRET_ACCESS_KEY", "CANARY"),
    ];
    assert_eq!(from(S3, &ours), Ok(true));
    assert_eq!(from(DAV, &ours), Ok(true));
    assert_eq!(from(S3, &amazons), Ok(true));
    assert_eq!(
        from(DAV, &amazons),
        Ok(false),
        "Amazon's names are not for other servers"
    );
    assert_eq!(from(S3, &[]), Ok(false));
    assert_eq!(from(S3, &ours[..1]), Err(CredentialsError::Half));
    assert_eq!(from(S3, &amazons[1..]), Err(CredentialsError::Half));
    let empty = [("KEYHAVEN_STORE_USER", ""), ("KEYHAVEN_STORE_SECRET", "")];
    assert_eq!(from(DAV, &empty), Ok(false));
}

/// BACKUP-3: a file of credentials that others may read is refused, and no error repeats it.
#[test]
fn a_file_of_credentials_is_its_owners_alone() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("credentials");
    fs::write(
        &file,
        "# my cloud\nuser = me\n\nsecret = CANARY=with=signs\n",
    )
    .unwrap();
    for (mode, fine) in [
        (0o600, true),
        (0o400, true),
        (0o640, false),
        (0o604, false),
        (0o666, false),
    ] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let outcome = Credentials::from_file(&file);
        assert_eq!(outcome.is_ok(), fine, "{mode:o}");
        if let Err(error) = outcome {
            assert_eq!(error, CredentialsError::OpenToOthers { mode });
        }
    }
    let outcome = Credentials::from_file(&home.path().join("absent"));
    assert!(matches!(outcome, Err(CredentialsError::Unreadable { .. })));
    for text in [
        "",
        "user=me",
        "secret=CANARY",
        "user=me\nsecret=",
        "user=me\nuser=you\nsecret=CANARY",
        "user=me\nsecret=CANARY\npasswort=CANARY",
        "CANARY",
    ] {
        let error = Credentials::parse(text).unwrap_err();
        assert_eq!(error, CredentialsError::Form);
        assert!(!format!("{error} {error:?} {:?}", error.remedy()).contains("CANARY"));
    }
}
