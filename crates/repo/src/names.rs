//! What things are called: stores, objects, writers and epochs, each a type of its own.

use core::fmt;

use keyhaven_secrets::{Entropy, random};

/// A name that is not what it should look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a name that Keyhaven gives to anything in a store")]
pub struct NameError;

fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Lower case only: one name has one spelling.
fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], NameError> {
    let mut out = [0_u8; N];
    let mut digits = text.bytes();
    for byte in &mut out {
        let high = hex_digit(digits.next())?;
        let low = hex_digit(digits.next())?;
        *byte = high << 4 | low;
    }
    match digits.next() {
        None => Ok(out),
        Some(_) => Err(NameError),
    }
}

fn hex_digit(digit: Option<u8>) -> Result<u8, NameError> {
    match digit {
        Some(d @ b'0'..=b'9') => Ok(d.wrapping_sub(b'0')),
        Some(d @ b'a'..=b'f') => Ok(d.wrapping_sub(b'a').wrapping_add(10)),
        Some(_) | None => Err(NameError),
    }
}

macro_rules! bytes_newtype {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Wraps bytes that came from a store or a state file.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The bytes as they stand in the format.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// Reads the lower-case hexadecimal form.
            ///
            /// # Errors
            /// [`NameError`] for any other text.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                parse_hex(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

macro_rules! random_newtype {
    ($name:ident) => {
        impl $name {
            /// Draws a new one.
            pub fn generate(entropy: &mut dyn Entropy) -> Self {
                Self(random(entropy))
            }
        }
    };
}

bytes_newtype! {
    /// Which store: 16 random bytes, drawn when the store is made. Not a secret.
    StoreId, 16
}
bytes_newtype! {
    /// The name of a pack: 32 random bytes, which are also the salt of its subkey.
    ///
    /// Names are drawn by [`PackBuilder::begin`](crate::pack::PackBuilder::begin) alone, so that no
    /// two builders share one (BACKUP-5).
    PackName, 32
}
bytes_newtype! {
    /// The name of a snapshot: 32 random bytes, which are also the salt of its subkeys.
    SnapshotName, 32
}
bytes_newtype! {
    /// Which installation wrote a snapshot: 16 random bytes kept in its local state.
    WriterId, 16
}
bytes_newtype! {
    /// BLAKE3 of a snapshot object's bytes. It names one exact object, so a chain of these is a
    /// history that a store cannot rewrite (BACKUP-4).
    SnapshotDigest, 32
}

random_newtype!(StoreId);
random_newtype!(WriterId);

impl PackName {
    pub(crate) fn draw(entropy: &mut dyn Entropy) -> Self {
        Self(random(entropy))
    }

    /// Where the pack lies in a store: `packs/<2 hex>/<64 hex>`.
    #[must_use]
    pub fn path(&self) -> String {
        let [first, ..] = self.0;
        format!("{PACKS_DIR}/{first:02x}/{self}")
    }

    /// Reads a store path back.
    ///
    /// # Errors
    /// [`NameError`] for anything that [`path`](Self::path) does not make.
    pub fn parse_path(path: &str) -> Result<Self, NameError> {
        let name = path.rsplit('/').next().ok_or(NameError)?;
        let name = Self::parse(name)?;
        if name.path() == path {
            Ok(name)
        } else {
            Err(NameError)
        }
    }
}

impl SnapshotName {
    pub(crate) fn draw(entropy: &mut dyn Entropy) -> Self {
        Self(random(entropy))
    }

    /// Where the snapshot lies in a store: `snapshots/<64 hex>`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{SNAPSHOTS_DIR}/{self}")
    }

    /// Reads a store path back.
    ///
    /// # Errors
    /// [`NameError`] for anything that [`path`](Self::path) does not make.
    pub fn parse_path(path: &str) -> Result<Self, NameError> {
        let name = Self::parse(path.rsplit('/').next().ok_or(NameError)?)?;
        if name.path() == path {
            Ok(name)
        } else {
            Err(NameError)
        }
    }
}

impl SnapshotDigest {
    /// The digest of a snapshot object's bytes, as they lie in the store.
    #[must_use]
    pub fn of(object: &[u8]) -> Self {
        Self(*blake3::hash(object).as_bytes())
    }
}

/// The folder that holds the packs of a store.
pub const PACKS_DIR: &str = "packs";
/// The folder that holds the snapshots of a store.
pub const SNAPSHOTS_DIR: &str = "snapshots";
/// Where the marker of a store lies.
pub const MARKER_PATH: &str = "keyhaven";

/// Which generation of data keys seals an object. The first is 1; a rotation adds one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u32);

impl Epoch {
    /// The epoch of a new store.
    pub const FIRST: Self = Self(1);

    /// Wraps a number from a state file or a header.
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// The number as it stands in a header.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The epoch after this one, unless the numbers have run out.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_path_has_one_spelling() {
        let name = PackName::from_bytes([0xab; 32]);
        let path = name.path();
        assert!(path.starts_with("packs/ab/abab"));
        assert_eq!(PackName::parse_path(&path), Ok(name));
        for wrong in [
            path.to_uppercase(),
            path.replace("packs/ab", "packs/ac"),
            format!("{path}0"),
            format!("/{path}"),
            path.replace("packs/", "packs//"),
            String::new(),
        ] {
            assert_eq!(PackName::parse_path(&wrong), Err(NameError), "{wrong}");
        }
        let snapshot = SnapshotName::from_bytes([7; 32]);
        assert_eq!(SnapshotName::parse_path(&snapshot.path()), Ok(snapshot));
        assert_eq!(SnapshotName::parse_path(&path), Err(NameError));
    }

    #[test]
    fn a_snapshots_name_is_not_drawn_twice() {
        struct Steps(u8);
        impl Entropy for Steps {
            fn fill(&mut self, out: &mut [u8]) {
                self.0 = self.0.wrapping_add(1);
                out.fill(self.0);
            }
        }
        let mut entropy = Steps(0);
        assert_ne!(
            SnapshotName::draw(&mut entropy),
            SnapshotName::draw(&mut entropy)
        );
    }
}
