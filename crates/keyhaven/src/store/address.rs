//! Where a store is. An address can be shown, stored and printed on a recovery card.

use std::fmt;
use std::path::{Path, PathBuf};

use keyhaven_secrets::Remedy;
use thiserror::Error;

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

/// A bucket of S3 or of a server that speaks its protocol.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct S3Address {
    bucket: String,
    prefix: String,
    endpoint: Option<String>,
    region: Option<String>,
}

/// A folder of a WebDAV server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WebDavAddress {
    authority: Authority,
    tls: bool,
    path: String,
    plaintext_is_accepted: bool,
}

/// A host and, if it is not the usual one, a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Authority {
    host: String,
    port: Option<u16>,
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
        super::credentials::HINT
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

impl S3Address {
    fn parse(rest: &str) -> Result<Self, AddressError> {
        let (place, settings) = split_settings(rest);
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        if bucket.contains('@') {
            return Err(AddressError::Credentials);
        }
        let byte_is_valid =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if !(1..=255).contains(&bucket.len())
            || !bucket.bytes().all(byte_is_valid)
            || bucket.starts_with('.')
        {
            return Err(AddressError::Bucket);
        }
        let (mut endpoint, mut region) = (None, None);
        for setting in settings {
            let (name, value) = setting.split_once('=').ok_or(AddressError::Setting)?;
            let (place, value) = match name {
                "endpoint" => (&mut endpoint, parse_endpoint(&decode(value)?)?),
                "region" => (&mut region, parse_region(value)?),
                _ => return Err(AddressError::Setting),
            };
            if place.replace(value).is_some() {
                return Err(AddressError::Setting);
            }
        }
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: parse_path(prefix)?,
            endpoint,
            region,
        })
    }

    /// The bucket.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The folder within the bucket; empty for the whole bucket.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The server, if it is not Amazon's own.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// The region, if one is named.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }
}

impl WebDavAddress {
    fn parse(rest: &str, tls: bool) -> Result<Self, AddressError> {
        let (place, settings) = split_settings(rest);
        let (authority, path) = place.split_once('/').unwrap_or((place, ""));
        let authority = Authority::parse(authority)?;
        let mut plaintext_is_accepted = false;
        for setting in settings {
            if setting != "dangerous-plaintext=yes" || tls || plaintext_is_accepted {
                return Err(AddressError::Setting);
            }
            plaintext_is_accepted = true;
        }
        // Basic authentication sends the password itself: without TLS, only to this machine, or
        // where the person took the risk in so many words.
        if !tls && !plaintext_is_accepted && !authority.is_loopback() {
            return Err(AddressError::Plaintext);
        }
        Ok(Self {
            authority,
            tls,
            path: parse_path(path)?,
            plaintext_is_accepted,
        })
    }

    /// The server's root, as the URL that HTTP uses.
    #[must_use]
    pub fn endpoint(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.authority)
    }

    /// The folder on the server; empty for its root.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl Authority {
    fn parse(text: &str) -> Result<Self, AddressError> {
        if text.contains('@') {
            return Err(AddressError::Credentials);
        }
        let (host, port) = match text.rsplit_once(':') {
            // An IPv6 address without brackets has no port that could be told apart.
            Some((host, port)) if !port.contains(']') => {
                let port = port.parse::<u16>().map_err(|_| AddressError::Host)?;
                (host, Some(port))
            }
            _ => (text, None),
        };
        let valid = match host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
        {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                (1..=253).contains(&host.len())
                    && host.bytes().all(|byte| {
                        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
                    })
            }
        };
        if !valid || port == Some(0) {
            return Err(AddressError::Host);
        }
        Ok(Self {
            host: host.to_ascii_lowercase(),
            port,
        })
    }

    fn is_loopback(&self) -> bool {
        let ip = self.host.trim_start_matches('[').trim_end_matches(']');
        self.host == "localhost"
            || ip
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// The form that [`StoreAddress::parse`] reads back.
impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::S3(s3) => {
                write!(f, "s3://{}", s3.bucket)?;
                if !s3.prefix.is_empty() {
                    write!(f, "/{}", encode(&s3.prefix))?;
                }
                let mut mark = '?';
                if let Some(endpoint) = &s3.endpoint {
                    write!(f, "{mark}endpoint={endpoint}")?;
                    mark = '&';
                }
                if let Some(region) = &s3.region {
                    write!(f, "{mark}region={region}")?;
                }
                Ok(())
            }
            Self::WebDav(dav) => {
                let scheme = if dav.tls { "webdavs" } else { "webdav" };
                write!(f, "{scheme}://{}/{}", dav.authority, encode(&dav.path))?;
                if dav.plaintext_is_accepted {
                    f.write_str("?dangerous-plaintext=yes")?;
                }
                Ok(())
            }
        }
    }
}

impl std::str::FromStr for StoreAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

fn split_settings(rest: &str) -> (&str, impl Iterator<Item = &str>) {
    let (place, settings) = rest.split_once('?').unwrap_or((rest, ""));
    (place, settings.split('&').filter(|part| !part.is_empty()))
}

fn parse_endpoint(text: &str) -> Result<String, AddressError> {
    let (scheme, rest) = text.split_once("://").ok_or(AddressError::Host)?;
    if !matches!(scheme, "http" | "https") {
        return Err(AddressError::Host);
    }
    let authority = Authority::parse(rest.strip_suffix('/').unwrap_or(rest))?;
    Ok(format!("{scheme}://{authority}"))
}

fn parse_region(text: &str) -> Result<String, AddressError> {
    let byte_is_valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if (1..=64).contains(&text.len()) && text.bytes().all(byte_is_valid) {
        Ok(text.to_owned())
    } else {
        Err(AddressError::Setting)
    }
}

/// A folder's path on a server: decoded, without `/` at the ends, no `.`, `..` or empty parts.
fn parse_path(text: &str) -> Result<String, AddressError> {
    let path = decode(text)?;
    let path = path.trim_matches('/');
    let part_is_valid = |part: &str| {
        !matches!(part, "" | "." | "..") && !part.chars().any(|c| c.is_control() || c == '\\')
    };
    if path.is_empty() || path.split('/').all(part_is_valid) {
        Ok(path.to_owned())
    } else {
        Err(AddressError::Path)
    }
}

/// Undoes `%xx` escapes (RFC 3986, section 2.1).
fn decode(text: &str) -> Result<String, AddressError> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(AddressError::Path);
        };
        out.push(u8::try_from(high << 4 | low).map_err(|_| AddressError::Path)?);
    }
    String::from_utf8(out).map_err(|_| AddressError::Path)
}

/// Escapes all but RFC 3986's unreserved characters and `/`.
fn encode(path: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/') {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text: &str) -> StoreAddress {
        let address = StoreAddress::parse(text).unwrap();
        assert_eq!(
            StoreAddress::parse(&address.to_string()).unwrap(),
            address,
            "{text}"
        );
        address
    }

    #[test]
    fn addresses_parse_and_print_back() {
        assert_eq!(
            round_trip("/srv/backup").folder(),
            Some(Path::new("/srv/backup"))
        );
        assert_eq!(
            round_trip("file:///srv/a%20b").folder(),
            Some(Path::new("/srv/a b"))
        );
        assert_eq!(round_trip("./x://y").folder(), Some(Path::new("./x://y")));
        let s3 =
            round_trip("s3://bucket/a/b%20c/?endpoint=http://127.0.0.1:5000/&region=eu-west-1");
        let StoreAddress::S3(s3) = s3 else {
            panic!("{s3:?}")
        };
        assert_eq!((s3.bucket(), s3.prefix()), ("bucket", "a/b c"));
        assert_eq!(s3.endpoint(), Some("http://127.0.0.1:5000"));
        assert_eq!(s3.region(), Some("eu-west-1"));
        let dav = round_trip("webdavs://Cloud.Example:8443/remote/dav/");
        let StoreAddress::WebDav(dav) = dav else {
            panic!("{dav:?}")
        };
        assert_eq!(dav.endpoint(), "https://cloud.example:8443");
        assert_eq!(dav.path(), "remote/dav");
        round_trip("s3://bucket");
        round_trip("webdav://localhost");
        round_trip("webdav://[::1]:8080/x");
        round_trip("webdav://nas.local/x?dangerous-plaintext=yes");
    }

    #[test]
    fn what_is_not_an_address_is_refused_with_its_reason() {
        let long = "x".repeat(ADDRESS_BYTES_MAX + 1);
        for (text, why) in [
            ("", AddressError::Length),
            (&*long, AddressError::Length),
            ("ftp://host/x", AddressError::Scheme),
            ("file://host/x", AddressError::Host),
            ("file:///%zz", AddressError::Path),
            ("s3://", AddressError::Bucket),
            ("s3:///x", AddressError::Bucket),
            ("s3://b/../x", AddressError::Path),
            ("s3://b/%2e%2e/x", AddressError::Path),
            ("s3://b?unknown=1", AddressError::Setting),
            ("s3://b?region=a&region=b", AddressError::Setting),
            ("s3://b?endpoint=ftp://x", AddressError::Host),
            ("s3://b?endpoint=http://h/path", AddressError::Host),
            ("webdavs://", AddressError::Host),
            ("webdavs://h:0/", AddressError::Host),
            ("webdavs://h:x/", AddressError::Host),
            (
                "webdavs://h/?dangerous-plaintext=yes",
                AddressError::Setting,
            ),
            ("webdav://example.org/x", AddressError::Plaintext),
        ] {
            assert_eq!(StoreAddress::parse(text), Err(why), "{text}");
        }
    }

    /// BACKUP-3: a password that was typed into an address is neither kept nor repeated.
    #[test]
    fn credentials_in_an_address_are_refused_and_not_repeated() {
        for text in [
            "s3://id:CANARY@bucket/x",
            "s3://bucket?endpoint=https://id:CANARY@host",
            "webdavs://me:CANARY@host/x",
            "webdav://me:CANARY@localhost/x",
        ] {
            let error = StoreAddress::parse(text).unwrap_err();
            assert_eq!(error, AddressError::Credentials);
            assert!(!format!("{error:?} {error}").contains("CANARY"));
        }
        let error = StoreAddress::parse("sftp://me:CANARY@host").unwrap_err();
        assert!(!format!("{error:?} {error}").contains("CANARY"));
    }
}
