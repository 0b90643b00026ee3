//! The tables of the two databases, in the likeness of the ones on an Android phone.

/// The chat database: write-ahead log, unique keys at random places, a full-text index, and one
/// table without row ids.
pub(crate) const CHATS: &str = "
CREATE TABLE jid(_id INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT NOT NULL, server TEXT NOT NULL,
  type INTEGER, raw_string TEXT);
CREATE UNIQUE INDEX jid_raw_string ON jid(raw_string);
CREATE TABLE chat(_id INTEGER PRIMARY KEY AUTOINCREMENT, jid_row_id INTEGER UNIQUE, subject TEXT,
  created_timestamp INTEGER, last_message_row_id INTEGER, sort_timestamp INTEGER, archived INTEGER,
  unseen_message_count INTEGER);
CREATE TABLE message(_id INTEGER PRIMARY KEY AUTOINCREMENT, chat_row_id INTEGER NOT NULL,
  from_me INTEGER NOT NULL, key_id TEXT NOT NULL, sender_jid_row_id INTEGER, status INTEGER,
  recipient_count INTEGER, timestamp INTEGER, received_timestamp INTEGER,
  receipt_server_timestamp INTEGER, message_type INTEGER, text_data TEXT, starred INTEGER,
  sort_id INTEGER NOT NULL DEFAULT 0, edited_timestamp INTEGER);
CREATE UNIQUE INDEX message_key ON message(chat_row_id, from_me, key_id, sender_jid_row_id);
CREATE INDEX message_chat ON message(chat_row_id, sort_id);
CREATE INDEX message_type_chat ON message(chat_row_id, message_type, sort_id);
CREATE INDEX message_sort ON message(sort_id);
CREATE INDEX message_starred ON message(starred) WHERE starred = 1;
CREATE TABLE message_media(message_row_id INTEGER PRIMARY KEY, chat_row_id INTEGER, file_path TEXT,
  file_size INTEGER, mime_type TEXT, media_key BLOB, width INTEGER, height INTEGER,
  enc_file_hash TEXT, file_hash TEXT, direct_path TEXT, media_duration INTEGER,
  forward_score INTEGER);
CREATE INDEX message_media_file_hash ON message_media(file_hash);
CREATE TABLE message_thumbnail(message_row_id INTEGER PRIMARY KEY, thumbnail BLOB);
CREATE TABLE message_quoted(message_row_id INTEGER PRIMARY KEY, chat_row_id INTEGER, key_id TEXT,
  text_data TEXT, timestamp INTEGER);
CREATE TABLE message_link(_id INTEGER PRIMARY KEY AUTOINCREMENT, chat_row_id INTEGER,
  message_row_id INTEGER, link_index INTEGER);
CREATE TABLE message_add_on(_id INTEGER PRIMARY KEY AUTOINCREMENT, chat_row_id INTEGER,
  from_me INTEGER, key_id TEXT, parent_message_row_id INTEGER, timestamp INTEGER, reaction TEXT);
CREATE INDEX message_add_on_parent ON message_add_on(parent_message_row_id);
CREATE TABLE receipt_user(_id INTEGER PRIMARY KEY AUTOINCREMENT, message_row_id INTEGER NOT NULL,
  receipt_user_jid_row_id INTEGER NOT NULL, receipt_timestamp INTEGER, read_timestamp INTEGER);
CREATE UNIQUE INDEX receipt_user_index
  ON receipt_user(message_row_id, receipt_user_jid_row_id);
CREATE TABLE group_participant(group_jid_row_id INTEGER, user_jid_row_id INTEGER, rank INTEGER,
  label TEXT, PRIMARY KEY(group_jid_row_id, user_jid_row_id)) WITHOUT ROWID;
CREATE TABLE props(key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE VIRTUAL TABLE message_ftsv2 USING fts4(content, fts_jid, tokenize=unicode61);
";

/// Tells the first `{rows}` messages again: `{later}` numbers and `{span}` milliseconds later, under other keys.
pub(crate) const AGAIN: &str = "
BEGIN IMMEDIATE;
INSERT INTO message SELECT _id + {later}, chat_row_id, from_me, {key}, sender_jid_row_id, status, recipient_count,
  timestamp + {span}, received_timestamp + {span}, receipt_server_timestamp, message_type, text_data, starred,
  sort_id + {later}, edited_timestamp FROM message WHERE _id <= {rows};
INSERT INTO message_ftsv2(docid, content, fts_jid) SELECT docid + {later}, content, fts_jid FROM message_ftsv2
  WHERE docid <= {rows};
INSERT INTO message_quoted SELECT message_row_id + {later}, chat_row_id, {key}, text_data, timestamp + {span}
  FROM message_quoted WHERE message_row_id <= {rows};
INSERT INTO message_link(chat_row_id, message_row_id, link_index) SELECT chat_row_id, message_row_id + {later},
  link_index FROM message_link WHERE message_row_id <= {rows};
INSERT INTO message_add_on(chat_row_id, from_me, key_id, parent_message_row_id, timestamp, reaction)
  SELECT chat_row_id, from_me, {key}, parent_message_row_id + {later}, timestamp + {span}, reaction
  FROM message_add_on WHERE parent_message_row_id <= {rows};
INSERT INTO receipt_user(message_row_id, receipt_user_jid_row_id, receipt_timestamp, read_timestamp)
  SELECT message_row_id + {later}, receipt_user_jid_row_id, receipt_timestamp + {span}, read_timestamp + {span}
  FROM receipt_user WHERE message_row_id <= {rows};
COMMIT;
";

/// The contacts: a small database that still uses a rollback journal.
pub(crate) const CONTACTS: &str = "
CREATE TABLE wa_contacts(_id INTEGER PRIMARY KEY AUTOINCREMENT, jid TEXT NOT NULL UNIQUE,
  display_name TEXT, status TEXT, status_timestamp INTEGER, photo BLOB);
CREATE INDEX wa_contacts_name ON wa_contacts(display_name);
";
