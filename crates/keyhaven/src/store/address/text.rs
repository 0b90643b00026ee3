//! The small parts of an address: host and port, paths, escapes.

use std::fmt;

use super::AddressError;

/// A host and, if it is not the usual one, a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Authority {
    host: String,
    port: Option<u16>,
}

impl Authority {
    pub(super) fn parse(text: &str) -> Result<Self, AddressError> {
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

    pub(super) fn is_loopback(&self) -> bool {
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

/// Splits the settings after `?` off.
pub(super) fn split_settings(rest: &str) -> (&str, impl Iterator<Item = &str>) {
    let (place, settings) = rest.split_once('?').unwrap_or((rest, ""));
    (place, settings.split('&').filter(|part| !part.is_empty()))
}

/// A folder's path on a server: decoded, without `/` at the ends, no `.`, `..` or empty parts.
pub(super) fn parse_path(text: &str) -> Result<String, AddressError> {
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
pub(in crate::store) fn decode(text: &str) -> Result<String, AddressError> {
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
pub(super) fn encode(path: &str) -> String {
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
