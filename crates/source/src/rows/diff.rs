//! The rows in which two copies of a database differ.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use rusqlite::limits::Limit;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, params_from_iter};

use super::patch::{PATCH_BYTES_MAX, TableChanges, VERSION};
use super::schema::{Derived, MAIN, Table, quote, schema, tables};
use super::setting::first_changed;
use super::value::{put, put_len, same};
use super::{Mounted, RowsError, Unfit};

const OLD: &str = "old";

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diffed {
    /// The patch. Empty if no row differs.
    pub patch: Vec<u8>,
    /// The tables that it changes.
    pub tables: Vec<TableRows>,
    /// What had no room in it: once it is applied, that is left to be found.
    pub beyond: Beyond,
}

/// Changes that had no room in a patch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beyond {
    /// Their bytes.
    pub bytes: usize,
    /// The tables that they are in.
    pub tables: BTreeSet<String>,
}

impl Beyond {
    fn add(&mut self, table: &Table, bytes: usize) {
        if bytes > 0 {
            self.bytes = self.bytes.saturating_add(bytes);
            self.tables.insert(table.name.clone());
        }
    }
}

/// What a patch does to a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRows {
    /// The table.
    pub name: String,
    /// Rows that are deleted, changed or inserted.
    pub rows: u64,
}

/// The longest row that is compared: each is held in memory several times over.
const ROW_BYTES_MAX: i32 = 4 << 20;
/// Threads that compare tables. Each has two connections, and a page cache in each.
const THREADS: usize = 2;

/// Finds what leads from `old` to `new`, or the part of it with which a patch comes to hold `bytes_max` bytes. With what
/// the part before it left, it looks for nothing else.
///
/// # Errors
/// [`Unfit`] if the database, or this change, does not go by rows.
pub fn diff(
    new: &Mounted,
    old: &Mounted,
    bytes_max: usize,
    left: Option<&Beyond>,
) -> Result<Diffed, RowsError> {
    let bytes_max = bytes_max.min(PATCH_BYTES_MAX);
    if schema(&new.reader()?)? != schema(&old.reader()?)? {
        return Err(Unfit::SchemaChanged.into());
    }
    if let Some(setting) = first_changed(new, old)? {
        return Err(Unfit::HeaderChanged(setting).into());
    }
    let connection = both(new, old)?;
    let (sequences, mut tables): (Vec<Table>, Vec<Table>) = tables(&connection)?
        .into_iter()
        .partition(|table| table.replaced);
    if let Some(left) = left {
        tables.retain(|table| left.tables.contains(&table.name));
    }
    let changes = compare(new, old, &tables, bytes_max)?;
    if left.is_none() {
        let changed = tables.iter().zip(&changes);
        changed
            .filter(|(_, changes)| !changes.is_empty() || changes.beyond() > 0)
            .try_for_each(|(table, _)| comes_back(&connection, table))?;
    }
    let mut beyond = Beyond::default();
    let mut patch = Vec::new();
    let mut touched = Vec::new();
    let mut put = |table: Table, changes: &TableChanges, patch: &mut Vec<u8>| {
        changes.put(&table.head(), patch);
        touched.push(TableRows {
            rows: u64::try_from(changes.rows()).unwrap_or(u64::MAX),
            name: table.name,
        });
    };
    for (table, changes) in tables.into_iter().zip(changes) {
        beyond.add(&table, changes.beyond());
        if changes.is_empty() {
            continue;
        }
        // Tables are compared side by side, and each may have filled a patch.
        if !patch.is_empty() && patch.len().saturating_add(changes.len()) > bytes_max {
            beyond.add(&table, changes.len());
            continue;
        }
        put(table, &changes, &mut patch);
    }
    if beyond.bytes == 0 {
        let is_touched = !patch.is_empty();
        for table in sequences {
            // Whether a sequence has moved is only known at the end, and inserting moves it.
            if is_touched || differs(&connection, &table)? {
                let changes = all(&connection, &table)?;
                put(table, &changes, &mut patch);
            }
        }
    }
    if !touched.is_empty() {
        let mut front = vec![VERSION];
        put_len(&mut front, touched.len());
        patch.splice(0..0, front);
    }
    if patch.len() > PATCH_BYTES_MAX {
        return Err(Unfit::TooLarge.into());
    }
    Ok(Diffed {
        patch,
        tables: touched,
        beyond,
    })
}

/// A connection to both copies.
fn both(new: &Mounted, old: &Mounted) -> Result<Connection, RowsError> {
    let connection = new.reader()?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, ROW_BYTES_MAX)?;
    // An attached database is reached through the file system of the first one.
    connection.execute(&format!("ATTACH ?1 AS {OLD}"), [old.name()])?;
    Ok(connection)
}

/// The changes of each table. Each thread keeps some `bytes_max` of them at most.
fn compare(
    new: &Mounted,
    old: &Mounted,
    tables: &[Table],
    bytes_max: usize,
) -> Result<Vec<TableChanges>, RowsError> {
    let found: Vec<OnceLock<TableChanges>> = tables.iter().map(|_| OnceLock::new()).collect();
    let (next, spent) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let some = || -> Result<(), RowsError> {
        let connection = both(new, old)?;
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let (Some(table), Some(found)) = (tables.get(at), found.get(at)) else {
                return Ok(());
            };
            let left = bytes_max.saturating_sub(spent.load(Ordering::Relaxed));
            let mut changes = TableChanges::of_at_most(left);
            if table.rowid.is_some() {
                by_rowid(&connection, table, &mut changes)?;
            } else {
                by_key(&connection, table, &mut changes)?;
            }
            spent.fetch_add(changes.len(), Ordering::Relaxed);
            // It is nobody else's table.
            let _ = found.set(changes);
        }
    };
    let work = || {
        // Where one fails, the other need not begin another table.
        some().inspect_err(|_| next.store(tables.len(), Ordering::Relaxed))
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        let done = threads.into_iter().map(|thread| {
            let done = thread.join();
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        done.fold(Ok(()), Result::and)
    })?;
    let found = found.into_iter().map(OnceLock::into_inner);
    Ok(found.map(Option::unwrap_or_default).collect())
}

/// BACKUP-1: a patch carries rows, and what is kept beside them is made of them where the patch is applied, perhaps by a later SQLite.
/// Where that may be something else than the source has, its own app would find the restored database corrupt.
fn comes_back(connection: &Connection, table: &Table) -> Result<(), RowsError> {
    match table.derived {
        Derived::Plain => Ok(()),
        Derived::Ordered => agrees(connection, table),
        Derived::Computed => Err(Unfit::Computed(table.name.clone()).into()),
    }
}

/// Whether the indexes of a table are ordered as SQLite would order them.
fn agrees(connection: &Connection, table: &Table) -> Result<(), RowsError> {
    let sql = format!("PRAGMA main.integrity_check({})", quote(&table.name));
    let told: rusqlite::Result<String> = connection.query_row(&sql, [], |row| row.get(0));
    match told {
        Ok(told) if told == "ok" => Ok(()),
        Ok(_) => Err(Unfit::OrderDiffers(table.name.clone()).into()),
        // It needs something of its app's. A patch that writes it is refused for that, with its name.
        Err(rusqlite::Error::SqliteFailure(failure, _))
            if failure.extended_code & 0xff == rusqlite::ffi::SQLITE_ERROR =>
        {
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// All values of a row from column `from` on, `count` of them.
fn values<'r>(
    row: &'r Row<'_>,
    from: usize,
    count: usize,
) -> impl Iterator<Item = Result<ValueRef<'r>, rusqlite::Error>> {
    (from..from.saturating_add(count)).map(move |at| row.get_ref(at))
}

fn put_all(out: &mut Vec<u8>, row: &Row<'_>, table: &Table) -> Result<(), RowsError> {
    let (from, rowid) = match table.rowid {
        Some(_) => (1, Some(row.get::<_, i64>(0)?)),
        None => (0, None),
    };
    for value in values(row, from, table.columns.len()) {
        put(out, value?, rowid);
    }
    Ok(())
}

fn put_key(out: &mut Vec<u8>, row: &Row<'_>, table: &Table) -> Result<(), RowsError> {
    for &column in &table.key {
        put(out, row.get_ref(column)?, None);
    }
    Ok(())
}

fn differs(connection: &Connection, table: &Table) -> Result<bool, RowsError> {
    let mut changes = TableChanges::of_at_most(0);
    by_rowid(connection, table, &mut changes)?;
    Ok(!changes.is_empty())
}

fn all(connection: &Connection, table: &Table) -> Result<TableChanges, RowsError> {
    let mut changes = TableChanges::of_at_most(usize::MAX);
    let mut statement = table.prepare(connection, &table.select(MAIN))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let rowid: i64 = row.get(0)?;
        put_all(changes.insert(Some(rowid)), row, table)?;
    }
    Ok(changes)
}

/// Both copies in the order of their rowids, met in one pass.
fn by_rowid(
    connection: &Connection,
    table: &Table,
    changes: &mut TableChanges,
) -> Result<(), RowsError> {
    let mut new = table.prepare(connection, &table.select(MAIN))?;
    let mut old = table.prepare(connection, &table.select(OLD))?;
    let (mut new, mut old) = (new.query([])?, old.query([])?);
    let (mut now, mut before) = (new.next()?, old.next()?);
    loop {
        let rowid_now: Option<i64> = now.map(|row| row.get(0)).transpose()?;
        let rowid_before: Option<i64> = before.map(|row| row.get(0)).transpose()?;
        match (now, before, rowid_now, rowid_before) {
            (Some(row), _, Some(at), was) if was.is_none_or(|was| at < was) => {
                put_all(changes.insert(Some(at)), row, table)?;
                now = new.next()?;
            }
            (_, Some(_), at, Some(was)) if at.is_none_or(|at| was < at) => {
                changes.delete(Some(was));
                before = old.next()?;
            }
            (Some(row), Some(was), Some(at), _) => {
                changed(table, row, was, Some(at), changes)?;
                now = new.next()?;
                before = old.next()?;
            }
            _ => return Ok(()),
        }
    }
}

/// A row that is in both: the columns that differ.
fn changed(
    table: &Table,
    now: &Row<'_>,
    before: &Row<'_>,
    rowid: Option<i64>,
    changes: &mut TableChanges,
) -> Result<(), RowsError> {
    let from = usize::from(rowid.is_some());
    let count = table.columns.len();
    let mut bitmap = vec![0_u8; count.div_ceil(8)];
    let (mut any, mut conflicts) = (false, false);
    let pairs = values(now, from, count).zip(values(before, from, count));
    for ((place, (now, before)), unique) in pairs.enumerate().zip(&table.unique) {
        if !same(now?, before?) {
            any = true;
            conflicts |= unique;
            set(&mut bitmap, place);
        }
    }
    if !any {
        return Ok(());
    }
    if conflicts {
        let out = changes.delete(rowid);
        if rowid.is_none() {
            put_key(out, before, table)?;
        }
        return put_all(changes.insert(rowid), now, table);
    }
    let out = changes.update(rowid);
    if rowid.is_none() {
        put_key(out, now, table)?;
    }
    out.extend_from_slice(&bitmap);
    for (place, value) in values(now, from, count).enumerate() {
        if is_set(&bitmap, place) {
            put(out, value?, rowid);
        }
    }
    Ok(())
}

/// Marks a column in a bitmap.
fn set(bitmap: &mut [u8], place: usize) {
    if let Some(byte) = bitmap.get_mut(place >> 3) {
        *byte |= 1_u8.wrapping_shl(u32::try_from(place & 7).unwrap_or(0));
    }
}

/// Whether a column is marked in a bitmap.
pub(super) fn is_set(bitmap: &[u8], place: usize) -> bool {
    let bit = 1_u8.wrapping_shl(u32::try_from(place & 7).unwrap_or(0));
    bitmap.get(place >> 3).is_some_and(|byte| byte & bit != 0)
}

/// Tables without rowids: each row looked up in the other copy by its key.
fn by_key(
    connection: &Connection,
    table: &Table,
    changes: &mut TableChanges,
) -> Result<(), RowsError> {
    let lookup = |database| table.prepare(connection, &table.lookup(database));
    let (mut in_old, mut in_new) = (lookup(OLD)?, lookup(MAIN)?);
    let mut rows = table.prepare(connection, &table.select(OLD))?;
    let mut rows = rows.query([])?;
    while let Some(before) = rows.next()? {
        if !in_new.exists(params_from_iter(key_of(before, table)?))? {
            put_key(changes.delete(None), before, table)?;
        }
    }
    let mut rows = table.prepare(connection, &table.select(MAIN))?;
    let mut rows = rows.query([])?;
    while let Some(now) = rows.next()? {
        let mut found = in_old.query(params_from_iter(key_of(now, table)?))?;
        match found.next()? {
            Some(before) => changed(table, now, before, None, changes)?,
            None => put_all(changes.insert(None), now, table)?,
        }
    }
    Ok(())
}

/// The key of a row as it is stored: its text may be no text.
fn key_of<'r>(row: &'r Row<'_>, table: &Table) -> Result<Vec<ToSqlOutput<'r>>, RowsError> {
    let key = table.key.iter().map(|&column| {
        let value = row.get_ref(column)?;
        Ok(ToSqlOutput::Borrowed(value))
    });
    key.collect()
}
