//! A statement and its arguments, put together piece by piece. Values only ever go in as numbered arguments (`$1`), which
//! SQLite and PostgreSQL both take; text of the statement only ever comes from the code.

use super::cell::Cell;

/// A statement with its arguments.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    sql: String,
    arguments: Vec<Cell>,
}

impl Query {
    /// Starts with this text.
    pub(crate) fn new(sql: &'static str) -> Self {
        Self { sql: sql.to_owned(), arguments: Vec::new() }
    }

    /// Adds text.
    pub(crate) fn sql(mut self, sql: &'static str) -> Self {
        self.sql.push_str(sql);
        self
    }

    /// Adds an argument.
    pub(crate) fn arg(mut self, value: impl Into<Cell>) -> Self {
        self.arguments.push(value.into());
        self.sql.push('$');
        self.sql.push_str(&self.arguments.len().to_string());
        self
    }

    /// Adds a value's text form as an argument.
    pub(crate) fn text(self, value: impl ToString) -> Self {
        self.arg(Cell::text(value))
    }

    /// Adds text and an argument if there is a value.
    pub(crate) fn when(self, sql: &'static str, value: Option<impl Into<Cell>>) -> Self {
        match value {
            Some(value) => self.sql(sql).arg(value),
            None => self,
        }
    }

    /// Asks for the plan instead of the rows.
    #[cfg(test)]
    pub(crate) fn explained(mut self) -> Self {
        self.sql.insert_str(0, "EXPLAIN QUERY PLAN ");
        self
    }

    /// Asks PostgreSQL for the plan instead of the rows.
    #[cfg(test)]
    pub(crate) fn planned(mut self) -> Self {
        self.sql.insert_str(0, "EXPLAIN ");
        self
    }

    /// The statement and its arguments.
    pub(crate) fn into_parts(self) -> (String, Vec<Cell>) {
        (self.sql, self.arguments)
    }
}
