//! The addresses of remote stores, part by part.

use std::fmt;

use super::AddressError;
use super::text::{Authority, decode, encode, parse_path, split_settings};

/// A bucket of S3 or of a server that speaks its protocol.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct S3Address {
    bucket: String,
    prefix: String,
    endpoint: Option<String>,
    region: Option<String>,
}

impl S3Address {
    pub(super) fn parse(rest: &str) -> Result<Self, AddressError> {
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

impl fmt::Display for S3Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if !self.prefix.is_empty() {
            write!(f, "/{}", encode(&self.prefix))?;
        }
        let mut mark = '?';
        if let Some(endpoint) = &self.endpoint {
            write!(f, "{mark}endpoint={endpoint}")?;
            mark = '&';
        }
        match &self.region {
            Some(region) => write!(f, "{mark}region={region}"),
            None => Ok(()),
        }
    }
}

/// A folder of a WebDAV server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WebDavAddress {
    authority: Authority,
    tls: bool,
    path: String,
    plaintext_is_accepted: bool,
}

impl WebDavAddress {
    pub(super) fn parse(rest: &str, tls: bool) -> Result<Self, AddressError> {
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

impl fmt::Display for WebDavAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "webdavs" } else { "webdav" };
        write!(f, "{scheme}://{}/{}", self.authority, encode(&self.path))?;
        if self.plaintext_is_accepted {
            f.write_str("?dangerous-plaintext=yes")?;
        }
        Ok(())
    }
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
