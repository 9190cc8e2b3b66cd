//! One atomic step: state changes and appends that happen together or not at all.
//!
//! Offsets are given out under the locks of the partitions, taken in sorted order, so two commits never wait for each
//! other in a circle and no reader sees a gap. The commit is one batch in the store's single journal, so after a crash
//! either all of it is there or none, and never a later commit without an earlier one.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use fjall::{Keyspace, OwnedWriteBatch};
use parking_lot::MutexGuard;
use streambook_model::position::{Offset, TopicPartition};

use super::frame;
use super::partition::{PartitionState, Tail};
use super::shared::Shared;
use super::state::{MAX_KEY_BYTES, StateKeyspace};
use crate::{Appended, LogError, NewRecord, Record};

/// The largest record, key and value together. Far below what the store can frame, so that no length overflows.
pub const MAX_RECORD_BYTES: usize = 64 << 20;

/// A change of one key of a state keyspace. Of several changes of one key in a commit, the last one counts.
#[derive(Debug, Clone)]
pub struct StateWrite {
    /// Where.
    pub state: StateKeyspace,
    /// The key: 1 to 65,535 bytes.
    pub key: Bytes,
    /// The new value, or `None` to delete the key.
    pub value: Option<Bytes>,
}

/// What happens in one step.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// State changes.
    pub writes: Vec<StateWrite>,
    /// Records to append, in this order. A partition may occur more than once.
    pub appends: Vec<(TopicPartition, Vec<NewRecord>)>,
}

/// What a commit was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// What [`EmbeddedLog::synced_to`](super::EmbeddedLog::synced_to) waits for.
    pub position: u64,
    /// For each element of [`Commit::appends`], the offset of its first record (or the end, if it has none).
    pub bases: Vec<Offset>,
}

/// The appends of a commit to one partition, while its lock is held.
struct Lane<'a> {
    state: &'a Arc<PartitionState>,
    tail: MutexGuard<'a, Tail>,
    next: Tail,
    adds: Vec<&'a NewRecord>,
}

impl Shared {
    pub(super) fn commit(&self, commit: &Commit) -> Result<Committed, LogError> {
        check_sizes(commit)?;
        let partitions = self.resolve(&commit.appends)?;
        for state in partitions.values() {
            self.room(self.keyspace_of(state)?)?;
        }
        for write in &commit.writes {
            self.room(&write.state.keyspace)?;
        }
        let mut batch = self.batch();
        let mut lanes = lock(&partitions);
        let bases = fill(&mut lanes, &commit.appends)?;
        let now = (self.options.clock)();
        let mut added = Vec::with_capacity(lanes.len());
        for lane in lanes.values_mut() {
            added.push(lane.place(&mut batch, self.keyspace_of(lane.state)?, now));
        }
        for write in &commit.writes {
            match &write.value {
                Some(value) => batch.insert(&write.state.keyspace, write.key.clone(), value.clone()),
                None => batch.remove(&write.state.keyspace, write.key.clone()),
            }
        }
        let ends = lanes.values().map(|lane| (Arc::clone(lane.state), lane.next.end)).collect();
        let position = self.write(batch, ends)?;
        for (mut lane, records) in lanes.into_values().zip(added) {
            *lane.tail = lane.next;
            self.recent.push(lane.state, records);
            lane.state.written.send_replace(lane.next.end);
        }
        Ok(Committed { position, bases })
    }

    pub(super) fn append(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Result<Appended, LogError> {
        let count = u64::try_from(records.len()).unwrap_or(u64::MAX);
        let commit = Commit { writes: Vec::new(), appends: vec![(to.clone(), records)] };
        let committed = self.commit(&commit)?;
        let base = committed.bases.first().copied().unwrap_or_default();
        Ok(Appended { base, records: count, position: committed.position })
    }

    fn resolve(
        &self,
        appends: &[(TopicPartition, Vec<NewRecord>)],
    ) -> Result<BTreeMap<TopicPartition, Arc<PartitionState>>, LogError> {
        appends.iter().map(|(name, _)| Ok((name.clone(), self.partition(name)?))).collect()
    }
}

/// Gives the appends to their lanes; tells each append's first offset.
fn fill<'a>(
    lanes: &mut BTreeMap<TopicPartition, Lane<'a>>,
    appends: &'a [(TopicPartition, Vec<NewRecord>)],
) -> Result<Vec<Offset>, LogError> {
    let mut bases = Vec::with_capacity(appends.len());
    for (name, records) in appends {
        let lane = lanes.get_mut(name).ok_or_else(|| LogError::UnknownTopic(name.topic.clone()))?;
        bases.push(Offset(lane.next.end + u64::try_from(lane.adds.len()).unwrap_or_default()));
        lane.adds.extend(records);
    }
    Ok(bases)
}

impl Lane<'_> {
    /// Gives the records their places and frames them. The records read back share the frames' memory.
    fn place(&mut self, batch: &mut OwnedWriteBatch, keyspace: &Keyspace, now: u64) -> Vec<Record> {
        self.next.appended_at_ms = self.next.appended_at_ms.max(now);
        let appended_at_ms = self.next.appended_at_ms;
        let mut added = Vec::with_capacity(self.adds.len());
        for records in frame::cut(&self.adds) {
            let (base, bytes_before) = (self.next.end, self.next.bytes);
            self.next.end += u64::try_from(records.len()).unwrap_or_default();
            let place = self.state.place(Offset(self.next.end - 1));
            let stored = frame::encode(&place, frame::Stamp { appended_at_ms, bytes_before }, records);
            let mut at = frame::HEADER;
            for (record, offset) in records.iter().zip(base..) {
                let (key, value) = frame::parts(&stored, &mut at, record);
                added.push(Record { offset: Offset(offset), appended_at_ms, key, value });
                self.next.bytes += u64::try_from(record.size()).unwrap_or(u64::MAX);
            }
            batch.insert(keyspace, place.last.0.to_be_bytes(), stored);
        }
        added
    }
}

/// Takes the locks in the order of the map, which is sorted.
fn lock<'a>(
    partitions: &'a BTreeMap<TopicPartition, Arc<PartitionState>>,
) -> BTreeMap<TopicPartition, Lane<'a>> {
    let lane = |state: &'a Arc<PartitionState>| {
        let tail = PartitionState::lock(state);
        Lane { state, next: *tail, tail, adds: Vec::new() }
    };
    partitions.iter().map(|(name, state)| (name.clone(), lane(state))).collect()
}

fn check_sizes(commit: &Commit) -> Result<(), LogError> {
    for write in &commit.writes {
        at_most("a state key", write.key.len(), MAX_KEY_BYTES)?;
        at_most("a state value", write.value.as_ref().map_or(0, Bytes::len), MAX_RECORD_BYTES)?;
        if write.key.is_empty() {
            return Err(LogError::EmptyStateKey(write.state.name().to_owned()));
        }
    }
    commit
        .appends
        .iter()
        .flat_map(|(_, records)| records)
        .try_for_each(|record| at_most("a record", record.size(), MAX_RECORD_BYTES))
}

fn at_most(what: &'static str, bytes: usize, max: usize) -> Result<(), LogError> {
    if bytes > max { Err(LogError::TooLarge { what, bytes, max }) } else { Ok(()) }
}
