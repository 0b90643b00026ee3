//! Where an item stands below the root of what is backed up.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The place of an item below the root: its components, joined by a zero byte.
///
/// Zero sorts before every byte that a name can hold, so the bytewise order of keys is the order
/// of a walk that lists each folder by name and goes into a folder right after naming it. Names
/// need not be UTF-8.
///
/// A key can only be valid: it has at least one component, and no component is empty, `.`, `..`
/// or holds a slash. So no key leads out of the root that it is resolved against.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathKey(Vec<u8>);

/// Bytes that are no path key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a path below a root")]
pub struct NotAPathKey;

impl PathKey {
    /// Reads a key from its bytes.
    ///
    /// # Errors
    /// When a component is empty, `.`, `..` or holds a slash.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, NotAPathKey> {
        if bytes.split(|byte| *byte == 0).all(is_name) {
            Ok(Self(bytes))
        } else {
            Err(NotAPathKey)
        }
    }

    /// The key of a path relative to the root.
    ///
    /// # Errors
    /// When the path is empty, absolute, or goes up.
    pub fn from_relative(path: &Path) -> Result<Self, NotAPathKey> {
        let mut bytes = Vec::new();
        for component in path.components() {
            let std::path::Component::Normal(name) = component else {
                return Err(NotAPathKey);
            };
            if !bytes.is_empty() {
                bytes.push(0);
            }
            bytes.extend_from_slice(name.as_bytes());
        }
        Self::parse(bytes)
    }

    /// The key of `name` in the folder `parent`, or at the root.
    pub(crate) fn child(parent: Option<&Self>, name: &[u8]) -> Self {
        let above = parent.map_or(0, |key| key.0.len().saturating_add(1));
        let mut bytes = Vec::with_capacity(above.saturating_add(name.len()));
        if let Some(parent) = parent {
            bytes.extend_from_slice(&parent.0);
            bytes.push(0);
        }
        bytes.extend_from_slice(name);
        Self(bytes)
    }

    /// The bytes of the key: components joined by a zero byte.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes of the key, given away.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// The components, from the root down.
    pub fn components(&self) -> impl Iterator<Item = &OsStr> {
        self.0.split(|byte| *byte == 0).map(OsStr::from_bytes)
    }

    /// The last component.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        OsStr::from_bytes(self.0.rsplit(|byte| *byte == 0).next().unwrap_or_default())
    }

    /// The path relative to the root.
    #[must_use]
    pub fn to_relative(&self) -> PathBuf {
        let bytes = self
            .0
            .iter()
            .map(|byte| if *byte == 0 { b'/' } else { *byte })
            .collect();
        PathBuf::from(OsString::from_vec(bytes))
    }

    /// The path below `root`.
    #[must_use]
    pub fn below(&self, root: &Path) -> PathBuf {
        root.join(self.to_relative())
    }

    /// Whether this is `other` or stands below it.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.0
            .strip_prefix(other.0.as_slice())
            .is_some_and(|rest| rest.first().is_none_or(|byte| *byte == 0))
    }
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/')
}

/// For people: components joined by a slash, what is not UTF-8 replaced.
impl fmt::Display for PathKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_relative().display().fmt(f)
    }
}

impl fmt::Debug for PathKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PathKey({:?})", self.to_relative())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_sorts_before_what_it_holds_and_that_before_its_neighbours() {
        let key = |path: &str| PathKey::from_relative(Path::new(path)).unwrap();
        let ordered = [
            key("a"),
            key("a/b"),
            key("a/b/c"),
            key("a-wal"),
            key("a.db"),
        ];
        let mut sorted = ordered.clone();
        sorted.sort();
        assert_eq!(sorted, ordered);
        assert!(key("a/b/c").is_within(&key("a")));
        assert!(!key("a-wal").is_within(&key("a")));
    }

    #[test]
    fn no_key_leads_out_of_its_root() {
        for bad in ["", "a\0", "\0a", "a\0\0b", "..", "a\0..", ".", "a/b", "/"] {
            assert_eq!(PathKey::parse(bad.into()), Err(NotAPathKey), "{bad:?}");
        }
        assert!(PathKey::from_relative(Path::new("../x")).is_err());
        assert!(PathKey::from_relative(Path::new("/x")).is_err());
    }

    #[test]
    fn names_need_not_be_utf8() {
        let key = PathKey::parse(vec![b'd', 0, 0xff, 0xfe]).unwrap();
        assert_eq!(
            key.below(Path::new("/r")).as_os_str().as_bytes(),
            b"/r/d/\xff\xfe"
        );
        assert_eq!(key.name().as_bytes(), b"\xff\xfe");
        assert_eq!(PathKey::from_relative(&key.to_relative()).unwrap(), key);
    }
}
