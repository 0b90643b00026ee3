//! The cloud store against real servers, and against rude ones.
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

mod common;
#[path = "common/rude.rs"]
mod rude;
#[path = "common/servers.rs"]
mod servers;

use std::time::{Duration, Instant};

use common::{child, path, told};
use keyhaven::store::{
    Body, CalledOff, CloudStore, Credentials, Mistrust, ObjectFolder, ObjectPath, Outage, Patience,
    Store, StoreAddress, StoreError,
};
use keyhaven_hostile_store::conformance;
use rude::{Answer, Rude};
use servers::Server;
use tempfile::TempDir;

/// Words that no error, log or description may hold (BACKUP-3).
const USER: &str = "CANARYUSER";
const SECRET: &str = "CANARYSECRET";
/// What a server says in words is not ours to repeat either.
const GOSSIP: &str = "CANARYGOSSIP";

fn quick() -> Patience {
    Patience {
        attempts_max: 4,
        pause_first: Duration::from_millis(1),
        pause_max: Duration::from_millis(20),
        connect_max: Duration::from_secs(5),
        stall_max: Duration::from_millis(300),
    }
}

fn connect(address: &str, patience: Patience) -> CloudStore {
    let address = StoreAddress::parse(address).unwrap();
    let credentials = Credentials::new(USER.to_owned(), SECRET.to_owned());
    CloudStore::connect(&address, Some(&credentials), patience, CalledOff::never()).unwrap()
}

fn s3_at(server: &str) -> String {
    format!("s3://bucket/some/folder?endpoint=http://{server}&region=eu-central-1")
}

fn dav_at(server: &str) -> String {
    format!("webdav://{server}/my%20backups/phone")
}

/// Checks that nothing that a person or a log could see holds a secret.
#[track_caller]
fn assert_clean(store: &CloudStore, error: &StoreError) {
    let remedy = error.remedy();
    let seen = format!(
        "{error} {error:?} {remedy:?} {store:?} {}",
        store.describe()
    );
    for canary in [USER, SECRET, GOSSIP] {
        assert!(!seen.contains(canary), "{seen}");
    }
}

#[test]
fn an_s3_server_is_an_honest_store() {
    let server = Server::s3();
    server.make_bucket("bucket");

    let store = connect(&s3_at(&server.address), Patience::default());
    conformance::check(&store, &mut tempfile::tempfile().unwrap()).unwrap();

    // More objects than one page of a listing names.
    for n in 0..1_005_u32 {
        store
            .put(
                &path(&format!("packs/{:02x}/{n:04x}", n % 256)),
                Body::Bytes(b"x"),
            )
            .unwrap();
    }
    assert_eq!(store.list(&ObjectFolder::root()).unwrap().len(), 1_005);
    assert_eq!(
        store
            .list(&ObjectFolder::parse("packs/07").unwrap())
            .unwrap()
            .len(),
        4
    );

    // Two stores in one bucket do not see each other.
    let other = connect(
        &s3_at(&server.address).replace("folder", "folder2"),
        quick(),
    );
    assert!(other.list(&ObjectFolder::root()).unwrap().is_empty());

    let absent = connect(&s3_at(&server.address).replace("bucket", "absent"), quick());
    for error in [
        absent
            .put(&path("packs/00/one"), Body::Bytes(b"x"))
            .unwrap_err(),
        absent.list(&ObjectFolder::root()).unwrap_err(),
        absent.get(&path("packs/00/one"), None).unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Missing { .. }), "{error:?}");
        assert_clean(&absent, &error);
    }
}

#[test]
fn a_webdav_server_is_an_honest_store() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::webdav(home.path(), USER, SECRET);
    let store = connect(&dav_at(&server.address), Patience::default());
    conformance::check(&store, &mut tempfile::tempfile().unwrap()).unwrap();
    store
        .put(&ObjectPath::marker(), Body::Bytes(b"marker"))
        .unwrap();
    // The address's %20 is the folder's space.
    assert!(home.path().join("my backups/phone/keyhaven").is_file());
    let spooled = std::fs::read_dir(home.path().join("my backups/phone/.spool")).unwrap();
    assert_eq!(
        spooled.count(),
        0,
        "what was moved into place left nothing behind"
    );

    // What uploads were cut off long ago goes with the next run; what is fresh, or not ours, stays.
    let spool = home.path().join("my backups/phone/.spool");
    let week_ago = std::time::SystemTime::now() - Duration::from_secs(8 * 24 * 3600);
    for (name, is_old) in [
        ("packs-00-old", true),
        ("packs-00-new", false),
        ("Foreign", true),
    ] {
        let file = std::fs::File::create(spool.join(name)).unwrap();
        if is_old {
            file.set_modified(week_ago).unwrap();
        }
    }
    let next = connect(&dav_at(&server.address), Patience::default());
    next.put(&path("packs/00/next"), Body::Bytes(b"x")).unwrap();
    assert!(!spool.join("packs-00-old").exists());
    assert!(spool.join("packs-00-new").exists() && spool.join("Foreign").exists());

    let stranger = Credentials::new(USER.to_owned(), "WRONG".to_owned());
    let address = StoreAddress::parse(&dav_at(&server.address)).unwrap();
    for credentials in [Some(&stranger), None] {
        let store =
            CloudStore::connect(&address, credentials, quick(), CalledOff::never()).unwrap();
        for error in [
            store.get(&ObjectPath::marker(), None).unwrap_err(),
            store
                .put(&path("packs/00/one"), Body::Bytes(b"x"))
                .unwrap_err(),
            store.list(&ObjectFolder::root()).unwrap_err(),
            store.delete(&ObjectPath::marker()).unwrap_err(),
        ] {
            assert!(matches!(error, StoreError::Denied { .. }), "{error:?}");
            assert_clean(&store, &error);
        }
    }
}

/// BACKUP-3: a password is sent to nobody who does not prove who they are.
#[test]
fn a_server_with_an_untrusted_certificate_is_refused_at_once() {
    let test = "a_server_with_an_untrusted_certificate_is_refused_at_once";
    if let Some(address) = told() {
        // In this child the certificate is trusted, as one is that a person installs.
        let store = connect(&format!("webdavs://{address}/"), quick());
        conformance::check(&store, &mut tempfile::tempfile().unwrap()).unwrap();
        return;
    }
    let serve = |kind| {
        let [home, tls] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let server = Server::webdavs(home.path(), USER, SECRET, tls.path(), kind);
        (server, home, tls)
    };
    let port = |server: &Server| server.address.rsplit_once(':').unwrap().1.to_owned();
    let trusting = |host: &str, server: &Server, tls: &TempDir| {
        let mut child = child(&[], test, &format!("{host}:{}", port(server)));
        child.env("SSL_CERT_FILE", tls.path().join("cert.pem"));
        child.output().unwrap()
    };
    let (server, home, tls) = serve("server");
    let store = connect(&format!("webdavs://localhost:{}/", port(&server)), quick());
    for error in [
        store.get(&ObjectPath::marker(), None).unwrap_err(),
        store
            .put(&ObjectPath::marker(), Body::Bytes(b"x"))
            .unwrap_err(),
    ] {
        let why = Mistrust::UnknownIssuer;
        assert!(
            matches!(&error, StoreError::Untrusted { why: told, .. } if *told == why),
            "{error:?}"
        );
        assert_clean(&store, &error);
    }
    let output = trusting("localhost", &server, &tls);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    let refused = |host, (server, _, tls): &(Server, TempDir, TempDir), why: Mistrust| {
        let output = trusting(host, server, tls);
        assert!(!output.status.success());
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains(&format!("why: {why:?}")), "{told}");
    };
    // The right certificate under another name is no proof either.
    refused("127.0.0.1", &(server, home, tls), Mistrust::OtherName);
    refused("localhost", &serve("expired"), Mistrust::OutOfDate);
    refused("localhost", &serve("authority"), Mistrust::Authority);
}

#[test]
fn s3_without_credentials_is_refused_before_anything_is_sent() {
    let address = StoreAddress::parse("s3://bucket").unwrap();
    let outcome = CloudStore::connect(&address, None, quick(), CalledOff::never());
    assert!(
        matches!(outcome, Err(StoreError::NoCredentials { .. })),
        "{outcome:?}"
    );
}

#[test]
fn what_may_pass_is_tried_again_and_succeeds() {
    for first in [
        "429 Too Many Requests",
        "503 Slow Down",
        "500 Oh",
        "408 Request Timeout",
    ] {
        let server = Rude::start(move |_, number| match number {
            0 | 1 => Answer::whole(first, "Retry-After: 1\r\n", GOSSIP),
            _ => Answer::whole("200 OK", "", "sealed"),
        });
        let store = connect(&s3_at(&server.address), quick());
        let begun = Instant::now();
        assert_eq!(
            store.get(&path("snapshots/one"), None).unwrap(),
            b"sealed",
            "{first}"
        );
        assert_eq!(server.requests(), 3);
        // The server asked for a second; our own limit is 20 ms, twice.
        let took = begun.elapsed();
        assert!(
            (Duration::from_millis(40)..Duration::from_millis(900)).contains(&took),
            "{took:?}"
        );
    }
}

#[test]
fn what_does_not_pass_is_an_error_of_its_kind_after_bounded_tries() {
    type Case = (&'static str, fn() -> Answer, Outage);
    let cases: [Case; 6] = [
        (
            "throttled",
            || Answer::whole("429 No", "", GOSSIP),
            Outage::Throttled,
        ),
        (
            "locked",
            || Answer::whole("423 Locked", "", GOSSIP),
            Outage::Throttled,
        ),
        (
            "fault",
            || Answer::whole("502 Oh", "", GOSSIP),
            Outage::ServerFault,
        ),
        (
            "cut",
            || Answer::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nfew".to_vec()),
            Outage::CutBody,
        ),
        ("mute", || Answer::Stall(Vec::new()), Outage::TimedOut),
        (
            "stalls",
            || Answer::Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfew".to_vec()),
            Outage::TimedOut,
        ),
    ];
    for (name, answer, due) in cases {
        let server = Rude::start(move |_, _| answer());
        let store = connect(&s3_at(&server.address), quick());
        let error = store.get(&path("snapshots/one"), None).unwrap_err();
        let right = matches!(
            &error,
            StoreError::Unreachable { outage, attempts: 4, .. } if *outage == due
        );
        assert!(right, "{name}: {error:?}");
        // It may be one of this object alone: the marker is asked for, once.
        assert_eq!(server.requests(), 5, "{name}");
        assert_clean(&store, &error);
    }
    // Nobody listens at all.
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for address in [s3_at(&closed.to_string()), dav_at(&closed.to_string())] {
        let store = connect(&address, quick());
        let error = store
            .put(&path("packs/00/one"), Body::Bytes(b"x"))
            .unwrap_err();
        let right = matches!(
            error,
            StoreError::Unreachable {
                outage: Outage::Connection,
                attempts: 4,
                ..
            }
        );
        assert!(right, "{error:?}");
        assert_clean(&store, &error);
    }
}

/// An S3 session ends after some hours, also within a run, and a server does not take a signature of another time. A person
/// hears which of the two it is, at once.
#[test]
fn credentials_that_have_expired_are_told_from_a_clock_that_is_wrong() {
    let calls = |store: &CloudStore| {
        [
            store.get(&path("packs/00/one"), None).unwrap_err(),
            store
                .put(&path("packs/00/one"), Body::Bytes(b"x"))
                .unwrap_err(),
            store.list(&ObjectFolder::root()).unwrap_err(),
            store.delete(&path("packs/00/one")).unwrap_err(),
        ]
    };
    for (code, status, is_clock) in [
        ("ExpiredToken", "400 Bad Request", false),
        ("ExpiredToken", "403 Forbidden", false),
        ("TokenRefreshRequired", "400 Bad Request", false),
        ("InvalidToken", "400 Bad Request", false),
        ("RequestTimeTooSkewed", "403 Forbidden", true),
    ] {
        let said = format!("<Error><Code>{code}</Code><Message>{GOSSIP}</Message></Error>");
        let server = Rude::start(move |_, _| Answer::whole(status, "", &said));
        let store = connect(&s3_at(&server.address), quick());
        for error in calls(&store) {
            let is_it = match is_clock {
                true => matches!(error, StoreError::ClockDiffers { .. }),
                false => matches!(error, StoreError::Expired { .. }),
            };
            assert!(is_it, "{code}, {status}: {error:?}");
            assert_eq!(format!("{:?}", error.remedy()), "AskUser");
            assert_clean(&store, &error);
        }
        assert_eq!(server.requests(), 4, "{code}: tried once each");
    }
    // What else is refused is as it was, however long it is.
    let long = format!(
        "<Error><Code>InvalidDigest</Code><Message>{}</Message></Error>",
        "x".repeat(100_000)
    );
    let server = Rude::start(move |_, _| Answer::whole("400 Bad Request", "", &long));
    let store = connect(&s3_at(&server.address), quick());
    for error in calls(&store) {
        assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
    }
    assert_eq!(server.requests(), 4);
}

#[test]
fn what_cannot_pass_is_an_error_at_once() {
    let denied = "<Error><Code>AccessDenied</Code><Message>CANARYGOSSIP</Message></Error>";
    let server = Rude::start(move |_, _| Answer::whole("403 Forbidden", "", denied));
    let store = connect(&s3_at(&server.address), quick());
    let error = store
        .put(&path("packs/00/one"), Body::Bytes(b"x"))
        .unwrap_err();
    assert!(matches!(error, StoreError::Denied { .. }), "{error:?}");
    assert_clean(&store, &error);
    assert_eq!(server.requests(), 1);

    let server = Rude::start(|_, _| Answer::whole("507 Insufficient Storage", "", GOSSIP));
    let store = connect(&dav_at(&server.address), quick());
    let error = store
        .put(&path("packs/00/one"), Body::Bytes(b"four"))
        .unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::Full {
                needed: 4,
                free: None
            }
        ),
        "{error:?}"
    );
    assert_clean(&store, &error);

    for status in ["418 Teapot", "413 Too Large", "501 Never", "302 Found"] {
        let server = Rude::start(move |_, _| {
            Answer::whole(status, "Location: /round/and/round\r\n", GOSSIP)
        });
        let store = connect(&s3_at(&server.address), quick());
        let error = store.get(&path("packs/00/one"), None).unwrap_err();
        assert!(
            matches!(error, StoreError::Refused { .. }),
            "{status}: {error:?}"
        );
        assert_clean(&store, &error);
        assert!(
            server.requests() <= 5,
            "{status}: {} requests",
            server.requests()
        );
    }
}

/// BACKUP-4: what a server returns is bounded and has the length that was asked for.
#[test]
fn an_answer_of_another_length_is_never_taken() {
    let object = path("packs/00/one");
    // The server sends another range.
    let server = Rude::start(|head, _| match head.starts_with("HEAD") {
        true => Answer::head(10),
        false if head.contains("keyhaven HTTP") => Answer::whole("200 OK", "", "marker"),
        false => Answer::whole("206 Part", "Content-Range: bytes 0-1/10\r\n", "01"),
    });
    let store = connect(&s3_at(&server.address), quick());
    let error = store.get(&object, Some(2..4)).unwrap_err();
    // It gives the marker, of which all is asked for.
    let right = matches!(
        error,
        StoreError::Withheld {
            outage: Outage::CutBody,
            ..
        }
    );
    assert!(right, "{error:?}");
    // The object is shorter than the range, and the server knows of none.
    let server = Rude::start(|head, _| match head.starts_with("HEAD") {
        true => Answer::head(10),
        false => Answer::whole("200 OK", "", "0123456789"),
    });
    let store = connect(&s3_at(&server.address), quick());
    let error = store.get_into(&object, 8, &mut [0; 4]).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::WrongLength {
                expected: 12,
                got: 10,
                ..
            }
        ),
        "{error:?}"
    );
    // The object never ends.
    let endless = b"HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n";
    let server = Rude::start(|_, _| Answer::Endless(endless.to_vec()));
    let store = connect(&s3_at(&server.address), quick());
    let error = store.get(&object, None).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error:?}");
    // The server does not say how long it is.
    let server = Rude::start(|_, _| Answer::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()));
    let store = connect(&s3_at(&server.address), quick());
    let error = store.get(&object, None).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error:?}");
}

/// A server need not know of ranges, nor say how long its answers are (RFC 9110, sections 14.2 and 8.6).
#[test]
fn what_http_allows_is_read() {
    let object = path("packs/00/one");
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n";
    let until_it_closes = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n0123456789";
    let whole = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789";
    for case in [whole, chunked, until_it_closes] {
        let server = Rude::start(move |_, _| Answer::Bytes(case.into()));
        for address in [s3_at(&server.address), dav_at(&server.address)] {
            let store = connect(&address, quick());
            assert_eq!(store.get(&object, None).unwrap(), b"0123456789", "{case}");
            assert_eq!(store.get(&object, Some(2..4)).unwrap(), b"23", "{case}");
            assert_eq!(
                store.get(&object, Some(9..10)).unwrap(),
                b"9",
                "{case} at {address}"
            );
        }
    }
}

/// BACKUP-2: what somebody else answers in the store's place, as the login page of a network does, was not written.
#[test]
fn a_write_that_somebody_else_answers_was_not_written() {
    let object = path("packs/00/one");
    let login = || Answer::whole("200 OK", "Content-Type: text/html\r\n", GOSSIP);
    for status in [
        "301 Moved",
        "302 Found",
        "303 See Other",
        "307 Temporary",
        "308 Permanent",
    ] {
        let server = Rude::start(move |head, _| match head.contains(" /login ") {
            true => login(),
            false => Answer::whole(status, "Location: /login\r\n", ""),
        });
        for address in [s3_at(&server.address), dav_at(&server.address)] {
            let store = connect(&address, quick());
            let error = store.put(&object, Body::Bytes(b"x")).unwrap_err();
            let is_refused = matches!(error, StoreError::Refused { .. });
            assert!(is_refused, "{status}: {error:?}");
        }
    }
    // It answers itself, and the moving of what was uploaded alone.
    let error = "<Error><Code>InternalError</Code></Error>";
    for said in [GOSSIP, error] {
        let server = Rude::start(move |_, _| Answer::whole("200 OK", "", said));
        let store = connect(&s3_at(&server.address), quick());
        assert_foreign(store.put(&object, Body::Bytes(b"x")));
    }
    let server = Rude::start(move |head, _| match head.starts_with("MOVE") {
        true => login(),
        false => Answer::whole("201 Created", "", ""),
    });
    let store = connect(&dav_at(&server.address), quick());
    assert_foreign(store.put(&object, Body::Bytes(b"x")));
}

#[track_caller]
fn assert_foreign<T: std::fmt::Debug>(outcome: Result<T, StoreError>) {
    let is_foreign = matches!(
        outcome,
        Err(StoreError::Unreachable {
            outage: Outage::Foreign,
            ..
        })
    );
    assert!(is_foreign, "{outcome:?}");
}

/// BACKUP-4: an answer that is no list is not one of an empty folder: that would be a store without any backup.
#[test]
fn a_list_that_is_none_is_an_error() {
    let packs = ObjectFolder::parse("packs").unwrap();
    for (status, said) in [
        ("200 OK", "<html><body>CANARYGOSSIP<br></body></html>"),
        ("200 OK", "CANARYGOSSIP"),
        ("200 OK", ""),
        ("207 Multi-Status", "<D:multistatus xmlns:D=\"DAV:\"/>"),
        // Somewhere else, behind a proxy that changes paths.
        (
            "207 Multi-Status",
            "<D:multistatus xmlns:D=\"DAV:\"><D:response><D:href>/inside/packs/</D:href><D:propstat><D:prop>\
             <D:resourcetype><D:collection/></D:resourcetype></D:prop><D:status>HTTP/1.1 200 OK</D:status>\
             </D:propstat></D:response></D:multistatus>",
        ),
    ] {
        let server = Rude::start(move |_, _| Answer::whole(status, "", said));
        for address in [s3_at(&server.address), dav_at(&server.address)] {
            let store = connect(&address, quick());
            assert_foreign(store.list(&packs));
        }
    }
    for (code, due) in [
        ("InternalError", Outage::ServerFault),
        ("SlowDown", Outage::Throttled),
    ] {
        let said = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
        let server = Rude::start(move |_, _| Answer::whole("200 OK", "", &said));
        let error = connect(&s3_at(&server.address), quick())
            .list(&packs)
            .unwrap_err();
        let is_due = matches!(error, StoreError::Unreachable { outage, .. } if outage == due);
        assert!(is_due, "{error:?}");
    }
}

/// RFC 4918, section 8.3: what a WebDAV server names may be a path or a whole URL.
#[test]
fn a_list_by_whole_urls_is_read() {
    for host in ["", "http://127.0.0.1:1", "https://inside.example"] {
        let entry = |name: &str, props: &str| {
            format!(
                "<D:response><D:href>{host}/my%20backups/phone/snapshots/{name}</D:href><D:propstat><D:prop>{props}\
                 <D:getlastmodified>Mon, 23 Nov 2026 00:00:00 GMT</D:getlastmodified></D:prop>\
                 <D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
            )
        };
        let folder = entry("", "<D:resourcetype><D:collection/></D:resourcetype>");
        let length = "<D:getcontentlength>5</D:getcontentlength><D:resourcetype/>";
        let file = entry("one", length);
        let of =
            |entries: &str| format!("<D:multistatus xmlns:D=\"DAV:\">{entries}</D:multistatus>");
        let (list, one) = (of(&format!("{folder}{file}")), of(&file));
        let server = Rude::start(move |head, _| {
            let said = if head.contains("/one ") { &one } else { &list };
            Answer::whole("207 Multi-Status", "", said)
        });
        let store = connect(&dav_at(&server.address), quick());
        let listed = store
            .list(&ObjectFolder::parse("snapshots").unwrap())
            .unwrap();
        let names: Vec<_> = listed.iter().map(|listed| listed.path.as_str()).collect();
        assert_eq!(names, ["snapshots/one"], "{host}");
        assert_eq!(store.length(&path("snapshots/one")).unwrap(), 5, "{host}");
    }
}

/// BACKUP-3: some servers keep their objects elsewhere and send who reads them there. Passwords, signatures and tokens stay behind.
#[test]
fn a_read_that_is_sent_on_takes_no_credentials_along() {
    let elsewhere = Rude::start(|head, _| {
        let head = head.to_ascii_lowercase();
        for secret in ["authorization", "x-amz", "referer", "canary"] {
            assert!(!head.contains(secret), "{head}");
        }
        match head.contains("range: bytes=2-3") {
            true => Answer::whole("206 Part", "Content-Range: bytes 2-3/10\r\n", "23"),
            false => Answer::whole("200 OK", "", "0123456789"),
        }
    });
    let there = format!("Location: http://{}/blob\r\n", elsewhere.address);
    let server = Rude::start(move |_, _| Answer::whole("302 Found", &there, ""));
    for address in [s3_at(&server.address), dav_at(&server.address)] {
        let store = connect(&address, quick());
        let object = path("packs/00/one");
        assert_eq!(store.get(&object, None).unwrap(), b"0123456789");
        assert_eq!(store.get(&object, Some(2..4)).unwrap(), b"23");
    }
    assert_eq!(elsewhere.requests(), 4);
}

/// BACKUP-3: without TLS a proxy would read the password, so none is used.
#[test]
fn a_proxy_sees_nothing_of_what_goes_without_tls() {
    const NAME: &str = "a_proxy_sees_nothing_of_what_goes_without_tls";
    if let Some(address) = told() {
        let store = connect(&address, quick());
        assert_eq!(store.get(&path("packs/00/one"), None).unwrap(), b"sealed");
        return;
    }
    let proxy = Rude::start(|_, _| Answer::whole("502 No", "", ""));
    let server = Rude::start(|_, _| Answer::whole("200 OK", "", "sealed"));
    let server = server.address.replace("127.0.0.1", "localhost");
    for address in [s3_at(&server), dav_at(&server)] {
        let mut child = child(&[], NAME, &address);
        for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            child.env(name, format!("http://{}", proxy.address));
        }
        let output = child.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(proxy.requests(), 0);
}

/// Whatever a listing meets, it ends, and names nothing that is not an object.
#[track_caller]
fn assert_ends(store: &CloudStore, server: &Rude, what: &str) {
    match store.list(&ObjectFolder::root()) {
        Ok(listed) => assert!(listed.is_empty(), "{what}: {listed:?}"),
        Err(error) => assert_clean(store, &error),
    }
    let requests = server.requests();
    assert!(requests <= 2 * 4096, "{what}: {requests} requests");
}

#[test]
fn a_listing_that_leads_nowhere_is_an_error() {
    // Pages that promise more and hold nothing, for ever.
    let page = "<ListBucketResult><IsTruncated>true</IsTruncated>\
                <NextContinuationToken>again</NextContinuationToken></ListBucketResult>";
    let server = Rude::start(move |_, _| Answer::whole("200 OK", "", page));
    let patience = Patience {
        attempts_max: 2,
        ..quick()
    };
    let store = connect(&s3_at(&server.address), patience);
    assert_ends(&store, &server, "pages");

    // Keys outside the prefix that was asked for.
    for key in [
        "x",
        "",
        "/",
        "some/folder",
        "some/folder/",
        "some/folder/../../../etc/passwd",
        "some/",
    ] {
        let server = Rude::start(move |_, _| {
            let page = format!(
                "<ListBucketResult><Contents><Key>{key}</Key><Size>5</Size>\
                 <LastModified>2026-11-23T00:00:00.000Z</LastModified></Contents></ListBucketResult>"
            );
            Answer::whole("200 OK", "", &page)
        });
        let store = connect(&s3_at(&server.address), quick());
        assert_ends(&store, &server, key);
    }

    // Names outside the folder that was asked for, and of the folder itself.
    for href in [
        "/",
        "/x",
        "",
        "/../../etc/passwd",
        "/my%20backups/phone/packs/",
        "%ff%fe",
    ] {
        let server = Rude::start(move |_, _| {
            let tags = "<D:propstat><D:prop><D:getlastmodified>Mon, 23 Nov 2026 00:00:00 GMT\
                        </D:getlastmodified><D:getcontentlength>5</D:getcontentlength>\
                        <D:resourcetype><D:collection/></D:resourcetype></D:prop>\
                        <D:status>HTTP/1.1 200 OK</D:status></D:propstat>";
            let body = format!(
                "<?xml version=\"1.0\"?><D:multistatus xmlns:D=\"DAV:\"><D:response>\
                 <D:href>{href}</D:href>{tags}</D:response></D:multistatus>"
            );
            Answer::whole("207 Multi-Status", "", &body)
        });
        let store = connect(&dav_at(&server.address), quick());
        assert_ends(&store, &server, href);
    }
}

#[test]
fn a_call_that_is_called_off_ends_soon() {
    let server = Rude::start(|_, _| Answer::Stall(Vec::new()));
    let address = StoreAddress::parse(&s3_at(&server.address)).unwrap();
    let credentials = Credentials::new(USER.to_owned(), SECRET.to_owned());
    let begun = Instant::now();
    let called_off = CalledOff::when(move || begun.elapsed() > Duration::from_millis(200));
    let patience = Patience {
        stall_max: Duration::from_secs(60),
        ..quick()
    };
    let store = CloudStore::connect(&address, Some(&credentials), patience, called_off).unwrap();
    let error = store.get(&path("packs/00/one"), None).unwrap_err();
    assert_eq!(error, StoreError::Cancelled);
    assert_eq!(
        store.list(&ObjectFolder::root()).unwrap_err(),
        StoreError::Cancelled
    );
    assert!(begun.elapsed() < Duration::from_secs(5));
}

/// BACKUP-3: S3 credentials sign requests and never travel; WebDAV's travel to the server alone.
#[test]
fn credentials_go_nowhere_but_into_requests() {
    let server = Rude::start(|head, _| {
        assert!(!head.contains(SECRET), "S3 signs; it does not send: {head}");
        Answer::whole("403 Forbidden", "", head)
    });
    let store = connect(&s3_at(&server.address), quick());
    let error = store.get(&path("packs/00/one"), None).unwrap_err();
    assert_clean(&store, &error);
    let credentials = Credentials::new(USER.to_owned(), SECRET.to_owned());
    assert!(!format!("{credentials:?}").contains("CANARY"));
}
