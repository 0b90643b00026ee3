//! The suite, in the engine's own terms. Nothing of this leaves [`opaque`](super).

use alloc::vec::Vec;

use opaque_ke::errors::{InternalError, ProtocolError};
use opaque_ke::generic_array::{ArrayLength, GenericArray};
use opaque_ke::ksf::Ksf;
use opaque_ke::{CipherSuite, Identifiers, Ristretto255, TripleDh};

use super::{Cost, OpaqueError, Parties};

const CONTEXT_LABEL: &[u8] = b"keyhaven v1 opaque";

/// ristretto255-SHA512 with 3DH.
pub(super) struct Suite;

impl CipherSuite for Suite {
    type OprfCs = Ristretto255;
    type KeyExchange = TripleDh<Ristretto255, sha2_opaque::Sha512>;
    type Ksf = Stretch;
}

/// Argon2id as the key stretching function. The default never stretches: an engine call that
/// forgot to pass a cost fails instead of using a weaker one.
#[derive(Default)]
pub(super) enum Stretch {
    #[default]
    Forgotten,
    #[cfg(feature = "client")]
    Argon2id(Cost),
    /// The RFC's vectors are without stretching.
    #[cfg(test)]
    Identity,
}

impl Ksf for Stretch {
    fn hash<L: ArrayLength<u8>>(
        &self,
        input: GenericArray<u8, L>,
    ) -> Result<GenericArray<u8, L>, InternalError> {
        match self {
            // Only the device stretches. A core that came here would be wrong.
            Self::Forgotten => {
                drop(input);
                Err(InternalError::KsfError)
            }
            #[cfg(feature = "client")]
            Self::Argon2id(cost) => super::client::argon2id(cost, &input),
            #[cfg(test)]
            Self::Identity => Ok(input),
        }
    }
}

/// What both sides bind into a login, beside the messages.
pub(super) struct Bound {
    client: Option<Vec<u8>>,
    server: Option<Vec<u8>>,
    context: Vec<u8>,
}

impl Bound {
    pub(super) fn new(parties: &Parties, cost: &Cost) -> Self {
        Self {
            client: Some(parties.leaf.as_bytes().to_vec()),
            server: Some(parties.fleet.as_bytes().to_vec()),
            context: [CONTEXT_LABEL, &cost.context()].concat(),
        }
    }

    /// What one of the RFC's vectors binds.
    #[cfg(test)]
    pub(super) fn of_vector(
        client: Option<Vec<u8>>,
        server: Option<Vec<u8>>,
        context: Vec<u8>,
    ) -> Self {
        Self {
            client,
            server,
            context,
        }
    }

    pub(super) fn identifiers(&self) -> Identifiers<'_> {
        Identifiers {
            client: self.client.as_deref(),
            server: self.server.as_deref(),
        }
    }

    pub(super) fn context(&self) -> &[u8] {
        &self.context
    }
}

/// What a failure of the engine means here.
pub(super) fn failure(error: ProtocolError) -> OpaqueError {
    match error {
        ProtocolError::InvalidLoginError => OpaqueError::WrongPassword,
        ProtocolError::LibraryError(InternalError::KsfError) => OpaqueError::Stretching,
        // Whatever else can go wrong here comes of what the other side sent.
        ProtocolError::LibraryError(_)
        | ProtocolError::SerializationError
        | ProtocolError::SizeError { .. }
        | ProtocolError::ReflectedValueError
        | ProtocolError::Custom(_) => OpaqueError::InvalidElement,
    }
}
