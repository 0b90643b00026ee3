//! One digest over all rows of a database.
//!
//! ```text
//!   "keyhaven rows 1"
//!   user version, application id, page size, vacuum mode     as values
//!   varint entries of the schema: type, name, table, text    as values, each
//!   for every table: text name | 1, rowid where there is one, values | … | 0
//! ```
//!
//! Values are those of patches, without the short form of the rowid. Tables come in the order of
//! their names, SQLite's own last; rows in the order of their keys.

use rusqlite::types::ValueRef;

use super::schema::{MAIN, numbers, schema, tables};
use super::value::{put, put_len};
use super::{Mounted, RowsError};

/// Bytes that are gathered before they are handed over.
const BATCH: usize = 64 * 1024;

/// Hands the canonical bytes of all rows to `hash`.
///
/// # Errors
/// [`Unfit`](super::Unfit) if the database does not go by rows.
pub fn digest(copy: &Mounted, hash: &mut dyn FnMut(&[u8])) -> Result<(), RowsError> {
    let connection = copy.reader()?;
    let mut out = b"keyhaven rows 1".to_vec();
    for number in numbers(&connection)? {
        put(&mut out, ValueRef::Integer(number), None);
    }
    let schema = schema(&connection)?;
    put_len(&mut out, schema.len());
    for part in schema.iter().flatten() {
        let value = part.as_ref().map(|text| ValueRef::Text(text.as_bytes()));
        put(&mut out, value.unwrap_or(ValueRef::Null), None);
    }
    for table in tables(&connection)? {
        put(&mut out, ValueRef::Text(table.name.as_bytes()), None);
        let count = usize::from(table.rowid.is_some())
            .saturating_add(table.columns.len())
            .saturating_add(table.stored.len());
        let mut statement = table.prepare(&connection, &table.select(MAIN))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            out.push(1);
            for at in 0..count {
                put(&mut out, row.get_ref(at)?, None);
            }
            if out.len() >= BATCH {
                hash(&out);
                out.clear();
            }
        }
        out.push(0);
    }
    hash(&out);
    Ok(())
}
