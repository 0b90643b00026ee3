//! The names of objects: parsed once, valid ever after.

use std::fmt;

use thiserror::Error;

/// Longest object path, in bytes. Object stores allow 1,024 or more, file systems 255 a component;
/// what the backup format writes is below 80.
pub const PATH_BYTES_MAX: usize = 200;

/// Most components of a path. The backup format uses three (`packs/ab/<64 hex digits>`).
pub const PATH_DEPTH_MAX: usize = 4;

/// The name of an object within a store, such as `packs/ab/<64 hex digits>`.
///
/// One to [`PATH_DEPTH_MAX`] components, joined by `/`, each beginning with a lower-case letter or
/// a digit and made of lower-case letters, digits, `.`, `-` and `_`. So no path can climb out of a
/// store (`..`), name a hidden file, mean another object on a store that folds case, or need
/// escaping in a URL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectPath(Box<str>);

/// Why bytes are not an object path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not an object's name: one to four parts of lower-case letters, digits, '.', '-' and '_'")]
pub struct PathError;

impl ObjectPath {
    /// Parses a path.
    ///
    /// # Errors
    ///
    /// [`PathError`] for anything but the form that the type describes.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.len() > PATH_BYTES_MAX
            || text.split('/').count() > PATH_DEPTH_MAX
            || !text.split('/').all(component_is_valid)
        {
            return Err(PathError);
        }
        Ok(Self(text.into()))
    }

    /// The object whose presence makes a place a store.
    #[must_use]
    pub fn marker() -> Self {
        Self("keyhaven".into())
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The components, outermost first.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The last component.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&*self.0, |(_, name)| name)
    }

    /// The folder that the object stands in.
    #[must_use]
    pub fn folder(&self) -> ObjectFolder {
        match self.0.rsplit_once('/') {
            Some((folder, _)) => ObjectFolder(folder.into()),
            None => ObjectFolder::root(),
        }
    }
}

impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectPath({})", self.0)
    }
}

impl std::str::FromStr for ObjectPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::parse(text)
    }
}

/// A folder of objects, for listing: the whole store, or everything below `packs`, for instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectFolder(Box<str>);

impl ObjectFolder {
    /// The whole store.
    #[must_use]
    pub fn root() -> Self {
        Self("".into())
    }

    /// Parses a folder's path; the empty text is the whole store. A `/` at the end is accepted.
    ///
    /// # Errors
    ///
    /// [`PathError`] for anything else but the form of an [`ObjectPath`].
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let text = text.strip_suffix('/').unwrap_or(text);
        if text.is_empty() {
            return Ok(Self::root());
        }
        ObjectPath::parse(text).map(|path| Self(path.0))
    }

    /// The folder as text, without a `/` at the end; empty for the whole store.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the whole store.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The components, outermost first; none for the whole store.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }

    /// Whether `path` stands in this folder or below it.
    #[must_use]
    pub fn holds(&self, path: &ObjectPath) -> bool {
        self.is_root()
            || path
                .as_str()
                .strip_prefix(&*self.0)
                .is_some_and(|rest| rest.starts_with('/'))
    }

    /// The object `name` in this folder.
    ///
    /// # Errors
    ///
    /// [`PathError`] if `name` is not one valid component, or the path becomes too long.
    pub fn object(&self, name: &str) -> Result<ObjectPath, PathError> {
        if !component_is_valid(name) {
            return Err(PathError);
        }
        if self.is_root() {
            ObjectPath::parse(name)
        } else {
            ObjectPath::parse(&format!("{}/{name}", self.0))
        }
    }
}

fn component_is_valid(component: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    component.bytes().next().is_some_and(valid)
        && component
            .bytes()
            .all(|byte| valid(byte) || matches!(byte, b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_cannot_climb_hide_or_fold() {
        for good in ["keyhaven", "packs/ab/cdef", "snapshots/00", "a.b-c_d/e"] {
            assert_eq!(ObjectPath::parse(good).unwrap().as_str(), good);
        }
        let long = "a".repeat(PATH_BYTES_MAX + 1);
        for bad in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            "..",
            "a/../b",
            ".hidden",
            "a/.b",
            "-x",
            "_x",
            "A",
            "a b",
            "a\\b",
            "a\0b",
            "ä",
            "a%2e",
            "a/b/c/d/e",
            &long,
        ] {
            assert_eq!(ObjectPath::parse(bad), Err(PathError), "{bad:?}");
        }
    }

    #[test]
    fn a_folder_holds_what_stands_below_it_and_nothing_that_only_begins_alike() {
        let packs = ObjectFolder::parse("packs/").unwrap();
        assert!(packs.holds(&ObjectPath::parse("packs/ab/cd").unwrap()));
        assert!(!packs.holds(&ObjectPath::parse("packs2/ab").unwrap()));
        assert!(!packs.holds(&ObjectPath::parse("packs").unwrap()));
        assert!(ObjectFolder::root().holds(&ObjectPath::parse("packs").unwrap()));
        assert_eq!(packs.object("ab").unwrap().as_str(), "packs/ab");
        assert_eq!(packs.object("a/b"), Err(PathError));
        assert_eq!(
            ObjectPath::parse("packs/ab/cd").unwrap().folder().as_str(),
            "packs/ab"
        );
    }
}
