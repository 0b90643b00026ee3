//! The tables of a database, as far as rows need them.

use rusqlite::{Connection, OptionalExtension as _, Statement};

use super::condition;
use super::patch::{Head, REPLACES_ALL, WITHOUT_ROWID};
use super::{RowsError, Unfit};

/// Which database of a connection is meant.
pub(super) const MAIN: &str = "main";

/// A table that is kept as rows. A virtual table is none: what it holds lies in tables of its own,
/// which are taken as the ordinary tables that they are, and its module is never asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    /// The name that reaches its rowid, unless it has none.
    pub(super) rowid: Option<&'static str>,
    /// Columns that are not generated.
    pub(super) columns: Vec<String>,
    /// Columns that are generated and stored: they come back by themselves and are only compared.
    pub(super) stored: Vec<String>,
    /// Without a rowid: which columns are its key.
    pub(super) key: Vec<usize>,
    /// Which columns must be unique, alone or together with others.
    pub(super) unique: Vec<bool>,
    pub(super) derived: Derived,
    /// Whether it is replaced as a whole.
    pub(super) replaced: bool,
}

/// What SQLite keeps of a table beside its rows, and makes anew where a patch is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Derived {
    /// Columns, in the order of their bytes.
    Plain,
    /// Columns, in an order by name, of which an app may have its own.
    Ordered,
    /// What functions and operators made of the columns.
    Computed,
}

impl Table {
    pub(super) fn head(&self) -> Head<'_> {
        let mut flags = 0;
        if self.replaced {
            flags |= REPLACES_ALL;
        }
        if self.rowid.is_none() {
            flags |= WITHOUT_ROWID;
        }
        Head {
            name: self.name.as_bytes(),
            flags,
            columns: self.columns.len(),
            key_columns: self.key.len(),
        }
    }

    /// All rows in the order of their keys: the rowid where there is one, then the columns, then
    /// what is generated and stored.
    pub(super) fn select(&self, database: &str) -> String {
        // Without an index, a table is read in the order of its own tree.
        let order = match self.rowid {
            Some(rowid) => format!("NOT INDEXED ORDER BY {rowid}"),
            None => "NOT INDEXED".to_owned(),
        };
        format!("{} {order}", self.read(database))
    }

    /// The row whose key is the first parameters.
    pub(super) fn lookup(&self, database: &str) -> String {
        format!("{} WHERE {}", self.read(database), self.is_key())
    }

    fn read(&self, database: &str) -> String {
        let names: Vec<String> = self
            .rowid
            .iter()
            .map(|name| (*name).to_owned())
            .chain(self.columns.iter().map(|name| quote(name)))
            .chain(self.stored.iter().map(|name| quote(name)))
            .collect();
        let from = format!("{}.{}", quote(database), quote(&self.name));
        format!("SELECT {} FROM {from}", names.join(", "))
    }

    /// Prepares a statement on this table. What the schema needs and SQLite here does not have is told by its name: no value is in
    /// it yet, so that what SQLite says quotes only the schema.
    pub(super) fn prepare<'c>(
        &self,
        connection: &'c Connection,
        sql: &str,
    ) -> Result<Statement<'c>, RowsError> {
        connection.prepare(sql).map_err(|error| {
            let cause = if let rusqlite::Error::SqlInputError { msg, .. } = &error {
                Some(msg)
            } else if let rusqlite::Error::SqliteFailure(failure, Some(msg)) = &error
                && failure.extended_code & 0xff == rusqlite::ffi::SQLITE_ERROR
            {
                Some(msg)
            } else {
                None
            };
            match cause {
                Some(cause) => Unfit::NeedsItsApp {
                    table: self.name.clone(),
                    cause: cause.clone(),
                }
                .into(),
                None => error.into(),
            }
        })
    }

    /// The condition that the key is the first parameters.
    pub(super) fn is_key(&self) -> String {
        match self.rowid {
            Some(rowid) => format!("{rowid} = ?1"),
            None => {
                let terms: Vec<String> = self
                    .key
                    .iter()
                    .zip(1..)
                    .filter_map(|(column, place)| {
                        let name = self.columns.get(*column)?;
                        Some(format!("{} = ?{place}", quote(name)))
                    })
                    .collect();
                terms.join(" AND ")
            }
        }
    }
}

/// A name as SQL spells it.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The tables of a database, in the order of their names; those of SQLite's own last, since
/// changing the others changes them.
pub(super) fn tables(connection: &Connection) -> Result<Vec<Table>, RowsError> {
    let encoding: String =
        connection.pragma_query_value(Some(MAIN), "encoding", |row| row.get(0))?;
    if encoding != "UTF-8" {
        return Err(Unfit::Encoding.into());
    }
    let mut names: Vec<String> = connection
        .prepare("SELECT name FROM main.sqlite_schema WHERE type = 'table' AND rootpage > 0")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    names.sort_by(|a, b| (is_internal(a), a).cmp(&(is_internal(b), b)));
    names
        .into_iter()
        .map(|name| table(connection, name))
        .collect()
}

fn is_internal(name: &str) -> bool {
    name.get(..7)
        .is_some_and(|head| head.eq_ignore_ascii_case("sqlite_"))
}

fn table(connection: &Connection, name: String) -> Result<Table, RowsError> {
    let replaced = name == "sqlite_sequence";
    if is_internal(&name) && !replaced && name != "sqlite_stat1" && name != "sqlite_stat4" {
        return Err(Unfit::Internal(name).into());
    }
    let mut columns = Vec::new();
    let mut stored = Vec::new();
    let mut all = Vec::new();
    let mut statement =
        connection.prepare("SELECT name, hidden FROM pragma_table_xinfo(?1, 'main')")?;
    let mut rows = statement.query([&name])?;
    while let Some(row) = rows.next()? {
        let (column, hidden): (String, i64) = (row.get(0)?, row.get(1)?);
        all.push(column.clone());
        match hidden {
            0 => columns.push(column),
            3 => stored.push(column),
            _ => {}
        }
    }
    // A table without rowids is an index over its key, and SQLite describes it as one.
    let key: Vec<String> = connection
        .prepare("SELECT name FROM pragma_index_info(?1, 'main') ORDER BY seqno")?
        .query_map([&name], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let key: Option<Vec<usize>> = key
        .iter()
        .map(|part| columns.iter().position(|column| column == part))
        .collect();
    let Some(key) = key else {
        return Err(Unfit::HiddenRowid(name).into());
    };
    let rowid = if key.is_empty() {
        let free = ["rowid", "_rowid_", "oid"]
            .into_iter()
            .find(|alias| !all.iter().any(|column| column.eq_ignore_ascii_case(alias)));
        Some(free.ok_or_else(|| Unfit::HiddenRowid(name.clone()))?)
    } else {
        None
    };
    let unique = unique(connection, &name, &columns)?;
    let derived = if stored.is_empty() {
        derived(connection, &name, &columns)?
    } else {
        Derived::Computed
    };
    Ok(Table {
        name,
        rowid,
        columns,
        stored,
        key,
        unique,
        derived,
        replaced,
    })
}

/// What the indexes of a table hold.
fn derived(connection: &Connection, table: &str, columns: &[String]) -> Result<Derived, RowsError> {
    let conditions: Vec<Option<String>> = connection
        .prepare(
            "SELECT made.sql FROM pragma_index_list(?1, 'main') AS list
             JOIN main.sqlite_schema AS made ON made.type = 'index' AND made.name = list.name
             WHERE list.partial",
        )?
        .query_map([table], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let parts: Vec<(Option<String>, String)> = connection
        .prepare(
            "SELECT part.name, part.coll
             FROM pragma_index_list(?1, 'main') AS list, pragma_index_xinfo(list.name, 'main') AS part
             WHERE part.key",
        )?
        .query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let is_column =
        |name: &Option<String>| name.as_ref().is_some_and(|name| columns.contains(name));
    if !parts.iter().all(|(name, _)| is_column(name))
        || !conditions
            .iter()
            .flatten()
            .all(|sql| condition::is_plain(sql))
    {
        return Ok(Derived::Computed);
    }
    let is_ordered = |collation: &String| !collation.eq_ignore_ascii_case("BINARY");
    if parts.iter().any(|(_, collation)| is_ordered(collation)) {
        Ok(Derived::Ordered)
    } else {
        Ok(Derived::Plain)
    }
}

fn unique(
    connection: &Connection,
    table: &str,
    columns: &[String],
) -> Result<Vec<bool>, RowsError> {
    let mut unique = vec![false; columns.len()];
    let indexes: Vec<(String, bool)> = connection
        .prepare("SELECT name, partial FROM pragma_index_list(?1, 'main') WHERE \"unique\" = 1")?
        .query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (index, partial) in indexes {
        let parts: Vec<Option<String>> = connection
            .prepare("SELECT name FROM pragma_index_info(?1, 'main')")?
            .query_map([&index], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        // What an expression or a condition depends on is not said: it may be any column. A
        // generated column may depend on any, too.
        let named: Option<Vec<usize>> = parts
            .iter()
            .map(|part| {
                columns
                    .iter()
                    .position(|column| Some(column) == part.as_ref())
            })
            .collect();
        match named {
            Some(named) if !partial => {
                for column in named {
                    if let Some(slot) = unique.get_mut(column) {
                        *slot = true;
                    }
                }
            }
            Some(_) | None => unique.fill(true),
        }
    }
    Ok(unique)
}

/// Type, name, table and text of everything in the schema, in its order.
pub(super) fn schema(connection: &Connection) -> Result<Vec<[Option<String>; 4]>, RowsError> {
    Ok(connection
        .prepare("SELECT type, name, tbl_name, sql FROM main.sqlite_schema ORDER BY rowid")?
        .query_map([], |row| {
            Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?])
        })?
        .collect::<Result<_, _>>()?)
}

/// The numbers in the header that the digest of all rows begins with.
pub(super) fn numbers(connection: &Connection) -> Result<[i64; 4], RowsError> {
    let number = |name| -> Result<i64, RowsError> {
        Ok(connection
            .pragma_query_value(Some(MAIN), name, |row| row.get(0))
            .optional()?
            .unwrap_or(0))
    };
    Ok([
        number("user_version")?,
        number("application_id")?,
        number("page_size")?,
        number("auto_vacuum")?,
    ])
}
