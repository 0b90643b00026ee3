//! Registering: step 1 stores nothing, step 2 arms a generation.

use alloc::boxed::Box;

use keyhaven_wire::channel::FollowKeys;
use keyhaven_wire::device::Statement;
use keyhaven_wire::message::{
    ChangedBy, Denial, DigestBytes, Line, Outcome, PasswordClaim, RegisterAuthority,
    RegisterFinish, RegistrationId, Wait,
};
use keyhaven_wire::opaque::RegistrationRequest;

use super::{Applied, Context, listed, session};
use crate::record::{Armed, Devices, Guesses, Life, Live, Record, Refill, View, Waits};
use crate::ticket::{RegisterTicket, TicketBody};

/// Step 1: a fresh server key, one evaluation, and the key sealed into a ticket. It gives nothing
/// away: the key is new, so the evaluation says nothing about any registered password.
pub(super) fn start(
    record: &Record,
    id: RegistrationId,
    request: &RegistrationRequest,
    follow: &FollowKeys,
    context: &mut Context<'_>,
) -> Result<Applied, Denial> {
    let suite = context.secrets.suite();
    let keys = suite.draw(context.entropy).map_err(|_| Denial::Malformed)?;
    let response = suite
        .evaluate(&keys, &context.parties, request)
        .map_err(|_| Denial::Malformed)?;
    let ticket = TicketBody::Register(RegisterTicket {
        follow: follow.clone(),
        id,
        generation: record.generation,
        keys,
    })
    .seal(
        context.secrets.ticket(),
        &context.parties.fleet,
        &context.parties.leaf,
        context.entropy,
    )
    .ok_or(Denial::Malformed)?;
    Ok(Applied {
        outcome: Outcome::RegisterStarted { response, ticket },
        view: View::Account,
    })
}

/// What an authority makes of the record before the generation is armed.
enum Grant {
    /// The same line goes on, with what was spent, or refilled by evidence.
    Line(Option<Refill>),
    /// A new line.
    FreshStart(Refill),
}

/// Step 2: arms the generation, if the record's is still the ticket's.
pub(super) fn finish(
    record: &mut Record,
    ticket: &RegisterTicket,
    finish: &RegisterFinish,
    context: &mut Context<'_>,
) -> Result<Applied, Denial> {
    let digest = finish.digest().map_err(|_| Denial::Malformed)?;
    if let Some(armed) = record.armed.filter(|armed| armed.id == ticket.id) {
        return acknowledge(record, armed, digest);
    }
    // VAULT-7: whatever has happened since step 1 (another registration, a delete) has moved the
    // generation, so a step 2 that a host held back for later arms nothing.
    if ticket.generation != record.generation {
        return Err(Denial::Stale);
    }
    let suite = context.secrets.suite();
    suite
        .check_upload(&finish.upload)
        .map_err(|_| Denial::Malformed)?;
    let (grant, changed_by) = authorise(record, ticket, finish, context)?;

    // From here on nothing may fail half-way: everything that can refuse comes first.
    let inherits = matches!(grant, Grant::Line(None));
    if inherits && record.guesses.left() == 0 {
        return Err(Denial::NoGuessesLeft);
    }
    let mut devices = match grant {
        Grant::Line(_) => core::mem::take(&mut record.devices),
        Grant::FreshStart(_) => Devices::default(),
    };
    if let Some(key) = finish.device
        && devices.add(key).is_err()
    {
        record.devices = devices;
        return Err(Denial::TooManyDevices);
    }
    let (Some(generation), Some(change), Some(next_line)) = (
        record.generation.next(),
        record.change.next(),
        record.line.next(),
    ) else {
        record.devices = devices;
        return Err(Denial::Stale);
    };

    let policy = context.secrets.policy();
    match &grant {
        Grant::Line(None) => record.guesses.inherit(),
        Grant::Line(Some(refill)) => record.guesses = Guesses::refilled(policy, refill),
        Grant::FreshStart(refill) => {
            record.guesses = Guesses::refilled(policy, refill);
            record.history.lift();
            record.freshness = None;
        }
    }
    if matches!(grant, Grant::FreshStart(_)) || record.line == Line::default() {
        record.line = next_line;
    }
    record.devices = devices;
    record.waits = Waits::default();
    record.generation = generation;
    record.change = change;
    record.last_change = None;
    record.changed_by = changed_by;
    record.armed = Some(Armed {
        id: ticket.id,
        digest,
    });
    // VAULT-4: the old generation's keys go with the value that this replaces.
    record.life = Life::Live(Box::new(Live {
        keys: ticket.keys.clone(),
        upload: finish.upload,
        wrapped: finish.wrapped,
        cost: finish.cost,
        proven: None,
    }));
    Ok(Applied {
        outcome: Outcome::Registered { generation },
        view: View::Owner,
    })
}

/// The same id again: the same bytes are acknowledged again, as long as what they armed lives.
fn acknowledge(record: &Record, armed: Armed, digest: DigestBytes) -> Result<Applied, Denial> {
    if armed.digest != digest {
        return Err(Denial::IdReused);
    }
    match record.life {
        Life::Live(_) => Ok(Applied {
            outcome: Outcome::Registered {
                generation: record.generation,
            },
            view: View::Account,
        }),
        Life::Destroyed => Err(Denial::Destroyed),
        Life::Vacant | Life::Deleted => Err(Denial::Stale),
    }
}

fn authorise(
    record: &Record,
    ticket: &RegisterTicket,
    finish: &RegisterFinish,
    context: &Context<'_>,
) -> Result<(Grant, ChangedBy), Denial> {
    match &finish.authority {
        RegisterAuthority::First => match record.life {
            Life::Vacant | Life::Deleted => Ok((Grant::Line(None), ChangedBy::Token)),
            Life::Destroyed => Err(Denial::Destroyed),
            Life::Live(_) => Err(Denial::AlreadyRegistered),
        },
        RegisterAuthority::Device { password, signed } => {
            let statement = Statement::Register {
                id: &ticket.id,
                password: *password,
                finish,
            };
            let verified = listed(record, signed, &statement, context)?;
            let refill = Refill::by_device(&verified, *password);
            debug_assert_eq!(refill.is_some(), *password == PasswordClaim::Different);
            Ok((Grant::Line(refill), ChangedBy::Device(verified.key())))
        }
        RegisterAuthority::Session(proof) => {
            let session = session(record, proof, context)?;
            let refill = Refill::by_session(&session);
            Ok((Grant::Line(Some(refill)), ChangedBy::Password))
        }
        RegisterAuthority::FreshStart => {
            let over =
                record
                    .waits
                    .over(Wait::FreshStart, context.now)
                    .ok_or(Denial::WaitNotOver {
                        until: record.waits.fresh_start,
                    })?;
            Ok((
                Grant::FreshStart(Refill::by_fresh_start(&over)),
                ChangedBy::Token,
            ))
        }
    }
}
