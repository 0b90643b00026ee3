//! The first hundred bytes of an SQLite database file (SQLite file format, section 1.3).

/// What every SQLite database begins with.
pub const MAGIC: &[u8] = b"SQLite format 3\0";

/// The size of the header.
pub(crate) const HEADER_BYTES: usize = 100;

/// The size of a database's pages: a power of two from 512 to 65,536.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageSize(u32);

impl PageSize {
    /// The page size of `bytes`, if there is such a one.
    #[must_use]
    pub fn new(bytes: u32) -> Option<Self> {
        (bytes.is_power_of_two() && (512..=65_536).contains(&bytes)).then_some(Self(bytes))
    }

    /// The size in bytes.
    #[must_use]
    pub fn bytes(self) -> u32 {
        self.0
    }

    /// The size in bytes, to index with.
    pub(crate) fn len(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// The page that SQLite never uses, because its locks lie at 1 GiB into the file.
    pub(crate) fn lock_page(self) -> u32 {
        0x4000_0000_u32
            .checked_div(self.0)
            .unwrap_or(0)
            .saturating_add(1)
    }
}

/// The parts of the header that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) page_size: PageSize,
    /// Whether the database keeps a write-ahead log.
    pub(crate) logged: bool,
    /// Rises with each commit outside a log.
    pub(crate) change_counter: u32,
    /// How many pages the database has, if the last writer kept the field.
    pub(crate) page_count: Option<u32>,
}

/// Bytes that are no database header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAHeader;

impl Header {
    /// Reads a header, with the checks that SQLite makes before it accepts a file.
    pub(crate) fn parse(head: &[u8]) -> Result<Self, NotAHeader> {
        let head = head.first_chunk::<HEADER_BYTES>().ok_or(NotAHeader)?;
        if !head.starts_with(MAGIC) {
            return Err(NotAHeader);
        }
        let page_size = match u16_at(head, 16) {
            1 => 65_536,
            size => u32::from(size),
        };
        let page_size = PageSize::new(page_size).ok_or(NotAHeader)?;
        // The maximum and minimum embedded payload fractions and the leaf fraction are constants.
        if head.get(21..24) != Some(&[64, 32, 32]) {
            return Err(NotAHeader);
        }
        // At least 480 bytes of each page must be usable (SQLite file format, section 1.3.4).
        let reserved = head.get(20).copied().map_or(0, u32::from);
        if page_size.bytes().saturating_sub(reserved) < 480 {
            return Err(NotAHeader);
        }
        let change_counter = u32_at(head, 24);
        let page_count = u32_at(head, 28);
        let is_kept = page_count != 0 && u32_at(head, 92) == change_counter;
        Ok(Self {
            page_size,
            logged: head.get(19).is_some_and(|version| *version == 2),
            change_counter,
            page_count: is_kept.then_some(page_count),
        })
    }
}

/// How much of a file [`is_encrypted_behind`] looks at.
pub(crate) const SNIFF_BYTES: usize = 512;

/// What SQLCipher takes at the end of each page at least: the 16 bytes from which its cipher begins there.
const CIPHER_RESERVES: u8 = 16;

/// Whether a file that begins as a database with this header is encrypted behind it: SQLCipher can leave the first bytes of
/// the first page as they are (`cipher_plaintext_header_size`), which on iOS they must be.
///
/// No page that SQLite has written passes for one: it fails the second test. A damaged one does not, unless somebody has reserved
/// bytes in its pages and the damage is as random as a cipher's output; and then its bytes are kept as they are.
pub(crate) fn is_encrypted_behind(header: &Header, head: &[u8]) -> bool {
    let reserves = head.get(20).is_some_and(|bytes| *bytes >= CIPHER_RESERVES);
    reserves && !is_first_page(header.page_size, head) && is_noise(head)
}

/// Whether the rest of the header, and that of the page's tree, could have been written by SQLite (file format, sections 1.3 and
/// 1.6). Where what is in the clear ends before these bytes, a cipher's pass for that once in 2^160 times; where it ends behind
/// byte 72, in some million.
fn is_first_page(page_size: PageSize, head: &[u8]) -> bool {
    let is_reserved_for_expansion = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    // The schema is a table: a leaf, or with pages below it.
    let is_table = matches!(head.get(100), Some(13 | 5));
    let fits = |at: usize| u32::from(u16_at(head, at)) < page_size.bytes();
    let (free, count, content) = (101, 103, 105);
    head.get(72..92).is_some_and(is_reserved_for_expansion)
        && is_table
        && fits(free)
        && u32::from(u16_at(head, count)).saturating_mul(2) < page_size.bytes()
        && (fits(content) || u32::from(u16_at(head, content)) == page_size.bytes())
}

/// Whether what lies behind all that may be in the clear looks like a cipher's: 400 random bytes have about 202 distinct values
/// (standard deviation 5), while names, text and zeros have far fewer.
fn is_noise(head: &[u8]) -> bool {
    head.get(112..SNIFF_BYTES)
        .is_some_and(|bytes| distinct(bytes) >= 170)
}

/// How many different bytes there are.
pub(crate) fn distinct(bytes: &[u8]) -> usize {
    let mut seen = [false; 256];
    for byte in bytes {
        if let Some(seen) = seen.get_mut(usize::from(*byte)) {
            *seen = true;
        }
    }
    seen.iter().filter(|seen| **seen).count()
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .map_or(0, |chunk| u16::from_be_bytes(*chunk))
}

/// The big-endian number at `at`; zero beyond the end.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .map_or(0, |chunk| u32::from_be_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header of a database of three pages of 4096 bytes that keeps a log.
    fn valid() -> [u8; HEADER_BYTES] {
        let mut head = [0; HEADER_BYTES];
        head[..16].copy_from_slice(MAGIC);
        head[16..18].copy_from_slice(&4096_u16.to_be_bytes());
        head[18..24].copy_from_slice(&[2, 2, 0, 64, 32, 32]);
        head[24..28].copy_from_slice(&77_u32.to_be_bytes());
        head[28..32].copy_from_slice(&3_u32.to_be_bytes());
        head[92..96].copy_from_slice(&77_u32.to_be_bytes());
        head
    }

    #[test]
    fn a_header_is_read_as_sqlite_reads_it() {
        let header = Header::parse(&valid()).unwrap();
        assert_eq!(header.page_size.bytes(), 4096);
        assert_eq!((header.logged, header.page_count), (true, Some(3)));
        // A page size of 65,536 does not fit into its field and is written as one.
        let mut head = valid();
        head[16..18].copy_from_slice(&[0, 1]);
        assert_eq!(Header::parse(&head).unwrap().page_size.bytes(), 65_536);
        // An old writer changes the counter and leaves the page count as it was.
        let mut head = valid();
        head[27] = 78;
        assert_eq!(Header::parse(&head).unwrap().page_count, None);
    }

    #[test]
    fn what_sqlite_would_not_open_is_no_header() {
        let spoil = |at: usize, value: u8| {
            let mut head = valid();
            head[at] = value;
            Header::parse(&head)
        };
        for (at, value) in [
            (0, b's'),
            (15, 1),
            (16, 0x11),
            (17, 1),
            (21, 63),
            (22, 0),
            (23, 33),
        ] {
            assert_eq!(spoil(at, value), Err(NotAHeader), "byte {at}");
        }
        assert_eq!(Header::parse(&valid()[..99]), Err(NotAHeader));
        let mut head = valid();
        head[16..18].copy_from_slice(&512_u16.to_be_bytes());
        head[20] = 32;
        assert!(Header::parse(&head).is_ok());
        head[20] = 33;
        assert_eq!(Header::parse(&head), Err(NotAHeader));
    }

    #[test]
    fn page_sizes_are_powers_of_two_within_bounds() {
        let sizes: Vec<u32> = (0..=131_072)
            .filter(|size| PageSize::new(*size).is_some())
            .collect();
        assert_eq!(sizes, [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536]);
        assert_eq!(PageSize::new(4096).unwrap().lock_page(), 262_145);
        assert_eq!(PageSize::new(65_536).unwrap().lock_page(), 16_385);
    }
}
