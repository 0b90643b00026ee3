//! One message of every kind, with every value in sight.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::device::Statement;
use crate::message::{
    Action, AttemptNumber, AttemptSeen, Authority, Change, ChangeNumber, ChangedBy, Denial,
    DeviceKey, DeviceSigned, DigestBytes, Followup, Freshness, Generation, HostTime, LeafIndex,
    Line, Outcome, Owner, PasswordClaim, RecordState, RegisterAuthority, RegisterFinish,
    RegistrationId, Reply, Request, SessionProof, Signature, Standing, StatusNonce, Ticket, Totals,
    Verdict, Wait, WrappedKey,
};
use crate::opaque::{
    Cost, Ke1, Ke2, Ke3, RegistrationRequest, RegistrationResponse, RegistrationUpload,
};
use crate::release::Released;

fn signed<T>(extra: T) -> DeviceSigned<T> {
    DeviceSigned {
        key: DeviceKey::new([0xd1; 32]),
        signature: Signature::new([0xd2; 64]),
        extra,
    }
}

fn freshness() -> Freshness {
    Freshness {
        sequence: 300,
        digest: DigestBytes::new([0xf1; 32]),
    }
}

fn change(action: Action) -> Change {
    Change {
        number: ChangeNumber::new(24),
        action,
    }
}

fn actions() -> Vec<(&'static str, Action)> {
    let key = DeviceKey::new([0xd3; 32]);
    vec![
        ("device-add", Action::DeviceAdd(key)),
        ("device-remove", Action::DeviceRemove(key)),
        ("note-freshness", Action::NoteFreshness(freshness())),
        ("delete", Action::Delete),
        ("cancel-wait", Action::CancelWait(Wait::FreshStart)),
        ("lift-cap", Action::LiftCap),
    ]
}

pub(crate) fn requests() -> Vec<(String, Request)> {
    let ke1 = Ke1::new([0xa1; 96]);
    let mut all = vec![
        ("status".to_owned(), Request::Status { device: None }),
        (
            "status-by-device".to_owned(),
            Request::Status {
                device: Some(signed(StatusNonce::new([0xa2; 32]))),
            },
        ),
        (
            "register-start".to_owned(),
            Request::RegisterStart {
                id: RegistrationId::new([0xa3; 16]),
                request: RegistrationRequest::new([0xa4; 32]),
            },
        ),
        (
            "recover-start".to_owned(),
            Request::RecoverStart { ke1, device: None },
        ),
        (
            "recover-start-by-device".to_owned(),
            Request::RecoverStart {
                ke1,
                device: Some(signed(())),
            },
        ),
        (
            "begin-wait-last-guesses".to_owned(),
            Request::BeginWait {
                wait: Wait::LastGuesses,
            },
        ),
        (
            "begin-wait-fresh-start".to_owned(),
            Request::BeginWait {
                wait: Wait::FreshStart,
            },
        ),
    ];
    for (name, action) in actions() {
        all.push((
            format!("change-{name}"),
            Request::Change {
                change: change(action),
                authority: Authority::Device(signed(())),
            },
        ));
    }
    all.push((
        "change-in-session".to_owned(),
        Request::Change {
            change: change(Action::Delete),
            authority: Authority::Session(SessionProof::new([0xa5; 104])),
        },
    ));
    all
}

fn finish(authority: RegisterAuthority) -> RegisterFinish {
    RegisterFinish {
        upload: RegistrationUpload::new([0xb1; 192]),
        wrapped: WrappedKey::new([0xb2; 72]),
        cost: Cost::DEFAULT,
        device: Some(DeviceKey::new([0xb3; 32])),
        authority,
    }
}

pub(crate) fn followups() -> Vec<(String, Followup)> {
    let by_device = |password| RegisterAuthority::Device {
        password,
        signed: signed(()),
    };
    let authorities = [
        ("first", RegisterAuthority::First),
        ("may-be-same", by_device(PasswordClaim::MayBeSame)),
        ("different", by_device(PasswordClaim::Different)),
        (
            "session",
            RegisterAuthority::Session(SessionProof::new([0xb4; 104])),
        ),
        ("fresh-start", RegisterAuthority::FreshStart),
    ];
    let mut all: Vec<(String, Followup)> = authorities
        .into_iter()
        .map(|(name, authority)| {
            (
                format!("register-{name}"),
                Followup::RegisterFinish(finish(authority)),
            )
        })
        .collect();
    all.push((
        "recover".to_owned(),
        Followup::RecoverFinish {
            ke3: Ke3::new([0xb5; 64]),
        },
    ));
    all
}

fn denials() -> Vec<(&'static str, Denial)> {
    let until = Some(HostTime::new(1_800_000_000));
    vec![
        ("malformed", Denial::Malformed),
        ("no-record", Denial::NoRecord),
        ("destroyed", Denial::Destroyed),
        ("already-registered", Denial::AlreadyRegistered),
        ("stale", Denial::Stale),
        ("id-reused", Denial::IdReused),
        ("unknown-ticket", Denial::UnknownTicket),
        ("device-not-listed", Denial::DeviceNotListed),
        ("bad-signature", Denial::BadSignature),
        ("session-over", Denial::SessionOver),
        ("wrong-change-number", Denial::WrongChangeNumber),
        ("device-only", Denial::DeviceOnly),
        ("too-many-devices", Denial::TooManyDevices),
        (
            "last-guesses-reserved",
            Denial::LastGuessesReserved { until },
        ),
        ("cap-reached", Denial::CapReached),
        ("wait-not-over", Denial::WaitNotOver { until: None }),
        ("no-wait", Denial::NoWait),
        ("cancels-spent", Denial::CancelsSpent),
        ("no-guesses-left", Denial::NoGuessesLeft),
    ]
}

pub(crate) fn replies() -> Vec<(String, Reply)> {
    let ticket = Ticket::new([0xc1; 384]);
    let outcomes = [
        ("standing", Outcome::Standing),
        (
            "register-started",
            Outcome::RegisterStarted {
                response: RegistrationResponse::new([0xc2; 64]),
                ticket,
            },
        ),
        (
            "registered",
            Outcome::Registered {
                generation: Generation::new(2),
            },
        ),
        (
            "recover-started",
            Outcome::RecoverStarted {
                ke2: Ke2::new([0xc3; 320]),
                cost: Cost::DEFAULT,
                attempt: AttemptNumber::new(9),
                ticket,
            },
        ),
        ("recovered", Outcome::Recovered(Released::new([0xc4; 232]))),
        ("wrong-password", Outcome::WrongPassword),
        (
            "changed",
            Outcome::Changed {
                number: ChangeNumber::new(24),
            },
        ),
        (
            "wait-begun",
            Outcome::WaitBegun {
                until: HostTime::new(1_800_000_000),
            },
        ),
    ];
    let denied = denials()
        .into_iter()
        .map(|(name, denial)| (format!("denied-{name}"), Outcome::Denied(denial)));
    outcomes
        .into_iter()
        .map(|(name, outcome)| (name.to_owned(), outcome))
        .chain(denied)
        .map(|(name, outcome)| {
            let standing = standing();
            (name, Reply { outcome, standing })
        })
        .collect()
}

pub(crate) fn standing() -> Standing {
    Standing {
        state: RecordState::Live,
        guesses_left: 7,
        generation: Generation::new(2),
        line: Line::new(1),
        change: ChangeNumber::new(23),
        wrong_since_lift: 3,
        cap: 100,
        totals: Totals {
            answered: 4,
            right: 1,
            wrong: 2,
        },
        attempts: vec![
            AttemptSeen {
                number: AttemptNumber::new(3),
                at: HostTime::new(1_799_999_000),
                verdict: Verdict::Wrong,
            },
            AttemptSeen {
                number: AttemptNumber::new(4),
                at: HostTime::new(1_799_999_999),
                verdict: Verdict::Unfinished,
            },
        ],
        last_guesses_at: None,
        fresh_start_at: Some(HostTime::new(1_800_000_000)),
        owner: Some(Owner {
            devices: vec![DeviceKey::new([0xe1; 32])],
            freshness: Some(freshness()),
            changed_by: ChangedBy::Device(DeviceKey::new([0xe1; 32])),
        }),
    }
}

/// All lists full, all numbers at their greatest.
pub(crate) fn greatest_standing() -> Standing {
    let time = HostTime::new(u64::MAX);
    let seen = AttemptSeen {
        number: AttemptNumber::new(u64::MAX),
        at: time,
        verdict: Verdict::Wrong,
    };
    Standing {
        state: RecordState::Deleted,
        guesses_left: u8::MAX,
        generation: Generation::new(u64::MAX),
        line: Line::new(u32::MAX),
        change: ChangeNumber::new(u64::MAX),
        wrong_since_lift: u32::MAX,
        cap: u32::MAX,
        totals: Totals {
            answered: u64::MAX,
            right: u64::MAX,
            wrong: u64::MAX,
        },
        attempts: vec![seen; crate::message::RING_MAX],
        last_guesses_at: Some(time),
        fresh_start_at: Some(time),
        owner: Some(Owner {
            devices: vec![DeviceKey::new([0xff; 32]); crate::message::DEVICES_MAX],
            freshness: Some(Freshness {
                sequence: u64::MAX,
                digest: DigestBytes::new([0xff; 32]),
            }),
            changed_by: ChangedBy::Device(DeviceKey::new([0xff; 32])),
        }),
    }
}

pub(crate) fn statements() -> Vec<(String, Vec<u8>)> {
    let leaf = LeafIndex::new([0x11; 32]);
    let nonce = StatusNonce::new([0xa2; 32]);
    let ke1 = Ke1::new([0xa1; 96]);
    let id = RegistrationId::new([0xa3; 16]);
    let finish = finish(RegisterAuthority::First);
    let mut all = vec![
        ("status".to_owned(), Statement::Status { nonce: &nonce }),
        ("recover".to_owned(), Statement::Recover { ke1: &ke1 }),
    ];
    let changes: Vec<(&str, Change)> = actions()
        .into_iter()
        .map(|(name, action)| (name, change(action)))
        .collect();
    for (name, change) in &changes {
        all.push((format!("change-{name}"), Statement::Change(change)));
    }
    for (name, password) in [
        ("may-be-same", PasswordClaim::MayBeSame),
        ("different", PasswordClaim::Different),
    ] {
        let statement = Statement::Register {
            id: &id,
            password,
            finish: &finish,
        };
        all.push((format!("register-{name}"), statement));
    }
    all.into_iter()
        .map(|(name, statement)| (name, statement.encode(&leaf).unwrap()))
        .collect()
}
