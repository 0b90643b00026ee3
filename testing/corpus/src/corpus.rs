//! Making a corpus, and letting days pass over it.

use std::fs;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, config::DbConfig, params};

use crate::calendar::{self, HISTORY_DAYS};
use crate::chats::{Chats, People};
use crate::error::{CorpusError, at};
use crate::media::{Folder, Kind};
use crate::random::Random;
use crate::schema;
use crate::words::Words;

/// Where the chat database stands in a corpus.
pub(crate) const CHATS_PATH: &str = "Databases/msgstore.db";
/// Where the contacts stand.
const CONTACTS_PATH: &str = "Databases/wa.db";

/// How large a corpus becomes, and which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Messages in the chat database.
    pub messages: u32,
    /// Bytes of media, about.
    pub media_bytes: u64,
    /// Equal seeds and sizes give equal rows and equal media.
    pub seed: u64,
}

impl Size {
    /// A store for a demonstration: made in about a second.
    pub const DEMO: Self = Self {
        messages: 20_000,
        media_bytes: 48 << 20,
        seed: 1,
    };
    /// The store on which engines are compared: 400,000 messages and 1.5 GiB of media.
    pub const BENCH: Self = Self {
        messages: 400_000,
        media_bytes: 1_536 << 20,
        seed: 1,
    };
}

/// What one more day of use brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    /// New messages; edits, deletions, receipts and reactions follow from their number.
    pub messages: u32,
    /// New media files.
    pub media_files: u32,
    /// Media that is forwarded: byte-identical copies of files already there, under new names.
    pub forwarded: u32,
    /// What is left behind when the day is over.
    pub wal: Wal,
}

impl Day {
    /// A usual day for a store that holds `messages`: one in a hundred is new, a dozen files
    /// come in, two are forwarded, and the app is still running at the end.
    #[must_use]
    pub fn of_use(messages: u64) -> Self {
        let messages = u32::try_from(messages / 100).unwrap_or(u32::MAX).max(20);
        Self {
            messages,
            media_files: 12,
            forwarded: 2,
            wal: Wal::Keep,
        }
    }
}

/// What becomes of the write-ahead log at the end of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wal {
    /// It stays, full of commits, as an app leaves it that is running or was killed.
    Keep,
    /// It is copied into the database and removed.
    Checkpoint,
}

/// What a corpus holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Messages in the chat database.
    pub messages: u64,
    /// Bytes of the chat database and its write-ahead log.
    pub database_bytes: u64,
    /// Media files.
    pub media_files: u64,
    /// Bytes of the media files.
    pub media_bytes: u64,
    /// How many days have passed since the first state.
    pub days: u32,
}

/// A generated chat store in a folder.
#[derive(Debug, Clone, Copy)]
pub struct Corpus;

impl Corpus {
    /// Makes a store in `root`, which must be empty or absent.
    ///
    /// # Errors
    /// When the folder holds something, or cannot be written.
    pub fn create(root: &Path, size: Size) -> Result<Report, CorpusError> {
        let databases = root.join("Databases");
        if fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(CorpusError::NotEmpty(root.to_owned()));
        }
        fs::create_dir_all(&databases).map_err(at(&databases))?;
        let mut r = Random::for_purpose("history", size.seed, 0);
        let media = Folder::new(root).fill(&mut r, size.media_bytes, HISTORY_DAYS)?;

        let words = Words::new();
        let db = Connection::open(root.join(CHATS_PATH))?;
        // Nothing else reads the file while it is made, and a crash would only mean to begin again.
        db.execute_batch(
            "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;
             PRAGMA cache_size = -65536;",
        )?;
        db.execute_batch(schema::CHATS)?;
        let people = People::of(size.messages);
        db.execute_batch("BEGIN IMMEDIATE")?;
        people.write(&db, &words, &mut r)?;
        db.execute(
            "INSERT INTO props VALUES('seed', ?1)",
            [format!("{:016x}", size.seed)],
        )?;
        db.execute("INSERT INTO props VALUES('day', '0')", [])?;
        db.execute_batch("COMMIT")?;
        Chats::new(&db, &words, people)?.pass_days(
            &mut r,
            size.messages,
            0,
            HISTORY_DAYS,
            &media,
        )?;
        checkpoint(&db)?;
        close(db)?;

        contacts(&root.join(CONTACTS_PATH), &words, people, &mut r)?;
        Self::report(root)
    }

    /// Makes the history in `root`, of a store without media, `times` as long: every row comes again, later and under
    /// a key of its own. Much faster than to make up as many messages.
    ///
    /// # Errors
    /// When `root` holds no store of ours, or cannot be written.
    pub fn repeat(root: &Path, times: u32) -> Result<Report, CorpusError> {
        let db = open(root)?;
        // As in `create`: a crash would only mean to begin again.
        db.execute_batch(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -2097152;",
        )?;
        let rows: i64 = db.query_row("SELECT max(_id) FROM message", [], |row| row.get(0))?;
        let span = calendar::start_ms(HISTORY_DAYS) - calendar::start_ms(0);
        for time in 1..i64::from(times) {
            // Other keys, as far apart as random ones; a K is in no key that was made up.
            let key = time.wrapping_mul(0x9_E377) & 0xF_FFFF;
            let sql = schema::AGAIN
                .replace("{rows}", &rows.to_string())
                .replace("{later}", &(time * rows).to_string())
                .replace("{span}", &(time * span).to_string())
                .replace(
                    "{key}",
                    &format!("substr(key_id, 1, 4) || 'K{key:05X}' || substr(key_id, 11)"),
                );
            db.execute_batch(&sql)?;
        }
        db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        close(db)?;
        Self::report(root)
    }

    /// Lets one day pass over the store in `root`: new messages, edits, deletions, receipts, reactions, new
    /// media and forwarded copies. Another process may read or write the store meanwhile.
    ///
    /// # Errors
    /// When `root` holds no store of ours, or cannot be written.
    pub fn next_day(root: &Path, day: Day) -> Result<Report, CorpusError> {
        let db = open(root)?;
        if day.wal == Wal::Keep {
            db.execute_batch("PRAGMA wal_autocheckpoint = 0")?;
            db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        }
        let (seed, passed) = props(root, &db)?;
        let today = HISTORY_DAYS + passed;
        let mut r = Random::for_purpose("day", seed, u64::from(passed));

        let originals = originals(&db, &mut r, day.forwarded)?;
        let media = Folder::new(root).fill_day(&mut r, today, day.media_files, &originals)?;
        let words = Words::new();
        let mut chats = Chats::new(&db, &words, People::read(&db)?)?;
        let (before, _) = chats.newest()?;
        chats.pass_days(&mut r, day.messages, today, 1, &media)?;
        chats.disturb(&mut r, before, day.messages)?;
        drop(chats);
        db.execute(
            "UPDATE props SET value = ?1 WHERE key = 'day'",
            [(passed + 1).to_string()],
        )?;
        if day.wal == Wal::Checkpoint {
            checkpoint(&db)?;
        }
        close(db)?;
        Self::report(root)
    }

    /// Says what the store in `root` holds.
    ///
    /// # Errors
    /// When `root` holds no store of ours, or cannot be read.
    pub fn report(root: &Path) -> Result<Report, CorpusError> {
        let log = root.join(format!("{CHATS_PATH}-wal"));
        let keep = fs::metadata(log).is_ok_and(|meta| meta.len() > 0);
        let db = open(root)?;
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep)?;
        let (_, days) = props(root, &db)?;
        let messages: u32 = db.query_row("SELECT count(*) FROM message", [], |row| row.get(0))?;
        close(db)?;
        let mut report = Report {
            messages: messages.into(),
            database_bytes: 0,
            media_files: 0,
            media_bytes: 0,
            days,
        };
        for suffix in ["", "-wal"] {
            let path = root.join(format!("{CHATS_PATH}{suffix}"));
            report.database_bytes += fs::metadata(&path).map_or(0, |meta| meta.len());
        }
        count(&root.join("Media"), &mut report)?;
        Ok(report)
    }
}

/// Opens the chat database of an existing corpus as its app would.
pub(crate) fn open(root: &Path) -> Result<Connection, CorpusError> {
    let path = root.join(CHATS_PATH);
    if !path.is_file() {
        return Err(CorpusError::NotACorpus(root.to_owned()));
    }
    let db = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    db.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 30000")?;
    Ok(db)
}

/// Copies the write-ahead log into the database and cuts it to nothing.
pub(crate) fn checkpoint(db: &Connection) -> Result<(), CorpusError> {
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(())
}

pub(crate) fn close(db: Connection) -> Result<(), CorpusError> {
    db.close().map_err(|(_, error)| error.into())
}

/// The seed of a corpus and how many days have passed.
fn props(root: &Path, db: &Connection) -> Result<(u64, u32), CorpusError> {
    let read = |key: &str| {
        db.query_row("SELECT value FROM props WHERE key = ?1", [key], |row| {
            row.get::<_, String>(0)
        })
        .map_err(|_| CorpusError::NotACorpus(root.to_owned()))
    };
    let wrong = |_| CorpusError::NotACorpus(root.to_owned());
    let seed = u64::from_str_radix(&read("seed")?, 16).map_err(wrong)?;
    let day = read("day")?.parse().map_err(wrong)?;
    Ok((seed, day))
}

/// Some media that is there already and will be forwarded.
fn originals(
    db: &Connection,
    r: &mut Random,
    count: u32,
) -> Result<Vec<(Kind, String)>, CorpusError> {
    let (lowest, highest): (i64, i64) = db.query_row(
        "SELECT coalesce(min(message_row_id), 0), coalesce(max(message_row_id), 0)
         FROM message_media",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let mut chosen = Vec::new();
    for _ in 0..count {
        let from = crate::chats::between(r, lowest, highest);
        let mut rows = db.prepare(
            "SELECT m.message_type, f.file_path FROM message_media f
             JOIN message m ON m._id = f.message_row_id
             WHERE f.message_row_id >= ?1 ORDER BY f.message_row_id LIMIT 1",
        )?;
        let found = rows.query_map(params![from], |row| Ok((row.get(0)?, row.get(1)?)))?;
        for row in found {
            let (number, path) = row?;
            chosen.extend(Kind::of_message_type(number).map(|kind| (kind, path)));
        }
    }
    Ok(chosen)
}

fn contacts(path: &Path, words: &Words, people: People, r: &mut Random) -> Result<(), CorpusError> {
    let db = Connection::open(path)?;
    db.execute_batch("PRAGMA page_size = 4096; PRAGMA journal_mode = DELETE")?;
    db.execute_batch(schema::CONTACTS)?;
    db.execute_batch("BEGIN IMMEDIATE")?;
    let mut contact = db.prepare(
        "INSERT INTO wa_contacts(jid, display_name, status, status_timestamp, photo)
         VALUES(?1, ?2, ?3, ?4, ?5)",
    )?;
    for n in 0..people.contacts {
        let photo = 800 + r.below(2_000) as usize;
        contact.execute(params![
            format!("4917{:09}.{n}@s.whatsapp.net", r.below(1_000_000_000)),
            words.title(r, 2),
            words.message(r),
            calendar::start_ms(r.below(u64::from(HISTORY_DAYS)) as u32),
            r.bytes(photo),
        ])?;
    }
    drop(contact);
    db.execute_batch("COMMIT")?;
    close(db)
}

fn count(folder: &Path, report: &mut Report) -> Result<(), CorpusError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(at(folder))?,
    };
    for entry in entries {
        let entry = entry.map_err(at(folder))?;
        let meta = entry.metadata().map_err(at(&entry.path()))?;
        if meta.is_dir() {
            count(&entry.path(), report)?;
        } else {
            report.media_files += 1;
            report.media_bytes += meta.len();
        }
    }
    Ok(())
}
