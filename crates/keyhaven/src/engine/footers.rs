//! How much of each pack is content, as far as this device knows: a hint, so that nobody has to fetch the
//! ends of all packs to learn how much padding a store holds.
//!
//! A backup appends what it has sealed, without a lock that a look at the state would have to wait for. What two
//! commands at once take from each other here is read from the packs again.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use keyhaven_repo::names::PackName;
use keyhaven_repo::pack::Footer;

use crate::files::{self, Mode};

/// Name, content length, number of entries.
const RECORD_BYTES: usize = 32 + 4 + 4;
/// For as many packs as a listing may have.
const FILE_BYTES_MAX: u64 = crate::store::LISTED_OBJECTS_MAX * RECORD_BYTES as u64;

/// What is remembered.
pub(crate) fn recall(file: &Path) -> BTreeMap<PackName, Footer> {
    let bytes = files::read_small(file, FILE_BYTES_MAX).unwrap_or_default();
    let (records, _) = bytes.as_chunks::<RECORD_BYTES>();
    records.iter().filter_map(decode).collect()
}

/// Remembers some more. Behind a record that was cut off they are not found, and read from the packs again.
pub(crate) fn append(file: &Path, footers: &[(PackName, Footer)]) -> io::Result<()> {
    let mut open = OpenOptions::new();
    let mut out = open.append(true).create(true).mode(0o600).open(file)?;
    out.write_all(&encode(footers.iter().copied()))
}

/// Remembers these alone.
pub(crate) fn replace(file: &Path, footers: &BTreeMap<PackName, Footer>) -> io::Result<()> {
    let all = footers.iter().map(|(name, footer)| (*name, *footer));
    files::replace(file, &encode(all), Mode::Private)
}

fn encode(footers: impl Iterator<Item = (PackName, Footer)>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, footer) in footers {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&footer.content_len.to_le_bytes());
        out.extend_from_slice(&footer.entries.to_le_bytes());
    }
    out
}

fn decode(record: &[u8; RECORD_BYTES]) -> Option<(PackName, Footer)> {
    let (name, rest) = record.split_first_chunk::<32>()?;
    let (content_len, rest) = rest.split_first_chunk::<4>()?;
    let footer = Footer {
        content_len: u32::from_le_bytes(*content_len),
        entries: u32::from_le_bytes(*rest.first_chunk()?),
    };
    Some((PackName::from_bytes(*name), footer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn footers_are_remembered_and_a_cut_record_costs_only_what_is_behind_it() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("footers");
        let one = |byte: u8| {
            let footer = Footer {
                content_len: u32::from(byte) * 1000,
                entries: u32::from(byte),
            };
            (PackName::from_bytes([byte; 32]), footer)
        };
        assert!(recall(&file).is_empty());
        append(&file, &[one(1), one(2)]).unwrap();
        append(&file, &[one(3)]).unwrap();
        assert_eq!(recall(&file), BTreeMap::from([one(1), one(2), one(3)]));
        let whole = std::fs::read(&file).unwrap();
        std::fs::write(&file, &whole[..90]).unwrap();
        append(&file, &[one(4)]).unwrap();
        let found = recall(&file);
        assert_eq!(
            (found.get(&one(1).0), found.get(&one(4).0)),
            (Some(&one(1).1), None)
        );
        replace(&file, &BTreeMap::from([one(2), one(4)])).unwrap();
        assert_eq!(recall(&file), BTreeMap::from([one(2), one(4)]));
    }
}
