//! The operator's signing key and the bundle that it signs.

use keyhaven_secrets::{Entropy, Remedy};
use keyhaven_vault_core::Policy;
use keyhaven_wire::bundle::{Bundle, BundleError, Group, Measurement, OperatorSecret, UnixSeconds};
use keyhaven_wire::channel::ChannelPublicKey;
use keyhaven_wire::message::FleetId;
use zeroize::Zeroizing;

use crate::folder::{self, Fleet, FolderError};

/// A bundle is believed this long.
const BUNDLE_SECONDS: u64 = 30 * 24 * 60 * 60;
/// It is signed anew when no more than this is left, so that one is always good.
const RENEW_SECONDS: u64 = BUNDLE_SECONDS / 2;

/// Why the bundle could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// A file could not be read or written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The key's file does not hold 32 bytes.
    #[error("operator.key is damaged: it does not hold 32 bytes")]
    Key,
    /// The bundle could not be signed.
    #[error("the bundle could not be signed: {0}")]
    Bundle(#[from] BundleError),
}

impl OperatorError {
    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Folder(error) => error.remedy(),
            Self::Key | Self::Bundle(_) => Remedy::Stop,
        }
    }
}

/// Makes a new operator's key in a fleet that is being made.
pub(crate) fn generate(fleet: &Fleet, entropy: &mut dyn Entropy) -> Result<(), OperatorError> {
    let mut seed = Zeroizing::new([0; 32]);
    entropy.fill(seed.as_mut_slice());
    folder::replace(&fleet.operator_key(), seed.as_slice())?;
    Ok(())
}

pub(crate) fn load(fleet: &Fleet) -> Result<OperatorSecret, OperatorError> {
    let bytes = folder::read_private(&fleet.operator_key())?;
    let seed = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| OperatorError::Key)?;
    let seed = Zeroizing::new(seed);
    Ok(OperatorSecret::from_bytes(*seed))
}

/// The bundle that clients are given now: the stored one while it says the same and has half of its
/// time left, otherwise a new one, stored before it is served.
pub(crate) fn current_bundle(
    fleet: &Fleet,
    operator: &OperatorSecret,
    facts: &Facts,
    now: u64,
) -> Result<String, OperatorError> {
    let stored = stored(fleet)?;
    let before = stored
        .as_deref()
        .and_then(|note| Bundle::own(note, operator).ok());
    if let (Some(note), Some(before)) = (stored, &before)
        && Facts::of(before) == *facts
        && before.issued.0 <= now
        && before.expires.0 > now.saturating_add(RENEW_SECONDS)
    {
        return Ok(note);
    }
    // The serial rises with the clock too: when the stored bundle was lost, clients that have seen
    // it must still not take the new one for an older one.
    let serial = before
        .map_or(1, |before| before.serial.saturating_add(1))
        .max(now);
    let issued = UnixSeconds(now);
    let expires = UnixSeconds(now.saturating_add(BUNDLE_SECONDS));
    let note = facts
        .bundle(serial, issued, expires, operator)
        .sign(operator)?;
    folder::replace(&fleet.bundle(), note.as_bytes())?;
    Ok(note)
}

/// What a bundle says of a fleet apart from its dates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    fleet: FleetId,
    channel_key: ChannelPublicKey,
    group: Group,
    guesses: u8,
    lifetime_guesses: u32,
}

impl Facts {
    pub(crate) fn new(fleet: FleetId, channel_key: ChannelPublicKey, policy: &Policy) -> Self {
        let quorum = policy.quorum;
        Self {
            fleet,
            channel_key,
            group: Group {
                members: quorum.members,
                quorum: quorum.captures,
                rollbacks: quorum.rollbacks,
            },
            guesses: policy.guesses,
            lifetime_guesses: policy.lifetime_guesses,
        }
    }

    fn of(bundle: &Bundle) -> Self {
        Self {
            fleet: bundle.fleet,
            channel_key: bundle.channel_key,
            group: bundle.group,
            guesses: bundle.guesses,
            lifetime_guesses: bundle.lifetime_guesses,
        }
    }

    fn bundle(
        &self,
        serial: u64,
        issued: UnixSeconds,
        expires: UnixSeconds,
        operator: &OperatorSecret,
    ) -> Bundle {
        Bundle {
            fleet: self.fleet,
            serial,
            issued,
            expires,
            operator: operator.public(),
            channel_key: self.channel_key,
            // One machine: nobody but the core itself checks its captures.
            log_key: None,
            group: self.group,
            guesses: self.guesses,
            lifetime_guesses: self.lifetime_guesses,
            // Nothing attests a process: whoever administers this machine is trusted.
            measurement: Measurement::None,
        }
    }
}

fn stored(fleet: &Fleet) -> Result<Option<String>, FolderError> {
    let path = fleet.bundle();
    if !path.exists() {
        return Ok(None);
    }
    let bytes = folder::read_private(&path)?;
    Ok(String::from_utf8(bytes.to_vec()).ok())
}

#[cfg(test)]
mod tests {
    use keyhaven_wire::bundle::Trust;
    use keyhaven_wire::channel::ChannelKey;

    use super::*;
    use crate::folder::Folder;
    use crate::os::SystemEntropy;

    const DAY: u64 = 24 * 60 * 60;
    const NOW: u64 = 1_800_000_000;

    fn facts(seed: u8) -> Facts {
        let key = ChannelKey::new([seed; 32]).public();
        Facts::new(FleetId::new([1; 32]), key, &Policy::DEFAULT)
    }

    #[test]
    fn a_bundle_is_kept_while_it_is_fresh_and_only_ever_replaced_by_a_later_one() {
        let temp = tempfile::tempdir().unwrap();
        let fleet = Folder::at(temp.path()).unborn_fleet().unwrap();
        generate(&fleet, &mut SystemEntropy).unwrap();
        let operator = load(&fleet).unwrap();
        let at = |facts: &Facts, now| current_bundle(&fleet, &operator, facts, now).unwrap();

        let first = at(&facts(1), NOW);
        assert_eq!(at(&facts(1), NOW + 10 * DAY), first);
        let renewed = at(&facts(1), NOW + 16 * DAY);
        assert_ne!(renewed, first);
        let rekeyed = at(&facts(2), NOW + 16 * DAY);
        std::fs::remove_file(fleet.bundle()).unwrap();
        let after_loss = at(&facts(2), NOW + 17 * DAY);
        let after_clock_went_back = at(&facts(2), NOW);

        let serial = |note: &str| Bundle::own(note, &operator).unwrap().serial;
        let notes = [
            &first,
            &renewed,
            &rekeyed,
            &after_loss,
            &after_clock_went_back,
        ];
        assert!(
            notes
                .windows(2)
                .all(|pair| serial(pair[0]) < serial(pair[1]))
        );

        let trust = Trust::pinned(operator.public().pin());
        Bundle::open(&first, &trust, UnixSeconds(NOW)).unwrap();
    }
}
