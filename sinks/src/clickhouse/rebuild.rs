//! The records of a stored plan, read from the log again: exactly those, or an error.

use std::{collections::BTreeMap, sync::Arc};

use streambook_log::{Log, ReadLimit, Visibility};
use streambook_model::{codec, position::Offset, topics::TopicDef};
use streambook_runtime::sink::{Batch, Delivered};

use super::{
    error::ClickHouseError,
    plan::{Plan, Range, TopicIds},
    ranges::Stored,
};

/// The identities of these topics in this log.
pub(crate) async fn topic_ids(log: &Arc<dyn Log>, inputs: &[TopicDef]) -> Result<TopicIds, ClickHouseError> {
    let mut ids = TopicIds::new();
    for input in inputs {
        let topic = log.topic(&input.topic()).await?;
        ids.insert(topic.name, topic.id);
    }
    Ok(ids)
}

/// Checks that what is stored was taken from this log: the same topics, and nothing that the log does not have.
pub(crate) async fn check_log(
    log: &Arc<dyn Log>,
    stored: &Stored,
    ids: &TopicIds,
) -> Result<(), ClickHouseError> {
    for (topic, stored) in &stored.topics {
        if ids.get(topic).is_some_and(|id| id != stored) {
            return Err(ClickHouseError::Contradiction(format!(
                "the database was filled from another log: {topic} is {} here and {stored} there; use the data \
                 directory it belongs to, or another `clickhouse.database`",
                ids.get(topic).map(ToString::to_string).unwrap_or_default()
            )));
        }
    }
    for (from, next) in &stored.positions {
        let end = log.bounds(from, Visibility::Synced).await?.end;
        if *next > end {
            return Err(ClickHouseError::Contradiction(format!(
                "{from}: the database has records up to {next} and the log ends at {end}: the log is an older copy"
            )));
        }
    }
    Ok(())
}

/// Reads a plan's records.
pub(crate) async fn batch(log: &Arc<dyn Log>, plan: &Plan) -> Result<Batch, ClickHouseError> {
    let mut batch = Batch { records: Vec::new(), before: BTreeMap::new(), after: BTreeMap::new() };
    for range in &plan.ranges {
        batch.before.insert(range.from.clone(), range.first);
        batch.after.insert(range.from.clone(), range.next);
        read(log, range, &mut batch.records).await?;
    }
    Ok(batch)
}

async fn read(
    log: &Arc<dyn Log>,
    range: &Range,
    records: &mut Vec<Delivered>,
) -> Result<(), ClickHouseError> {
    let mut next = range.first;
    while next < range.next {
        let left = usize::try_from(range.next.0 - next.0).unwrap_or(usize::MAX);
        let limit = ReadLimit { records: left, ..ReadLimit::default() };
        let read = log.read(&range.from, next, limit, Visibility::Synced).await?;
        if read.is_empty() {
            return Err(ClickHouseError::Contradiction(format!(
                "{}: a batch up to offset {} was planned and the log ends at {next}",
                range.from, range.next
            )));
        }
        for record in read {
            let (partition, offset) = (range.from.to_string(), record.offset);
            let message = codec::decode(&record.value);
            let message =
                message.map_err(|source| ClickHouseError::Decode { partition, offset: offset.0, source })?;
            records.push(Delivered { from: range.from.clone(), offset, message: Box::new(message) });
            next = Offset(offset.0.saturating_add(1));
        }
    }
    Ok(())
}
