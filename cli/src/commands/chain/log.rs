//! The log, of a data directory or of a cluster, as these commands read and write it.

use std::sync::Arc;

use streambook_log::{Log, LogError, ReadLimit, Visibility, partitioner::partition_of};
use streambook_model::{
    chain::ChainId,
    codec,
    message::Message,
    position::{Offset, TopicPartition},
    topics::{self, TopicDef},
};
use streambook_runtime::publisher::Publisher;

use crate::{
    config::{Config, Engine},
    system,
};

/// Records read at once, going backwards.
const CHUNK: u64 = 500;

/// The log. One of a data directory may not be open in any other process.
pub(super) async fn open_stopped(config: &Config) -> anyhow::Result<Arc<dyn Log>> {
    system::log_to_look_into(config).await.map_err(|error| {
        if is_in_use(&error) {
            error.context("stop `streambook up` first, and start it again afterwards")
        } else {
            error
        }
    })
}

pub(super) fn is_in_use(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(LogError::InUse { .. })))
}

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

/// What to stop before, and start after, something was appended here.
pub(super) const fn process(engine: Engine) -> &'static str {
    match engine {
        Engine::Embedded => "`streambook up`",
        Engine::Fluvio => "the process that runs `chain`",
    }
}

/// Appends to the chain's inbox, and waits until it is on disk.
pub(super) async fn append(
    log: Arc<dyn Log>,
    chain: ChainId,
    record: impl Into<Message>,
) -> anyhow::Result<()> {
    let key = chain.to_string();
    let publisher = Publisher::new(Arc::clone(&log));
    let published = publisher.publish(topics::CHAIN_INBOX, key.as_bytes(), record).await?;
    Ok(log.synced(&published.appended).await?)
}
