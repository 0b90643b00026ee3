//! The recovery card: where to ask, and for whom. It holds no secret.

use std::fmt::Write as _;
use std::str::FromStr;

use keyhaven_secrets::{KeyFingerprint, Remedy};
use keyhaven_vault_client::{AddressError, VaultAddress};
use qrcode::EcLevel;

use super::page::{Page, Style};

/// The longest field of a card, in bytes, so that all of it fits a QR code.
pub const CARD_FIELD_BYTES_MAX: usize = 300;

const TITLE: &str = "Keyhaven recovery card v1";

/// What somebody who has lost every device must know besides the password or the 64 digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryCard {
    vault: Option<VaultAddress>,
    account: Option<String>,
    store: String,
    key: KeyFingerprint,
}

impl RecoveryCard {
    /// A card for a backup in `store` under the key of this name.
    ///
    /// # Errors
    ///
    /// When the store's address carries a password, is too long, or is more than one line.
    pub fn new(store: &str, key: KeyFingerprint) -> Result<Self, CardError> {
        let store = field("store", store)?;
        if carries_password(&store) {
            return Err(CardError::Secret);
        }
        Ok(Self {
            vault: None,
            account: None,
            store,
            key,
        })
    }

    /// Adds the vault that a password is checked by, with its pin, and the account there.
    ///
    /// # Errors
    ///
    /// When the account's name is too long or is more than one line.
    pub fn with_vault(mut self, vault: VaultAddress, account: &str) -> Result<Self, CardError> {
        if vault.to_string().len() > CARD_FIELD_BYTES_MAX {
            return Err(CardError::Field { field: "vault" });
        }
        self.account = Some(field("account", account)?);
        self.vault = Some(vault);
        Ok(self)
    }

    /// The vault's address with its pin, when a password protects the key.
    #[must_use]
    pub fn vault(&self) -> Option<&VaultAddress> {
        self.vault.as_ref()
    }

    /// The account at the vault.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// Where the backup lies.
    #[must_use]
    pub fn store(&self) -> &str {
        &self.store
    }

    /// The name of the backup key, to match a card with a sheet and a backup.
    #[must_use]
    pub fn key(&self) -> KeyFingerprint {
        self.key
    }

    /// The card as text, one fact a line. [`str::parse`] reads it back.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{TITLE}\n");
        // Writing to a `String` cannot fail.
        if let Some(vault) = &self.vault {
            let _ = writeln!(text, "vault: {vault}");
        }
        if let Some(account) = &self.account {
            let _ = writeln!(text, "account: {account}");
        }
        let _ = writeln!(text, "store: {}", self.store);
        let _ = writeln!(text, "key: {}", self.key);
        text
    }

    /// The card as a printable drawing of a bank card's width, with its text as a QR code.
    ///
    /// # Errors
    ///
    /// When the QR code cannot be drawn, which fields within their bounds never cause.
    pub fn svg(&self) -> Result<String, CardError> {
        let text = self.text();
        // What is longer than the card is wide goes on in the next line.
        let mut lines = Vec::new();
        for line in text.lines().skip(1) {
            let letters: Vec<char> = line.chars().collect();
            lines.extend(letters.chunks(56).map(String::from_iter));
        }
        let lines_mm = u32::try_from(lines.len())
            .unwrap_or(u32::MAX)
            .saturating_mul(4);
        let mut page = Page::new(172, lines_mm.saturating_add(32).max(64), TITLE);
        page.text(6, 11, 5.0, Style::Bold, "Keyhaven recovery card");
        page.text(
            6,
            17,
            2.8,
            Style::Plain,
            "No secret stands here. Together with the password",
        );
        page.text(
            6,
            21,
            2.8,
            Style::Plain,
            "or the 64 digits it brings the backup back.",
        );
        for (y, line) in (28..).step_by(4).zip(&lines) {
            page.text(6, y, 2.8, Style::Digits, line);
        }
        page.qr(116, 6, 52, EcLevel::L, text.as_bytes())
            .map_err(|_| CardError::Drawing)?;
        Ok(page.finish().as_str().to_owned())
    }
}

impl FromStr for RecoveryCard {
    type Err = CardError;

    /// Reads a card's text, as it was printed or scanned.
    fn from_str(text: &str) -> Result<Self, CardError> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        if lines.next() != Some(TITLE) {
            return Err(CardError::NotACard);
        }
        let (mut vault, mut account, mut store, mut key) = (None, None, None, None);
        for line in lines {
            let (name, value) = line.split_once(": ").ok_or(CardError::NotACard)?;
            let slot = match name {
                "vault" => &mut vault,
                "account" => &mut account,
                "store" => &mut store,
                "key" => &mut key,
                _ => return Err(CardError::NotACard),
            };
            if slot.replace(value).is_some() {
                return Err(CardError::NotACard);
            }
        }
        let store = store.ok_or(CardError::Field { field: "store" })?;
        let key = key
            .and_then(fingerprint)
            .ok_or(CardError::Field { field: "key" })?;
        let card = Self::new(store, key)?;
        match (vault, account) {
            (Some(vault), Some(account)) => card.with_vault(vault.parse()?, account),
            (None, None) => Ok(card),
            (Some(_), None) => Err(CardError::Field { field: "account" }),
            (None, Some(_)) => Err(CardError::Field { field: "vault" }),
        }
    }
}

/// `kf-` and twelve digits.
fn fingerprint(text: &str) -> Option<KeyFingerprint> {
    let digits = text.strip_prefix("kf-")?;
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let mut bytes = [0; 6];
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    let read = KeyFingerprint::from_bytes(bytes);
    (read.to_string() == text).then_some(read)
}

fn field(name: &'static str, value: &str) -> Result<String, CardError> {
    let fits = !value.is_empty()
        && value.len() <= CARD_FIELD_BYTES_MAX
        && value.trim() == value
        && !value.chars().any(char::is_control);
    if fits {
        Ok(value.to_owned())
    } else {
        Err(CardError::Field { field: name })
    }
}

/// Whether an address has a `user:password@` part.
fn carries_password(address: &str) -> bool {
    let Some((_, rest)) = address.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority
        .rsplit_once('@')
        .is_some_and(|(user, _)| user.contains(':'))
}

/// Why a card cannot be made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    /// The text is not a recovery card of a version known here.
    #[error("this is not a Keyhaven recovery card")]
    NotACard,
    /// A line is missing, too long, or cannot stand on one line.
    #[error(
        "the card's {field} is missing, longer than {CARD_FIELD_BYTES_MAX} bytes or not one line"
    )]
    Field {
        /// Which line.
        field: &'static str,
    },
    /// The store's address carries a password, and a card holds no secret.
    #[error(
        "the store's address carries a password, and a recovery card holds no secret; take the password out of the address"
    )]
    Secret,
    /// The vault's address is not one.
    #[error("the card's vault is not a vault's address")]
    Vault(#[from] AddressError),
    /// The QR code could not be made.
    #[error("the QR code of the recovery card could not be drawn")]
    Drawing,
}

impl CardError {
    /// What helps: another address or another card.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::NotACard | Self::Field { .. } | Self::Secret | Self::Vault(_) => Remedy::AskUser,
            Self::Drawing => Remedy::Stop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recovery::testing::scan;

    fn card() -> RecoveryCard {
        let vault = format!("https://vault.example:7420/#{}", "a".repeat(52))
            .parse()
            .unwrap();
        RecoveryCard::new(
            "s3://bucket.example/chats",
            KeyFingerprint::from_bytes([0xab; 6]),
        )
        .unwrap()
        .with_vault(vault, "amara@example.org")
        .unwrap()
    }

    /// The golden text: cards lie in wallets, so it never changes.
    #[test]
    fn the_text_of_a_card_is_fixed() {
        let expected = format!(
            "Keyhaven recovery card v1\nvault: https://vault.example:7420/#{}\n\
             account: amara@example.org\nstore: s3://bucket.example/chats\nkey: kf-abababababab\n",
            "a".repeat(52)
        );
        assert_eq!(card().text(), expected);
    }

    #[test]
    fn a_card_reads_back_from_its_text_and_from_its_code() {
        assert_eq!(card().text().parse::<RecoveryCard>().unwrap(), card());
        assert_eq!(
            scan(&card().svg().unwrap())
                .parse::<RecoveryCard>()
                .unwrap(),
            card()
        );
        let bare = RecoveryCard::new("folder:/a b/c", card().key()).unwrap();
        assert_eq!(
            bare.text()
                .replace('\n', "\r\n")
                .parse::<RecoveryCard>()
                .unwrap(),
            bare
        );
    }

    #[test]
    fn the_longest_card_fits_its_code() {
        let long = "x".repeat(CARD_FIELD_BYTES_MAX);
        let vault = format!("https://{}/#{}", "h".repeat(238), "a".repeat(52))
            .parse()
            .unwrap();
        let card = RecoveryCard::new(&long, card().key())
            .unwrap()
            .with_vault(vault, &long)
            .unwrap();
        assert_eq!(
            scan(&card.svg().unwrap()).parse::<RecoveryCard>().unwrap(),
            card
        );
    }

    /// BACKUP-3: a card is carried about; it must hold nothing that opens anything.
    #[test]
    fn a_store_address_with_a_password_is_refused() {
        for secret in ["https://amara:hunter2@dav.example/x", "s3://id:key@bucket"] {
            assert_eq!(
                RecoveryCard::new(secret, card().key()).unwrap_err(),
                CardError::Secret
            );
        }
        assert!(RecoveryCard::new("https://amara@dav.example/a:b@c", card().key()).is_ok());
        assert!(RecoveryCard::new("folder:/a:b@c", card().key()).is_ok());
    }

    #[test]
    fn what_is_not_a_card_is_refused_with_the_line_at_fault() {
        let text = card().text();
        let refused = |text: &str| text.parse::<RecoveryCard>().unwrap_err();
        assert_eq!(refused(""), CardError::NotACard);
        assert_eq!(
            refused(&text.replace("card v1", "card v2")),
            CardError::NotACard
        );
        assert_eq!(
            refused(&text.replace("account", "password")),
            CardError::NotACard
        );
        assert_eq!(
            refused(&format!("{text}store: other\n")),
            CardError::NotACard
        );
        assert_eq!(
            refused(&text.replace("kf-ab", "kf-AB")),
            CardError::Field { field: "key" }
        );
        assert_eq!(
            refused(&text.replace("kf-", "")),
            CardError::Field { field: "key" }
        );
        let without = |name: &str| -> String {
            text.lines()
                .filter(|line| !line.starts_with(name))
                .flat_map(|l| [l, "\n"])
                .collect()
        };
        assert_eq!(
            refused(&without("store")),
            CardError::Field { field: "store" }
        );
        assert_eq!(
            refused(&without("vault")),
            CardError::Field { field: "vault" }
        );
        assert_eq!(
            refused(&without("account")),
            CardError::Field { field: "account" }
        );
        assert_eq!(
            refused(&text.replace("/#a", "/")),
            CardError::Vault(AddressError::NoPin)
        );
    }

    #[test]
    fn cards_are_read_and_refused_as_the_vectors_say() {
        for vector in keyhaven_testkit::keys::Vector::all("card") {
            let read = vector.typed().parse::<RecoveryCard>();
            let outcome = match &read {
                Ok(_) => "ok",
                Err(CardError::NotACard) => "not-a-card",
                Err(CardError::Field { .. }) => "field",
                Err(CardError::Secret) => "secret",
                Err(CardError::Vault(_)) => "vault",
                Err(CardError::Drawing) => "drawing",
            };
            assert_eq!(outcome, vector.outcome(), "{}", vector.name());
            if let Err(CardError::Field { field }) = read {
                assert_eq!(Some(field), vector.value("field"), "{}", vector.name());
            }
        }
    }

    #[test]
    fn a_field_that_breaks_the_line_is_refused() {
        let long = "x".repeat(CARD_FIELD_BYTES_MAX + 1);
        for bad in ["", " a", "a\nstore: b", long.as_str()] {
            let refused = RecoveryCard::new(bad, card().key()).unwrap_err();
            assert_eq!(refused, CardError::Field { field: "store" });
        }
    }

    #[test]
    fn markup_in_a_name_stays_a_name() {
        let card = RecoveryCard::new("folder:/<script>&\"", card().key()).unwrap();
        let svg = card.svg().unwrap();
        assert!(!svg.contains("<script"));
        assert!(svg.contains("&lt;script&gt;&amp;&quot;"));
    }
}
