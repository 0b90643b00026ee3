//! What an app or a person chose in the header of a database (SQLite file format, section 1.3).
//!
//! BACKUP-1: a patch carries none of it, and a restore by rows takes the header of the pages that it stands on. So a
//! database in which one of these has changed goes by pages. What SQLite writes there for itself is not compared: change
//! counters, the schema's cookie, sizes, free pages and its own version.

use std::fmt;
use std::io;
use std::ops::Range;

use zeroize::Zeroizing;

use super::{Mounted, SealedFile};

/// A number in the header of a database that SQLite does not keep for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Setting {
    /// How long its pages are.
    PageSize,
    /// Whether it keeps a log.
    JournalMode,
    /// How many bytes of each page are somebody else's.
    ReservedBytes,
    /// Which version of its trees' format it has.
    SchemaFormat,
    /// How many pages its app wants to hold in memory.
    CacheSize,
    /// What becomes of free pages.
    VacuumMode,
    /// How its text is written.
    Encoding,
    /// The number that is the app's own.
    UserVersion,
    /// Whose file it is.
    ApplicationId,
    /// What SQLite has no name for yet.
    Unnamed,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PageSize => "page size",
            Self::JournalMode => "journal mode",
            Self::ReservedBytes => "number of reserved bytes",
            Self::SchemaFormat => "schema format",
            Self::CacheSize => "default cache size",
            Self::VacuumMode => "vacuum mode",
            Self::Encoding => "text encoding",
            Self::UserVersion => "user version",
            Self::ApplicationId => "application id",
            Self::Unnamed => "header",
        })
    }
}

/// Where each stands. The vacuum mode stands in two places: see [`has_largest_root`].
const PLACES: [(Setting, Range<usize>); 10] = [
    (Setting::PageSize, 16..18),
    (Setting::JournalMode, 18..20),
    (Setting::ReservedBytes, 20..21),
    (Setting::SchemaFormat, 44..48),
    (Setting::CacheSize, 48..52),
    (Setting::Encoding, 56..60),
    (Setting::UserVersion, 60..64),
    (Setting::VacuumMode, 64..68),
    (Setting::ApplicationId, 68..72),
    (Setting::Unnamed, 72..92),
];

/// The first that is another in `new` than in `old`.
pub(super) fn first_changed(new: &Mounted, old: &Mounted) -> io::Result<Option<Setting>> {
    let [new, old] = [new, old].map(|copy| copy.with_file(first_page));
    let (new, old) = (new?, old?);
    let differs = |place: &Range<usize>| new.get(place.clone()) != old.get(place.clone());
    let changed = PLACES.iter().find(|(_, place)| differs(place));
    Ok(match changed {
        Some((setting, _)) => Some(*setting),
        None if has_largest_root(&new) != has_largest_root(&old) => Some(Setting::VacuumMode),
        None => None,
    })
}

/// A database that vacuums itself keeps its largest root page here: the number changes, and that there is one is the mode.
fn has_largest_root(page: &[u8]) -> bool {
    page.get(52..56) != Some(&[0; 4])
}

/// Zeros, if it has no page at all.
fn first_page(file: &SealedFile) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut page = Zeroizing::new(vec![0; file.page_size().len()]);
    if file.bytes() > 0 {
        file.read_page(0, &mut page)?;
    }
    Ok(page)
}
