//! The rules: what each request does to a record.
//!
//! Pure functions from a record and a request to an outcome and a changed record. They run before
//! anything is committed; whatever they return is withheld until it is.

mod change;
mod recover;
mod register;

use keyhaven_secrets::Entropy;
use keyhaven_wire::channel::FollowKeys;
use keyhaven_wire::device::{self, Statement, Verified};
use keyhaven_wire::message::{
    Denial, DeviceSigned, Followup, HostTime, Outcome, Request, SessionProof, Wait,
};
use keyhaven_wire::opaque::Parties;

use crate::record::{Life, Record, View};
use crate::secrets::FleetSecrets;
use crate::ticket::{ProofBody, TicketBody};

/// What the rules need beside record and request.
pub(crate) struct Context<'a> {
    pub(crate) secrets: &'a FleetSecrets,
    pub(crate) parties: Parties,
    pub(crate) now: HostTime,
    pub(crate) entropy: &'a mut dyn Entropy,
}

/// What came of a request, and who is told how the account stands.
pub(crate) struct Applied {
    pub(crate) outcome: Outcome,
    pub(crate) view: View,
}

/// Evidence that this request comes from the session that proved the password last.
pub(crate) struct Session {
    _private: (),
}

/// Applies a conversation's first request.
pub(crate) fn first(
    record: &mut Record,
    request: Request,
    follow: &FollowKeys,
    context: &mut Context<'_>,
) -> Applied {
    let applied = match request {
        Request::Status { device } => status(record, device.as_ref(), context),
        Request::RegisterStart { id, request } => {
            register::start(record, id, &request, follow, context)
        }
        Request::RecoverStart { ke1, device } => {
            recover::start(record, &ke1, device.as_ref(), follow, context)
        }
        Request::Change { change, authority } => {
            change::apply(record, &change, &authority, context)
        }
        Request::BeginWait { wait } => begin_wait(record, wait, context),
    };
    applied.unwrap_or_else(Applied::denied)
}

/// Applies a conversation's second request.
pub(crate) fn second(
    record: &mut Record,
    ticket: &TicketBody,
    followup: Followup,
    context: &mut Context<'_>,
) -> Applied {
    let applied = match (ticket, followup) {
        (TicketBody::Register(ticket), Followup::RegisterFinish(finish)) => {
            register::finish(record, ticket, &finish, context)
        }
        (TicketBody::Recover(ticket), Followup::RecoverFinish { ke3 }) => {
            recover::finish(record, ticket, &ke3, context)
        }
        (TicketBody::Register(_), Followup::RecoverFinish { .. })
        | (TicketBody::Recover(_), Followup::RegisterFinish(_)) => Err(Denial::UnknownTicket),
    };
    applied.unwrap_or_else(Applied::denied)
}

fn status(
    record: &Record,
    device: Option<&DeviceSigned<keyhaven_wire::message::StatusNonce>>,
    context: &Context<'_>,
) -> Result<Applied, Denial> {
    let view = match device {
        None => View::Account,
        Some(signed) => {
            let statement = Statement::Status {
                nonce: &signed.extra,
            };
            listed(record, signed, &statement, context)?;
            View::Owner
        }
    };
    Ok(Applied {
        outcome: Outcome::Standing,
        view,
    })
}

fn begin_wait(record: &mut Record, wait: Wait, context: &Context<'_>) -> Result<Applied, Denial> {
    match (&record.life, wait) {
        (Life::Vacant, _) | (Life::Deleted, Wait::LastGuesses) => return Err(Denial::NoRecord),
        (Life::Destroyed, Wait::LastGuesses) => return Err(Denial::Destroyed),
        (Life::Live(_), _) | (Life::Destroyed | Life::Deleted, Wait::FreshStart) => {}
    }
    let policy = context.secrets.policy();
    let until = record.waits.begin(wait, policy, context.now);
    Ok(Applied {
        outcome: Outcome::WaitBegun { until },
        view: View::Account,
    })
}

/// Checks a device's signature over a statement, and that the record lists the device.
fn listed<T>(
    record: &Record,
    signed: &DeviceSigned<T>,
    statement: &Statement<'_>,
    context: &Context<'_>,
) -> Result<Verified, Denial> {
    let (suite, leaf) = (context.secrets.suite(), &context.parties.leaf);
    let verified = device::verify(suite, leaf, statement, signed).ok_or(Denial::BadSignature)?;
    if record.devices.contains(&verified.key()) {
        Ok(verified)
    } else {
        Err(Denial::DeviceNotListed)
    }
}

/// Checks that a session proof is of the attempt that refilled the budget last, in this generation.
fn session(
    record: &Record,
    proof: &SessionProof,
    context: &Context<'_>,
) -> Result<Session, Denial> {
    let Parties { fleet, leaf } = &context.parties;
    let body =
        ProofBody::open(proof, context.secrets.ticket(), fleet, leaf).ok_or(Denial::SessionOver)?;
    match &record.life {
        Life::Live(live)
            if body.generation == record.generation && live.proven == Some(body.attempt) =>
        {
            Ok(Session { _private: () })
        }
        Life::Live(_) | Life::Vacant | Life::Destroyed | Life::Deleted => Err(Denial::SessionOver),
    }
}
