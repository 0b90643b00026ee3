//! `cargo xtask bench files`: many small files through the whole engine.

use std::fs;
use std::path::Path;

use keyhaven_corpus::Fingerprint;

use super::growth::{self, Options, Source};

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    growth::run(&SmallFiles, options)
}

/// A folder of small files in folders of 500, as a chat app leaves voice notes and stickers.
struct SmallFiles;

/// Files of a folder.
const FOLDER_FILES: u32 = 500;

impl Source for SmallFiles {
    type Content = Fingerprint;

    fn what(&self) -> &'static str {
        "files"
    }

    fn usual(&self) -> [u32; 2] {
        [200_000, 2_000_000]
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

    fn content(&self, at: &Path) -> anyhow::Result<Fingerprint> {
        Ok(Fingerprint::of(at)?)
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
