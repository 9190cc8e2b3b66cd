//! One write transaction: positions, rows, lineage, commit. Whether its failure may be retried is
//! [`SqlError::may_be_retried`]; whether it may have happened all the same, [`Failed`] says.

use std::collections::BTreeMap;

use streambook_model::position::{Offset, TopicPartition};
use streambook_runtime::{
    lineage::{Mark, Marks},
    sink::Batch,
};

use super::{
    cell::{Cell, signed},
    database::{Database, Writing},
    error::SqlError,
    progress::Causes,
    query::Query,
    reads::topic_partition,
    table::{Existing, Rows, Table},
};

static SOURCES: Table = Table {
    name: "sink_sources",
    columns: &["topic", "partition", "task", "seq", "chain"],
    existing: Existing::Newer {
        key: &["topic", "partition", "task"],
        version: "seq",
        changes: &["seq", "chain"],
    },
};

/// A failed write.
#[derive(Debug)]
pub(crate) enum Failed {
    /// Nothing was written.
    Undone(SqlError),
    /// The commit failed, and it is not known whether it happened.
    Unsure(SqlError),
}

/// All that one transaction writes.
#[derive(Debug)]
pub(crate) struct Write<'b> {
    /// The positions it moves.
    pub(crate) batch: &'b Batch,
    /// The rows, table by table.
    pub(crate) rows: Vec<Rows>,
    /// The lineage after it, of the sources it took something from.
    pub(crate) marks: &'b Marks,
    /// The highest causes in it.
    pub(crate) causes: &'b Causes,
}

/// Writes all of it or nothing.
pub(crate) async fn write(database: &Database, write: Write<'_>) -> Result<(), Failed> {
    let marks = mark_rows(write.marks).map_err(Failed::Undone)?;
    let mut writing = database.begin().await.map_err(Failed::Undone)?;
    move_positions(&mut writing, write.batch, write.causes).await.map_err(Failed::Undone)?;
    for rows in write.rows.into_iter().chain([marks]) {
        writing.insert(rows).await.map_err(Failed::Undone)?;
    }
    writing.commit().await.map_err(Failed::Unsure)
}

/// The committed positions, and the highest cause in each partition.
pub(crate) async fn positions(
    database: &Database,
) -> Result<(BTreeMap<TopicPartition, Offset>, Causes), SqlError> {
    let query = Query::new("SELECT topic, partition, next_offset, cause_offset FROM sink_offsets");
    let (mut positions, mut causes) = (BTreeMap::new(), Causes::new());
    for mut row in database.fetch("reading the sink's positions", query).await? {
        let at = topic_partition(&mut row)?;
        positions.insert(at.clone(), Offset(row.number()?));
        if let Some(cause) = row.maybe_number()? {
            causes.insert(at, Offset(cause));
        }
    }
    Ok((positions, causes))
}

/// The committed lineage.
pub(crate) async fn marks(database: &Database) -> Result<Marks, SqlError> {
    let query = Query::new("SELECT topic, partition, task, seq, chain FROM sink_sources");
    let rows = database.fetch("reading the sink's lineage", query).await?;
    let mark = |mut row: super::cell::Row| {
        let key = (topic_partition(&mut row)?, row.text()?);
        Ok((key, Mark { seq: row.number()?, chain: row.parsed()? }))
    };
    rows.into_iter().map(mark).collect()
}

fn mark_rows(marks: &Marks) -> Result<Rows, SqlError> {
    let mut rows = Rows::of(&SOURCES);
    for ((at, task), mark) in marks {
        rows.push([
            Cell::text(&at.topic),
            Cell::Integer(at.partition.0.into()),
            Cell::text(task),
            Cell::unsigned(mark.seq)?,
            Cell::text(mark.chain),
        ]);
    }
    Ok(rows)
}

/// One position's move.
struct Move<'b> {
    at: &'b TopicPartition,
    before: Offset,
    after: Offset,
    cause: Cell,
}

fn moves<'b>(batch: &'b Batch, causes: &Causes) -> Result<Vec<Move<'b>>, SqlError> {
    let one = |(at, before): (&'b TopicPartition, &Offset)| {
        let after = batch.after.get(at).copied();
        let after = after.ok_or_else(|| SqlError::Unfit(format!("{at}: the batch has no end")))?;
        let cause = causes.get(at).map(|cause| Cell::unsigned(cause.0)).transpose()?;
        Ok(Move { at, before: *before, after, cause: cause.unwrap_or(Cell::Null) })
    };
    batch.before.iter().map(one).collect()
}

/// Moves all positions by compare-and-set, in one statement. A partition that has none yet starts wherever its first batch
/// does, since a public topic may have been trimmed.
async fn move_positions(writing: &mut Writing, batch: &Batch, causes: &Causes) -> Result<(), SqlError> {
    let moves = moves(batch, causes)?;
    if moves.is_empty() {
        return Ok(());
    }
    let moved = writing.execute("moving the positions", move_query(&moves)?).await?;
    let left = moves.len().saturating_sub(usize::try_from(moved).unwrap_or(usize::MAX));
    if left == 0 {
        return Ok(());
    }
    let query = Query::new("SELECT topic, partition, next_offset FROM sink_offsets");
    let mut stored = BTreeMap::new();
    for mut row in writing.fetch("reading the positions", query).await? {
        stored.insert(topic_partition(&mut row)?, row.number()?);
    }
    if moves.iter().filter(|one| !stored.contains_key(one.at)).count() < left {
        return Err(elsewhere(&moves, &stored));
    }
    for one in moves.into_iter().filter(|one| !stored.contains_key(one.at)) {
        begin_position(writing, one).await?;
    }
    Ok(())
}

/// The error for positions that are not where the batch starts. Those that this transaction has just moved are at the
/// batch's end, so one that is elsewhere is named first.
fn elsewhere(moves: &[Move<'_>], stored: &BTreeMap<TopicPartition, u64>) -> SqlError {
    let found = |one: &Move<'_>| stored.get(one.at).copied().unwrap_or_default();
    let other = moves.iter().find(|one| stored.contains_key(one.at) && found(one) != one.after.0);
    match other.or_else(|| moves.first()) {
        Some(one) => {
            SqlError::Moved { partition: one.at.to_string(), expected: one.before.0, found: found(one) }
        }
        None => SqlError::Unfit("a batch without positions".to_owned()),
    }
}

fn move_query(moves: &[Move<'_>]) -> Result<Query, SqlError> {
    let mut query = Query::new("WITH moved (topic, partition, before, after, cause) AS (VALUES ");
    for (number, one) in moves.iter().enumerate() {
        query = query
            .sql(if number == 0 { "(" } else { ", (" })
            .text(&one.at.topic)
            .sql(", ")
            .arg(i64::from(one.at.partition.0))
            .sql(", ")
            .arg(signed(one.before.0)?)
            .sql(", ")
            .arg(signed(one.after.0)?)
            .sql(", ")
            .arg(one.cause.clone())
            .sql(")");
    }
    Ok(query.sql(
        ") UPDATE sink_offsets SET next_offset = moved.after, cause_offset = CASE \
         WHEN moved.cause > coalesce(sink_offsets.cause_offset, -1) THEN moved.cause ELSE sink_offsets.cause_offset END \
         FROM moved WHERE sink_offsets.topic = moved.topic AND sink_offsets.partition = moved.partition \
         AND sink_offsets.next_offset = moved.before",
    ))
}

async fn begin_position(writing: &mut Writing, one: Move<'_>) -> Result<(), SqlError> {
    let query = Query::new("INSERT INTO sink_offsets (topic, partition, next_offset, cause_offset) VALUES (")
        .text(&one.at.topic)
        .sql(", ")
        .arg(i64::from(one.at.partition.0))
        .sql(", ")
        .arg(signed(one.after.0)?)
        .sql(", ")
        .arg(one.cause)
        .sql(")");
    writing.execute("beginning a position", query).await.map(drop)
}
