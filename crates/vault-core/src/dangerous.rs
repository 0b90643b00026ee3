//! For simulations only: a core whose public-key cryptography is somebody else's.
//!
//! Whoever calls this chooses the suite, and a suite without security gives a vault without
//! security. Nothing that ships names this module.

use keyhaven_secrets::Entropy;
use keyhaven_wire::suite::Suite;

use crate::core::{Core, CoreError, Genesis};
use crate::membership::Member;
use crate::policy::Policy;
use crate::secrets::{FleetSecrets, SecretsError};

/// As [`Core::genesis`], with another suite than the one that ships.
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

/// As [`FleetSecrets::decode`], with another suite than the one that ships.
///
/// # Errors
/// As [`FleetSecrets::decode`].
pub fn decode(suite: &'static dyn Suite, bytes: &[u8]) -> Result<FleetSecrets, SecretsError> {
    FleetSecrets::decode_for(suite, bytes)
}
