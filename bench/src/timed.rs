//! The suite that ships, with a clock around what a recovery calls.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keyhaven_secrets::Entropy;
use keyhaven_wire::channel::{ChannelError, ChannelPublicKey, OpeningKey};
use keyhaven_wire::message::{AttemptNumber, DeviceKey, Signature};
use keyhaven_wire::opaque::server::{GenerationKeys, Pending};
use keyhaven_wire::opaque::{
    Ke1, Ke2, Ke3, OpaqueError, Parties, RegistrationRequest, RegistrationResponse,
    RegistrationUpload, SessionKey,
};
use keyhaven_wire::suite::{Binding, Exported, Registered, SealedFirst, Standard, Suite};
use zeroize::Zeroizing;

use crate::clock;

/// The parts of a recovery that are the suite's.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parts {
    /// Opening the first request.
    pub(crate) opening: Duration,
    /// KE1 to KE2.
    pub(crate) ke2: Duration,
    /// Checking KE3.
    pub(crate) ke3: Duration,
}

impl Parts {
    pub(crate) fn sum(&self) -> Duration {
        self.opening
            .saturating_add(self.ke2)
            .saturating_add(self.ke3)
    }
}

#[derive(Debug)]
pub(crate) struct Timed {
    opening: AtomicU64,
    ke2: AtomicU64,
    ke3: AtomicU64,
}

pub(crate) static TIMED: Timed = Timed {
    opening: AtomicU64::new(0),
    ke2: AtomicU64::new(0),
    ke3: AtomicU64::new(0),
};

/// What was counted since this was last asked.
pub(crate) fn take() -> Parts {
    let of = |counter: &AtomicU64| Duration::from_nanos(counter.swap(0, Ordering::Relaxed));
    Parts {
        opening: of(&TIMED.opening),
        ke2: of(&TIMED.ke2),
        ke3: of(&TIMED.ke3),
    }
}

fn count<T>(counter: &AtomicU64, work: impl FnOnce() -> T) -> T {
    let (done, took) = clock::time(work);
    let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    counter.fetch_add(nanos, Ordering::Relaxed);
    done
}

impl Suite for Timed {
    fn seal_first(
        &self,
        channel: &ChannelPublicKey,
        binding: &Binding<'_>,
        body: &[u8],
        entropy: &mut dyn Entropy,
    ) -> Result<SealedFirst, ChannelError> {
        Standard.seal_first(channel, binding, body, entropy)
    }

    fn open_first(
        &self,
        key: &OpeningKey,
        binding: &Binding<'_>,
        encapsulated: &[u8],
        sealed: &[u8],
    ) -> Result<(Zeroizing<Vec<u8>>, Exported), ChannelError> {
        count(&self.opening, || {
            Standard.open_first(key, binding, encapsulated, sealed)
        })
    }

    fn draw(&self, entropy: &mut dyn Entropy) -> Result<GenerationKeys, OpaqueError> {
        Standard.draw(entropy)
    }

    fn evaluate(
        &self,
        keys: &GenerationKeys,
        parties: &Parties,
        request: &RegistrationRequest,
    ) -> Result<RegistrationResponse, OpaqueError> {
        Standard.evaluate(keys, parties, request)
    }

    fn check_upload(&self, upload: &RegistrationUpload) -> Result<(), OpaqueError> {
        Standard.check_upload(upload)
    }

    fn respond(
        &self,
        registered: &Registered<'_>,
        parties: &Parties,
        attempt: AttemptNumber,
        ke1: &Ke1,
    ) -> Result<(Ke2, Pending), OpaqueError> {
        count(&self.ke2, || {
            Standard.respond(registered, parties, attempt, ke1)
        })
    }

    fn check(&self, pending: &Pending, ke3: &Ke3) -> Result<SessionKey, OpaqueError> {
        count(&self.ke3, || Standard.check(pending, ke3))
    }

    fn verifies(&self, key: &DeviceKey, bytes: &[u8], signature: &Signature) -> bool {
        Standard.verifies(key, bytes, signature)
    }
}
