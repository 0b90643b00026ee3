//! `cargo xtask bench files`: many small files through the whole engine.

use std::fs;
use std::path::Path;

use anyhow::bail;

use super::growth::{self, Options, Source};

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    growth::run(&SmallFiles, options)
}

/// A folder of small files in folders of 500, as a chat app leaves voice notes and stickers.
struct SmallFiles;

/// Files of a folder.
const FOLDER_FILES: u32 = 500;

impl Source for SmallFiles {
    fn what(&self) -> &'static str {
        "files"
    }

    fn usual(&self) -> [u32; 2] {
        [20_000, 200_000]
    }

    /// An index pack, which few files do not fill (8 MiB), and the allocator's and the sampling's own
    /// unsteadiness.
    fn spread_bytes(&self) -> u64 {
        (8 + 3) << 20
    }

    fn backup_options(&self) -> &'static [&'static str] {
        &[]
    }

    fn make(&self, at: &Path, count: u32) -> anyhow::Result<()> {
        for number in 0..count {
            let folder = number.div_euclid(FOLDER_FILES);
            let folder = at.join(format!("{folder:04}"));
            if number.is_multiple_of(FOLDER_FILES) {
                fs::create_dir_all(&folder)?;
            }
            fs::write(
                folder.join(format!("PTT-20261126-WA{number:07}.opus")),
                content(number),
            )?;
        }
        Ok(())
    }

    fn change(&self, at: &Path) -> anyhow::Result<()> {
        Ok(fs::write(at.join("0000/one-more.opus"), content(u32::MAX))?)
    }

    fn compare(&self, source: &Path, output: &Path) -> anyhow::Result<()> {
        for entry in fs::read_dir(source)? {
            let entry = entry?;
            let (here, there) = (entry.path(), output.join(entry.file_name()));
            if entry.file_type()?.is_dir() {
                self.compare(&here, &there)?;
            } else if fs::read(&here)? != fs::read(&there)? {
                bail!("{} differs", there.display());
            }
        }
        Ok(())
    }
}

/// From 100 bytes to 2 KiB that nothing compresses, another content for each number.
fn content(number: u32) -> Vec<u8> {
    let mut word = u64::from(number)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let len = word
        .wrapping_shr(40)
        .checked_rem(1_948)
        .unwrap_or(0)
        .saturating_add(100);
    (0..len)
        .map(|_| {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            word.to_le_bytes()[0]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_file_with_other_bytes_or_none_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        SmallFiles.make(&one, 501).unwrap();
        SmallFiles.make(&other, 501).unwrap();
        SmallFiles.compare(&one, &other).unwrap();
        let last = other.join("0001/PTT-20261126-WA0000500.opus");
        fs::write(&last, content(7)).unwrap();
        assert!(SmallFiles.compare(&one, &other).is_err());
        fs::remove_file(last).unwrap();
        assert!(SmallFiles.compare(&one, &other).is_err());
    }
}
