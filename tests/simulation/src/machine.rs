//! What every part of a run shares: the disk, chance, the counts of faults, and the deliberate defect if there is one.

use std::sync::Arc;

use parking_lot::Mutex;
use streambook_log::{NewRecord, partitioner::partition_of};
use streambook_model::{
    codec, message::Message, meta::Meta, position::TopicPartition, time::Timestamp, topics::TopicDef,
};

use crate::{disk::Disk, faults::Faults, mutation::Mutation, random::Random, violation::Violation};

/// Which engine the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// One process, one write-ahead log: a commit is the publication.
    Embedded,
    /// A cluster: each task keeps its outputs until they are delivered, and is restored from a snapshot.
    Distributed,
}

/// Whether faults happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// They do.
    Stormy,
    /// They do not any more: everything comes to rest.
    Calm,
}

/// The shared parts of a run.
pub struct Machine {
    /// The disk.
    pub disk: Arc<Mutex<Disk>>,
    /// Chance.
    pub random: Random,
    /// What was done to the system.
    pub faults: Faults,
    /// The deliberate defect.
    pub mutation: Option<Mutation>,
    /// Which engine.
    pub engine: Engine,
    /// Whether faults happen.
    pub weather: Weather,
}

impl Machine {
    /// Whether a fault happens now, `percent` times of a hundred; counted if it does.
    pub fn fault(&mut self, kind: &'static str, percent: u64) -> bool {
        let happens = self.weather == Weather::Stormy && self.random.chance(percent);
        if happens {
            self.faults.count(kind);
        }
        happens
    }

    /// Whether this defect is in force.
    pub fn has(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// The simulated time.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.disk.lock().now_ms)
    }

    /// The meta of a record that comes from outside, now.
    pub fn meta(&self, id: String) -> Meta {
        let now = self.now();
        Meta { source: None, id, occurred_at: now, recorded_at: now, cause: None, trace: None }
    }

    /// Appends a record from outside. Gives the position to wait for.
    pub fn append(&mut self, topic: TopicDef, key: &str, message: &Message) -> Result<u64, Violation> {
        let value = codec::encode(message).map_err(|error| Violation::new("simulator", error.to_string()))?;
        let to = TopicPartition::new(topic.topic(), partition_of(key.as_bytes(), topic.partitions));
        let record = NewRecord::new(key.to_owned(), value);
        Ok(self.disk.lock().commit(vec![(to, record)], None))
    }
}
