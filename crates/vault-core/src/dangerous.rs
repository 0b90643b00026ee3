//! For simulations and models only. Nothing that ships names this module.
//!
//! A core whose public-key cryptography is somebody else's: whoever chooses a suite without security
//! has a vault without security. A group of a size that does not ship. And a copy of a core at work,
//! withheld answers and all: exactly what a core's memory is guarded against.

use alloc::vec::Vec;

use keyhaven_secrets::Entropy;
use keyhaven_wire::suite::Suite;

use crate::core::{Core, CoreError, Genesis};
use crate::membership::Member;
use crate::policy::Policy;
use crate::secrets::{FleetSecrets, SecretsError};

/// As [`Core::genesis`], with another suite than the one that ships, and for any sound quorum.
///
/// # Errors
/// As [`Core::genesis`].
pub fn genesis(
    suite: &'static dyn Suite,
    policy: Policy,
    others: &[Member],
    entropy: &mut dyn Entropy,
) -> Result<(Core, Genesis), CoreError> {
    Core::genesis_for(suite, policy, others, entropy)
}

/// As [`FleetSecrets::decode`], with another suite than the one that ships, and for any sound quorum.
///
/// # Errors
/// As [`FleetSecrets::decode`].
pub fn decode(suite: &'static dyn Suite, bytes: &[u8]) -> Result<FleetSecrets, SecretsError> {
    FleetSecrets::decode_for(suite, bytes)
}

/// A second core that is where this one is. A model that tries every way of going on needs one for
/// each.
#[must_use]
pub fn copy(core: &Core) -> Core {
    core.copy()
}

/// All that tells a core from another of its fleet: two that have the same do the same.
#[must_use]
pub fn describe(core: &Core) -> Vec<u8> {
    core.seat().describe()
}
