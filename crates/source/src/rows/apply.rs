//! A patch onto a copy.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use rusqlite::{Connection, Statement, params_from_iter};

use super::diff::is_set;
use super::patch::{Head, PatchMalformed, VERSION};
use super::schema::{Table, quote, tables};
use super::value::{Reader, Value};
use super::{Mounted, RowsError};

/// Applies a patch. There is no way back, for which every page that it touches would be kept in memory: a copy on which
/// it fails is worth nothing, and gone.
///
/// # Errors
/// [`PatchMalformed`] if it is none, or none of this database; [`Unfit`] if a table cannot be written.
pub fn apply(copy: Mounted, patch: &[u8]) -> Result<Mounted, RowsError> {
    if patch.is_empty() {
        return Ok(copy);
    }
    let connection = copy.writer()?;
    let tables = tables(&connection)?;
    let transaction = connection.unchecked_transaction()?;
    let mut reader = Reader::new(patch);
    if reader.u8()? != VERSION {
        return Err(PatchMalformed.into());
    }
    for _ in 0..reader.count()? {
        let head = Head::read(&mut reader)?;
        let table = tables
            .iter()
            .find(|table| table.head() == head)
            .ok_or(PatchMalformed)?;
        apply_table(&transaction, table, &mut reader)?;
    }
    if !reader.is_at_end() {
        return Err(PatchMalformed.into());
    }
    transaction.commit()?;
    drop(connection);
    Ok(copy)
}

/// A rowid or the values of a key, as parameters.
fn key<'a>(
    table: &Table,
    reader: &mut Reader<'a>,
    last: &mut i64,
) -> Result<(Option<i64>, Vec<Value<'a>>), PatchMalformed> {
    if table.rowid.is_some() {
        *last = last.wrapping_add(reader.signed()?);
        return Ok((Some(*last), vec![Value::Integer(*last)]));
    }
    let values = table.key.iter().map(|_| reader.value(None));
    Ok((None, values.collect::<Result<_, _>>()?))
}

fn apply_table(
    connection: &Connection,
    table: &Table,
    reader: &mut Reader<'_>,
) -> Result<(), RowsError> {
    let name = format!("main.{}", quote(&table.name));
    if table.replaced {
        let sql = format!("DELETE FROM {name}");
        table.prepare(connection, &sql)?.execute([])?;
    }
    let deletes = reader.count()?;
    if deletes > 0 {
        let sql = format!("DELETE FROM {name} WHERE {}", table.is_key());
        let mut statement = table.prepare(connection, &sql)?;
        let mut last = 0;
        for _ in 0..deletes {
            let (_, key) = key(table, reader, &mut last)?;
            one(statement.execute(params_from_iter(key))?)?;
        }
    }
    updates(connection, table, &name, reader)?;
    let inserts = reader.count()?;
    if inserts > 0 {
        let columns: Vec<String> = table
            .rowid
            .iter()
            .map(|name| (*name).to_owned())
            .chain(table.columns.iter().map(|name| quote(name)))
            .collect();
        let places = vec!["?"; columns.len()].join(", ");
        let sql = format!(
            "INSERT INTO {name} ({}) VALUES ({places})",
            columns.join(", ")
        );
        let mut statement = table.prepare(connection, &sql)?;
        let mut last: i64 = 0;
        for _ in 0..inserts {
            let mut values = Vec::with_capacity(columns.len());
            let mut rowid = None;
            if table.rowid.is_some() {
                last = last.wrapping_add(reader.signed()?);
                rowid = Some(last);
                values.push(Value::Integer(last));
            }
            for _ in &table.columns {
                values.push(reader.value(rowid)?);
            }
            one(statement.execute(params_from_iter(values))?)?;
        }
    }
    Ok(())
}

fn updates(
    connection: &Connection,
    table: &Table,
    name: &str,
    reader: &mut Reader<'_>,
) -> Result<(), RowsError> {
    // One statement for each set of columns: a day changes few sets in many rows.
    let mut prepared: BTreeMap<&[u8], Statement<'_>> = BTreeMap::new();
    let mut last = 0;
    for _ in 0..reader.count()? {
        let (rowid, key) = key(table, reader, &mut last)?;
        let bitmap = reader.take(table.columns.len().div_ceil(8))?;
        let mut sets = Vec::new();
        let shift = key.len();
        let mut values = key;
        for (place, column) in table.columns.iter().enumerate() {
            if is_set(bitmap, place) {
                values.push(reader.value(rowid)?);
                let at = shift.saturating_add(sets.len()).saturating_add(1);
                sets.push(format!("{} = ?{at}", quote(column)));
            }
        }
        if sets.is_empty() {
            return Err(PatchMalformed.into());
        }
        let statement = match prepared.entry(bitmap) {
            Entry::Occupied(ready) => ready.into_mut(),
            Entry::Vacant(place) => {
                let sets = sets.join(", ");
                let sql = format!("UPDATE {name} SET {sets} WHERE {}", table.is_key());
                place.insert(table.prepare(connection, &sql)?)
            }
        };
        one(statement.execute(params_from_iter(values))?)?;
    }
    Ok(())
}

/// Each change is of exactly one row.
fn one(changed: usize) -> Result<(), PatchMalformed> {
    if changed == 1 {
        Ok(())
    } else {
        Err(PatchMalformed)
    }
}
