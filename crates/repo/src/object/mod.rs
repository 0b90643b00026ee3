//! Sealed objects: the header, the subkey that a name makes, and the frames.

mod error;
mod header;
mod subkey;

pub use error::ObjectError;
pub(crate) use header::{BOUND_BYTES, expect_len};
pub use header::{FORMAT_VERSION, Header};
pub(crate) use subkey::{Frames, Subkey, seal_object};

/// What an object is. It stands nowhere in the clear: the subkey is derived for one kind, so an
/// object opens as what it was sealed as or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// A pack of database pages.
    Messages,
    /// A pack of whole files.
    Media,
    /// A pack of tree nodes.
    Index,
    /// The body of a snapshot.
    Snapshot,
    /// The wrapped keyring inside a snapshot.
    Keyring,
}

impl ObjectKind {
    /// Every kind, in the order of their codes.
    pub const ALL: [Self; 5] = [
        Self::Messages,
        Self::Media,
        Self::Index,
        Self::Snapshot,
        Self::Keyring,
    ];

    /// The byte that stands for it where keys are derived.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Messages => 1,
            Self::Media => 2,
            Self::Index => 3,
            Self::Snapshot => 4,
            Self::Keyring => 5,
        }
    }
}
