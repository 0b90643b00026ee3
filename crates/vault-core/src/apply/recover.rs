//! Recovering: a guess is spent with KE1, and forgiven with the KE3 that proves it.

use keyhaven_wire::channel::FollowKeys;
use keyhaven_wire::device::Statement;
use keyhaven_wire::message::{AttemptNumber, Denial, DeviceSigned, DigestBytes, Outcome, Wait};
use keyhaven_wire::opaque::server::Proven;
use keyhaven_wire::opaque::{Ke1, Ke3, SessionKey};
use keyhaven_wire::release::Release;
use keyhaven_wire::suite::Registered;

use super::{Applied, Context, listed};
use crate::record::{Exhausted, Life, Record, View, Waits};
use crate::ticket::{ProofBody, RecoverTicket, TicketBody};

/// KE1: spends a guess and answers, or answers the same guess again.
///
/// The evaluation is made before anything is decided, also for a record that is gone (from keys
/// that open nothing), so that the time it takes does not tell a host what the decision was.
pub(super) fn start(
    record: &mut Record,
    ke1: &Ke1,
    device: Option<&DeviceSigned<()>>,
    follow: &FollowKeys,
    context: &mut Context<'_>,
) -> Result<Applied, Denial> {
    let digest = ke1_digest(ke1);
    // The same KE1 again is the same guess: a dropped connection, or a leader that died, costs
    // nothing more, and its answer is the same bytes (VAULT-2).
    let known = record.guesses.answered_as(&digest);
    let attempt = known.or(record.history.next()).ok_or(Denial::CapReached)?;
    let answered = answer(record, ke1, digest, attempt, follow, context);
    match &record.life {
        Life::Live(_) => {}
        Life::Vacant | Life::Deleted => return Err(Denial::NoRecord),
        Life::Destroyed => return Err(Denial::Destroyed),
    }
    // A KE1 with an element that is not valid is refused before it costs anything.
    let answered = answered?;
    if known.is_some() {
        return Ok(answered);
    }
    admit(record, ke1, device, context)?;
    match record.guesses.spend(attempt, digest) {
        Ok(()) => {
            record.history.answered(context.now);
            Ok(answered)
        }
        Err(Exhausted) => {
            // VAULT-4: the tenth guess was not proven right, and here is an eleventh.
            record.destroy();
            Err(Denial::Destroyed)
        }
    }
}

/// Whether a new guess may be made now. What is refused here costs nothing and destroys nothing.
fn admit(
    record: &Record,
    ke1: &Ke1,
    device: Option<&DeviceSigned<()>>,
    context: &Context<'_>,
) -> Result<(), Denial> {
    let policy = context.secrets.policy();
    let by_device = match device {
        Some(signed) => {
            listed(record, signed, &Statement::Recover { ke1 }, context)?;
            true
        }
        None => false,
    };
    // VAULT-1: the lifetime cap binds devices too; they lift it by a request of its own.
    if record.history.since_lift() >= policy.lifetime_guesses {
        return Err(Denial::CapReached);
    }
    // Somebody who merely took over the account cannot burn the last guesses at once.
    let reserved = record.guesses.left() <= policy.reserved;
    let waited = record.waits.over(Wait::LastGuesses, context.now).is_some();
    if reserved && !by_device && !waited {
        return Err(Denial::LastGuessesReserved {
            until: record.waits.last_guesses,
        });
    }
    Ok(())
}

fn answer(
    record: &Record,
    ke1: &Ke1,
    digest: DigestBytes,
    attempt: AttemptNumber,
    follow: &FollowKeys,
    context: &mut Context<'_>,
) -> Result<Applied, Denial> {
    let secrets = context.secrets;
    let live = record.live().unwrap_or(secrets.decoy());
    let registered = Registered {
        keys: &live.keys,
        upload: &live.upload,
        cost: &live.cost,
    };
    let (ke2, pending) = secrets
        .suite()
        .respond(&registered, &context.parties, attempt, ke1)
        .map_err(|_| Denial::Malformed)?;
    let ticket = TicketBody::Recover(RecoverTicket {
        follow: follow.clone(),
        generation: record.generation,
        attempt,
        ke1: digest,
        pending,
    })
    .seal(
        context.secrets.ticket(),
        &context.parties.fleet,
        &context.parties.leaf,
        context.entropy,
    )
    .ok_or(Denial::Malformed)?;
    Ok(Applied {
        outcome: Outcome::RecoverStarted {
            ke2,
            cost: live.cost,
            attempt,
            ticket,
        },
        view: View::Account,
    })
}

/// KE3: proves the password, or ends the attempt.
///
/// Whatever the verdict, the same work is done: a KE3 is checked and a release is sealed.
pub(super) fn finish(
    record: &mut Record,
    ticket: &RecoverTicket,
    ke3: &Ke3,
    context: &mut Context<'_>,
) -> Result<Applied, Denial> {
    let proven = ticket.pending.prove(context.secrets.suite(), ke3).ok();
    let verdict = judge(record, ticket, proven.as_ref(), context);
    let session = match &proven {
        Some(proven) => proven.session().clone(),
        None => SessionKey::generate(context.entropy),
    };
    let sealed = release(record, ticket.attempt, context)
        .seal(&session, &context.parties, context.entropy)
        .map_err(|_| Denial::Malformed)?;
    Ok(match verdict? {
        Verdict::Right => Applied {
            outcome: Outcome::Recovered(sealed),
            view: View::Owner,
        },
        Verdict::Wrong => Applied {
            outcome: Outcome::WrongPassword,
            view: View::Account,
        },
    })
}

enum Verdict {
    Right,
    Wrong,
}

/// What a KE3, proven or not, does to the record.
fn judge(
    record: &mut Record,
    ticket: &RecoverTicket,
    proven: Option<&Proven>,
    context: &Context<'_>,
) -> Result<Verdict, Denial> {
    match &record.life {
        Life::Live(_) if ticket.generation == record.generation => {}
        Life::Destroyed if ticket.generation == record.generation => return Err(Denial::Destroyed),
        Life::Live(_) | Life::Destroyed | Life::Vacant | Life::Deleted => {
            return Err(Denial::Stale);
        }
    }
    record.history.ended(ticket.attempt, proven.is_some());
    let Some(proven) = proven else {
        if record.guesses.close(ticket.attempt) {
            // VAULT-4: the last guess was wrong.
            record.destroy();
            return Err(Denial::Destroyed);
        }
        return Ok(Verdict::Wrong);
    };
    let policy = context.secrets.policy();
    let refilled = record
        .guesses
        .forgive(policy, ticket.attempt, &ticket.ke1, proven);
    if refilled {
        record.history.proven();
        record.waits = Waits::default();
        if let Life::Live(live) = &mut record.life {
            live.proven = Some(ticket.attempt);
        }
    }
    Ok(Verdict::Right)
}

/// The wrapped key, and the session's proof if this attempt is the one that refilled last. A right
/// KE3 that came too late to refill still gets the key: who sent it knows the password.
fn release(record: &Record, attempt: AttemptNumber, context: &mut Context<'_>) -> Release {
    let secrets = context.secrets;
    let live = record.live().unwrap_or(secrets.decoy());
    let body = ProofBody {
        generation: record.generation,
        attempt,
    };
    let proof = body.seal(
        context.secrets.ticket(),
        &context.parties.fleet,
        &context.parties.leaf,
        context.entropy,
    );
    Release {
        wrapped: live.wrapped,
        proof: proof.filter(|_| live.proven == Some(attempt)),
    }
}

fn ke1_digest(ke1: &Ke1) -> DigestBytes {
    let mut hasher = blake3::Hasher::new_derive_key("keyhaven v1 vault ke1 digest");
    hasher.update(ke1.as_bytes());
    DigestBytes::new(*hasher.finalize().as_bytes())
}
