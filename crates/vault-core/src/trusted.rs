//! Memory that a host cannot put back.

use alloc::boxed::Box;
use core::ops::Deref;

use crate::log::{LogError, Memory};

/// A place for a core's memory that only the core writes: an HSM's non-volatile memory, a TPM's, an
/// enclave platform's monotonic store.
///
/// A core that has one is never rolled back: it reads what it wrote last, whatever file its host
/// shows it. Where the place is only a counter, the implementation seals the memory, with the
/// counter's number, for the host to keep, and refuses any other number.
pub trait TrustedMemory: Send + Sync {
    /// What was written last; none if nothing ever was.
    ///
    /// # Errors
    /// [`NotKept`] when it cannot be read.
    fn read(&mut self) -> Result<Option<Memory>, NotKept>;

    /// Keeps this from now on. It is durable when this returns.
    ///
    /// # Errors
    /// [`NotKept`] when it is not known to be durable.
    fn write(&mut self, memory: &Memory) -> Result<(), NotKept>;
}

/// A trusted memory that could not be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the trusted memory could not be read or written")]
pub struct NotKept;

/// What a core remembers, and where besides its host.
pub(crate) struct Kept {
    memory: Memory,
    trusted: Option<Box<dyn TrustedMemory>>,
}

impl Kept {
    /// Kept by the host, who is told.
    pub(crate) const fn by_host(memory: Memory) -> Self {
        Self {
            memory,
            trusted: None,
        }
    }

    /// Read from a trusted memory, and kept there.
    pub(crate) fn trusted(memory: Memory, trusted: Box<dyn TrustedMemory>) -> Self {
        Self {
            memory,
            trusted: Some(trusted),
        }
    }

    /// Kept in a trusted memory from here on.
    pub(crate) fn trust(&mut self, mut trusted: Box<dyn TrustedMemory>) -> Result<(), NotKept> {
        trusted.write(&self.memory)?;
        self.trusted = Some(trusted);
        Ok(())
    }

    /// Remembers something else. The trusted memory has it before the core says anything that stands
    /// on it (VAULT-2, VAULT-4). One that failed may have it all the same: it is then ahead by a word
    /// that was never said, as after a crash between the two.
    pub(crate) fn set(&mut self, memory: Memory) -> Result<(), LogError> {
        if let Some(trusted) = &mut self.trusted
            && memory != self.memory
        {
            trusted.write(&memory)?;
        }
        self.memory = memory;
        Ok(())
    }
}

impl Deref for Kept {
    type Target = Memory;

    fn deref(&self) -> &Memory {
        &self.memory
    }
}
