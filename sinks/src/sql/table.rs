//! The tables the sink writes: their columns in the order rows are built in, and what happens to a row whose key exists.
//! Rows of a table are one flat list of cells, so that each dialect can write a batch in the way that is fastest for it.

use super::cell::Cell;

/// A table as the writer sees it.
#[derive(Debug)]
pub(crate) struct Table {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its columns, in the order of a row's cells.
    pub(crate) columns: &'static [&'static str],
    /// What happens to a row whose key exists.
    pub(crate) existing: Existing,
}

/// What happens to a row whose key exists.
#[derive(Debug)]
pub(crate) enum Existing {
    /// It cannot be: the write fails.
    Refuse,
    /// It is the same fact again, since its id is a natural one: the first stays.
    Keep {
        /// The id's column.
        key: &'static str,
    },
    /// The row with the higher version wins.
    Newer {
        /// The key's columns.
        key: &'static [&'static str],
        /// The column that counts versions.
        version: &'static str,
        /// The columns that can be another in a newer row. Only these are set: an index of the others stays untouched.
        changes: &'static [&'static str],
    },
}

/// Rows to write to one table.
#[derive(Debug)]
pub(crate) struct Rows {
    /// The table.
    pub(crate) table: &'static Table,
    /// The rows' cells, row after row.
    pub(crate) cells: Vec<Cell>,
}

impl Rows {
    /// No rows yet.
    pub(crate) const fn of(table: &'static Table) -> Self {
        Self { table, cells: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn push<const N: usize>(&mut self, row: [Cell; N]) {
        debug_assert_eq!(N, self.table.columns.len(), "{}", self.table.name);
        self.cells.extend(row);
    }
}

impl Table {
    /// The clause that says what happens to a row whose key exists. The same text in SQLite and PostgreSQL.
    pub(crate) fn conflict_clause(&self) -> String {
        match &self.existing {
            Existing::Refuse => String::new(),
            Existing::Keep { key } => format!(" ON CONFLICT ({key}) DO NOTHING"),
            Existing::Newer { key, version, changes } => {
                let set: Vec<_> =
                    changes.iter().map(|column| format!("{column} = excluded.{column}")).collect();
                format!(
                    " ON CONFLICT ({}) DO UPDATE SET {} WHERE excluded.{version} > {}.{version}",
                    key.join(", "),
                    set.join(", "),
                    self.name
                )
            }
        }
    }
}
