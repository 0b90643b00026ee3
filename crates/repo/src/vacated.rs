//! Packs that a writer empties.

use std::collections::BTreeSet;

use crate::layout::Extent;
use crate::names::PackName;

/// Packs that nothing new shall refer to: what lies in them counts as not stored, so that it is stored again elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vacated(BTreeSet<PackName>);

impl Vacated {
    /// These packs.
    #[must_use]
    pub fn new(packs: BTreeSet<PackName>) -> Self {
        Self(packs)
    }

    /// Whether an extent lies in one of them.
    #[must_use]
    pub fn holds(&self, extent: &Extent) -> bool {
        self.0.contains(&extent.pack)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
