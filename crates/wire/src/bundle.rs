//! The validation bundle: what a client must know of a fleet before it says a word to it.
//!
//! A client is given a vault by its [`VaultAddress`]: where it listens, and the [`Pin`] of the
//! operator's signing key. Everything else (the fleet's channel key, its group and quorum rule, its
//! guess budget) comes from the vault itself as a *signed note* in the C2SP form, which existing
//! witnesses and tools read, and is believed only under that pin.
//!
//! ```text
//!   http://127.0.0.1:7420/#<pin> ── GET /v1/fleet ──►  text, blank line, "— name signature"
//!                                                        │  operator key hashes to the pin?
//!                                                        │  signature good? not expired?
//!                                                        ▼  not older than one seen? floor met?
//!                                                      Bundle
//! ```
//!
//! What it refuses: a bundle without a good signature of the pinned operator, one that has expired
//! or is not valid yet, one older than a bundle this client has seen (a host that goes back to an
//! old channel key), one of another fleet, and one whose group or guess budget is weaker than the
//! client's floor.
//!
//! ```
//! use keyhaven_wire::bundle::{Bundle, Group, Measurement, OperatorSecret, Trust, UnixSeconds};
//! use keyhaven_wire::channel::ChannelKey;
//! use keyhaven_wire::message::FleetId;
//!
//! let operator = OperatorSecret::from_bytes([7; 32]);
//! let bundle = Bundle {
//!     fleet: FleetId::new([1; 32]),
//!     serial: 1,
//!     issued: UnixSeconds(1_800_000_000),
//!     expires: UnixSeconds(1_800_086_400),
//!     operator: operator.public(),
//!     channel_key: ChannelKey::new([2; 32]).public(),
//!     log_key: None,
//!     group: Group { members: 1, quorum: 1, rollbacks: 0 },
//!     guesses: 10,
//!     lifetime_guesses: 100,
//!     measurement: Measurement::None,
//! };
//! let note = bundle.sign(&operator)?;
//! let trust = Trust::pinned(operator.public().pin());
//! assert_eq!(Bundle::open(&note, &trust, UnixSeconds(1_800_000_100))?, bundle);
//! # Ok::<(), keyhaven_wire::bundle::BundleError>(())
//! ```

mod address;
mod note;
mod text;

use alloc::string::String;
use alloc::vec::Vec;

pub use address::{AddressError, Pin, VaultAddress};
pub use note::{OperatorKey, OperatorSecret};

use keyhaven_secrets::Remedy;

use crate::channel::ChannelPublicKey;
use crate::message::FleetId;

/// The longest note that a client reads. A bundle is about 2.2 KB; the rest is room for the
/// signatures of witnesses.
pub const NOTE_BYTES_MAX: usize = 16 * 1024;

/// How far in the future a bundle may be dated: clocks of honest machines differ.
pub const CLOCK_SKEW_SECONDS: u64 = 24 * 60 * 60;

/// A time as whole seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixSeconds(pub u64);

/// How many cores keep one log together, and how many of them make a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Cores in a group (`n`).
    pub members: u8,
    /// Captures that commit an entry (`q`).
    pub quorum: u8,
    /// Unnoticed rollbacks of a core's memory that the group survives (`f`).
    pub rollbacks: u8,
}

/// What attests that the cores run the published code.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Measurement {
    /// Nothing: the administrator of the machine is trusted.
    None,
    /// A SHA-384 measurement, as enclaves report it.
    Sha384([u8; 48]),
}

/// What a client knows of a fleet, once it is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The fleet's name: random bytes, made when its secrets were.
    pub fleet: FleetId,
    /// Rises with every bundle of a fleet.
    pub serial: u64,
    /// When the operator signed it.
    pub issued: UnixSeconds,
    /// When it stops being believed.
    pub expires: UnixSeconds,
    /// Who signs for this fleet.
    pub operator: OperatorKey,
    /// The fleet's X-Wing public key: requests are sealed to it.
    pub channel_key: ChannelPublicKey,
    /// The Ed25519 key under which a group's captures are signed, where there are any to check.
    pub log_key: Option<[u8; 32]>,
    /// The quorum rule of the fleet's groups.
    pub group: Group,
    /// The guess budget: wrong guesses in a row before a record dies.
    pub guesses: u8,
    /// The lifetime cap on wrong guesses, lifted only by a listed device.
    pub lifetime_guesses: u32,
    /// What attests the cores.
    pub measurement: Measurement,
}

/// What a client insists on.
#[derive(Clone, Debug)]
pub struct Trust {
    pin: Pin,
    seen: Option<Seen>,
    guesses_max: u8,
    group_min: Group,
    /// The cores that are accepted; none if any is.
    measurements: Option<Vec<[u8; 48]>>,
}

/// The newest bundle that this client has believed before: it goes on from there, never back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its fleet.
    pub fleet: FleetId,
    /// Its serial.
    pub serial: u64,
}

impl Trust {
    /// Trusts the operator with this pin, a budget of at most ten guesses, and any group.
    #[must_use]
    pub fn pinned(pin: Pin) -> Self {
        Self {
            pin,
            seen: None,
            guesses_max: 10,
            group_min: Group {
                members: 1,
                quorum: 1,
                rollbacks: 0,
            },
            measurements: None,
        }
    }

    /// Refuses bundles older than this one, and bundles of another fleet.
    #[must_use]
    pub fn after(mut self, seen: Seen) -> Self {
        self.seen = Some(seen);
        self
    }

    /// Refuses cores that do not have one of these measurements: older versions with known faults, other
    /// programs, and whatever is not measured at all.
    #[must_use]
    pub fn with_measurements(mut self, accepted: &[[u8; 48]]) -> Self {
        self.measurements = Some(accepted.to_vec());
        self
    }

    /// Refuses groups weaker than this one.
    #[must_use]
    pub fn at_least(mut self, group: Group) -> Self {
        self.group_min = group;
        self
    }
}

impl Bundle {
    /// Signs the bundle; the note that the vault serves.
    ///
    /// # Errors
    /// [`BundleError::Operator`] when the bundle names another operator than the one who signs.
    pub fn sign(&self, operator: &OperatorSecret) -> Result<String, BundleError> {
        if self.operator != operator.public() {
            return Err(BundleError::Operator);
        }
        Ok(operator.sign_note(&text::encode(self)))
    }

    /// Reads and checks a note. This is the only way from bytes to a [`Bundle`].
    ///
    /// # Errors
    /// Each way in which a bundle is refused has its own [`BundleError`].
    pub fn open(note: &str, trust: &Trust, now: UnixSeconds) -> Result<Self, BundleError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(BundleError::TooLong);
        }
        let note = note::Note::parse(note)?;
        // The operator's key stands in the text, which nobody has vouched for yet: it counts only
        // once it hashes to the pin, and only then does its signature vouch for the rest.
        let operator = text::operator(note.text)?;
        if operator.pin() != trust.pin {
            return Err(BundleError::Pin);
        }
        note.verify(&operator)?;
        let bundle = text::decode(note.text)?;
        bundle.check(trust, now)?;
        Ok(bundle)
    }

    /// Reads a note that this operator signed, whatever its date. For the vault itself, which signs
    /// the next one; a client uses [`Bundle::open`].
    ///
    /// # Errors
    /// As [`Bundle::open`], without the bounds of time and trust.
    pub fn own(note: &str, operator: &OperatorSecret) -> Result<Self, BundleError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(BundleError::TooLong);
        }
        let note = note::Note::parse(note)?;
        note.verify(&operator.public())?;
        let bundle = text::decode(note.text)?;
        if bundle.operator == operator.public() {
            Ok(bundle)
        } else {
            Err(BundleError::Operator)
        }
    }

    /// What to remember of this bundle, so that an older one is refused next time.
    #[must_use]
    pub fn seen(&self) -> Seen {
        Seen {
            fleet: self.fleet,
            serial: self.serial,
        }
    }

    fn check(&self, trust: &Trust, now: UnixSeconds) -> Result<(), BundleError> {
        if now >= self.expires {
            return Err(BundleError::Expired {
                expires: self.expires,
            });
        }
        if self.issued.0 > now.0.saturating_add(CLOCK_SKEW_SECONDS) {
            return Err(BundleError::NotYet {
                issued: self.issued,
            });
        }
        if let Some(seen) = trust.seen {
            if seen.fleet != self.fleet {
                return Err(BundleError::OtherFleet);
            }
            if self.serial < seen.serial {
                return Err(BundleError::Older {
                    serial: self.serial,
                    seen: seen.serial,
                });
            }
        }
        // VAULT-1: the budget that a client believes in is bounded by the client, not by the host.
        if self.guesses == 0 || self.guesses > trust.guesses_max {
            return Err(BundleError::Budget {
                guesses: self.guesses,
            });
        }
        if !self.group.is_sound() || !self.group.meets(trust.group_min) {
            return Err(BundleError::Group { group: self.group });
        }
        match (&trust.measurements, &self.measurement) {
            (None, _) => Ok(()),
            (Some(accepted), Measurement::Sha384(own)) if accepted.contains(own) => Ok(()),
            (Some(_), Measurement::Sha384(_) | Measurement::None) => Err(BundleError::Measurement),
        }
    }
}

impl Group {
    /// The quorum rule: any two quorums meet in more than `f` cores, and a quorum can be had.
    #[must_use]
    pub fn is_sound(self) -> bool {
        let (n, q, f) = (
            u16::from(self.members),
            u16::from(self.quorum),
            u16::from(self.rollbacks),
        );
        q <= n && q.saturating_mul(2) > n.saturating_add(f)
    }

    fn meets(self, floor: Self) -> bool {
        self.members >= floor.members && self.rollbacks >= floor.rollbacks
    }
}

/// Why a bundle was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The note is longer than any bundle.
    #[error("the validation bundle is longer than {NOTE_BYTES_MAX} bytes")]
    TooLong,
    /// The bytes are not a signed note.
    #[error("this is not a signed note: {reason}")]
    NotANote {
        /// Which rule of the form it breaks.
        reason: &'static str,
    },
    /// The text is not a bundle of a version known here.
    #[error("the validation bundle's line `{line}` is missing or malformed")]
    Malformed {
        /// The line at fault.
        line: &'static str,
    },
    /// The note is signed by an operator other than the pinned one: perhaps another vault.
    #[error("this vault is not the one whose address you were given: its operator's key differs")]
    Pin,
    /// The pinned operator's signature is missing or wrong.
    #[error("the validation bundle does not carry a good signature of its operator")]
    Signature,
    /// The signing key is not the one that the bundle names.
    #[error("the bundle names another operator than the one who signs it")]
    Operator,
    /// The bundle has expired.
    #[error("the validation bundle expired at {}", expires.0)]
    Expired {
        /// When.
        expires: UnixSeconds,
    },
    /// The bundle is dated in the future: one of the two clocks is wrong.
    #[error("the validation bundle is dated {} in the future; check this machine's clock", issued.0)]
    NotYet {
        /// Its date.
        issued: UnixSeconds,
    },
    /// The bundle is older than one that this client has seen.
    #[error("the vault shows bundle {serial}, but this device has seen bundle {seen}")]
    Older {
        /// The bundle's serial.
        serial: u64,
        /// The newest serial seen.
        seen: u64,
    },
    /// The vault at this address is another fleet now.
    #[error("the vault at this address is another fleet than the one this device knows")]
    OtherFleet,
    /// The guess budget is none, or more than the client accepts.
    #[error("the vault would allow {guesses} guesses, which this client does not accept")]
    Budget {
        /// The budget.
        guesses: u8,
    },
    /// The group breaks the quorum rule or is weaker than the client's floor.
    #[error("the vault's group (n={}, q={}, f={}) is not accepted", group.members, group.quorum, group.rollbacks)]
    Group {
        /// The group.
        group: Group,
    },
    /// The cores are not measured, or not among those that the client accepts.
    #[error(
        "the vault's core is not one that this client accepts: an older version, another program, \
         or one that nothing measures"
    )]
    Measurement,
}

impl BundleError {
    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            // One of the two clocks, or an operator who has not signed in time.
            Self::Expired { .. } | Self::NotYet { .. } => Remedy::AskUser,
            Self::TooLong
            | Self::NotANote { .. }
            | Self::Malformed { .. }
            | Self::Pin
            | Self::Signature
            | Self::Operator
            | Self::Older { .. }
            | Self::OtherFleet
            | Self::Budget { .. }
            | Self::Group { .. }
            | Self::Measurement => Remedy::Stop,
        }
    }
}

#[cfg(test)]
mod tests;
