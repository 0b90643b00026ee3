//! What it costs to try a password: Argon2id's parameters (RFC 9106).

use minicbor::{Decode, Decoder, Encode, Encoder};

/// Argon2id's parameters, versioned with each record. Always within bounds that a client can bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// Why parameters are not a [`Cost`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CostError {
    /// More than a client would bear, or less than Argon2id takes.
    #[error("Argon2id with {memory_kib} KiB, {passes} passes and {lanes} lanes is out of bounds")]
    OutOfBounds {
        /// Memory.
        memory_kib: u32,
        /// Passes over the memory.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
}

impl Cost {
    /// What new registrations use: 64 MiB, three passes, four lanes (RFC 9106's second
    /// recommendation, for memory-constrained devices).
    pub const DEFAULT: Self = Self {
        memory_kib: 65_536,
        passes: 3,
        lanes: 4,
    };

    /// Below this a client refuses to register or log in outside tests: a vault that asks for less
    /// is broken or hostile. 19 MiB and two passes is OWASP's minimum for Argon2id.
    pub const FLOOR: Self = Self {
        memory_kib: 19_456,
        passes: 2,
        lanes: 1,
    };

    /// The most memory that anyone may ask a client for: 2 GiB (RFC 9106's first recommendation).
    pub const MEMORY_KIB_MAX: u32 = 2 * 1024 * 1024;
    /// The most passes.
    pub const PASSES_MAX: u32 = 16;
    /// The most lanes.
    pub const LANES_MAX: u32 = 16;

    /// Checks parameters against Argon2id's own bounds and what a client would bear. Whether they
    /// are strong enough is [`Cost::is_at_least`]'s question.
    ///
    /// # Errors
    /// [`CostError::OutOfBounds`].
    pub fn parse(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, CostError> {
        let sound = (1..=Self::LANES_MAX).contains(&lanes)
            && (1..=Self::PASSES_MAX).contains(&passes)
            && (lanes.saturating_mul(8)..=Self::MEMORY_KIB_MAX).contains(&memory_kib);
        if sound {
            Ok(Self {
                memory_kib,
                passes,
                lanes,
            })
        } else {
            Err(CostError::OutOfBounds {
                memory_kib,
                passes,
                lanes,
            })
        }
    }

    /// Whether it costs an attacker at least as much memory and as many passes as `floor`.
    #[must_use]
    pub fn is_at_least(&self, floor: &Self) -> bool {
        self.memory_kib >= floor.memory_kib && self.passes >= floor.passes
    }

    /// Memory in KiB.
    #[must_use]
    pub const fn memory_kib(&self) -> u32 {
        self.memory_kib
    }

    /// Passes over the memory.
    #[must_use]
    pub const fn passes(&self) -> u32 {
        self.passes
    }

    /// Lanes.
    #[must_use]
    pub const fn lanes(&self) -> u32 {
        self.lanes
    }

    /// Its 12 bytes, as the context binds them: three big-endian numbers.
    pub(crate) fn context(&self) -> [u8; 12] {
        let mut bytes = [0; 12];
        for (slot, number) in
            bytes
                .chunks_exact_mut(4)
                .zip([self.memory_kib, self.passes, self.lanes])
        {
            slot.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }
}

impl<C> Encode<C> for Cost {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        (self.memory_kib, self.passes, self.lanes).encode(e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for Cost {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let (memory_kib, passes, lanes) = Decode::decode(d, ctx)?;
        Self::parse(memory_kib, passes, lanes)
            .map_err(|_| minicbor::decode::Error::message("cost out of bounds"))
    }
}
