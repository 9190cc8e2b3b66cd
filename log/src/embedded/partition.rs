//! What the engine keeps in memory about a topic and each of its partitions.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use fjall::Keyspace;
use parking_lot::{Mutex, MutexGuard};
use streambook_model::position::{Offset, TopicPartition};
use tokio::sync::watch;

use super::frame::Place;
use crate::{Bounds, Record, Retention, Topic, TopicId, Visibility};

/// A topic and its partitions.
pub(super) struct TopicState {
    pub(super) topic: Topic,
    pub(super) retention: Mutex<Retention>,
    pub(super) partitions: Vec<Arc<PartitionState>>,
}

impl TopicState {
    pub(super) fn describe(&self) -> Topic {
        Topic { retention: *self.retention.lock(), ..self.topic.clone() }
    }
}

/// The end of a partition, as appenders need it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tail {
    /// The next offset.
    pub(super) end: u64,
    /// Bytes of keys and values ever appended.
    pub(super) bytes: u64,
    /// The stamp of the last record; stamps never fall.
    pub(super) appended_at_ms: u64,
}

/// One partition.
pub(super) struct PartitionState {
    pub(super) name: TopicPartition,
    pub(super) topic: TopicId,
    /// Made at the first append, so that a topic with many unused partitions costs nothing.
    pub(super) keyspace: OnceLock<Keyspace>,
    /// Held from giving out offsets until the batch is written.
    tail: Mutex<Tail>,
    /// The first offset that may be read.
    pub(super) first: AtomicU64,
    /// The end that is written; set after the batch is in the store.
    pub(super) written: watch::Sender<u64>,
    /// The end that is synced.
    pub(super) synced: watch::Sender<u64>,
    /// The newest records, without a gap up to the end. See [`Recent`](super::recent::Recent).
    pub(super) recent: Mutex<VecDeque<Record>>,
}

impl PartitionState {
    pub(super) fn new(name: TopicPartition, topic: TopicId, first: u64, tail: Tail) -> Self {
        Self {
            name,
            topic,
            keyspace: OnceLock::new(),
            first: AtomicU64::new(first),
            // What is found when the log is opened is synced before anything is read.
            written: watch::Sender::new(tail.end),
            synced: watch::Sender::new(tail.end),
            tail: Mutex::new(tail),
            recent: Mutex::new(VecDeque::new()),
        }
    }

    pub(super) fn lock(state: &Arc<Self>) -> MutexGuard<'_, Tail> {
        state.tail.lock()
    }

    /// The place of a frame, by the offset of its last record.
    pub(super) fn place(&self, last: Offset) -> Place {
        Place { topic: self.topic, partition: self.name.partition, last }
    }

    pub(super) fn end(&self, visibility: Visibility) -> &watch::Sender<u64> {
        match visibility {
            Visibility::Written => &self.written,
            Visibility::Synced => &self.synced,
        }
    }

    pub(super) fn bounds(&self, visibility: Visibility) -> Bounds {
        let end = *self.end(visibility).borrow();
        Bounds { first: self.first(), end: Offset(end) }
    }

    pub(super) fn first(&self) -> Offset {
        Offset(self.first.load(Ordering::Acquire))
    }
}
