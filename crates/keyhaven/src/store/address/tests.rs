//! Addresses that parse and print back, and those that are refused.

use std::path::Path;

use super::{ADDRESS_BYTES_MAX, AddressError, StoreAddress};

fn round_trip(text: &str) -> StoreAddress {
    let address = StoreAddress::parse(text).unwrap();
    assert_eq!(
        StoreAddress::parse(&address.to_string()).unwrap(),
        address,
        "{text}"
    );
    address
}

#[test]
fn addresses_parse_and_print_back() {
    assert_eq!(
        round_trip("/srv/backup").folder(),
        Some(Path::new("/srv/backup"))
    );
    assert_eq!(
        round_trip("file:///srv/a%20b").folder(),
        Some(Path::new("/srv/a b"))
    );
    assert_eq!(round_trip("./x://y").folder(), Some(Path::new("./x://y")));
    let s3 = round_trip("s3://bucket/a/b%20c/?endpoint=http://127.0.0.1:5000/&region=eu-west-1");
    let StoreAddress::S3(s3) = s3 else {
        panic!("{s3:?}")
    };
    assert_eq!((s3.bucket(), s3.prefix()), ("bucket", "a/b c"));
    assert_eq!(s3.endpoint(), Some("http://127.0.0.1:5000"));
    assert_eq!(s3.region(), Some("eu-west-1"));
    let dav = round_trip("webdavs://Cloud.Example:8443/remote/dav/");
    let StoreAddress::WebDav(dav) = dav else {
        panic!("{dav:?}")
    };
    assert_eq!(dav.endpoint(), "https://cloud.example:8443");
    assert_eq!(dav.path(), "remote/dav");
    round_trip("s3://bucket");
    round_trip("webdav://localhost");
    round_trip("webdav://[::1]:8080/x");
    round_trip("webdav://nas.local/x?dangerous-plaintext=yes");
}

#[test]
fn what_is_not_an_address_is_refused_with_its_reason() {
    let long = "x".repeat(ADDRESS_BYTES_MAX + 1);
    for (text, why) in [
        ("", AddressError::Length),
        (&*long, AddressError::Length),
        ("ftp://host/x", AddressError::Scheme),
        ("file://host/x", AddressError::Host),
        ("file:///%zz", AddressError::Path),
        ("s3://", AddressError::Bucket),
        ("s3:///x", AddressError::Bucket),
        ("s3://b/../x", AddressError::Path),
        ("s3://b/%2e%2e/x", AddressError::Path),
        ("s3://b?unknown=1", AddressError::Setting),
        ("s3://b?region=a&region=b", AddressError::Setting),
        ("s3://b?endpoint=ftp://x", AddressError::Host),
        ("s3://b?endpoint=http://h/path", AddressError::Host),
        ("webdavs://", AddressError::Host),
        ("webdavs://h:0/", AddressError::Host),
        ("webdavs://h:x/", AddressError::Host),
        (
            "webdavs://h/?dangerous-plaintext=yes",
            AddressError::Setting,
        ),
        ("webdav://example.org/x", AddressError::Plaintext),
    ] {
        assert_eq!(StoreAddress::parse(text), Err(why), "{text}");
    }
}

/// BACKUP-3: a password that was typed into an address is neither kept nor repeated.
#[test]
fn credentials_in_an_address_are_refused_and_not_repeated() {
    for text in [
        "s3://id:CANARY@bucket/x",
        "s3://bucket?endpoint=https://id:CANARY@host",
        "webdavs://me:CANARY@host/x",
        "webdav://me:CANARY@localhost/x",
    ] {
        let error = StoreAddress::parse(text).unwrap_err();
        assert_eq!(error, AddressError::Credentials);
        assert!(!format!("{error:?} {error}").contains("CANARY"));
    }
    let error = StoreAddress::parse("sftp://me:CANARY@host").unwrap_err();
    assert!(!format!("{error:?} {error}").contains("CANARY"));
}
