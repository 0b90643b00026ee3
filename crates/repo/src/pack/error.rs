//! Why a pack does not open, or an extent is not in it.

use keyhaven_secrets::Remedy;

use crate::object::ObjectError;

/// Why a pack does not open, or an extent is not in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The sealed object does not open.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// Its length is no size class of packs.
    #[error("a pack of {found} bytes: no pack has that length")]
    NotAClass {
        /// The length in its header.
        found: u64,
    },
    /// The table of contents reaches outside the content, overlaps or names an unknown kind.
    #[error("the pack's table of contents does not fit its content")]
    TocOutOfBounds,
    /// Something stands where zeros belong.
    #[error("the pack's padding is not zeros")]
    BadPadding,
    /// The extent lies in another pack or reaches outside this one.
    #[error("the extent is not in this pack")]
    NotHere,
    /// The bytes handed in are not those of the extent's frames.
    #[error("{found} bytes were fetched where the extent's frames take {expected}")]
    WrongRange {
        /// What [`PackReader::range`](super::PackReader::range) asked for.
        expected: u64,
        /// What was handed in.
        found: u64,
    },
}

impl PackError {
    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Object(cause) => cause.remedy(),
            Self::WrongRange { .. } => Remedy::RetryLater,
            Self::NotAClass { .. } | Self::TocOutOfBounds | Self::BadPadding | Self::NotHere => {
                Remedy::Stop
            }
        }
    }

    /// The outcome's name in the test vectors and in machine-readable reports.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Object(cause) => cause.outcome(),
            Self::NotAClass { .. } => "not-a-class",
            Self::TocOutOfBounds => "toc-out-of-bounds",
            Self::BadPadding => "bad-padding",
            Self::NotHere => "extent-not-here",
            Self::WrongRange { .. } => "wrong-range",
        }
    }
}
