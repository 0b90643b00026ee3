//! How guessable a new password is.
//!
//! Ten guesses at the vault protect even a middling password, but not one that stands at the top
//! of every list, and a vault whose core was broken into protects none: then the password meets
//! guessing without limit, slowed only by its hash. So a new password must stand at least some
//! time by itself. The estimate is zxcvbn's (Wheeler, USENIX Security 2016), which holds the
//! 30,000 most common passwords, names, words, keyboard rows, dates and repeats.
//!
//! The estimator keeps copies of the password in memory that it does not wipe. It runs once, on
//! the owner's device, when a password is chosen.

use alloc::vec::Vec;

use zxcvbn::Score;
use zxcvbn::feedback::Warning;
use zxcvbn::matching::patterns::MatchPattern;

use crate::password::Password;
use crate::remedy::Remedy;

/// The lowest zxcvbn score (0 to 4) that a new password may have: 3, at least 10^8 guesses, which
/// its authors call moderate protection against guessing without limit under a slow hash.
pub const SCORE_FLOOR: u8 = 3;

/// An estimate for a password that is strong enough.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Strength {
    score: u8,
    guesses_log10: f64,
}

impl Strength {
    /// zxcvbn's score: 3 (enough) or 4 (strong).
    #[must_use]
    pub fn score(&self) -> u8 {
        self.score
    }

    /// How many guesses it is expected to stand, as a power of ten.
    #[must_use]
    pub fn guesses_log10(&self) -> f64 {
        self.guesses_log10
    }
}

/// A password that is refused, with the reason in plain words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this password is too easy to guess: {reason}. Four or more words that do not belong together are strong and can be remembered"
)]
pub struct WeakPassword {
    reason: WeakReason,
}

impl WeakPassword {
    /// Why.
    #[must_use]
    pub fn reason(&self) -> WeakReason {
        self.reason
    }

    /// What helps: another password.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        Remedy::AskUser
    }
}

/// Why a password is easy to guess. The words never repeat any part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum WeakReason {
    /// It stands in the list of the most common passwords.
    #[error("it is one of the passwords that people use most")]
    MostCommon,
    /// A common password with small changes.
    #[error("it is a common password with small changes")]
    LikeCommon,
    /// It is made of the account's name or another word that belongs to the person or this program.
    #[error("it is made of your account's name or another word that can be guessed from it")]
    AboutAccount,
    /// Neighbouring keys of a keyboard.
    #[error("its keys stand side by side on the keyboard")]
    KeyboardRow,
    /// The same thing again and again.
    #[error("it repeats itself")]
    Repeats,
    /// A run such as abc or 4321.
    #[error("it is a run of letters or digits in order")]
    Sequence,
    /// A date or a year.
    #[error("it is a date or a year")]
    Date,
    /// A person's name.
    #[error("it is a name")]
    Name,
    /// One word of a dictionary.
    #[error("it is a single word")]
    SingleWord,
    /// Short, or with too little in it that surprises.
    #[error("it is too short for what it is made of")]
    TooShort,
}

impl Password {
    /// Estimates how guessable this password is, before it is registered. `context` are words that
    /// somebody guessing would try first: the account's name, the person's.
    ///
    /// # Errors
    ///
    /// When the score is below [`SCORE_FLOOR`], with the reason to show.
    pub fn judge(&self, context: &[&str]) -> Result<Strength, WeakPassword> {
        let words: Vec<&str> = context
            .iter()
            .copied()
            .chain(["keyhaven", "backup"])
            .collect();
        let estimate = zxcvbn::zxcvbn(self.expose_str(), &words);
        if estimate.score() < Score::Three {
            return Err(WeakPassword {
                reason: reason(&estimate, &words),
            });
        }
        let score = if estimate.score() == Score::Three {
            SCORE_FLOOR
        } else {
            4
        };
        Ok(Strength {
            score,
            guesses_log10: estimate.guesses_log10(),
        })
    }
}

fn reason(estimate: &zxcvbn::Entropy, words: &[&str]) -> WeakReason {
    if estimate
        .sequence()
        .iter()
        .any(|part| is_about_account(part, words))
    {
        return WeakReason::AboutAccount;
    }
    let Some(warning) = estimate.feedback().and_then(|feedback| feedback.warning()) else {
        return WeakReason::TooShort;
    };
    match warning {
        Warning::ThisIsATop10Password
        | Warning::ThisIsATop100Password
        | Warning::ThisIsACommonPassword => WeakReason::MostCommon,
        Warning::ThisIsSimilarToACommonlyUsedPassword => WeakReason::LikeCommon,
        Warning::StraightRowsOfKeysAreEasyToGuess
        | Warning::ShortKeyboardPatternsAreEasyToGuess => WeakReason::KeyboardRow,
        Warning::RepeatsLikeAaaAreEasyToGuess
        | Warning::RepeatsLikeAbcAbcAreOnlySlightlyHarderToGuess => WeakReason::Repeats,
        Warning::SequencesLikeAbcAreEasyToGuess => WeakReason::Sequence,
        Warning::RecentYearsAreEasyToGuess | Warning::DatesAreOftenEasyToGuess => WeakReason::Date,
        Warning::NamesAndSurnamesByThemselvesAreEasyToGuess
        | Warning::CommonNamesAndSurnamesAreEasyToGuess => WeakReason::Name,
        Warning::AWordByItselfIsEasyToGuess => WeakReason::SingleWord,
    }
}

/// The estimator lower-cases the words that it is given and names the one it found.
fn is_about_account(part: &zxcvbn::Match, words: &[&str]) -> bool {
    match &part.pattern {
        MatchPattern::Dictionary(found) => words
            .iter()
            .any(|word| word.to_lowercase() == found.matched_word),
        MatchPattern::Spatial(_)
        | MatchPattern::Repeat(_)
        | MatchPattern::Sequence(_)
        | MatchPattern::Regex(_)
        | MatchPattern::Date(_)
        | MatchPattern::BruteForce => false,
    }
}
