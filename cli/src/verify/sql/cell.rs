//! One value of a row, by what it is rather than by what its column was declared as.

use std::fmt;

use serde::{Deserialize, Serialize};
use sqlx::{Row as _, TypeInfo, ValueRef, postgres::PgRow, sqlite::SqliteRow};

/// A value of a column. Values of one kind are ordered as SQLite orders them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Cell {
    /// Absent.
    Null,
    /// A whole number.
    Integer(i64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// The values of a row, in the order of its table's columns.
pub(crate) type Row = Vec<Cell>;

impl Cell {
    /// A value's text form; the sink shows a zero character as `␀`, since not every database can hold one.
    #[expect(clippy::needless_pass_by_value, reason = "callers have ids, amounts and references alike")]
    pub(crate) fn text(value: impl ToString) -> Self {
        Self::Text(value.to_string().replace('\0', "\u{2400}"))
    }

    /// Text or nothing.
    pub(crate) fn maybe(value: Option<impl ToString>) -> Self {
        value.map_or(Self::Null, Self::text)
    }

    /// An unsigned number. One beyond 63 bits is shown as text, which no such column holds.
    pub(crate) fn unsigned(value: u64) -> Self {
        i64::try_from(value).map_or_else(|_| Self::text(value), Self::Integer)
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Integer(value) => value.fmt(f),
            Self::Text(value) => write!(f, "`{value}`"),
            Self::Bytes(value) => f.write_str(&hex::encode(value)),
        }
    }
}

/// Reads a row of SQLite's.
pub(super) fn read_sqlite(row: &SqliteRow) -> Result<Row, sqlx::Error> {
    (0..row.len()).map(|column| sqlite_cell(row, column)).collect()
}

fn sqlite_cell(row: &SqliteRow, column: usize) -> Result<Cell, sqlx::Error> {
    let raw = row.try_get_raw(column)?;
    if raw.is_null() {
        return Ok(Cell::Null);
    }
    match raw.type_info().name() {
        "INTEGER" => row.try_get_unchecked(column).map(Cell::Integer),
        "TEXT" => row.try_get_unchecked(column).map(Cell::Text),
        // A floating-point number is nothing this sink writes; its bytes differ from whatever is expected.
        "REAL" => {
            row.try_get_unchecked::<f64, _>(column).map(|value| Cell::Bytes(value.to_be_bytes().to_vec()))
        }
        _ => row.try_get_unchecked(column).map(Cell::Bytes),
    }
}

/// Reads a row of PostgreSQL's. A flag is 0 or 1, JSON its text.
pub(super) fn read_postgres(row: &PgRow) -> Result<Row, sqlx::Error> {
    (0..row.len()).map(|column| postgres_cell(row, column)).collect()
}

fn postgres_cell(row: &PgRow, column: usize) -> Result<Cell, sqlx::Error> {
    let raw = row.try_get_raw(column)?;
    if raw.is_null() {
        return Ok(Cell::Null);
    }
    match raw.type_info().name() {
        "INT8" => row.try_get_unchecked(column).map(Cell::Integer),
        "BOOL" => row.try_get_unchecked::<bool, _>(column).map(|flag| Cell::Integer(flag.into())),
        "TEXT" | "VARCHAR" | "JSON" => row.try_get_unchecked(column).map(Cell::Text),
        // Of any other type the bytes as they are: a column that was declared anew differs from whatever is expected.
        _ => raw
            .as_bytes()
            .map(|bytes| Cell::Bytes(bytes.to_vec()))
            .map_err(|source| sqlx::Error::ColumnDecode { index: column.to_string(), source }),
    }
}
