//! The log as these requests read and write it.

use std::sync::Arc;

use streambook_log::{Log, ReadLimit, Visibility, partitioner::partition_of};
use streambook_model::{
    chain::ChainId,
    codec,
    message::Message,
    position::{Offset, TopicPartition},
    topics::{self, TopicDef},
};
use streambook_runtime::publisher::Publisher;

/// Records read at once, going backwards.
const CHUNK: u64 = 500;

/// The last record of the chain's partition that is wanted.
pub(super) async fn last<T>(
    log: &dyn Log,
    chain: ChainId,
    topic: TopicDef,
    wanted: impl Fn(Message) -> Option<T>,
) -> anyhow::Result<Option<T>> {
    let partition = partition_of(chain.to_string().as_bytes(), topic.partitions);
    let from = TopicPartition::new(topic.topic(), partition);
    let bounds = log.bounds(&from, Visibility::Written).await?;
    let mut end = bounds.end.0;
    while end > bounds.first.0 {
        let start = end.saturating_sub(CHUNK).max(bounds.first.0);
        let (mut next, mut found) = (start, None);
        while next < end {
            let limit = ReadLimit { records: usize::try_from(end - next)?, ..ReadLimit::default() };
            let records = log.read(&from, Offset(next), limit, Visibility::Written).await?;
            let Some(last) = records.last() else { break };
            next = last.offset.0.saturating_add(1);
            for record in &records {
                found = wanted(codec::decode(&record.value)?).or(found);
            }
        }
        if found.is_some() {
            return Ok(found);
        }
        end = start;
    }
    Ok(None)
}

/// Appends to the chain's inbox, and waits until it is on disk.
pub(crate) async fn append(
    log: &Arc<dyn Log>,
    chain: ChainId,
    record: impl Into<Message>,
) -> anyhow::Result<()> {
    let key = chain.to_string();
    let publisher = Publisher::new(Arc::clone(log));
    let published = publisher.publish(topics::CHAIN_INBOX, key.as_bytes(), record).await?;
    Ok(log.synced(&published.appended).await?)
}
