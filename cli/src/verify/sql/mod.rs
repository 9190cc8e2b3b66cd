//! The SQL sink against the replayed books: every ledger transaction, entry and payment event row by row while its book
//! is replayed ([`books`]), then what only has a last state: payments, refunds, balances, lineage ([`ends`]).
//!
//! Up to the sink's own committed offsets nothing may be missing, nothing extra, nothing changed. The database is opened
//! read-only, and read with statements of its own: of the sink only the schema is taken for granted.

mod books;
mod cell;
mod database;
mod ends;
mod expected;
mod table;
mod tail;

use std::collections::BTreeMap;

use parking_lot::Mutex;
use streambook_model::{
    meta::Source,
    position::{Partition, TopicPartition},
    topics::TopicDef,
};
use streambook_sinks::sql::SqlConfig;

pub(crate) use self::{books::BookRows, ends::compare_ends};
use self::{
    cell::{Cell, Row},
    database::Database,
};
use super::report::{Difference, VerifyFailure};

/// Offsets of one partition in a row's `position`, which is `partition * 2^48 + offset`.
const OFFSETS: i64 = 1 << 48;

/// The sink's database, and how far it has come.
#[derive(Debug)]
pub(crate) struct Sql {
    database: Database,
    /// How far the sink was when the database was opened.
    next: Next,
    /// By topic and partition: the lineage of the last record up to there, as the replays give it.
    sources: Mutex<BTreeMap<(String, i64), Source>>,
}

/// How far the sink is, by topic and partition: the next offset. Absent where it has taken nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Next(BTreeMap<(String, i64), u64>);

impl Next {
    fn of(&self, at: &TopicPartition) -> u64 {
        let key = (at.topic.as_str().to_owned(), i64::from(at.partition.0));
        self.0.get(&key).copied().unwrap_or(0)
    }

    fn set(&mut self, at: &TopicPartition, next: u64) {
        self.0.insert((at.topic.as_str().to_owned(), i64::from(at.partition.0)), next);
    }
}

impl Sql {
    /// Opens the sink's database, read-only.
    pub(crate) async fn open(config: &SqlConfig) -> Result<Self, VerifyFailure> {
        let database = Database::open(config).await?;
        let mut sql = Self { database, next: Next::default(), sources: Mutex::default() };
        (sql.next, _) = sql.at_once("reading the sink's offsets", None).await?;
        Ok(sql)
    }

    /// The sink's next offset when the database was opened; 0 where it has taken nothing.
    pub(crate) fn next(&self, topic: TopicDef, partition: Partition) -> u64 {
        self.next.of(&TopicPartition::new(topic.topic(), partition))
    }

    /// Reads how far the sink is, and rows, as they stand at one moment.
    async fn at_once(
        &self,
        operation: &'static str,
        query: Option<(String, &[Cell])>,
    ) -> Result<(Next, Vec<Row>), VerifyFailure> {
        let mut moment = self.database.moment(operation).await?;
        let positions = "SELECT topic, partition, next_offset FROM sink_offsets".to_owned();
        let mut next = Next::default();
        for row in moment.rows(operation, positions, &[]).await? {
            if let [Cell::Text(topic), Cell::Integer(partition), Cell::Integer(offset)] = row.as_slice() {
                let offset = u64::try_from(*offset).unwrap_or_default();
                next.0.insert((topic.clone(), *partition), offset);
            }
        }
        match query {
            Some((sql, arguments)) => {
                let found = moment.rows(operation, sql, arguments).await?;
                Ok((next, found))
            }
            None => Ok((next, Vec::new())),
        }
    }

    /// What the sink has not taken yet, as a note.
    pub(crate) fn lag(&self, at: &TopicPartition, end: u64) -> Option<String> {
        let next = self.next.of(at);
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
        self.database.rows(operation, sql, arguments).await
    }

    /// Closes the connections.
    pub(crate) async fn close(&self) {
        self.database.close().await;
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
