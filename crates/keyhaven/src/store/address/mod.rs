//! Where a store is. An address can be shown, stored and printed on a recovery card.

mod remote;
#[cfg(test)]
mod tests;
mod text;

use std::fmt;
use std::path::{Path, PathBuf};

use keyhaven_secrets::Remedy;
use thiserror::Error;

pub use self::remote::{S3Address, WebDavAddress};
pub(in crate::store) use self::text::decode;

/// Longest address that is accepted, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 4096;

/// The address of a store. It never holds credentials: [`StoreAddress::parse`] refuses them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreAddress {
    /// A folder of this machine: a path, or `file:///absolute/path`.
    Folder(PathBuf),
    /// An S3 bucket: `s3://bucket/prefix?endpoint=https://host:port&region=name`.
    S3(S3Address),
    /// A WebDAV server: `webdavs://host:port/path`, or `webdav://` without TLS.
    WebDav(WebDavAddress),
}

/// Why text is not the address of a store. The text itself is not repeated: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Nothing was given, or far too much.
    #[error("a store's address has 1 to {ADDRESS_BYTES_MAX} bytes")]
    Length,
    /// Another scheme than `file`, `s3`, `webdav` and `webdavs`.
    #[error("unknown kind of store: give a folder, s3://bucket/prefix, or webdavs://host/path")]
    Scheme,
    /// A user name or password stands in the address.
    #[error(
        "credentials do not belong into a store's address, where they would be shown: {}",
        crate::store::credentials::HINT
    )]
    Credentials,
    /// The host or port is malformed or missing.
    #[error("the address names no valid host and port")]
    Host,
    /// The bucket's name is malformed or missing.
    #[error("the address names no valid bucket")]
    Bucket,
    /// The path is malformed: `.` or `..`, control characters, or a bad `%` escape.
    #[error("the address has no valid path")]
    Path,
    /// A setting after `?` is unknown, doubled or malformed.
    #[error("unknown or malformed setting after '?': s3 knows endpoint and region")]
    Setting,
    /// A password would travel without TLS.
    #[error(
        "webdav:// would send the password in the clear: use webdavs://, or add ?dangerous-plaintext=yes for a server in your own network"
    )]
    Plaintext,
}

impl AddressError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Length
            | Self::Scheme
            | Self::Credentials
            | Self::Host
            | Self::Bucket
            | Self::Path
            | Self::Setting
            | Self::Plaintext => Remedy::AskUser,
        }
    }
}

impl StoreAddress {
    /// Parses an address; text without `://` is the path of a folder.
    ///
    /// # Errors
    ///
    /// [`AddressError`], which never repeats the text.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() || text.len() > ADDRESS_BYTES_MAX {
            return Err(AddressError::Length);
        }
        if text.contains('\0') {
            return Err(AddressError::Path);
        }
        match text.split_once("://") {
            None => Ok(Self::Folder(PathBuf::from(text))),
            Some(("file", rest)) => {
                // `file://host/path` would be another machine's file: only the empty host is ours.
                if !rest.starts_with('/') {
                    return Err(AddressError::Host);
                }
                Ok(Self::Folder(PathBuf::from(decode(rest)?)))
            }
            Some(("s3", rest)) => S3Address::parse(rest).map(Self::S3),
            Some(("webdavs", rest)) => WebDavAddress::parse(rest, true).map(Self::WebDav),
            Some(("webdav", rest)) => WebDavAddress::parse(rest, false).map(Self::WebDav),
            // `./odd://name` is a path that the person made plain; anything else is a scheme.
            Some((scheme, _)) if scheme.contains('/') => Ok(Self::Folder(PathBuf::from(text))),
            Some(_) => Err(AddressError::Scheme),
        }
    }

    /// The folder, if the store is one.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(path) => Some(path),
            Self::S3(_) | Self::WebDav(_) => None,
        }
    }

    /// Whether objects travel over a network, so that they are spooled first and sent in parallel.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        match self {
            Self::Folder(_) => false,
            Self::S3(_) | Self::WebDav(_) => true,
        }
    }
}

/// The form that [`StoreAddress::parse`] reads back.
impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::S3(s3) => write!(f, "{s3}"),
            Self::WebDav(dav) => write!(f, "{dav}"),
        }
    }
}

impl std::str::FromStr for StoreAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}
