//! What a person keeps on paper: the recovery sheet and the recovery card.
//!
//! The **sheet** carries the backup key, as 64 digits and as a QR code: whoever holds it opens the
//! backup. The **card** carries no secret at all. It names the vault, the store and the account,
//! which somebody with nothing but a password needs to know before the password helps.
//!
//! ```text
//!   sheet: 64 digits + QR of the digits     ──▶  opens the backup (a safe, a drawer)
//!   card:  vault, store, account, key name  ──▶  says where to ask (a wallet, a note)
//! ```
//!
//! What it refuses: a card whose store address carries a user's password, and any field that
//! cannot stand on one line.
//!
//! ```
//! use keyhaven::recovery::{RecoveryCard, RecoverySheet};
//! use keyhaven_secrets::BackupKey;
//!
//! let key = BackupKey::from_bytes([0x1f; 32]);
//! let sheet = RecoverySheet::of(&key)?;
//! assert!(sheet.svg().starts_with("<svg"));
//!
//! let card = RecoveryCard::new("folder:/mnt/backup", key.fingerprint())?;
//! assert_eq!(card.text().parse::<RecoveryCard>()?, card);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod card;
mod page;
mod sheet;

pub use card::{CARD_FIELD_BYTES_MAX, CardError, RecoveryCard};
pub use sheet::{RecoverySheet, SheetError};

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "a test helper on small numbers"
)]
mod testing {
    //! Reads a drawn QR code back with an independent decoder.

    /// The content of the only QR code on a page.
    pub(super) fn scan(svg: &str) -> String {
        let start = svg.find("<path d=\"M").unwrap() + 9;
        let path = &svg[start..start + svg[start..].find('"').unwrap()];
        let dark: Vec<(usize, usize)> = path
            .split('M')
            .skip(1)
            .map(|module| {
                let (column, rest) = module.split_once(' ').unwrap();
                let row = rest.split_once('h').unwrap().0;
                (column.parse().unwrap(), row.parse().unwrap())
            })
            .collect();
        let side = dark.iter().map(|(column, _)| column + 1).max().unwrap();
        let pixels = (side + 8) * 4;
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(pixels, pixels, |x, y| {
            let module = (x / 4).checked_sub(4).zip((y / 4).checked_sub(4));
            if module.is_some_and(|module| dark.contains(&module)) {
                0
            } else {
                255
            }
        });
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1, "one code on the page");
        grids[0].decode().unwrap().1
    }
}
