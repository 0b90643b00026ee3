//! Packs that a verification found damaged, until a backup has sent again what they held.
//!
//! One empty file for each, in a folder of the local state: a verification and a backup that run at once
//! take nothing from each other. It is a hint: the backup looks at each of these packs itself.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use keyhaven_repo::names::PackName;

use crate::files;

/// More are not remembered: by then the whole store is to be made anew.
const SUSPECTS_MAX: usize = 100_000;

/// Those that are remembered.
pub(crate) fn recall(folder: &Path) -> BTreeSet<PackName> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return BTreeSet::new();
    };
    entries
        .filter_map(|entry| PackName::parse(entry.ok()?.file_name().to_str()?).ok())
        .take(SUSPECTS_MAX)
        .collect()
}

/// Remembers some more.
pub(crate) fn remember<'a>(
    folder: &Path,
    packs: impl Iterator<Item = &'a PackName>,
) -> io::Result<()> {
    let mut any = false;
    for pack in packs.take(SUSPECTS_MAX) {
        if !any {
            files::create_private_folder(folder)?;
            any = true;
        }
        std::fs::File::create(folder.join(pack.to_string()))?;
    }
    if any {
        files::sync_folder(folder)?;
    }
    Ok(())
}

/// Forgets these: a backup that needs none of them is committed.
pub(crate) fn forget(folder: &Path, packs: &BTreeSet<PackName>) {
    for pack in packs {
        // One that stays is looked at once more.
        let _ = std::fs::remove_file(folder.join(pack.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspects_are_remembered_until_they_are_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("suspects");
        let [one, two] = [1, 2].map(|byte| PackName::from_bytes([byte; 32]));
        assert_eq!(recall(&folder), BTreeSet::new());
        remember(&folder, [].iter()).unwrap();
        assert!(!folder.exists());
        remember(&folder, [one].iter()).unwrap();
        remember(&folder, [two, one].iter()).unwrap();
        std::fs::write(folder.join("something else"), "").unwrap();
        assert_eq!(recall(&folder), BTreeSet::from([one, two]));
        forget(&folder, &BTreeSet::from([one]));
        assert_eq!(recall(&folder), BTreeSet::from([two]));
    }
}
