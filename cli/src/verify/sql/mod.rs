//! The SQL sink against the replayed books: every ledger transaction, entry and payment event row by row while its book
//! is replayed ([`books`]), then what only has a last state: payments, refunds, balances, lineage ([`ends`]).
//!
//! Up to the sink's own committed offsets nothing may be missing, nothing extra, nothing changed. The database is opened
//! read-only, and read with statements of its own: of the sink only the schema is taken for granted.

mod books;
mod cell;
mod ends;
mod expected;
mod table;

use std::{collections::BTreeMap, path::Path, time::Duration};

use parking_lot::Mutex;
use sqlx::{
    AssertSqlSafe, ConnectOptions, SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use streambook_model::{
    position::{Partition, TopicPartition},
    topics::TopicDef,
};

use self::cell::{Cell, Row};
pub(crate) use self::{books::BookRows, ends::compare_ends};
use super::report::{Difference, VerifyFailure};

/// Offsets of one partition in a row's `position`, which is `partition * 2^48 + offset`.
const OFFSETS: i64 = 1 << 48;
/// More than there are threads that read at once.
const CONNECTIONS: u32 = 16;

/// The sink's database, and how far it has come.
#[derive(Debug)]
pub(crate) struct Sql {
    pool: SqlitePool,
    /// By topic and partition: the next offset. Absent where the sink has taken nothing.
    next: BTreeMap<(String, i64), i64>,
    /// The rows of `sink_sources` that the replays lead to.
    sources: Mutex<Vec<Row>>,
}

impl Sql {
    /// Opens the database of a file, read-only.
    pub(crate) async fn open(path: &Path) -> Result<Self, VerifyFailure> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .read_only(true)
            .busy_timeout(Duration::from_secs(10))
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await;
        let pool = pool.map_err(|source| VerifyFailure::Sql { operation: "opening it", source })?;
        let mut sql = Self { pool, next: BTreeMap::new(), sources: Mutex::default() };
        let positions = "SELECT topic, partition, next_offset FROM sink_offsets".to_owned();
        for row in sql.rows("reading the sink's offsets", positions, &[]).await? {
            if let [Cell::Text(topic), Cell::Integer(partition), Cell::Integer(next)] = row.as_slice() {
                sql.next.insert((topic.clone(), *partition), *next);
            }
        }
        Ok(sql)
    }

    /// The sink's next offset; 0 where it has taken nothing.
    pub(crate) fn next(&self, topic: TopicDef, partition: Partition) -> u64 {
        let next = self.next.get(&(topic.name.to_owned(), i64::from(partition.0)));
        next.and_then(|next| u64::try_from(*next).ok()).unwrap_or(0)
    }

    /// What the sink has not taken yet, as a note.
    pub(crate) fn lag(&self, at: &TopicPartition, end: u64) -> Option<String> {
        let next = self.next.get(&(at.topic.as_str().to_owned(), i64::from(at.partition.0)));
        let next = next.and_then(|next| u64::try_from(*next).ok()).unwrap_or(0);
        let behind = end.checked_sub(next).filter(|behind| *behind > 0)?;
        Some(format!(
            "SQL has not taken the last {behind} records of {at} yet; it was compared up to offset {next}"
        ))
    }

    /// Runs a query and reads all its rows. Who may get many limits the query.
    async fn rows(
        &self,
        operation: &'static str,
        sql: String,
        arguments: &[Cell],
    ) -> Result<Vec<Row>, VerifyFailure> {
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for argument in arguments {
            query = match argument {
                Cell::Null => query.bind(None::<i64>),
                Cell::Integer(value) => query.bind(*value),
                Cell::Text(value) => query.bind(value.clone()),
                Cell::Bytes(value) => query.bind(value.clone()),
            };
        }
        let failed = |source| VerifyFailure::Sql { operation, source };
        let rows = query.fetch_all(&self.pool).await.map_err(failed)?;
        rows.iter().map(cell::read).collect::<Result<_, _>>().map_err(failed)
    }

    /// Closes the connections.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

/// The position of a partition's first record.
fn base(partition: Partition) -> i64 {
    i64::from(partition.0) * OFFSETS
}

/// A difference at the record that a position stands for.
fn at_position(difference: Difference, topic: TopicDef, position: i64) -> Difference {
    Difference {
        topic: Some(topic.name.to_owned()),
        partition: u16::try_from(position.div_euclid(OFFSETS)).ok(),
        offset: u64::try_from(position.rem_euclid(OFFSETS)).ok(),
        ..difference
    }
}
