//! Who we are to a cloud store. Never part of an address, never printed.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use keyhaven_secrets::Remedy;
use thiserror::Error;
use zeroize::Zeroizing;

use super::address::StoreAddress;

/// Longest file of credentials that is read, in bytes.
pub const CREDENTIALS_BYTES_MAX: u64 = 16 << 10;

/// Where the credentials of a store can be put, for messages to people.
pub const HINT: &str = "set KEYHAVEN_STORE_USER and KEYHAVEN_STORE_SECRET (for S3 also \
                        AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), or name a file of mode 0600 \
                        with the lines user=... and secret=...";

/// A user name (or access key id), a secret, and for some S3 services a session token.
#[derive(Clone)]
pub struct Credentials {
    user: Zeroizing<String>,
    secret: Zeroizing<String>,
    token: Option<Zeroizing<String>>,
}

/// Why credentials cannot be used. The texts never hold them.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The file cannot be read.
    #[error("the file of the store's credentials cannot be read: {kind}")]
    Unreadable {
        /// The operating system's kind of failure.
        kind: std::io::ErrorKind,
    },
    /// Others on this machine may read the file.
    #[error(
        "the file of the store's credentials is open to others on this machine (mode {mode:o}): make it 0600"
    )]
    OpenToOthers {
        /// The file's permission bits.
        mode: u32,
    },
    /// The file has another form.
    #[error("the file of the store's credentials must have a line user=... and a line secret=...")]
    Form,
    /// Only one of user and secret is set.
    #[error("the environment names a user or a secret for the store, but not both")]
    Half,
}

impl CredentialsError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Unreadable { .. } | Self::OpenToOthers { .. } | Self::Form | Self::Half => {
                Remedy::AskUser
            }
        }
    }
}

impl Credentials {
    /// A user name and a secret.
    #[must_use]
    pub fn new(user: String, secret: String) -> Self {
        Self {
            user: Zeroizing::new(user),
            secret: Zeroizing::new(secret),
            token: None,
        }
    }

    /// The same with a session token, as temporary S3 credentials have.
    #[must_use]
    pub fn with_token(self, token: String) -> Self {
        Self {
            token: Some(Zeroizing::new(token)),
            ..self
        }
    }

    /// What `variable` (normally the process's environment) says for `address`:
    /// `KEYHAVEN_STORE_USER` and `KEYHAVEN_STORE_SECRET`, and for S3 otherwise
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`.
    ///
    /// # Errors
    ///
    /// [`CredentialsError::Half`] if only one of the two is set.
    pub fn from_variables(
        address: &StoreAddress,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, CredentialsError> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        match (set("KEYHAVEN_STORE_USER"), set("KEYHAVEN_STORE_SECRET")) {
            (Some(user), Some(secret)) => return Ok(Some(Self::new(user, secret))),
            (None, None) => {}
            _ => return Err(CredentialsError::Half),
        }
        if !matches!(address, StoreAddress::S3(_)) {
            return Ok(None);
        }
        match (set("AWS_ACCESS_KEY_ID"), set("AWS_SECRET_ACCESS_KEY")) {
            (Some(user), Some(secret)) => {
                let credentials = Self::new(user, secret);
                Ok(Some(match set("AWS_SESSION_TOKEN") {
                    Some(token) => credentials.with_token(token),
                    None => credentials,
                }))
            }
            (None, None) => Ok(None),
            _ => Err(CredentialsError::Half),
        }
    }

    /// Reads a file with the lines `user=...`, `secret=...` and, if there is one, `token=...`.
    /// Empty lines and lines that begin with `#` are passed over.
    ///
    /// # Errors
    ///
    /// [`CredentialsError`]; a file that others may read is refused.
    pub fn from_file(path: &Path) -> Result<Self, CredentialsError> {
        let unreadable =
            |error: std::io::Error| CredentialsError::Unreadable { kind: error.kind() };
        let file = File::open(path).map_err(unreadable)?;
        check_mode(&file).map_err(unreadable)??;
        let mut text = Zeroizing::new(String::new());
        file.take(CREDENTIALS_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
        Self::parse(&text)
    }

    /// Parses the form that [`Credentials::from_file`] reads.
    ///
    /// # Errors
    ///
    /// [`CredentialsError::Form`].
    pub fn parse(text: &str) -> Result<Self, CredentialsError> {
        let (mut user, mut secret, mut token) = (None, None, None);
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) = line.split_once('=').ok_or(CredentialsError::Form)?;
            let place = match name.trim_end() {
                "user" => &mut user,
                "secret" => &mut secret,
                "token" => &mut token,
                _ => return Err(CredentialsError::Form),
            };
            if place.replace(value.trim_start().to_owned()).is_some() {
                return Err(CredentialsError::Form);
            }
        }
        match (user, secret) {
            (Some(user), Some(secret)) if !user.is_empty() && !secret.is_empty() => {
                let credentials = Self::new(user, secret);
                Ok(match token {
                    Some(token) => credentials.with_token(token),
                    None => credentials,
                })
            }
            _ => Err(CredentialsError::Form),
        }
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }

    pub(super) fn secret(&self) -> &str {
        &self.secret
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_ref().map(|token| token.as_str())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // BACKUP-3: not even the user name, which on some services is half of the secret.
        f.write_str("Credentials(..)")
    }
}

#[cfg(unix)]
fn check_mode(file: &File) -> std::io::Result<Result<(), CredentialsError>> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    Ok(if mode & 0o077 == 0 {
        Ok(())
    } else {
        Err(CredentialsError::OpenToOthers { mode })
    })
}

#[cfg(not(unix))]
fn check_mode(_file: &File) -> std::io::Result<Result<(), CredentialsError>> {
    Ok(Ok(()))
}
