//! Which bundle of a fleet this device has seen, so that an older one is refused.

use keyhaven_secrets::Remedy;
use keyhaven_wire::bundle::{Pin, Seen};

/// Remembers the newest bundle under each pin. A host that goes back to an older channel key (one
/// whose private half it has stolen since) is found out by it.
pub trait BundleMemory {
    /// The newest bundle seen under a pin.
    ///
    /// # Errors
    ///
    /// When it cannot be read. The vault is not used then.
    fn newest(&self, pin: &Pin) -> Result<Option<Seen>, MemoryError>;

    /// Remembers a bundle that was accepted.
    ///
    /// # Errors
    ///
    /// When it is not safely written.
    fn remember(&mut self, pin: &Pin, seen: Seen) -> Result<(), MemoryError>;
}

/// Why the memory failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// The place where it is kept cannot be read or written.
    #[error("what this device knows of the vault cannot be {did} ({kind})")]
    Io {
        /// What failed.
        did: &'static str,
        /// The operating system's reason.
        kind: std::io::ErrorKind,
    },
}

impl MemoryError {
    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Io { .. } => Remedy::AskUser,
        }
    }
}

/// A memory for one vault that lives as long as the process: for tests, and for a new device,
/// which has seen nothing yet.
#[derive(Debug, Default, Clone)]
pub struct NewDevice {
    seen: Option<Seen>,
}

impl NewDevice {
    /// Has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl BundleMemory for NewDevice {
    fn newest(&self, _pin: &Pin) -> Result<Option<Seen>, MemoryError> {
        Ok(self.seen)
    }

    fn remember(&mut self, _pin: &Pin, seen: Seen) -> Result<(), MemoryError> {
        self.seen = Some(seen);
        Ok(())
    }
}
