//! The simulated disk: every topic's partitions and one write-ahead log over them and the tasks' stores.
//!
//! Guarantee, that of the embedded engine: a commit is written whole or not at all, in one global order, and a crash
//! loses some suffix of what was not synced. In the distributed engine the log is the cluster's: an append is durable
//! when it returns.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use streambook_log::{NewRecord, Record};
use streambook_model::position::{Offset, TopicPartition};

/// A record and when it was appended.
#[derive(Debug, Clone)]
struct Stored {
    at_ms: u64,
    record: NewRecord,
}

/// How to undo a task's part of a commit.
#[derive(Debug, Clone)]
pub struct StoreUndo {
    /// The task.
    pub slot: usize,
    /// Its offset before.
    pub next: u64,
    /// The values before, in the order they were overwritten.
    pub changes: Vec<(Bytes, Option<Bytes>)>,
}

/// A commit that is not synced: how to undo it.
#[derive(Debug, Clone, Default)]
struct Written {
    lengths: Vec<(TopicPartition, usize)>,
    store: Option<StoreUndo>,
}

/// Whether an append survives a crash at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Only after a sync.
    OnSync,
    /// When it returns.
    AtOnce,
}

/// What becomes of the commit that was being written when the machine stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Torn {
    /// It is dropped whole.
    Dropped,
    /// Its appends stay (a deliberate defect).
    AppendsKept,
}

/// The disk.
#[derive(Debug)]
pub struct Disk {
    partitions: BTreeMap<TopicPartition, Vec<Stored>>,
    unsynced: VecDeque<Written>,
    position: u64,
    durability: Durability,
    /// The clock, in milliseconds since 1970.
    pub now_ms: i64,
}

impl Disk {
    /// An empty disk.
    pub const fn new(durability: Durability, now_ms: i64) -> Self {
        Self { partitions: BTreeMap::new(), unsynced: VecDeque::new(), position: 0, durability, now_ms }
    }

    /// One commit of appends and, for a task, its state and offset. Gives the position to wait for.
    pub fn commit(&mut self, appends: Vec<(TopicPartition, NewRecord)>, store: Option<StoreUndo>) -> u64 {
        let at_ms = u64::try_from(self.now_ms).unwrap_or(0);
        let mut written = Written { lengths: Vec::new(), store };
        for (to, record) in appends {
            let partition = self.partitions.entry(to.clone()).or_default();
            if !written.lengths.iter().any(|(known, _)| *known == to) {
                written.lengths.push((to, partition.len()));
            }
            partition.push(Stored { at_ms, record });
        }
        self.position += 1;
        if self.durability == Durability::OnSync {
            self.unsynced.push_back(written);
        }
        self.position
    }

    /// Everything written so far survives from now on.
    pub fn sync(&mut self) {
        self.unsynced.clear();
    }

    /// How many commits a crash could lose.
    pub fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// Whether the commit of this position survives a crash.
    pub fn is_synced(&self, position: u64) -> bool {
        position.saturating_add(self.unsynced.len() as u64) <= self.position
    }

    /// Loses every commit after the first `keep` unsynced ones. Gives what the tasks' stores must undo, latest first.
    pub fn crash(&mut self, keep: usize, torn: Torn) -> Vec<StoreUndo> {
        let mut undone = Vec::new();
        let lost = self.unsynced.split_off(keep.min(self.unsynced.len()));
        for (index, written) in lost.into_iter().enumerate().rev() {
            if index > 0 || torn == Torn::Dropped {
                for (of, length) in &written.lengths {
                    if let Some(partition) = self.partitions.get_mut(of) {
                        partition.truncate(*length);
                    }
                }
            }
            undone.extend(written.store);
            self.position = self.position.saturating_sub(1);
        }
        self.unsynced.clear();
        undone
    }

    /// One past the last written record.
    pub fn end(&self, of: &TopicPartition) -> u64 {
        self.partitions.get(of).map_or(0, Vec::len) as u64
    }

    /// One past the last record that survives a crash.
    pub fn synced_end(&self, of: &TopicPartition) -> u64 {
        let first = self.unsynced.iter().flat_map(|written| &written.lengths).find(|(to, _)| to == of);
        first.map_or_else(|| self.end(of), |(_, length)| *length as u64)
    }

    /// The records from an offset on.
    pub fn read(&self, of: &TopicPartition, from: u64, limit: usize) -> Vec<Record> {
        let Some(partition) = self.partitions.get(of) else { return Vec::new() };
        let start = usize::try_from(from).unwrap_or(usize::MAX);
        let stored = partition.iter().enumerate().skip(start).take(limit);
        stored
            .map(|(offset, stored)| Record {
                offset: Offset(offset as u64),
                appended_at_ms: stored.at_ms,
                key: stored.record.key.clone(),
                value: stored.record.value.clone(),
            })
            .collect()
    }

    /// Every partition that has records.
    pub fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions.keys()
    }
}
