//! What a patch is, to the byte.
//!
//! ```text
//!   version u8 = 1 | varint tables | tables
//!   table:   bytes name | flags u8 | varint columns | varint key columns
//!            varint deletes | keys
//!            varint updates | key, bitmap of ceil(columns / 8) bytes, the values of its set bits
//!            varint inserts | key of a table with rowids, values of all columns
//!   key:     with rowids: the distance to the key before it in its list (zigzag varint; from 0)
//!            without: the values of the key columns
//!   flags:   bit 0: every row goes before the inserts come; bit 1: a table without rowids
//! ```
//!
//! Columns are those that are not generated, in the table's order; the bits of a bitmap begin with
//! the lowest. Within a table deletes are applied first, then updates, then inserts. A row whose
//! change touches a column that must be unique is deleted and inserted, so that two rows can change
//! places. Of a change that is cut into several patches, no insert comes before a delete of its table.

use super::value::{Reader, put_bytes, put_len, put_signed};

/// The longest patch. Both sides hold one in memory.
pub const PATCH_BYTES_MAX: usize = 16 << 20;

/// More than what stands in a table beside its name and its changes: flags, and six numbers.
const FRONT_BYTES: usize = 64;

pub(super) const VERSION: u8 = 1;
pub(super) const REPLACES_ALL: u8 = 1;
pub(super) const WITHOUT_ROWID: u8 = 2;

/// Bytes that are no patch, or no patch of this database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a patch of the database's rows makes no sense")]
pub struct PatchMalformed;

/// The changes of one table under way. Those that come when it holds as much as it may are counted and not kept.
#[derive(Debug, Default)]
pub(super) struct TableChanges {
    deletes: List,
    updates: List,
    inserts: List,
    bytes_max: usize,
    beyond: usize,
    /// The last change that is not kept.
    scratch: Vec<u8>,
}

#[derive(Debug, Default)]
struct List {
    count: usize,
    bytes: Vec<u8>,
    last: i64,
}

impl List {
    fn begin(&mut self, rowid: Option<i64>) {
        self.count = self.count.saturating_add(1);
        if let Some(rowid) = rowid {
            put_signed(&mut self.bytes, rowid.wrapping_sub(self.last));
            self.last = rowid;
        }
    }

    fn clear(&mut self) {
        self.count = 0;
        self.bytes.clear();
        self.last = 0;
    }
}

impl TableChanges {
    /// None yet. It keeps the one with which it comes to hold more than `bytes_max`, and none after that.
    pub(super) fn of_at_most(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            ..Self::default()
        }
    }

    /// Begins a delete; without rowids, the key's values go into what is returned.
    ///
    /// A row that is kept as an insert may need a value that is only free once another row is deleted, wherever that one
    /// stands. So where deletes have no room, no insert is kept: they come in a part after this one.
    pub(super) fn delete(&mut self, rowid: Option<i64>) -> &mut Vec<u8> {
        if self.len() > self.bytes_max {
            self.beyond = self.beyond.saturating_add(self.inserts.bytes.len());
            self.inserts.clear();
        }
        self.begin(|changes| &mut changes.deletes, rowid)
    }

    /// Begins an update: key values, bitmap and values go into what is returned.
    pub(super) fn update(&mut self, rowid: Option<i64>) -> &mut Vec<u8> {
        self.begin(|changes| &mut changes.updates, rowid)
    }

    /// Begins an insert: the values go into what is returned.
    pub(super) fn insert(&mut self, rowid: Option<i64>) -> &mut Vec<u8> {
        self.begin(|changes| &mut changes.inserts, rowid)
    }

    fn begin(&mut self, list: impl Fn(&mut Self) -> &mut List, rowid: Option<i64>) -> &mut Vec<u8> {
        if self.len() > self.bytes_max {
            self.beyond = self.beyond();
            self.scratch.clear();
            // What tells the row, at least.
            self.scratch.push(0);
            return &mut self.scratch;
        }
        let list = list(self);
        list.begin(rowid);
        &mut list.bytes
    }

    /// The bytes of changes that are not kept.
    pub(super) fn beyond(&self) -> usize {
        self.beyond.saturating_add(self.scratch.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.deletes.count == 0 && self.updates.count == 0 && self.inserts.count == 0
    }

    pub(super) fn len(&self) -> usize {
        let lists = [&self.deletes, &self.updates, &self.inserts];
        lists
            .iter()
            .fold(0, |sum, list| sum.saturating_add(list.bytes.len()))
    }

    pub(super) fn rows(&self) -> usize {
        let lists = [&self.deletes, &self.updates, &self.inserts];
        lists
            .iter()
            .fold(0, |sum, list| sum.saturating_add(list.count))
    }

    pub(super) fn put(&self, head: &Head<'_>, out: &mut Vec<u8>) {
        // It is large, and copied once.
        out.reserve_exact(
            self.len()
                .saturating_add(head.name.len())
                .saturating_add(FRONT_BYTES),
        );
        put_bytes(out, head.name);
        out.push(head.flags);
        put_len(out, head.columns);
        put_len(out, head.key_columns);
        for list in [&self.deletes, &self.updates, &self.inserts] {
            put_len(out, list.count);
            out.extend_from_slice(&list.bytes);
        }
    }
}

/// What a patch says of a table before its changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head<'a> {
    pub(super) name: &'a [u8],
    pub(super) flags: u8,
    pub(super) columns: usize,
    pub(super) key_columns: usize,
}

impl<'a> Head<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, PatchMalformed> {
        let name = reader.bytes()?;
        let flags = reader.u8()?;
        let small = |n: u64| usize::try_from(n).map_err(|_| PatchMalformed);
        let columns = small(reader.varint()?)?;
        let key_columns = small(reader.varint()?)?;
        if flags & !(REPLACES_ALL | WITHOUT_ROWID) != 0 {
            return Err(PatchMalformed);
        }
        Ok(Self {
            name,
            flags,
            columns,
            key_columns,
        })
    }
}
