//! What people write: words of Zipf's frequencies, short messages, stock phrases.

use std::collections::BTreeSet;

use crate::random::Random;

/// How many words the people of the corpus know.
const WORDS: usize = 24_000;
/// Faces and hearts, strewn among the commonest words.
const EMOJI: [&str; 7] = ["😂", "❤️", "👍", "🙏", "😍", "🎉", "😭"];
const STOCK: [&str; 9] = [
    "ok",
    "haha",
    "yes",
    "no",
    "good morning",
    "on my way",
    "call me",
    "lol",
    "thanks",
];

/// A vocabulary with the frequency of each word.
#[derive(Debug)]
pub(crate) struct Words {
    words: Vec<String>,
    cumulative: Vec<f64>,
}

impl Words {
    /// The vocabulary, the same in every corpus.
    pub(crate) fn new() -> Self {
        let mut r = Random::new(7);
        let mut seen = BTreeSet::new();
        let mut words = Vec::with_capacity(WORDS);
        while words.len() < WORDS {
            let word = invent(&mut r);
            if seen.insert(word.clone()) {
                words.push(word);
            }
        }
        for (n, emoji) in EMOJI.iter().enumerate() {
            words.insert(20 + 9 * n, (*emoji).to_owned());
        }
        let mut total = 0.0;
        let cumulative = (0..words.len())
            .map(|rank| {
                total += 1.0 / (rank as f64 + 2.7).powf(1.05);
                total
            })
            .collect();
        Self { words, cumulative }
    }

    /// One word, the common ones more often.
    pub(crate) fn word(&self, r: &mut Random) -> &str {
        let total = self.cumulative.last().copied().unwrap_or_default();
        let at = r.unit() * total;
        let rank = self.cumulative.partition_point(|&sum| sum < at);
        self.words.get(rank).map_or("ok", String::as_str)
    }

    /// One message.
    pub(crate) fn message(&self, r: &mut Random) -> String {
        let kind = r.unit();
        if kind < 0.08 {
            return r.pick(&STOCK).map_or_else(String::new, |s| (*s).to_owned());
        }
        let count = (r.log_normal(7.5, 0.85) as u64).clamp(1, 220);
        let mut text = String::with_capacity(count as usize * 6);
        for n in 0..count {
            if n > 0 {
                text.push(' ');
            }
            text.push_str(self.word(r));
        }
        if kind > 0.97 {
            text.push_str(&format!(
                " https://{}.example/{:011x}",
                self.word(r),
                r.word() >> 20
            ));
        }
        text
    }

    /// A name for a group or a person.
    pub(crate) fn title(&self, r: &mut Random, words: u32) -> String {
        (0..words)
            .map(|_| self.word(r))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

fn invent(r: &mut Random) -> String {
    let syllables = 1 + (r.exponential(1.25) as u32).min(4);
    let mut word = String::new();
    for _ in 0..syllables {
        word.push(letter(r, b"bcdfghjklmnprstvwyz"));
        word.push(letter(r, b"aeiou"));
        if r.chance(0.3) {
            word.push(letter(r, b"bcdfghjklmnprstvwyz"));
        }
    }
    word
}

fn letter(r: &mut Random, of: &[u8]) -> char {
    r.pick(of).map_or('a', |&b| char::from(b))
}
