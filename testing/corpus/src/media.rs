//! The media folder: what is in it, under which names, and its bytes.

mod jpeg;
mod mp4;
mod opus;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use crate::calendar;
use crate::error::{CorpusError, at};
use crate::random::Random;

/// No file is smaller.
const BYTES_MIN: f64 = 30_000.0;
/// No file is larger.
const BYTES_MAX: f64 = 20_000_000.0;
/// How many of the files are forwarded copies of earlier ones.
const FORWARDED: f64 = 0.05;

/// A kind of media, as WhatsApp sorts them into folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Image,
    Video,
    Voice,
}

impl Kind {
    /// A kind, pictures more often than voice notes, these more often than videos.
    fn draw(r: &mut Random) -> Self {
        match r.unit() {
            x if x < 0.70 => Self::Image,
            x if x < 0.88 => Self::Voice,
            _ => Self::Video,
        }
    }

    fn draw_bytes(self, r: &mut Random) -> usize {
        let (median, sigma) = match self {
            Self::Image => (150_000.0, 0.75),
            Self::Video => (3_500_000.0, 0.85),
            Self::Voice => (55_000.0, 0.60),
        };
        loop {
            let bytes = r.log_normal(median, sigma);
            if (BYTES_MIN..=BYTES_MAX).contains(&bytes) {
                return bytes as usize;
            }
        }
    }

    pub(crate) fn mime(self) -> &'static str {
        match self {
            Self::Image => "image/jpeg",
            Self::Video => "video/mp4",
            Self::Voice => "audio/ogg; codecs=opus",
        }
    }

    /// The number that the message table uses.
    pub(crate) fn message_type(self) -> i64 {
        match self {
            Self::Image => 1,
            Self::Voice => 2,
            Self::Video => 3,
        }
    }

    /// The kind of a number in the message table.
    pub(crate) fn of_message_type(number: i64) -> Option<Self> {
        [Self::Image, Self::Voice, Self::Video]
            .into_iter()
            .find(|k| k.message_type() == number)
    }

    fn render(self, r: &mut Random, bytes: usize) -> Vec<u8> {
        match self {
            Self::Image => jpeg::photo(r, bytes),
            Self::Video => mp4::film(r, bytes),
            Self::Voice => opus::note(r, bytes),
        }
    }
}

/// One file that was written, and the day on which a message brings it.
#[derive(Debug, Clone)]
pub(crate) struct Medium {
    pub(crate) kind: Kind,
    pub(crate) day: u32,
    /// Relative to the corpus, with `/`.
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) hash: String,
    pub(crate) forwarded: bool,
}

/// The folder `Media`, and the names given so far.
#[derive(Debug)]
pub(crate) struct Folder<'a> {
    root: &'a Path,
    given: BTreeMap<(Kind, u32), u32>,
}

impl<'a> Folder<'a> {
    /// The media folder of the corpus at `root`.
    pub(crate) fn new(root: &'a Path) -> Self {
        Self {
            root,
            given: BTreeMap::new(),
        }
    }

    /// Writes about `total` bytes of media spread over the first `days` days, in order of days.
    pub(crate) fn fill(
        &mut self,
        r: &mut Random,
        total: u64,
        days: u32,
    ) -> Result<Vec<Medium>, CorpusError> {
        let mut plan = Vec::new();
        let mut planned = 0;
        while planned < total {
            let kind = Kind::draw(r);
            let left = usize::try_from(total - planned).unwrap_or(usize::MAX);
            let bytes = kind.draw_bytes(r).min(left.max(BYTES_MIN as usize));
            planned += bytes as u64;
            plan.push((
                r.below(u64::from(days)) as u32,
                kind,
                bytes,
                r.chance(FORWARDED),
            ));
        }
        plan.sort_unstable();
        let mut written: Vec<Medium> = Vec::with_capacity(plan.len());
        for (day, kind, bytes, forwarded) in plan {
            let earlier = if forwarded {
                r.pick(&written).cloned()
            } else {
                None
            };
            let medium = match earlier {
                Some(original) => self.forward(&original, day)?,
                None => self.take(r, kind, bytes, day)?,
            };
            written.push(medium);
        }
        Ok(written)
    }

    /// Writes `count` new files of one day, and one forwarded copy of each of the `originals`.
    pub(crate) fn fill_day(
        &mut self,
        r: &mut Random,
        day: u32,
        count: u32,
        originals: &[(Kind, String)],
    ) -> Result<Vec<Medium>, CorpusError> {
        let mut written = Vec::new();
        for _ in 0..count {
            let kind = Kind::draw(r);
            let bytes = kind.draw_bytes(r);
            written.push(self.take(r, kind, bytes, day)?);
        }
        for (kind, path) in originals {
            let bytes = fs::read(self.root.join(path)).map_err(at(&self.root.join(path)))?;
            let path = self.name(*kind, day, true);
            written.push(self.write(*kind, path, &bytes, day, true)?);
        }
        Ok(written)
    }

    /// A new file, made by this phone or sent to it.
    fn take(
        &mut self,
        r: &mut Random,
        kind: Kind,
        bytes: usize,
        day: u32,
    ) -> Result<Medium, CorpusError> {
        let sent = r.chance(0.25);
        let content = kind.render(&mut Random::new(r.word()), bytes);
        let path = self.name(kind, day, sent);
        self.write(kind, path, &content, day, false)
    }

    /// A byte-identical copy under another name.
    fn forward(&mut self, original: &Medium, day: u32) -> Result<Medium, CorpusError> {
        let from = self.root.join(&original.path);
        let bytes = fs::read(&from).map_err(at(&from))?;
        let path = self.name(original.kind, day, true);
        self.write(original.kind, path, &bytes, day, true)
    }

    fn name(&mut self, kind: Kind, day: u32, sent: bool) -> String {
        let number = self.given.entry((kind, day)).or_insert(0);
        let date = calendar::stamp(day);
        let month = date.get(..6).unwrap_or(&date);
        let (folder, prefix, extension) = match kind {
            Kind::Image => ("WhatsApp Images", "IMG", "jpg"),
            Kind::Video => ("WhatsApp Video", "VID", "mp4"),
            Kind::Voice => ("WhatsApp Voice Notes", "PTT", "opus"),
        };
        let below = match (kind, sent) {
            (Kind::Voice, _) => format!("{month}/"),
            (Kind::Image | Kind::Video, true) => "Sent/".to_owned(),
            (Kind::Image | Kind::Video, false) => String::new(),
        };
        let path = format!("Media/{folder}/{below}{prefix}-{date}-WA{number:04}.{extension}");
        *number += 1;
        path
    }

    fn write(
        &self,
        kind: Kind,
        path: String,
        content: &[u8],
        day: u32,
        forwarded: bool,
    ) -> Result<Medium, CorpusError> {
        let to: PathBuf = self.root.join(&path);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(at(parent))?;
        }
        fs::write(&to, content).map_err(at(&to))?;
        let millis = u64::try_from(calendar::start_ms(day)).unwrap_or_default();
        let when = UNIX_EPOCH + Duration::from_millis(millis);
        let file = fs::File::options()
            .append(true)
            .open(&to)
            .map_err(at(&to))?;
        file.set_modified(when).map_err(at(&to))?;
        let hash = blake3::hash(content)
            .to_hex()
            .as_str()
            .get(..44)
            .unwrap_or_default()
            .to_owned();
        Ok(Medium {
            kind,
            day,
            path,
            bytes: content.len() as u64,
            hash,
            forwarded,
        })
    }
}
