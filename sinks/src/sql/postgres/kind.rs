//! What columns hold, by the types that the database gives them, and what the server knows the types by
//! (`src/include/catalog/pg_type.dat` in PostgreSQL: these numbers never change).

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use sqlx::postgres::types::Oid;

use super::super::{error::SqlError, table::Table};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `BIGINT`.
    Integer,
    /// `BOOLEAN`.
    Flag,
    /// `NUMERIC`.
    Amount,
    /// `BYTEA`.
    Bytes,
    /// `TEXT`.
    Text,
    /// `JSON`.
    Json,
}

impl Kind {
    /// All of them.
    pub(super) const ALL: [Self; 6] =
        [Self::Integer, Self::Flag, Self::Amount, Self::Bytes, Self::Text, Self::Json];

    /// The type of one value.
    pub(super) const fn element(self) -> Oid {
        Oid(match self {
            Self::Integer => 20,
            Self::Flag => 16,
            Self::Amount => 1700,
            Self::Bytes => 17,
            Self::Text => 25,
            Self::Json => 114,
        })
    }

    /// The type of an array of them.
    pub(super) const fn array(self) -> Oid {
        Oid(match self {
            Self::Integer => 1016,
            Self::Flag => 1000,
            Self::Amount => 1231,
            Self::Bytes => 1001,
            Self::Text => 1009,
            Self::Json => 199,
        })
    }
}

/// The kinds of a table's columns, by the table's name.
type ByTable = BTreeMap<&'static str, Arc<[Kind]>>;

/// The kinds of the columns of each table that was written to. They are asked for once: no schema step changes a type.
#[derive(Debug, Clone, Default)]
pub(super) struct Kinds(Arc<Mutex<ByTable>>);

impl Kinds {
    /// Asks for the name and type of each column of a table, `$1`.
    pub(super) const QUERY: &'static str = "SELECT attname::text, atttypid::bigint FROM pg_attribute \
                                            WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped";

    /// Those of a table, if they are known.
    pub(super) fn of(&self, table: &Table) -> Option<Arc<[Kind]>> {
        self.0.lock().get(table.name).map(Arc::clone)
    }

    /// Takes the database's answer.
    pub(super) fn learn(
        &self,
        table: &Table,
        found: &BTreeMap<String, i64>,
    ) -> Result<Arc<[Kind]>, SqlError> {
        let kind = |column: &&'static str| {
            // A column that is named like a word of SQL is quoted in statements.
            let oid = found.get(column.trim_matches('"')).copied();
            let kind = Kind::ALL.into_iter().find(|kind| Some(i64::from(kind.element().0)) == oid);
            kind.ok_or_else(|| {
                SqlError::Schema(format!(
                    "{}.{column} is missing or of a type that this program does not write",
                    table.name
                ))
            })
        };
        let kinds: Arc<[Kind]> = table.columns.iter().map(kind).collect::<Result<_, _>>()?;
        self.0.lock().insert(table.name, Arc::clone(&kinds));
        Ok(kinds)
    }
}
