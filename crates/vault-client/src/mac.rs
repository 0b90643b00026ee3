//! HMAC-SHA256 (RFC 2104) under a key of 32 bytes.

use hmac::{Hmac, KeyInit as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// A MAC that has taken its key. RFC 2104 fills a short key up with zeros to the hash's block of
/// 64 bytes; doing so here leaves no error that could not happen.
pub(crate) fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    let mut block = Zeroizing::new([0; 64]);
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    Hmac::new((&*block).into())
}
