//! The vectors' own form: lines of `word: value`, and edits that any language can apply.

use std::fmt::Write as _;
use std::path::PathBuf;

/// Where the vectors of version 1 lie.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/format/v1")
}

/// One vector: lines in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Vector(Vec<(String, String)>);

impl Vector {
    pub(crate) fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("keyhaven format vector 1"));
        Self(
            lines
                .map(|line| {
                    let (word, value) = line.split_once(": ").unwrap();
                    (word.to_owned(), value.to_owned())
                })
                .collect(),
        )
    }

    pub(crate) fn text(&self) -> String {
        let mut out = "keyhaven format vector 1\n".to_owned();
        for (word, value) in &self.0 {
            writeln!(out, "{word}: {value}").unwrap();
        }
        out
    }

    pub(crate) fn with(mut self, word: &str, value: impl ToString) -> Self {
        self.0.push((word.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn all<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(found, _)| found == word)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn one<'a>(&'a self, word: &str) -> Option<&'a str> {
        self.0
            .iter()
            .find(|(found, _)| found == word)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn number(&self, word: &str) -> Option<u64> {
        self.one(word).map(|value| value.parse().unwrap())
    }

    /// The bytes of the vector's file in the golden store, with its edits applied in order:
    /// `edit: <offset> <hex>` writes over, `copy: <from> <to> <length>` writes a part of the
    /// unaltered file over, `cut: <length>` shortens, `grow: <count>` appends zeros.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let path = folder().join("store").join(self.one("file").unwrap());
        let file = std::fs::read(path).unwrap();
        let mut out = file.clone();
        for (word, value) in &self.0 {
            let mut parts = value.split(' ');
            let mut number = || parts.next().unwrap().parse::<usize>().unwrap();
            match word.as_str() {
                "edit" => {
                    let at = number();
                    let bytes = unhex(parts.next().unwrap());
                    out[at..at + bytes.len()].copy_from_slice(&bytes);
                }
                "copy" => {
                    let (from, to, len) = (number(), number(), number());
                    out[to..to + len].copy_from_slice(&file[from..from + len]);
                }
                "cut" => out.truncate(number()),
                "grow" => out.resize(out.len() + number(), 0),
                _ => {}
            }
        }
        out
    }

    /// The edits that make `altered` of `file`, which have one length.
    pub(crate) fn difference(mut self, file: &[u8], altered: &[u8]) -> Self {
        assert_eq!(file.len(), altered.len());
        let mut at = 0;
        while at < file.len() {
            if file[at] == altered[at] {
                at += 1;
                continue;
            }
            let mut end = at + 1;
            let mut same = 0;
            while end < file.len() && same < 8 {
                same = if file[end] == altered[end] {
                    same + 1
                } else {
                    0
                };
                end += 1;
            }
            end -= same;
            self = self.with("edit", format!("{at} {}", hex(&altered[at..end])));
            at = end;
        }
        self
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    assert_eq!(text.len() % 2, 0);
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}
