//! The tables that are compared: their columns, key first, and how two runs of rows are compared.

use super::cell::{Cell, Row};
use crate::verify::report::Difference;

/// A table as `verify` reads it.
#[derive(Debug)]
pub(super) struct Table {
    /// Its name.
    pub(super) name: &'static str,
    /// Its columns; those of the key come first.
    pub(super) columns: &'static [&'static str],
    /// How many columns the key has.
    pub(super) key: usize,
}

pub(super) static TRANSACTIONS: Table = Table {
    name: "ledger_transactions",
    columns: &[
        "position",
        "id",
        "merchant",
        "livemode",
        "sequence",
        "template",
        "template_version",
        "payment",
        "refund",
        "event",
        "reverses",
        "occurred_at",
        "previous_hash",
        "hash",
    ],
    key: 1,
};

pub(super) static ENTRIES: Table = Table {
    name: "ledger_entries",
    columns: &["position", "line", "account", "asset", "amount", "balance", "version"],
    key: 2,
};

pub(super) static EVENTS: Table = Table {
    name: "payment_events",
    columns: &[
        "position",
        "id",
        "event_type",
        "payment",
        "merchant",
        "livemode",
        "refund",
        "occurred_at",
        "moment",
    ],
    key: 1,
};

pub(super) static PAYMENTS: Table = Table {
    name: "payments",
    columns: &[
        "id",
        "merchant",
        "livemode",
        "version",
        "status",
        "method",
        "asset",
        "scale",
        "amount",
        "amount_received",
        "amount_confirmed",
        "amount_refunded",
        "fee",
        "reference_id",
        "created_at",
        "expires_at",
        "completed_at",
        "snapshot",
    ],
    key: 1,
};

pub(super) static REFUNDS: Table = Table {
    name: "refunds",
    columns: &[
        "id",
        "payment",
        "merchant",
        "livemode",
        "asset",
        "scale",
        "amount",
        "destination",
        "reference",
        "reason",
        "created_at",
        "position",
    ],
    key: 1,
};

pub(super) static BALANCES: Table = Table {
    name: "balances",
    columns: &["account", "asset", "livemode", "merchant", "name", "balance", "version"],
    key: 2,
};

pub(super) static SOURCES: Table =
    Table { name: "sink_sources", columns: &["topic", "partition", "task", "seq", "chain"], key: 3 };

/// Columns that are amounts.
const AMOUNTS: [&str; 6] =
    ["amount", "balance", "amount_received", "amount_confirmed", "amount_refunded", "fee"];

impl Table {
    /// `SELECT` and the columns `FROM` this table: amounts as text, which is what they are in SQLite and exact in PostgreSQL.
    pub(super) fn select(&self) -> String {
        let column = |name: &&str| match *name {
            amount if AMOUNTS.contains(&amount) => format!("CAST({amount} AS TEXT)"),
            other => other.to_owned(),
        };
        let columns: Vec<_> = self.columns.iter().map(column).collect();
        format!("SELECT {} FROM {}", columns.join(", "), self.name)
    }

    /// The key's columns.
    pub(super) fn key_columns(&self) -> String {
        self.columns.get(..self.key).unwrap_or_default().join(", ")
    }

    /// A row's key.
    pub(super) fn key_of<'r>(&self, row: &'r Row) -> &'r [Cell] {
        row.get(..self.key).unwrap_or(row)
    }

    /// The first difference of two runs of rows, both in the order of the key; with the row's key.
    pub(super) fn first_difference(&self, expected: &[Row], found: &[Row]) -> Option<(Difference, Row)> {
        let same = expected.iter().zip(found).take_while(|(expected, found)| expected == found).count();
        match (expected.get(same), found.get(same)) {
            (None, None) => None,
            (Some(expected), None) => Some(self.missing(expected)),
            (None, Some(found)) => Some(self.extra(found)),
            (Some(expected), Some(found)) => match self.key_of(expected).cmp(self.key_of(found)) {
                std::cmp::Ordering::Less => Some(self.missing(expected)),
                std::cmp::Ordering::Greater => Some(self.extra(found)),
                std::cmp::Ordering::Equal => Some(self.changed(expected, found)),
            },
        }
    }

    /// A row that is not there.
    pub(super) fn missing(&self, expected: &Row) -> (Difference, Row) {
        let what = format!("a row of {} in SQL is missing: {}", self.name, self.name_of(expected));
        (Difference::new(what, self.show(expected), "no such row"), self.key_of(expected).to_vec())
    }

    /// A row that should not be there.
    pub(super) fn extra(&self, found: &Row) -> (Difference, Row) {
        let what = format!("a row of {} in SQL comes from no record: {}", self.name, self.name_of(found));
        (Difference::new(what, "no such row", self.show(found)), self.key_of(found).to_vec())
    }

    /// A row of which a value is another.
    pub(super) fn changed(&self, expected: &Row, found: &Row) -> (Difference, Row) {
        let pairs = self.columns.iter().zip(expected.iter().zip(found));
        let other = pairs.into_iter().find(|(_, (expected, found))| expected != found);
        let (column, expected_text, found_text) = match other {
            Some((column, (expected, found))) => (*column, expected.to_string(), found.to_string()),
            None => ("columns", expected.len().to_string(), found.len().to_string()),
        };
        let what =
            format!("{column} of a row of {} in SQL is changed: {}", self.name, self.name_of(expected));
        (Difference::new(what, expected_text, found_text), self.key_of(expected).to_vec())
    }

    fn name_of(&self, row: &Row) -> String {
        let named = |(column, cell): (&&str, &Cell)| format!("{column} {cell}");
        self.columns.iter().zip(self.key_of(row)).map(named).collect::<Vec<_>>().join(", ")
    }

    fn show(&self, row: &Row) -> String {
        let named = |(column, cell): (&&str, &Cell)| format!("{column}={cell}");
        self.columns.iter().zip(row).map(named).collect::<Vec<_>>().join(" ")
    }
}
