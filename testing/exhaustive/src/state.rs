//! A state: the cores, and everything that they ever said, as numbers of the book.

use crate::begin::GUESSES;
use crate::bits::Bits;

/// The most cores of a group.
pub(crate) const CORES_MAX: usize = 5;

/// What the hosts have of a group, and the cores themselves. Whatever the order in which it came about, the
/// same state has the same numbers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The cores; beyond the group's size, nothing.
    pub(crate) cores: [u16; CORES_MAX],
    /// How often each core was started with a memory that was not its last.
    pub(crate) put_back: [u8; CORES_MAX],
    /// The memories that may be put back.
    pub(crate) images: Bits,
    pub(crate) made: Bits,
    pub(crate) calls: Bits,
    pub(crate) reports: Bits,
    pub(crate) captures: Bits,
    /// The guesses that were answered with a KE2.
    pub(crate) answered: [bool; GUESSES],
    /// The entries of which answers left.
    pub(crate) released: Bits,
    pub(crate) crashes: u8,
    /// How many of the cores that are alike at the beginning the hosts have turned to.
    pub(crate) touched: usize,
    /// Whether a core said what none may ever say.
    pub(crate) broken: bool,
}
