//! One write transaction: positions, rows, lineage, commit. Whether its failure may be retried is
//! [`SqlError::may_be_retried`]; whether it may have happened all the same, [`Failed`] says.

use std::collections::BTreeMap;

use streambook_model::position::{Offset, TopicPartition};
use streambook_runtime::{lineage::Mark, sink::Batch};

use super::{
    cell::{Cell, signed},
    error::SqlError,
    progress::Causes,
    query::Query,
    reads::topic_partition,
    sqlite::{Sqlite, Writing},
    table::{Existing, Rows, Table},
};

/// What was last taken from each task in each partition.
pub(crate) type Marks = BTreeMap<(TopicPartition, String), Mark>;

static SOURCES: Table = Table {
    name: "sink_sources",
    columns: &["topic", "partition", "task", "seq", "chain"],
    existing: Existing::Newer { key: &["topic", "partition", "task"], version: "seq" },
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
pub(crate) async fn write(database: &Sqlite, write: Write<'_>) -> Result<(), Failed> {
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
    database: &Sqlite,
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
pub(crate) async fn marks(database: &Sqlite) -> Result<Marks, SqlError> {
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

async fn move_positions(writing: &mut Writing, batch: &Batch, causes: &Causes) -> Result<(), SqlError> {
    for (at, before) in &batch.before {
        let after =
            batch.after.get(at).ok_or_else(|| SqlError::Unfit(format!("{at}: the batch has no end")))?;
        let cause = causes.get(at).map(|cause| Cell::unsigned(cause.0)).transpose()?.unwrap_or(Cell::Null);
        move_position(writing, at, (*before, *after), cause).await?;
    }
    Ok(())
}

/// Moves one position by compare-and-set. A partition that has none yet starts wherever its first batch does, since a
/// public topic may have been trimmed.
async fn move_position(
    writing: &mut Writing,
    at: &TopicPartition,
    (before, after): (Offset, Offset),
    cause: Cell,
) -> Result<(), SqlError> {
    let update = Query::new("UPDATE sink_offsets SET next_offset = ")
        .arg(signed(after.0)?)
        .sql(", cause_offset = CASE WHEN ")
        .arg(cause.clone())
        .sql(" > coalesce(cause_offset, -1) THEN ")
        .arg(cause.clone())
        .sql(" ELSE cause_offset END WHERE next_offset = ")
        .arg(signed(before.0)?);
    if writing.execute("moving a position", of(update.sql(" AND "), at)).await? == 1 {
        return Ok(());
    }
    let stored = of(Query::new("SELECT next_offset FROM sink_offsets WHERE "), at);
    match writing.fetch("reading a position", stored).await?.into_iter().next() {
        Some(mut row) => {
            Err(SqlError::Moved { partition: at.to_string(), expected: before.0, found: row.number()? })
        }
        None => begin_position(writing, at, after, cause).await,
    }
}

async fn begin_position(
    writing: &mut Writing,
    at: &TopicPartition,
    after: Offset,
    cause: Cell,
) -> Result<(), SqlError> {
    let query = Query::new("INSERT INTO sink_offsets (topic, partition, next_offset, cause_offset) VALUES (")
        .text(&at.topic)
        .sql(", ")
        .arg(i64::from(at.partition.0))
        .sql(", ")
        .arg(signed(after.0)?)
        .sql(", ")
        .arg(cause)
        .sql(")");
    writing.execute("beginning a position", query).await.map(drop)
}

fn of(query: Query, at: &TopicPartition) -> Query {
    query.sql("topic = ").text(&at.topic).sql(" AND partition = ").arg(i64::from(at.partition.0))
}
