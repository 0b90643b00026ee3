//! What hosts do.

use crate::bits::Bits;

/// One thing that the hosts do. Entries, calls, reports and memories have numbers, as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Has a core that leads carry out a guess.
    Execute {
        /// Which core.
        core: usize,
        /// Which guess.
        guess: usize,
    },
    /// Shows a core an entry.
    Capture {
        /// Which core.
        core: usize,
        /// Which entry.
        entry: u16,
    },
    /// Hands a core every capture that there is.
    Release {
        /// Which core.
        core: usize,
    },
    /// Has a core call for reports.
    Stand {
        /// Which core.
        core: usize,
        /// Above this term.
        above: u64,
    },
    /// Shows a core a call.
    Promise {
        /// Which core.
        core: usize,
        /// Which call.
        call: u16,
    },
    /// Hands a core these reports.
    Lead {
        /// Which core.
        core: usize,
        /// Which reports.
        reports: Bits,
    },
    /// Has a leader build on an entry.
    Adopt {
        /// Which core.
        core: usize,
        /// Which entry.
        entry: u16,
    },
    /// Stops a core and starts it with one of the memories that it had.
    Crash {
        /// Which core.
        core: usize,
        /// Which memory.
        memory: u16,
    },
}

impl Act {
    /// Which core it is done to.
    pub(crate) const fn core(&self) -> usize {
        match self {
            Self::Execute { core, .. }
            | Self::Capture { core, .. }
            | Self::Release { core }
            | Self::Stand { core, .. }
            | Self::Promise { core, .. }
            | Self::Lead { core, .. }
            | Self::Adopt { core, .. }
            | Self::Crash { core, .. } => *core,
        }
    }
}
