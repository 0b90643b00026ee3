//! The disaster guard: whether a source looks as if something terrible happened to it.

/// What a walk found, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Census {
    /// Plain files.
    pub files: u64,
    /// Bytes in plain files and databases.
    pub bytes: u64,
    /// Databases.
    pub databases: u64,
}

impl Census {
    /// Counts one plain file.
    pub fn count_file(&mut self, bytes: u64) {
        self.files = self.files.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Counts one database.
    pub fn count_database(&mut self, bytes: u64) {
        self.databases = self.databases.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What the guard thinks of a source. Anything but `Fine` is asked about before it is backed up,
/// and the older snapshots are pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The root is not there.
    Vanished,
    /// Nothing is left of what there was.
    Emptied,
    /// At least half of the files, of the bytes, or of the databases are gone.
    ShrunkByHalf,
    /// Nothing looks wrong.
    Fine,
}

/// Below these a halving is daily life: somebody deleted two of three files.
const FILES_MIN: u64 = 8;
const BYTES_MIN: u64 = 1024 * 1024;

/// Judges a source by what the last complete backup found and what a walk finds now (None: the
/// root is not there).
#[must_use]
pub fn judge(previous: Option<&Census>, now: Option<&Census>) -> Verdict {
    let Some(now) = now else {
        return Verdict::Vanished;
    };
    let Some(previous) = previous else {
        return Verdict::Fine;
    };
    let had_something = previous.files > 0 || previous.databases > 0;
    if had_something && now.files == 0 && now.databases == 0 {
        return Verdict::Emptied;
    }
    let halved = |before: u64, now: u64| now <= before.div_euclid(2);
    let lost_files = previous.files >= FILES_MIN && halved(previous.files, now.files);
    let lost_bytes = previous.bytes >= BYTES_MIN && halved(previous.bytes, now.bytes);
    let lost_databases = previous.databases > 0 && halved(previous.databases, now.databases);
    if lost_files || lost_bytes || lost_databases {
        Verdict::ShrunkByHalf
    } else {
        Verdict::Fine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn census(files: u64, bytes: u64, databases: u64) -> Census {
        Census {
            files,
            bytes,
            databases,
        }
    }

    #[test]
    fn a_first_backup_is_fine_unless_nothing_is_there() {
        assert_eq!(judge(None, Some(&census(0, 0, 0))), Verdict::Fine);
        assert_eq!(judge(None, None), Verdict::Vanished);
    }

    #[test]
    fn a_missing_or_emptied_source_is_told_apart() {
        let before = census(1000, 5_000_000, 1);
        assert_eq!(judge(Some(&before), None), Verdict::Vanished);
        assert_eq!(
            judge(Some(&before), Some(&census(0, 0, 0))),
            Verdict::Emptied
        );
        assert_eq!(
            judge(Some(&census(0, 0, 0)), Some(&census(0, 0, 0))),
            Verdict::Fine
        );
    }

    #[test]
    fn half_of_anything_gone_is_asked_about() {
        let before = census(1000, 5_000_000, 2);
        assert_eq!(
            judge(Some(&before), Some(&census(500, 5_000_000, 2))),
            Verdict::ShrunkByHalf
        );
        assert_eq!(
            judge(Some(&before), Some(&census(1000, 2_500_000, 2))),
            Verdict::ShrunkByHalf
        );
        assert_eq!(
            judge(Some(&before), Some(&census(1000, 5_000_000, 1))),
            Verdict::ShrunkByHalf
        );
        assert_eq!(
            judge(Some(&before), Some(&census(501, 2_500_001, 2))),
            Verdict::Fine
        );
    }

    #[test]
    fn a_handful_of_files_may_come_and_go() {
        assert_eq!(
            judge(Some(&census(3, 900, 0)), Some(&census(1, 100, 0))),
            Verdict::Fine
        );
        assert_eq!(
            judge(Some(&census(0, 4096, 1)), Some(&census(9, 4096, 0))),
            Verdict::ShrunkByHalf
        );
    }
}
