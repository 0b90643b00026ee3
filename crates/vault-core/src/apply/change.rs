//! Changes that the owner authorises: devices, freshness, delete, waits, the cap.

use keyhaven_wire::codec;
use keyhaven_wire::device::Statement;
use keyhaven_wire::message::{Action, Authority, Change, ChangedBy, Denial, DigestBytes, Outcome};

use super::{Applied, Context, listed, session};
use crate::record::{CancelError, Life, Record, View, Waits};

/// Applies a change once; the same bytes again are acknowledged again.
pub(super) fn apply(
    record: &mut Record,
    change: &Change,
    authority: &Authority,
    context: &Context<'_>,
) -> Result<Applied, Denial> {
    let digest = digest(change, authority)?;
    if record.last_change == Some(digest) && record.change == change.number {
        return Ok(changed(record, View::Account));
    }
    match record.life {
        Life::Vacant | Life::Deleted => return Err(Denial::NoRecord),
        Life::Live(_) | Life::Destroyed => {}
    }
    let by = authorise(record, change, authority, context)?;
    // A rising number, and exactly the next one: a change that a host recorded cannot be replayed,
    // and two devices that change at once are told apart.
    let next = record.change.next();
    if next != Some(change.number) {
        return Err(Denial::WrongChangeNumber);
    }
    act(record, &change.action, by, context)?;
    record.change = change.number;
    record.last_change = Some(digest);
    record.changed_by = by;
    Ok(changed(record, View::Owner))
}

fn changed(record: &Record, view: View) -> Applied {
    Applied {
        outcome: Outcome::Changed {
            number: record.change,
        },
        view,
    }
}

fn authorise(
    record: &Record,
    change: &Change,
    authority: &Authority,
    context: &Context<'_>,
) -> Result<ChangedBy, Denial> {
    match authority {
        Authority::Device(signed) => {
            let verified = listed(record, signed, &Statement::Change(change), context)?;
            Ok(ChangedBy::Device(verified.key()))
        }
        Authority::Session(proof) => {
            session(record, proof, context)?;
            match change.action {
                Action::CancelWait(_) | Action::LiftCap => Err(Denial::DeviceOnly),
                Action::DeviceAdd(_)
                | Action::DeviceRemove(_)
                | Action::NoteFreshness(_)
                | Action::Delete => Ok(ChangedBy::Password),
            }
        }
    }
}

fn act(
    record: &mut Record,
    action: &Action,
    by: ChangedBy,
    context: &Context<'_>,
) -> Result<(), Denial> {
    match action {
        Action::DeviceAdd(key) => record
            .devices
            .add(*key)
            .map_err(|_| Denial::TooManyDevices)?,
        Action::DeviceRemove(key) => {
            if !record.devices.remove(key) {
                return Err(Denial::DeviceNotListed);
            }
        }
        Action::NoteFreshness(freshness) => record.freshness = Some(*freshness),
        Action::Delete => delete(record)?,
        Action::CancelWait(wait) => {
            record
                .waits
                .cancel(*wait, context.secrets.policy())
                .map_err(|error| match error {
                    CancelError::NoWait => Denial::NoWait,
                    CancelError::Spent => Denial::CancelsSpent,
                })?;
        }
        Action::LiftCap => {
            debug_assert!(matches!(by, ChangedBy::Device(_)), "checked above");
            record.history.lift();
        }
    }
    Ok(())
}

/// VAULT-4: keys, devices and note are gone. What stays is a tombstone: generation, last
/// registration id, line, what was spent, and the counts.
///
/// The generation moves, so that neither a step 2 of a registration nor a KE3 that a host held back
/// finds the generation it was made for; what was spent stays spent, so that deleting and
/// registering again gains no guess.
fn delete(record: &mut Record) -> Result<(), Denial> {
    record.generation = record.generation.next().ok_or(Denial::Stale)?;
    record.life = Life::Deleted;
    record.devices = crate::record::Devices::default();
    record.freshness = None;
    record.waits = Waits::default();
    record.guesses.inherit();
    Ok(())
}

/// The digest of a change as it was sent, its authority included: only the same bytes, which were
/// checked when they were accepted, are acknowledged without being checked again.
fn digest(change: &Change, authority: &Authority) -> Result<DigestBytes, Denial> {
    let mut hasher = blake3::Hasher::new_derive_key("keyhaven v1 vault change digest");
    hasher.update(&codec::encode(&(change, authority)).map_err(|_| Denial::Malformed)?);
    Ok(DigestBytes::new(*hasher.finalize().as_bytes()))
}
