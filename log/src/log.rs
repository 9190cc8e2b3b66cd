//! The trait behind which an engine stands.
//!
//! It asks for what a single-machine store, Fluvio and Kafka can all give: no record headers, no transactions over
//! partitions, an acknowledgement per append. Exactly-once is built above it (lineage in the records), and an engine
//! that can do more, as the embedded one can, offers it beside the trait.

use std::collections::BTreeMap;

use async_trait::async_trait;
use streambook_model::position::{Offset, TopicName, TopicPartition};

use crate::{LogError, NewRecord, Record, Topic, TopicSpec};

/// An ordered, durable, partitioned log.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Creates the topic if it is absent and returns it as it is.
    ///
    /// # Errors
    /// [`LogError::PartitionCount`] when it exists with another number of partitions, which never changes.
    async fn ensure_topic(&self, spec: &TopicSpec) -> Result<Topic, LogError>;

    /// Every topic, in the order of their names.
    async fn topics(&self) -> Result<Vec<Topic>, LogError>;

    /// The topic of this name.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`].
    async fn topic(&self, name: &TopicName) -> Result<Topic, LogError>;

    /// Appends in order. Returns when the records are written and visible to [`Visibility::Written`] readers; they are safe
    /// from a crash only after [`Log::synced`].
    ///
    /// On the embedded engine an append is all or nothing, at consecutive offsets, once. On a cluster a crash or an outage
    /// may leave a part of it or, before the append that returns, the same records more than once, and records of others may be in
    /// between; what is built above drops repeats by their lineage. Whoever drops the future leaves open whether the
    /// records are appended.
    async fn append(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Result<Appended, LogError>;

    /// Waits until everything up to this append is on disk (or acknowledged by the cluster). Waiters share syncs.
    async fn synced(&self, appended: &Appended) -> Result<(), LogError>;

    /// Reads consecutive records from `offset` on. Nothing when `offset` is at or past the end. At least one record is
    /// returned when there is one, even if it alone exceeds the limit in bytes.
    ///
    /// # Errors
    /// [`LogError::Trimmed`] below the first offset, [`LogError::CorruptRecord`] and [`LogError::Gap`] when what is
    /// stored is not what was appended.
    async fn read(
        &self,
        from: &TopicPartition,
        offset: Offset,
        limit: ReadLimit,
        visibility: Visibility,
    ) -> Result<Vec<Record>, LogError>;

    /// Returns when the end is past `offset`, that is, when a read from `offset` finds a record.
    async fn wait(&self, on: &TopicPartition, offset: Offset, visibility: Visibility)
    -> Result<(), LogError>;

    /// Returns when any of these partitions has a record on disk at its offset, that is, when a read of what is synced
    /// finds one.
    async fn wait_synced(&self, on: &BTreeMap<TopicPartition, Offset>) -> Result<(), LogError>;

    /// The first offset that can be read and the one the next record will have: no older than this question, so whatever was
    /// acknowledged to anybody before it is below the end.
    async fn bounds(&self, of: &TopicPartition, visibility: Visibility) -> Result<Bounds, LogError>;

    /// The same as it was a moment ago, for whoever asks again and again: to measure, or to choose what to read next. Whoever
    /// concludes from an end that there is nothing behind it asks for [`Log::bounds`].
    async fn bounds_lately(&self, of: &TopicPartition, visibility: Visibility) -> Result<Bounds, LogError> {
        self.bounds(of, visibility).await
    }

    /// Gives up every record before `before`; offsets do not move. Beyond the end it trims to the end.
    ///
    /// # Errors
    /// [`LogError::TrimmedByRetention`] on an engine that only knows the retention a topic was made with.
    async fn trim(&self, partition: &TopicPartition, before: Offset) -> Result<(), LogError>;
}

/// What an append was given: where its records are and what to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The offset of the first record of the append.
    pub base: Offset,
    /// How many records it has.
    pub records: u64,
    /// The engine's position that [`Log::synced`] waits for. Later appends have higher positions.
    pub position: u64,
}

/// How much one read may return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimit {
    /// Most records.
    pub records: usize,
    /// Most bytes of keys and values together. The first record is returned whatever its size.
    pub bytes: usize,
}

impl Default for ReadLimit {
    fn default() -> Self {
        Self { records: 2_000, bytes: 4 << 20 }
    }
}

/// Which end of a partition a reader respects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// Everything written, synced or not: for hops inside one process, which one write-ahead log orders.
    Written,
    /// Only what survives a crash: for whatever leaves the system.
    Synced,
}

/// The readable part of a partition: `first..end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The first offset that can be read, if it is below `end`.
    pub first: Offset,
    /// One past the last offset that can be read.
    pub end: Offset,
}

impl Bounds {
    /// How many records can be read.
    pub fn records(&self) -> u64 {
        self.end.0.saturating_sub(self.first.0)
    }
}
