//! Giving up old records.
//!
//! The first offset moves in the metadata, in one batch like any other; from then on the records before it cannot be
//! read. Whole tables that lie before it are then dropped, which costs neither writes nor markers. What is left of a table
//! that lies on both sides goes when the first offset has moved past it.

use std::ops::RangeTo;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fjall::AbstractTree;
use streambook_model::position::Offset;

use super::partition::{PartitionState, TopicState};
use super::read;
use super::shared::Shared;
use super::topics::{self, FirstEntry};
use crate::{LogError, Retention, Visibility};

impl Shared {
    /// Gives up every record before `before`. Blocks while tables are dropped.
    pub(super) fn trim(&self, state: &Arc<PartitionState>, before: Offset) -> Result<(), LogError> {
        let tail = PartitionState::lock(state);
        let first = before.0.min(tail.end);
        if first <= state.first().0 {
            return Ok(());
        }
        let entry = FirstEntry { first, bytes: tail.bytes, appended_at_ms: tail.appended_at_ms };
        let mut batch = self.batch();
        topics::put_first(&mut batch, &self.meta, &state.name, &entry)?;
        self.write(batch, Vec::new())?;
        state.first.store(first, Ordering::Release);
        drop(tail);
        let Some(keyspace) = state.keyspace.get() else { return Ok(()) };
        let gone: RangeTo<[u8; 8]> = ..first.to_be_bytes();
        keyspace.tree.drop_range(gone).map_err(|error| self.failed(fjall::Error::from(error)))
    }

    /// Trims every topic that does not keep its records forever.
    pub(super) fn enforce_retention(&self, now_ms: u64) -> Result<(), LogError> {
        let topics: Vec<Arc<TopicState>> = self.topics.read().values().cloned().collect();
        for topic in topics {
            let retention = *topic.retention.lock();
            for state in &topic.partitions {
                if let Some(before) = first_to_keep(state, retention, now_ms)? {
                    self.trim(state, before)?;
                }
            }
        }
        Ok(())
    }
}

/// The first record to keep, or `None` when all are kept. Only synced records are given up.
fn first_to_keep(
    state: &PartitionState,
    retention: Retention,
    now_ms: u64,
) -> Result<Option<Offset>, LogError> {
    let bounds = state.bounds(Visibility::Synced);
    if bounds.records() == 0 {
        return Ok(None);
    }
    match retention {
        Retention::Forever => Ok(None),
        Retention::Age { max_ms } => {
            let oldest = now_ms.saturating_sub(max_ms);
            first_where(state, |_, appended_at_ms| appended_at_ms >= oldest).map(Some)
        }
        Retention::Bytes { max_per_partition } => {
            let (last, stamp) = read::one(state, Offset(bounds.end.0.saturating_sub(1)))?;
            let size = u64::try_from(last.size()).unwrap_or(u64::MAX);
            let floor = stamp.bytes_before.saturating_add(size).saturating_sub(max_per_partition);
            first_where(state, |bytes_before, _| bytes_before >= floor).map(Some)
        }
    }
}

/// The first readable record whose bytes before it and stamp pass the test, or the end. Both only grow along a
/// partition, so it is found in as many reads as the number of records has bits.
fn first_where(state: &PartitionState, keep: impl Fn(u64, u64) -> bool) -> Result<Offset, LogError> {
    let bounds = state.bounds(Visibility::Synced);
    let (mut low, mut high) = (bounds.first.0, bounds.end.0);
    while low < high {
        let middle = low + (high - low) / 2;
        let (_, stamp) = read::one(state, Offset(middle))?;
        if keep(stamp.bytes_before, stamp.appended_at_ms) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(Offset(low))
}
