//! What carries results out of the log: to SQL, to ClickHouse, to the merchants' endpoints.
//!
//! A sink keeps its own positions, in the same transaction as what it writes, so a crash between the two cannot happen.
//! It is fed only records that are synced: what leaves the system must not be forgotten by it.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use streambook_model::{
    message::Message,
    position::{Offset, TopicPartition},
    topics::TopicDef,
};

use crate::lineage::Marks;

/// A record on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// Where it was read.
    pub from: TopicPartition,
    /// Its offset there.
    pub offset: Offset,
    /// The record. In a box, since a batch holds thousands and the largest kind of record takes most of a kilobyte.
    pub message: Box<Message>,
}

/// The records of one write, and the positions it moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// In order within each partition; of several partitions, in any order.
    pub records: Vec<Delivered>,
    /// For each partition in the batch: the offset of its first record, which must be the sink's position.
    pub before: BTreeMap<TopicPartition, Offset>,
    /// For each partition in the batch: one past its last record, which becomes the sink's position.
    pub after: BTreeMap<TopicPartition, Offset>,
}

/// A failed write. Nothing of the batch, nor of the positions, was changed.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// It may go well another time: the same batch is written again, after a pause that grows.
    #[error("{operation} failed and is tried again")]
    Retry {
        /// What failed.
        operation: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It will not: the sink stops and says why.
    #[error("{0}")]
    Stop(String),
}

/// A place results are carried to.
#[async_trait]
pub trait Sink: Send + 'static {
    /// Its name, for logs and metrics.
    fn name(&self) -> &'static str;

    /// The topics it reads, all partitions of each.
    fn inputs(&self) -> Vec<TopicDef>;

    /// How long records gather after a write that left nothing behind: a sink for which few large writes are better than
    /// many small ones asks for some time. While there is more than one write takes, nothing is waited for.
    fn gathers_for(&self) -> Duration {
        Duration::ZERO
    }

    /// The positions it has committed: the next offset of each partition. Absent partitions start at their beginning.
    async fn positions(&mut self) -> Result<BTreeMap<TopicPartition, Offset>, SinkError>;

    /// Whether it must have everything: then it refuses to begin where the oldest records are gone, since what they said would
    /// be missing and nobody would know.
    fn needs_all(&self) -> bool {
        false
    }

    /// The last record it has committed of each task, for those who keep what they sent until it arrived. None where nobody
    /// waits for this sink's word.
    fn marks(&self) -> Marks {
        Marks::new()
    }

    /// Writes a batch and its positions in one transaction.
    async fn write(&mut self, batch: &Batch) -> Result<(), SinkError>;
}
