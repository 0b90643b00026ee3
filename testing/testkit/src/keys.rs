//! The vectors of keys: what a reader must say about digits and cards.
//!
//! `vectors/keys/README.md` says how they are written.
#![expect(
    clippy::expect_used,
    reason = "a vector that cannot be read fails the test that asked for it"
)]

use std::fs;
use std::path::Path;

/// One vector: its file's name, and its lines in order.
#[derive(Debug, Clone)]
pub struct Vector {
    name: String,
    lines: Vec<(String, String)>,
}

impl Vector {
    /// Every vector of one kind (`digits`, `repair` or `card`), in the order of their names.
    ///
    /// # Panics
    ///
    /// When the vectors cannot be read, or there are none.
    #[must_use]
    pub fn all(kind: &str) -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/keys/v1");
        let mut vectors: Vec<Self> = fs::read_dir(folder)
            .expect("the folder of vectors")
            .map(|entry| Self::read(&entry.expect("an entry of the folder").path()))
            .filter(|vector| vector.value("as") == Some(kind))
            .collect();
        vectors.sort_by(|left, right| left.name.cmp(&right.name));
        assert!(!vectors.is_empty(), "there are vectors of {kind}");
        vectors
    }

    /// The name of its file, to say which one failed.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a reader must say.
    #[must_use]
    pub fn outcome(&self) -> &str {
        self.value("outcome").unwrap_or_default()
    }

    /// The value of a word.
    #[must_use]
    pub fn value(&self, word: &str) -> Option<&str> {
        self.lines
            .iter()
            .find(|(found, _)| found == word)
            .map(|(_, value)| value.as_str())
    }

    /// The value of a word that is a number.
    ///
    /// # Panics
    ///
    /// When it is none.
    #[must_use]
    pub fn number(&self, word: &str) -> Option<usize> {
        self.value(word)
            .map(|value| value.parse().expect("a number"))
    }

    /// The text that was typed or scanned.
    ///
    /// # Panics
    ///
    /// When its escapes are none.
    #[must_use]
    pub fn typed(&self) -> String {
        let mut text = String::new();
        let mut rest = self.value("typed").unwrap_or_default();
        while let Some((plain, escaped)) = rest.split_once('\\') {
            text.push_str(plain);
            let mut letters = escaped.chars();
            let letter = letters.next().expect("a letter after the backslash");
            rest = letters.as_str();
            match letter {
                'n' => text.push('\n'),
                'r' => text.push('\r'),
                't' => text.push('\t'),
                '\\' => text.push('\\'),
                _ => {
                    let (digits, after) = rest
                        .strip_prefix('{')
                        .and_then(|rest| rest.split_once('}'))
                        .expect("\\u{hex}");
                    let code = u32::from_str_radix(digits, 16).expect("hexadecimal digits");
                    text.push(char::from_u32(code).expect("a character"));
                    rest = after;
                }
            }
        }
        text.push_str(rest);
        text
    }

    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("a vector's text");
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("keyhaven keys vector 1"));
        let lines = lines.map(|line| {
            let (word, value) = line.split_once(": ").expect("word: value");
            (word.to_owned(), value.to_owned())
        });
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Self {
            name,
            lines: lines.collect(),
        }
    }
}
