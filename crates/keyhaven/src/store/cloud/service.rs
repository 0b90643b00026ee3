//! The services that the driver speaks to, and how it is told to.

use opendal::Operator;

use crate::store::StoreAddress;
use crate::store::credentials::{Credentials, HINT};
use crate::store::error::{Action, StoreError};

/// What differs between the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Writes are atomic, listings flat.
    S3,
    /// Writes may be torn, so objects are moved into place; listings go folder by folder.
    WebDav,
}

/// Whether a store is reached through TLS.
pub(super) fn has_tls(address: &StoreAddress) -> bool {
    match address {
        StoreAddress::Folder(_) => false,
        StoreAddress::S3(s3) => s3
            .endpoint()
            .is_none_or(|endpoint| endpoint.starts_with("https://")),
        StoreAddress::WebDav(dav) => dav.endpoint().starts_with("https://"),
    }
}

/// The driver for `address`, without a transport yet.
pub(super) fn operator(
    address: &StoreAddress,
    credentials: Option<&Credentials>,
    place: &str,
) -> Result<(Operator, Kind), StoreError> {
    let refused = |_| StoreError::Refused {
        action: Action::Open,
        status: None,
    };
    match address {
        StoreAddress::Folder(_) => Err(StoreError::Refused {
            action: Action::Open,
            status: None,
        }),
        StoreAddress::S3(s3) => {
            let Some(credentials) = credentials else {
                return Err(StoreError::NoCredentials {
                    place: place.to_owned(),
                    hint: HINT,
                });
            };
            // Only what is given here counts: the driver must not pick up another identity from a
            // file or from the machine that it runs on.
            let mut builder = opendal::services::S3::default()
                .bucket(s3.bucket())
                .root(&format!("/{}", s3.prefix()))
                .region(s3.region().unwrap_or("us-east-1"))
                .access_key_id(credentials.user())
                .secret_access_key(credentials.secret())
                .disable_config_load()
                .disable_ec2_metadata();
            if let Some(endpoint) = s3.endpoint() {
                builder = builder.endpoint(endpoint);
            }
            if let Some(token) = credentials.token() {
                builder = builder.session_token(token);
            }
            Ok((Operator::new(builder).map_err(refused)?, Kind::S3))
        }
        StoreAddress::WebDav(dav) => {
            let mut builder = opendal::services::Webdav::default()
                .endpoint(&dav.endpoint())
                .root(&format!("/{}", dav.path()));
            if let Some(credentials) = credentials {
                builder = builder
                    .username(credentials.user())
                    .password(credentials.secret());
            }
            Ok((Operator::new(builder).map_err(refused)?, Kind::WebDav))
        }
    }
}
