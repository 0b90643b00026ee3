//! Answers that wait for their commit.

/// An answer that has been computed but not yet agreed on. It cannot be read (VAULT-2).
#[must_use]
pub(crate) struct Withheld<T>(T);

/// Evidence that the entry which spent the guess is committed. Made only by the log, from captures
/// of a quorum: see [`Tally::committed`](crate::log::Tally::committed).
#[derive(Clone, Copy)]
pub(crate) struct Committed {
    _private: (),
}

impl Committed {
    /// Only the log calls this, after it has counted a quorum.
    pub(crate) const fn by_quorum(_counted: &crate::log::Tally) -> Self {
        Self { _private: () }
    }
}

impl<T> Withheld<T> {
    pub(crate) const fn new(answer: T) -> Self {
        Self(answer)
    }

    /// The same once more, still closed: see [`dangerous::copy`](crate::dangerous::copy).
    pub(crate) fn copy(&self) -> Self
    where
        T: Clone,
    {
        Self(self.0.clone())
    }

    /// VAULT-2: spend before reveal. If an answer left first, a host that cuts power between the
    /// two would learn one guess for free, and could do it again.
    pub(crate) fn release(self, _spent: Committed) -> T {
        self.0
    }
}
