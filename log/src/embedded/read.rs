//! Reading a run of records: from memory at the end of a partition, else from the tables.
//!
//! Whatever the store claims, each record's offset is compared with the expected one and its checksum is verified.

use std::sync::Arc;

use bytes::Bytes;
use fjall::Keyspace;
use streambook_model::position::Offset;

use super::frame::{self, Stamp};
use super::partition::PartitionState;
use super::recent::Recent;
use crate::{Bounds, Cause, LogError, ReadLimit, Record, Visibility};

/// Records from `from` on that are in memory; `None` when the tables have to be read.
pub(super) fn from_memory(
    state: &PartitionState,
    from: Offset,
    limit: ReadLimit,
    visibility: Visibility,
) -> Result<Option<Vec<Record>>, LogError> {
    let bounds = state.bounds(visibility);
    check_not_trimmed(state, from)?;
    if from >= bounds.end || limit.records == 0 {
        return Ok(Some(Vec::new()));
    }
    Ok(Recent::read(state, from, bounds.end, limit))
}

/// Records from `from` on, from the tables. Blocks while the disk works.
pub(super) fn from_tables(
    state: &PartitionState,
    from: Offset,
    limit: ReadLimit,
    visibility: Visibility,
) -> Result<Vec<Record>, LogError> {
    let run = read_run(state, Bounds { first: from, end: state.bounds(visibility).end }, limit);
    // A trim may have taken the records away while they were read.
    run.or_else(|error| check_not_trimmed(state, from).and(Err(error)))
}

fn check_not_trimmed(state: &PartitionState, asked: Offset) -> Result<(), LogError> {
    let first = state.first();
    if asked < first {
        return Err(LogError::Trimmed { partition: state.name.clone(), asked, first });
    }
    Ok(())
}

fn read_run(state: &PartitionState, run: Bounds, limit: ReadLimit) -> Result<Vec<Record>, LogError> {
    let gap = |expected, found| LogError::Gap { partition: state.name.clone(), expected, found };
    let keyspace = state.keyspace.get().ok_or_else(|| gap(run.first, None))?;
    let (mut records, mut bytes, mut expected) = (Vec::new(), 0_usize, run.first);
    for guard in keyspace.range(run.first.0.to_be_bytes()..run.end.0.to_be_bytes()).take(limit.records) {
        let (key, stored) = guard.into_inner().map_err(|error| corrupt(state, expected, Arc::new(error)))?;
        let found = offset_of(&key);
        if found != Some(expected) {
            return Err(gap(expected, found));
        }
        let (record, _) = decode(state, expected, &Bytes::from(stored))?;
        bytes = bytes.saturating_add(record.size());
        if bytes > limit.bytes && !records.is_empty() {
            return Ok(records);
        }
        records.push(record);
        expected = expected.plus(1);
    }
    if expected < run.end && records.len() < limit.records {
        return Err(gap(expected, None));
    }
    Ok(records)
}

/// The newest record's offset and what follows from it; `None` in an empty keyspace.
pub(super) fn last(state: &PartitionState, keyspace: &Keyspace) -> Result<Option<(Record, Stamp)>, LogError> {
    let Some(guard) = keyspace.last_key_value() else { return Ok(None) };
    let (key, stored) = guard.into_inner().map_err(|error| corrupt(state, state.first(), Arc::new(error)))?;
    let offset = offset_of(&key).ok_or_else(|| LogError::Gap {
        partition: state.name.clone(),
        expected: state.first(),
        found: None,
    })?;
    decode(state, offset, &Bytes::from(stored)).map(Some)
}

/// One record with its stamp.
pub(super) fn one(state: &PartitionState, offset: Offset) -> Result<(Record, Stamp), LogError> {
    let missing = || LogError::Gap { partition: state.name.clone(), expected: offset, found: None };
    let keyspace = state.keyspace.get().ok_or_else(missing)?;
    let stored =
        keyspace.get(offset.0.to_be_bytes()).map_err(|error| corrupt(state, offset, Arc::new(error)))?;
    decode(state, offset, &Bytes::from(stored.ok_or_else(missing)?))
}

fn decode(state: &PartitionState, offset: Offset, stored: &Bytes) -> Result<(Record, Stamp), LogError> {
    frame::decode(&state.place(offset), stored).map_err(|error| corrupt(state, offset, Arc::new(error)))
}

fn corrupt(state: &PartitionState, offset: Offset, source: Cause) -> LogError {
    LogError::CorruptRecord { partition: state.name.clone(), offset, source }
}

fn offset_of(key: &[u8]) -> Option<Offset> {
    Some(Offset(u64::from_be_bytes(key.try_into().ok()?)))
}
