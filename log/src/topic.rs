//! Topics: what one is asked to be, and what it is.

use std::fmt;

use serde::{Deserialize, Serialize};
use streambook_model::position::{Partition, TopicName, TopicPartition};

/// The identity of a topic: random, made at its creation. A topic that was deleted and made again has another one, so
/// offsets remembered from the old one are never applied to the new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TopicId(pub [u8; 16]);

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a topic is asked to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: TopicName,
    /// How many partitions; fixed at creation. At least 1.
    pub partitions: u16,
    /// How long its records are kept. May be changed by asking again.
    pub retention: Retention,
}

/// How long a topic's records are kept. Applied when the owner asks the engine to enforce it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Retention {
    /// Never trimmed by the engine: inboxes, from which the books can be replayed.
    Forever,
    /// Records appended longer ago than this many milliseconds may go.
    Age {
        /// Milliseconds.
        max_ms: u64,
    },
    /// Each partition keeps at least its newest records up to this many bytes of keys and values.
    Bytes {
        /// Bytes per partition.
        max_per_partition: u64,
    },
}

/// A topic as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: TopicName,
    /// Its identity.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: u16,
    /// How long its records are kept.
    pub retention: Retention,
}

impl Topic {
    /// Its partitions, from 0.
    pub fn partitions(&self) -> impl Iterator<Item = TopicPartition> + '_ {
        (0..self.partitions).map(|number| TopicPartition::new(self.name.clone(), Partition(number)))
    }
}
