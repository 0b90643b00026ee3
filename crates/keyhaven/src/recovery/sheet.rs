//! The recovery sheet: the backup key on a page of paper.

use std::fmt;

use keyhaven_secrets::{BackupKey, Remedy};
use qrcode::EcLevel;
use zeroize::Zeroizing;

use super::page::{Page, Style};

/// A printable page (A4, SVG) with the backup key as 64 digits and as a QR code.
///
/// The QR code holds the 64 digits in upper case and nothing else, so that what any scanner shows
/// can be typed or pasted where the 64 digits are asked for. The page is a secret: it is wiped on
/// drop, and writing it to a file is the caller's decision.
pub struct RecoverySheet {
    svg: Zeroizing<String>,
}

impl RecoverySheet {
    /// Draws the sheet of a key.
    ///
    /// # Errors
    ///
    /// When the QR code cannot be drawn, which 64 digits never cause.
    pub fn of(key: &BackupKey) -> Result<Self, SheetError> {
        let digits = key.digits();
        let mut page = Page::new(210, 297, "Keyhaven recovery sheet");
        page.text(20, 28, 9.0, Style::Bold, "Keyhaven recovery sheet");
        for (y, line) in (38..).step_by(6).zip([
            "This is the key to your chat backup. Whoever holds this page can read the backup,",
            "and without a password or this page nobody can, not even the makers of Keyhaven.",
            "Keep it on paper, away from the devices that are backed up. Do not photograph it.",
        ]) {
            page.text(20, y, 3.8, Style::Plain, line);
        }
        for (y, line) in (72..).step_by(12).zip(digits.lines()) {
            page.text(43, y, 10.0, Style::Digits, &line);
        }
        let scanned = digits_for_scanner(key);
        // A quarter of the code may be lost to a fold or a stain (level Q).
        page.qr(65, 118, 80, EcLevel::Q, scanned.as_bytes())
            .map_err(|_| SheetError::Drawing)?;
        page.text(
            20,
            212,
            4.2,
            Style::Bold,
            &format!("Name of this key: {}", key.fingerprint()),
        );
        for (y, line) in (220..).step_by(6).zip([
            "To restore: keyhaven restore, and type the digits when you are asked for the key.",
            "Only 0-9 and a-f occur; capitals and spaces do not matter; one wrong digit is found.",
            "To check this page without restoring anything: keyhaven key check",
        ]) {
            page.text(20, y, 3.8, Style::Plain, line);
        }
        Ok(Self { svg: page.finish() })
    }

    /// The page, to be printed or shown.
    #[must_use]
    pub fn svg(&self) -> &str {
        &self.svg
    }
}

impl fmt::Debug for RecoverySheet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoverySheet(redacted)")
    }
}

/// Upper case: the QR code's alphanumeric mode takes two digits in 11 bits.
fn digits_for_scanner(key: &BackupKey) -> Zeroizing<String> {
    let mut scanned = Zeroizing::new(String::with_capacity(64));
    for group in key.digits().groups() {
        scanned.extend(group.chars().map(|digit| digit.to_ascii_uppercase()));
    }
    scanned
}

/// Why a sheet could not be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SheetError {
    /// The QR code could not be made.
    #[error("the QR code of the recovery sheet could not be drawn")]
    Drawing,
}

impl SheetError {
    /// What helps: nothing; the digits can be written by hand.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Drawing => Remedy::Stop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recovery::testing::scan;

    fn key() -> BackupKey {
        BackupKey::from_bytes(std::array::from_fn(|i| {
            u8::try_from(i).unwrap().wrapping_mul(7)
        }))
    }

    #[test]
    fn the_sheet_shows_all_digits_and_the_name_of_the_key() {
        let sheet = RecoverySheet::of(&key()).unwrap();
        for line in key().digits().lines() {
            assert!(sheet.svg().contains(line.as_str()));
        }
        assert!(sheet.svg().contains(&key().fingerprint().to_string()));
        assert_eq!(format!("{sheet:?}"), "RecoverySheet(redacted)");
    }

    #[test]
    fn scanning_the_code_gives_digits_that_are_read_as_the_key() {
        let sheet = RecoverySheet::of(&key()).unwrap();
        let scanned = scan(sheet.svg());
        assert_eq!(scanned.len(), 64);
        assert!(BackupKey::parse_digits(&scanned).unwrap() == key());
    }
}
