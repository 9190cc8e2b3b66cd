//! How far each partition got, in the table `sink_ranges`: its latest range, whether that is done, and the lineage around
//! it. A row with a higher batch replaces the one before it, and a done one the planned one, so the table stays as small as
//! there are partitions. All rows of one write are one part, which is there or is not.

use std::collections::BTreeMap;

use clickhouse::Row;
use serde::{Deserialize, Serialize};
use streambook_model::{
    bytes::LineageHash,
    position::{Offset, Partition, TopicName, TopicPartition},
    time::Timestamp,
};
use streambook_runtime::lineage::Mark;

use super::{
    error::ClickHouseError,
    marks::Marks,
    plan::{Plan, Range, TopicIds},
    service::Service,
};

const TABLE: &str = "sink_ranges";

/// How far a plan has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its rows may be there or not.
    Planned,
    /// Its rows are there.
    Done,
}

/// A row of the table.
#[derive(Debug, Row, Serialize, Deserialize)]
struct RangeRow {
    topic: String,
    log_partition: u16,
    topic_id: String,
    batch: u64,
    done: u8,
    version: u64,
    writer: u64,
    first_offset: u64,
    next_offset: u64,
    planned_at: i64,
    tasks: Vec<String>,
    seqs: Vec<u64>,
    chains: Vec<String>,
}

/// The number of a batch and who planned it.
#[derive(Debug, Row, Deserialize)]
struct WriterRow {
    batch: u64,
    writer: u64,
}

/// How many rows there are.
#[derive(Debug, Row, Deserialize)]
struct CountRow {
    rows: u64,
}

/// What the table says.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// The number of the last batch; 0 before the first.
    pub(crate) batch: u64,
    /// The next offset of each partition, planned ranges not counted.
    pub(crate) positions: BTreeMap<TopicPartition, Offset>,
    /// The lineage at these positions.
    pub(crate) marks: Marks,
    /// The identities of the topics the offsets belong to.
    pub(crate) topics: TopicIds,
    /// The plan that was stored and may not have been carried out.
    pub(crate) open: Option<Plan>,
}

/// Stores how far a plan has got, with the lineage before it, or after it once it is done.
pub(crate) async fn store(
    service: &Service,
    plan: &Plan,
    stage: Stage,
    (marks, topics, writer): (&Marks, &TopicIds, u64),
) -> Result<(), ClickHouseError> {
    let done = u8::from(stage == Stage::Done);
    let rows: Vec<_> =
        plan.ranges.iter().map(|range| row(plan, range, done, (marks, topics, writer))).collect();
    service.insert(TABLE, &rows).await
}

fn row(plan: &Plan, range: &Range, done: u8, (marks, topics, writer): (&Marks, &TopicIds, u64)) -> RangeRow {
    RangeRow {
        topic: range.from.topic.to_string(),
        log_partition: range.from.partition.0,
        topic_id: topics.get(&range.from.topic).map(ToString::to_string).unwrap_or_default(),
        batch: plan.batch,
        done,
        version: plan.batch.saturating_mul(2).saturating_add(done.into()),
        writer,
        first_offset: range.first.0,
        next_offset: range.next.0,
        planned_at: plan.planned_at.millis(),
        tasks: marks.of(&range.from).map(|(task, _)| task.clone()).collect(),
        seqs: marks.of(&range.from).map(|(_, mark)| mark.seq).collect(),
        chains: marks.of(&range.from).map(|(_, mark)| mark.chain.to_string()).collect(),
    }
}

/// Checks that the plan just stored is the latest and its ranges this writer's: with two writers on one database, at least
/// the one that looks later finds the other.
pub(crate) async fn check_alone(service: &Service, plan: &Plan, writer: u64) -> Result<(), ClickHouseError> {
    let sql = format!("SELECT DISTINCT batch, writer FROM {TABLE} WHERE batch >= {}", plan.batch);
    let found: Vec<WriterRow> = service.fetch("looking for another writer", &sql).await?;
    if found.is_empty() {
        return Err(ClickHouseError::Missing { table: TABLE, expected: plan.ranges.len() as u64, found: 0 });
    }
    if found.iter().all(|row| row.batch == plan.batch && row.writer == writer) {
        return Ok(());
    }
    Err(ClickHouseError::Contradiction(format!(
        "another writer has planned batch {} or a later one in this database: stop one of the two, or give each its own \
         `clickhouse.database`",
        plan.batch
    )))
}

/// Checks that the plan is stored as done.
pub(crate) async fn check_done(service: &Service, plan: &Plan) -> Result<(), ClickHouseError> {
    let sql = format!(
        "SELECT uniqExact(topic, log_partition) AS rows FROM {TABLE} WHERE batch = {} AND done = 1",
        plan.batch
    );
    let (found, expected) =
        (count(service, "looking whether a batch is done", &sql).await?, plan.ranges.len() as u64);
    if found == expected { Ok(()) } else { Err(ClickHouseError::Missing { table: TABLE, expected, found }) }
}

/// Checks that a database without positions has no payments either: older versions of them could not be told from missing
/// ones.
pub(crate) async fn check_empty(service: &Service) -> Result<(), ClickHouseError> {
    match count(service, "looking for rows", "SELECT count() AS rows FROM payments").await? {
        0 => Ok(()),
        rows => Err(ClickHouseError::Contradiction(format!(
            "the database has {rows} rows of payments and no positions in {TABLE}: drop the database, and it is filled anew"
        ))),
    }
}

async fn count(service: &Service, operation: &'static str, sql: &str) -> Result<u64, ClickHouseError> {
    let rows: Vec<CountRow> = service.fetch(operation, sql).await?;
    Ok(rows.first().map_or(0, |row| row.rows))
}

/// Reads the table.
pub(crate) async fn load(service: &Service) -> Result<Stored, ClickHouseError> {
    let sql = format!("SELECT ?fields FROM {TABLE} FINAL ORDER BY topic, log_partition");
    let rows: Vec<RangeRow> = service.fetch("reading the positions", &sql).await?;
    let mut stored = Stored::default();
    for row in &rows {
        take(&mut stored, row)?;
    }
    check(&stored)?;
    Ok(stored)
}

fn take(stored: &mut Stored, row: &RangeRow) -> Result<(), ClickHouseError> {
    let topic = TopicName::new(&*row.topic).map_err(|error| damaged(row, &error.to_string()))?;
    let from = TopicPartition::new(topic, Partition(row.log_partition));
    let id: [u8; 16] = hex::decode(&row.topic_id)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| damaged(row, "its topic's identity cannot be read"))?;
    if stored
        .topics
        .insert(from.topic.clone(), streambook_log::TopicId(id))
        .is_some_and(|known| known.0 != id)
    {
        return Err(damaged(row, "its topic has two identities"));
    }
    for ((task, seq), chain) in row.tasks.iter().zip(&row.seqs).zip(&row.chains) {
        let chain: LineageHash = chain.parse().map_err(|_| damaged(row, "its lineage cannot be read"))?;
        stored.marks.set(&from, task.clone(), Mark { seq: *seq, chain });
    }
    stored.batch = stored.batch.max(row.batch);
    let range = Range { from: from.clone(), first: Offset(row.first_offset), next: Offset(row.next_offset) };
    stored.positions.insert(from, if row.done == 1 { range.next } else { range.first });
    if row.done == 0 {
        let planned_at = Timestamp::from_millis(row.planned_at);
        let plan = Plan { batch: row.batch, planned_at, ranges: Vec::new() };
        stored.open.get_or_insert(plan).ranges.push(range);
        if stored.open.as_ref().is_some_and(|plan| plan.batch != row.batch) {
            return Err(damaged(row, "two batches are planned and not done"));
        }
    }
    Ok(())
}

/// A plan is stored only after the one before it was done.
fn check(stored: &Stored) -> Result<(), ClickHouseError> {
    match &stored.open {
        Some(plan) if plan.batch < stored.batch => Err(ClickHouseError::Contradiction(format!(
            "{TABLE}: batch {} is not done and batch {} was planned: two writers have met in this database; make it anew",
            plan.batch, stored.batch
        ))),
        _ => Ok(()),
    }
}

fn damaged(row: &RangeRow, what: &str) -> ClickHouseError {
    let RangeRow { topic, log_partition, .. } = row;
    ClickHouseError::Contradiction(format!(
        "{TABLE}: the row of {topic}/{log_partition}: {what}: it is damaged or from another program"
    ))
}
