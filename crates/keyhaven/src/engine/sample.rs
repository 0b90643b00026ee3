//! A share of a store's packs, another one each time, so that daily runs cover all of them over time.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use keyhaven_repo::names::PackName;
use keyhaven_secrets::Entropy;

use crate::files::{self, Mode};

/// Bytes of the file that says which pack was read last.
const MARK_BYTES_MAX: u64 = 32;

/// A part of a whole, from a hundred-thousandth of a percent to all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    /// Of ten million.
    parts: u32,
}

/// Parts of a whole.
const WHOLE: u32 = 10_000_000;

/// A text is no share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a share is a percentage above 0% and up to 100%, such as 5% or 0.5%")]
pub struct ShareError;

impl Share {
    /// All of it.
    pub const ALL: Self = Self { parts: WHOLE };

    /// Of so many bytes, rounded up.
    pub(crate) fn of(self, bytes: u64) -> u64 {
        let part = u128::from(bytes)
            .saturating_mul(u128::from(self.parts))
            .div_ceil(u128::from(WHOLE));
        u64::try_from(part).unwrap_or(bytes)
    }
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let number = text.strip_suffix('%').ok_or(ShareError)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let is_number =
            |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        // Five digits after the point: with one percent, a hundred thousand parts.
        if !is_number(whole) || !is_number(fraction) || fraction.len() > 5 {
            return Err(ShareError);
        }
        let parts = format!("{whole}{fraction:0<5}")
            .parse()
            .map_err(|_| ShareError)?;
        if (1..=WHOLE).contains(&parts) {
            Ok(Self { parts })
        } else {
            Err(ShareError)
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.parts / 100_000, self.parts % 100_000);
        if fraction == 0 {
            return write!(f, "{whole}%");
        }
        let fraction = format!("{fraction:05}");
        write!(f, "{whole}.{}%", fraction.trim_end_matches('0'))
    }
}

/// The packs that are read this time: those whose names follow on the one that was read last, until the
/// share is reached. Names are random, so this is a sample; and as names have an order, none is left
/// out for ever: every pack is read once before any is read again.
pub(crate) fn choose(
    packs: &[(PackName, u64)],
    share: Share,
    last: &PackName,
) -> Vec<(PackName, u64)> {
    let bytes = packs
        .iter()
        .fold(0_u64, |sum, (_, len)| sum.saturating_add(*len));
    let wanted = share.of(bytes);
    let after = packs.partition_point(|(name, _)| name <= last);
    let (before, after) = packs.split_at(after.min(packs.len()));
    let mut taken = 0_u64;
    after
        .iter()
        .chain(before)
        .take_while(|(_, len)| {
            // One without length costs nothing, and is damaged.
            let goes_on = taken < wanted || *len == 0;
            taken = taken.saturating_add(*len);
            goes_on
        })
        .copied()
        .collect()
}

/// A place in the order of names for who remembers none.
pub(crate) fn anywhere(entropy: &mut dyn Entropy) -> PackName {
    let mut place = [0; 32];
    entropy.fill(&mut place);
    PackName::from_bytes(place)
}

/// The pack that was read last; none where nobody remembers.
pub(crate) fn recall(file: &Path) -> Option<PackName> {
    let bytes = files::read_small(file, MARK_BYTES_MAX).ok()?;
    Some(PackName::from_bytes(bytes.try_into().ok()?))
}

/// Remembers it. Where that fails, the next sample begins elsewhere.
pub(crate) fn remember(file: &Path, last: &PackName) {
    let _ = files::replace(file, last.as_bytes(), Mode::Private);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packs() -> Vec<(PackName, u64)> {
        (0..20_u8)
            .map(|number| (PackName::from_bytes([number; 32]), 10))
            .collect()
    }

    #[test]
    fn a_share_is_a_percentage() {
        for (text, parts) in [
            ("5%", 500_000),
            ("100%", WHOLE),
            ("100.00000%", WHOLE),
            ("0.5%", 50_000),
            ("12.34567%", 1_234_567),
            ("0.00001%", 1),
        ] {
            assert_eq!(text.parse(), Ok(Share { parts }), "{text}");
        }
        for text in [
            "",
            "%",
            "5",
            "0%",
            "0.0%",
            "100.00001%",
            "101%",
            "-5%",
            "+5%",
            "5%%",
            ".5%",
            "5.%",
            "1e1%",
            "0.000001%",
            "99999999999%",
            " 5%",
            "5 %",
            "1/20",
            "٥%",
        ] {
            assert_eq!(text.parse::<Share>(), Err(ShareError), "{text:?}");
        }
        for text in ["5%", "0.5%", "12.34567%", "100%"] {
            assert_eq!(text.parse::<Share>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_share_of_bytes_is_rounded_up() {
        let five: Share = "5%".parse().unwrap();
        assert_eq!(five.of(0), 0);
        assert_eq!(five.of(1), 1);
        assert_eq!(five.of(1000), 50);
        assert_eq!(five.of(1001), 51);
        assert_eq!(Share::ALL.of(u64::MAX), u64::MAX);
    }

    /// Run after run, each pack is read once before any is read again.
    #[test]
    fn samples_go_round_and_leave_out_none() {
        let packs = packs();
        let share: Share = "15%".parse().unwrap();
        let mut last = PackName::from_bytes([0x0f; 32]);
        let mut read = Vec::new();
        for _ in 0..20 {
            let sample = choose(&packs, share, &last);
            assert_eq!(sample.len(), 3);
            last = sample.last().unwrap().0;
            read.extend(sample);
        }
        assert_eq!(read[0].0, PackName::from_bytes([0x10; 32]));
        for round in read.chunks(20) {
            let mut round = round.to_vec();
            round.sort();
            assert_eq!(round, packs);
        }
    }

    #[test]
    fn all_is_all_once_and_the_least_share_is_one_pack() {
        let packs = packs();
        let last = PackName::from_bytes([7; 32]);
        let mut all = choose(&packs, Share::ALL, &last);
        assert_eq!(all[0].0, PackName::from_bytes([8; 32]));
        all.sort();
        assert_eq!(all, packs);
        let least = "0.00001%".parse().unwrap();
        assert_eq!(choose(&packs, least, &last).len(), 1);
        assert_eq!(choose(&[], least, &last), []);
    }

    #[test]
    fn a_pack_without_length_is_read_with_the_one_before() {
        let mut packs = packs();
        for number in [0, 7, 19] {
            packs[number].1 = 0;
        }
        let all = choose(&packs, Share::ALL, &PackName::from_bytes([18; 32]));
        assert_eq!(all.len(), 20);
        let some = "30%".parse().unwrap();
        let five = choose(&packs, some, &PackName::from_bytes([0; 32]));
        assert_eq!(five.len(), 7);
    }

    #[test]
    fn the_last_pack_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sampled");
        assert_eq!(recall(&file), None);
        let last = PackName::from_bytes([7; 32]);
        remember(&file, &last);
        assert_eq!(recall(&file), Some(last));
        std::fs::write(&file, [7; 33]).unwrap();
        assert_eq!(recall(&file), None);
    }
}
