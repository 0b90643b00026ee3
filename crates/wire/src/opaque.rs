//! OPAQUE (RFC 9807): one suite, both halves, an API of bytes.
//!
//! The suite is ristretto255-SHA512 for the OPRF and the key exchange (3DH), HKDF and HMAC with
//! SHA-512, and Argon2id as the key stretching function. The engine underneath belongs to an older
//! generation of the RustCrypto traits, and prints private keys in its `Debug`; neither leaves this
//! module.
//!
//! What is bound: the client's identity is the account's [`LeafIndex`], the server's is the
//! [`FleetId`], and the context is a fixed label with the stretching [`Cost`], so that a login under
//! a cost that somebody changed on the way fails.
//!
//! ```text
//!   client::register_start ─ RegistrationRequest ─▶ server::evaluate
//!   client::register_finish ◀─ RegistrationResponse ─┘
//!       └─ RegistrationUpload (stored), ExportKey (stays: wraps the backup key)
//!   client::login_start ─ Ke1 ─▶ server::respond ─ Ke2, Pending
//!   client::login_finish ◀─ Ke2 ─┘
//!       └─ Ke3 ─▶ Pending::prove ─ Proven: SessionKey
//! ```
//!
//! Group elements are validated where they are read: the identity and encodings that are not
//! canonical are refused on both sides, and the client refuses its own element reflected.

#[cfg(feature = "client")]
pub mod client;
mod cost;
mod rng;
pub mod server;
mod suite;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

pub use cost::{Cost, CostError};

use crate::bytes::{public_bytes, secret_bytes};
use crate::message::{FleetId, LeafIndex};

public_bytes!(
    /// The client's blinded password at registration.
    RegistrationRequest,
    32
);
public_bytes!(
    /// The server's evaluation at registration, with its public key.
    RegistrationResponse,
    64
);
public_bytes!(
    /// The registration record that the server stores.
    RegistrationUpload,
    192
);
public_bytes!(
    /// The first login message: the credential request and the client's key share.
    Ke1,
    96
);
public_bytes!(
    /// The second login message: the credential response, the server's key share and its MAC.
    Ke2,
    320
);
public_bytes!(
    /// The third login message: the client's MAC.
    Ke3,
    64
);
secret_bytes!(
    /// What only the owner of the password can derive: it wraps the backup key.
    ExportKey,
    64
);
secret_bytes!(
    /// The session's shared key, known to both sides once the password is proven.
    SessionKey,
    64
);

/// Whom a registration or a login is between. Bound into the envelope and the transcript.
#[derive(Clone, Copy, Debug)]
pub struct Parties {
    /// The server's identity.
    pub fleet: FleetId,
    /// The client's identity.
    pub leaf: LeafIndex,
}

/// Why an OPAQUE step failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpaqueError {
    /// The password is not the registered one, or the server is not the one it was registered
    /// with: OPAQUE cannot tell the two apart.
    #[error("the password is not the one that was registered")]
    WrongPassword,
    /// A group element is the identity, not canonical, or our own sent back.
    #[error("the other side sent a group element that is not valid")]
    InvalidElement,
    /// The stored state of an earlier step is damaged.
    #[error("the state of an earlier step is damaged")]
    DamagedState,
    /// The password could not be stretched: not enough memory, or a cost out of bounds.
    #[error("the password could not be stretched with this cost")]
    Stretching,
    /// The password is empty or too long for the suite.
    #[error("the password is empty or too long")]
    Password,
}
