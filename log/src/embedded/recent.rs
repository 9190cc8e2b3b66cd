//! The newest records in memory, so that readers at the end of a partition never touch the tables.
//!
//! All partitions share one budget of bytes; when it is exceeded the oldest append of any partition leaves. A ring
//! always holds an unbroken run up to the end of its partition, so whoever finds its offset in it needs nothing else.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use streambook_model::position::Offset;

use super::partition::PartitionState;
use crate::{ReadLimit, Record};

/// What a record costs besides its bytes.
const OVERHEAD_BYTES: usize = 160;

/// The shared budget.
pub(super) struct Recent {
    budget_bytes: usize,
    order: Mutex<Order>,
}

#[derive(Default)]
struct Order {
    chunks: VecDeque<Chunk>,
    bytes: usize,
}

/// The records of one append, in the order of appends over all partitions.
struct Chunk {
    partition: Arc<PartitionState>,
    records: usize,
    bytes: usize,
}

impl Recent {
    pub(super) fn new(budget_bytes: usize) -> Self {
        Self { budget_bytes, order: Mutex::new(Order::default()) }
    }

    /// Adds records that follow those already there. The caller holds the partition's lock.
    pub(super) fn push(&self, partition: &Arc<PartitionState>, records: Vec<Record>) {
        if records.is_empty() {
            return;
        }
        let bytes = records.iter().map(|record| record.size() + OVERHEAD_BYTES).sum();
        let chunk = Chunk { partition: Arc::clone(partition), records: records.len(), bytes };
        let mut order = self.order.lock();
        partition.recent.lock().extend(records);
        order.bytes += bytes;
        order.chunks.push_back(chunk);
        while order.bytes > self.budget_bytes {
            let Some(oldest) = order.chunks.pop_front() else { break };
            order.bytes -= oldest.bytes;
            let mut ring = oldest.partition.recent.lock();
            let leaving = oldest.records.min(ring.len());
            ring.drain(..leaving);
        }
    }

    /// The records from `from` on and below `end`, or `None` when the ring begins later.
    pub(super) fn read(
        partition: &PartitionState,
        from: Offset,
        end: Offset,
        limit: ReadLimit,
    ) -> Option<Vec<Record>> {
        let ring = partition.recent.lock();
        let first = ring.front()?.offset;
        let skip = usize::try_from(from.0.checked_sub(first.0)?).ok()?;
        let mut bytes = 0_usize;
        let mut found = Vec::new();
        for record in ring.iter().skip(skip).take_while(|record| record.offset < end).take(limit.records) {
            bytes = bytes.saturating_add(record.size());
            if bytes > limit.bytes && !found.is_empty() {
                break;
            }
            found.push(record.clone());
        }
        (!found.is_empty()).then_some(found)
    }
}
