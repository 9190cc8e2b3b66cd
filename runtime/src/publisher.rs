//! Appends records that do not come from a task: the connectors' and the API's. They carry no lineage; a natural id and
//! the receiving processor make their repeats harmless.

use std::sync::Arc;

use bytes::Bytes;
use streambook_log::{Appended, Log, LogError, NewRecord, partitioner::partition_of};
use streambook_model::{
    codec::{self, CodecError},
    message::Message,
    position::TopicPartition,
    topics::TopicDef,
};

/// A record could not be appended.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// It cannot be encoded.
    #[error("cannot encode a record for {topic}")]
    Encode {
        /// The topic.
        topic: String,
        /// Why.
        #[source]
        source: CodecError,
    },
    /// The log did not take it.
    #[error("cannot append to {topic}")]
    Append {
        /// The topic.
        topic: String,
        /// Why.
        #[source]
        source: LogError,
    },
}

/// Where a record went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The partition.
    pub to: TopicPartition,
    /// Its offsets, and what to wait for.
    pub appended: Appended,
}

/// Appends records to the log.
#[derive(Clone)]
pub struct Publisher {
    log: Arc<dyn Log>,
}

impl Publisher {
    /// Appends to this log.
    pub fn new(log: Arc<dyn Log>) -> Self {
        Self { log }
    }

    /// Appends a record to the partition its key hashes to. It is written, not yet synced.
    pub async fn publish(
        &self,
        topic: TopicDef,
        key: &[u8],
        message: impl Into<Message>,
    ) -> Result<Published, PublishError> {
        self.publish_all(topic, key, std::slice::from_ref(&message.into())).await
    }

    /// Appends records of one key, all or none, in order.
    pub async fn publish_all(
        &self,
        topic: TopicDef,
        key: &[u8],
        messages: &[Message],
    ) -> Result<Published, PublishError> {
        let key = Bytes::copy_from_slice(key);
        let to = TopicPartition::new(topic.topic(), partition_of(&key, topic.partitions));
        let encode = |message| codec::encode(message).map(|value| NewRecord::new(key.clone(), value));
        let records = messages.iter().map(encode).collect::<Result<_, _>>();
        let records =
            records.map_err(|source| PublishError::Encode { topic: topic.name.to_owned(), source })?;
        let appended = self.log.append(&to, records).await;
        let appended =
            appended.map_err(|source| PublishError::Append { topic: topic.name.to_owned(), source })?;
        Ok(Published { to, appended })
    }

    /// Appends one record to a partition that is named.
    pub async fn publish_to(
        &self,
        to: &TopicPartition,
        key: &'static [u8],
        message: &Message,
    ) -> Result<Appended, PublishError> {
        let topic = to.topic.as_str().to_owned();
        let value =
            codec::encode(message).map_err(|source| PublishError::Encode { topic: topic.clone(), source })?;
        let appended = self.log.append(to, vec![NewRecord::new(key, value)]).await;
        appended.map_err(|source| PublishError::Append { topic, source })
    }

    /// Waits until an append is on disk.
    pub async fn synced(&self, published: &Published, topic: TopicDef) -> Result<(), PublishError> {
        let synced = self.log.synced(&published.appended).await;
        synced.map_err(|source| PublishError::Append { topic: topic.name.to_owned(), source })
    }
}
