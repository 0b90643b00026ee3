//! Paths as keys of the file tree.

use core::fmt;

/// The longest key, in bytes: what Linux takes as a path.
pub const KEY_BYTES_MAX: usize = 4096;

/// A path relative to the source's root, as the tree sorts it: its components joined by a zero byte.
///
/// The zero byte sorts before every other, so a folder comes right before what is in it, and a
/// sorted walk of the source and the tree meet in one pass. A key can only be a path that stays
/// inside the root (A12): no component is empty, `.` or `..`, and none holds `/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Box<[u8]>);

/// Bytes that are no path inside the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a path inside the backed-up folder")]
pub struct KeyError;

impl Key {
    /// Reads a key: components joined by zero bytes.
    ///
    /// # Errors
    /// [`KeyError`] if it is too long or one of its components could lead outside the root.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
        let sound = |component: &[u8]| {
            !component.is_empty()
                && component != b"."
                && component != b".."
                && !component.contains(&b'/')
        };
        if bytes.len() <= KEY_BYTES_MAX && bytes.split(|&byte| byte == 0).all(sound) {
            Ok(Self(bytes.into()))
        } else {
            Err(KeyError)
        }
    }

    /// Joins components.
    ///
    /// # Errors
    /// [`KeyError`] as for [`parse`](Self::parse), also if a component holds a zero byte.
    pub fn from_components<'a>(
        components: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, KeyError> {
        let mut bytes = Vec::new();
        for (number, component) in components.into_iter().enumerate() {
            if component.contains(&0) {
                return Err(KeyError);
            }
            if number > 0 {
                bytes.push(0);
            }
            bytes.extend_from_slice(component);
        }
        Self::parse(&bytes)
    }

    /// The key as it stands in a node.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The components, outermost first.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&byte| byte == 0)
    }

    /// Whether this is `folder` itself or lies in it.
    #[must_use]
    pub fn is_within(&self, folder: &Self) -> bool {
        match self.0.strip_prefix(folder.as_bytes()) {
            Some(rest) => rest.first().is_none_or(|&byte| byte == 0),
            None => false,
        }
    }

    /// The path with `/` between its components, for people; bytes that are no UTF-8 are replaced.
    #[must_use]
    pub fn display(&self) -> String {
        let parts: Vec<_> = self.components().map(String::from_utf8_lossy).collect();
        parts.join("/")
    }
}

impl fmt::Debug for Key {
    // BACKUP-3: file names are plaintext, so a trace of this type does not show them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_cannot_lead_outside_the_root() {
        for wrong in [
            &b""[..],
            b".",
            b"..",
            b"a\0..",
            b"..\0a",
            b"a\0\0b",
            b"\0a",
            b"a\0",
            b"/etc",
            b"a/../b",
            &[b'x'; KEY_BYTES_MAX + 1],
        ] {
            assert_eq!(Key::parse(wrong), Err(KeyError), "A12");
        }
        assert!(Key::parse(b"...\0.hidden\0a b\xff").is_ok());
        assert_eq!(Key::from_components([&b"a\0b"[..]]), Err(KeyError));
    }

    #[test]
    fn a_folder_comes_right_before_what_is_in_it() {
        let key = |bytes: &[u8]| Key::parse(bytes).unwrap();
        let (folder, inside, beside) = (key(b"a"), key(b"a\0z"), key(b"a b"));
        assert!(folder < inside && inside < beside);
        assert!(inside.is_within(&folder) && folder.is_within(&folder));
        assert!(!beside.is_within(&folder));
    }

    proptest! {
        #[test]
        fn components_come_back(parts in proptest::collection::vec("[^/\u{0}]{1,20}", 1..6)) {
            prop_assume!(parts.iter().all(|part| part != "." && part != ".."));
            let key = Key::from_components(parts.iter().map(String::as_bytes)).unwrap();
            let back: Vec<Vec<u8>> = key.components().map(<[u8]>::to_vec).collect();
            let want: Vec<Vec<u8>> = parts.iter().map(|part| part.as_bytes().to_vec()).collect();
            prop_assert_eq!(back, want);
        }
    }
}
