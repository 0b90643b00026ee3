//! What happens in the chats: messages arrive, are read, edited, starred and deleted.

use rusqlite::{Connection, Statement, params};

use crate::calendar::{self, DAY_MS};
use crate::error::CorpusError;
use crate::media::{Kind, Medium};
use crate::random::Random;
use crate::words::Words;

/// Messages committed together while history is made.
const BATCH: u32 = 5_000;
const FACES: [&str; 3] = ["😂", "❤️", "👍"];

/// How many people and groups the owner of the phone knows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct People {
    pub(crate) contacts: u64,
    pub(crate) groups: u64,
}

impl People {
    /// As many as fit a history of `messages`.
    pub(crate) fn of(messages: u32) -> Self {
        Self {
            contacts: u64::from(messages / 1_000).clamp(12, 380),
            groups: u64::from(messages / 6_000).clamp(3, 70),
        }
    }

    /// Who is in an existing database.
    pub(crate) fn read(db: &Connection) -> Result<Self, CorpusError> {
        let count = |server: &str| {
            db.query_row(
                "SELECT count(*) FROM jid WHERE server = ?1",
                [server],
                |row| row.get::<_, u32>(0),
            )
        };
        Ok(Self {
            contacts: count("s.whatsapp.net")?.into(),
            groups: count("g.us")?.into(),
        })
    }

    /// Writes them into an empty database.
    pub(crate) fn write(
        self,
        db: &Connection,
        words: &Words,
        r: &mut Random,
    ) -> Result<(), CorpusError> {
        let mut jid =
            db.prepare("INSERT INTO jid(user, server, type, raw_string) VALUES(?1, ?2, ?3, ?4)")?;
        let mut chat = db.prepare(
            "INSERT INTO chat(jid_row_id, subject, created_timestamp, archived,
             unseen_message_count) VALUES(?1, ?2, ?3, 0, 0)",
        )?;
        let mut member =
            db.prepare("INSERT OR IGNORE INTO group_participant VALUES(?1, ?2, ?3, ?4)")?;
        for n in 0..self.contacts + self.groups {
            let is_group = n >= self.contacts;
            let mut user = format!("4917{:09}", r.below(1_000_000_000));
            if is_group {
                user.push_str(&format!("-{}", 1_500_000_000 + n));
            }
            let server = if is_group { "g.us" } else { "s.whatsapp.net" };
            jid.execute(params![
                user,
                server,
                is_group,
                format!("{user}.{n}@{server}")
            ])?;
            let row = db.last_insert_rowid();
            let subject = is_group.then(|| words.title(r, 3));
            chat.execute(params![row, subject, calendar::start_ms(0)])?;
            if is_group {
                for _ in 0..3 + r.below(20) {
                    let who = 1 + r.below(self.contacts) as i64;
                    member.execute(params![row, who, r.below(3) as i64, words.word(r)])?;
                }
            }
        }
        Ok(())
    }
}

/// An open chat database with its statements at hand.
pub(crate) struct Chats<'c> {
    db: &'c Connection,
    words: &'c Words,
    people: People,
    /// Chats by liveliness, and the sums of it.
    order: Vec<(f64, i64)>,
    message: Statement<'c>,
    index: Statement<'c>,
    media: Statement<'c>,
    thumbnail: Statement<'c>,
    quoted: Statement<'c>,
    link: Statement<'c>,
    receipt: Statement<'c>,
    reaction: Statement<'c>,
    newest: Statement<'c>,
}

impl<'c> Chats<'c> {
    /// Prepares the statements.
    pub(crate) fn new(
        db: &'c Connection,
        words: &'c Words,
        people: People,
    ) -> Result<Self, CorpusError> {
        let mut r = Random::new(3);
        let mut order: Vec<(u64, i64)> = (1..)
            .take((people.contacts + people.groups) as usize)
            .map(|n| (r.word(), n))
            .collect();
        order.sort_unstable();
        let mut sum = 0.0;
        let order = order
            .into_iter()
            .enumerate()
            .map(|(rank, (_, chat))| {
                sum += 1.0 / (rank as f64 + 1.5).powf(1.1);
                (sum, chat)
            })
            .collect();
        Ok(Self {
            db,
            words,
            people,
            order,
            message: db.prepare(
                "INSERT INTO message(chat_row_id, from_me, key_id, sender_jid_row_id, status,
                 recipient_count, timestamp, received_timestamp, receipt_server_timestamp,
                 message_type, text_data, starred, sort_id)
                 VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12,
                 (SELECT coalesce(max(_id), 0) + 1 FROM message))",
            )?,
            index: db
                .prepare("INSERT INTO message_ftsv2(docid, content, fts_jid) VALUES(?1, ?2, ?3)")?,
            media: db.prepare(
                "INSERT INTO message_media VALUES(?1, ?2, ?3, ?4, ?5, ?6, 1600, 1200, ?7, ?8, ?9,
                 ?10, ?11)",
            )?,
            thumbnail: db.prepare("INSERT INTO message_thumbnail VALUES(?1, ?2)")?,
            quoted: db.prepare("INSERT INTO message_quoted VALUES(?1, ?2, ?3, ?4, ?5)")?,
            link: db.prepare(
                "INSERT INTO message_link(chat_row_id, message_row_id, link_index)
                 VALUES(?1, ?2, 0)",
            )?,
            receipt: db.prepare(
                "INSERT OR IGNORE INTO receipt_user(message_row_id, receipt_user_jid_row_id,
                 receipt_timestamp, read_timestamp) VALUES(?1, ?2, ?3, ?4)",
            )?,
            reaction: db.prepare(
                "INSERT INTO message_add_on(chat_row_id, from_me, key_id, parent_message_row_id,
                 timestamp, reaction) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
            )?,
            newest: db.prepare(
                "UPDATE chat SET last_message_row_id = ?2, sort_timestamp = ?3 WHERE _id = ?1",
            )?,
        })
    }

    /// The newest row id of the message table, and its time.
    pub(crate) fn newest(&self) -> Result<(i64, i64), CorpusError> {
        Ok(self.db.query_row(
            "SELECT coalesce(max(_id), 0), coalesce(max(timestamp), 0) FROM message
             WHERE _id = (SELECT max(_id) FROM message)",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?)
    }

    /// Adds `count` messages spread over `days`, in the order of time, and attaches the media.
    pub(crate) fn pass_days(
        &mut self,
        r: &mut Random,
        count: u32,
        first_day: u32,
        days: u32,
        media: &[Medium],
    ) -> Result<(), CorpusError> {
        let start = calendar::start_ms(first_day);
        let step = f64::from(days) * DAY_MS as f64 / f64::from(count.max(1));
        let mut media = media.iter().peekable();
        let mut sent = 0;
        while sent < count || media.peek().is_some() {
            self.db.execute_batch("BEGIN IMMEDIATE")?;
            for _ in 0..BATCH {
                let messages_left = count.saturating_sub(sent) as usize;
                if messages_left == 0 && media.peek().is_none() {
                    break;
                }
                let time = start + ((f64::from(sent) + r.unit()) * step) as i64;
                let day = first_day + ((time - start) / DAY_MS) as u32;
                let due = media.next_if(|m| m.day <= day || media_must_go(messages_left));
                self.say(r, time, due)?;
                sent += 1;
            }
            self.db.execute_batch("COMMIT")?;
        }
        Ok(())
    }

    /// One message with all that hangs on it. Returns its row id.
    pub(crate) fn say(
        &mut self,
        r: &mut Random,
        time: i64,
        medium: Option<&Medium>,
    ) -> Result<i64, CorpusError> {
        let chat = self.some_chat(r);
        let in_group = chat as u64 > self.people.contacts;
        let mine = r.chance(0.42);
        let sender = if mine || !in_group {
            0
        } else {
            self.someone(r)
        };
        let text = (medium.is_none() || r.chance(0.15)).then(|| self.words.message(r));
        let kind = medium.map_or(0, |m| m.kind.message_type());
        self.message.execute(params![
            chat,
            mine,
            r.message_key(mine),
            sender,
            if mine { 13 } else { 0 },
            if in_group { 24 } else { 0 },
            time,
            time + r.below(900) as i64,
            if mine { time + 300 } else { -1 },
            kind,
            text,
            r.chance(0.002),
        ])?;
        let row = self.db.last_insert_rowid();
        if let Some(medium) = medium {
            self.attach(r, row, chat, medium)?;
        }
        if let Some(text) = &text {
            self.index.execute(params![row, text, format!("j{chat}")])?;
            if text.contains("https://") {
                self.link.execute(params![chat, row])?;
            }
            if r.chance(0.09) {
                let earlier = time - r.below(10_000_000) as i64;
                let quoted = self.words.message(r);
                self.quoted
                    .execute(params![row, chat, r.message_key(false), quoted, earlier])?;
            }
        }
        if mine {
            let readers = if in_group { 1 + r.below(8) } else { 1 };
            for n in 0..readers as i64 {
                let reader = if in_group { self.someone(r) } else { chat };
                let read = time + r.below(1_000_000) as i64;
                self.receipt
                    .execute(params![row, reader, time + 900 + n, read])?;
            }
        }
        if r.chance(0.06) {
            let face = r.pick(&FACES).copied();
            self.reaction.execute(params![
                chat,
                !mine,
                r.message_key(false),
                row,
                time + 5_000,
                face
            ])?;
        }
        self.newest.execute(params![chat, row, time])?;
        Ok(row)
    }

    fn attach(
        &mut self,
        r: &mut Random,
        row: i64,
        chat: i64,
        medium: &Medium,
    ) -> Result<(), CorpusError> {
        let place = format!(
            "/v/t62.7118-24/{}_{}_n.enc?ccb=11-4&oh={:016x}{:016x}",
            r.below(1 << 30),
            r.below(1 << 50),
            r.word(),
            r.word()
        );
        self.media.execute(params![
            row,
            chat,
            medium.path,
            medium.bytes as i64,
            medium.kind.mime(),
            r.bytes(32),
            format!("{:016x}{:016x}{:012x}", r.word(), r.word(), r.word() >> 16),
            medium.hash,
            place,
            r.below(120) as i64,
            if medium.forwarded { 127 } else { 0 },
        ])?;
        if medium.kind != Kind::Voice {
            let mut thumbnail = vec![0xff, 0xd8, 0xff, 0xe0];
            let bytes = 500 + r.below(3_500) as usize;
            thumbnail.extend(r.bytes(bytes));
            self.thumbnail.execute(params![row, thumbnail])?;
        }
        Ok(())
    }

    /// What a day with `fresh` new messages does to the rows that were there before.
    pub(crate) fn disturb(
        &mut self,
        r: &mut Random,
        newest: i64,
        fresh: u32,
    ) -> Result<(), CorpusError> {
        let recent = f64::from(fresh) * 2.0;
        let oldest = (newest - 20 * i64::from(fresh)).max(1);
        self.db.execute_batch("BEGIN IMMEDIATE")?;
        for _ in 0..fresh / 2 {
            self.read_receipt(newest - r.exponential(recent) as i64)?;
        }
        for _ in 0..fresh / 4 {
            self.delivered(newest - r.exponential(recent / 2.0) as i64)?;
        }
        for _ in 0..(fresh / 100).max(1) {
            let message = between(r, oldest, newest);
            self.edit(r, message)?;
            self.star(between(r, 1, newest))?;
        }
        for _ in 0..(fresh / 50).max(1) {
            let from = if r.chance(0.3) { 1 } else { oldest };
            self.delete(between(r, from, newest))?;
        }
        self.db.execute_batch("COMMIT")?;
        Ok(())
    }

    pub(crate) fn read_receipt(&self, message: i64) -> Result<(), CorpusError> {
        self.db.execute(
            "UPDATE receipt_user SET read_timestamp = coalesce(read_timestamp, 0) + 1
             WHERE message_row_id = ?1",
            [message],
        )?;
        Ok(())
    }

    fn delivered(&self, message: i64) -> Result<(), CorpusError> {
        self.db.execute(
            "UPDATE message SET status = 13 - (status = 13) WHERE _id = ?1 AND from_me = 1",
            [message],
        )?;
        Ok(())
    }

    pub(crate) fn edit(&self, r: &mut Random, message: i64) -> Result<(), CorpusError> {
        let text = self.words.message(r);
        let edited = self.db.execute(
            "UPDATE message SET text_data = ?2, edited_timestamp = timestamp + 60000
             WHERE _id = ?1 AND message_type = 0",
            params![message, text],
        )?;
        if edited > 0 {
            self.db.execute(
                "UPDATE message_ftsv2 SET content = ?2 WHERE docid = ?1",
                params![message, text],
            )?;
        }
        Ok(())
    }

    fn star(&self, message: i64) -> Result<(), CorpusError> {
        self.db
            .execute("UPDATE message SET starred = 1 WHERE _id = ?1", [message])?;
        Ok(())
    }

    pub(crate) fn delete(&self, message: i64) -> Result<(), CorpusError> {
        for sql in [
            "DELETE FROM message WHERE _id = ?1",
            "DELETE FROM message_thumbnail WHERE message_row_id = ?1",
            "DELETE FROM message_quoted WHERE message_row_id = ?1",
            "DELETE FROM receipt_user WHERE message_row_id = ?1",
            "DELETE FROM message_ftsv2 WHERE docid = ?1",
        ] {
            self.db.execute(sql, [message])?;
        }
        Ok(())
    }

    fn some_chat(&self, r: &mut Random) -> i64 {
        let total = self.order.last().map_or(0.0, |(sum, _)| *sum);
        let at = r.unit() * total;
        let rank = self.order.partition_point(|(sum, _)| *sum < at);
        self.order.get(rank).map_or(1, |(_, chat)| *chat)
    }

    fn someone(&self, r: &mut Random) -> i64 {
        1 + r.below(self.people.contacts) as i64
    }
}

/// When the messages are used up, every medium still gets one.
fn media_must_go(messages_left: usize) -> bool {
    messages_left == 0
}

/// A row id from `low` to `high`.
pub(crate) fn between(r: &mut Random, low: i64, high: i64) -> i64 {
    low + r.below((high - low + 1).max(1) as u64) as i64
}
