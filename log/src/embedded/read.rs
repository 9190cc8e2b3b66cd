//! Reading a run of records: from memory at the end of a partition, else from the tables.
//!
//! Whatever the store claims, each record's offset is compared with the expected one and its frame's checksum is verified.

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
    for guard in keyspace.range(run.first.0.to_be_bytes()..run.end.0.to_be_bytes()) {
        let (key, stored) = guard.into_inner().map_err(|error| corrupt(state, expected, Arc::new(error)))?;
        let last = offset_of(&key).ok_or_else(|| gap(expected, None))?;
        let (frame, _) = decode(state, expected, last, &Bytes::from(stored))?;
        for record in frame.into_iter().skip_while(|record| record.offset < run.first) {
            if record.offset != expected {
                return Err(gap(expected, Some(record.offset)));
            }
            bytes = bytes.saturating_add(record.size());
            if records.len() == limit.records || bytes > limit.bytes && !records.is_empty() {
                return Ok(records);
            }
            records.push(record);
            expected = expected.plus(1);
        }
    }
    if expected < run.end { Err(gap(expected, None)) } else { Ok(records) }
}

/// The newest frame's records and stamp; `None` in an empty keyspace.
pub(super) fn last(
    state: &PartitionState,
    keyspace: &Keyspace,
) -> Result<Option<(Vec<Record>, Stamp)>, LogError> {
    let Some(guard) = keyspace.last_key_value() else { return Ok(None) };
    frame_of(state, state.first(), guard).map(Some)
}

/// One record with its stamp, as if it were alone in its frame.
pub(super) fn one(state: &PartitionState, offset: Offset) -> Result<(Record, Stamp), LogError> {
    let missing = || LogError::Gap { partition: state.name.clone(), expected: offset, found: None };
    let keyspace = state.keyspace.get().ok_or_else(missing)?;
    let guard = keyspace.range(offset.0.to_be_bytes()..).next().ok_or_else(missing)?;
    let (records, mut stamp) = frame_of(state, offset, guard)?;
    for record in records {
        if record.offset == offset {
            return Ok((record, stamp));
        }
        stamp.bytes_before += u64::try_from(record.size()).unwrap_or_default();
    }
    Err(missing())
}

fn frame_of(
    state: &PartitionState,
    expected: Offset,
    guard: fjall::Guard,
) -> Result<(Vec<Record>, Stamp), LogError> {
    let (key, stored) = guard.into_inner().map_err(|error| corrupt(state, expected, Arc::new(error)))?;
    let missing = || LogError::Gap { partition: state.name.clone(), expected, found: None };
    decode(state, expected, offset_of(&key).ok_or_else(missing)?, &Bytes::from(stored))
}

/// Checks the frame whose last record has this offset, and takes it apart.
fn decode(
    state: &PartitionState,
    expected: Offset,
    last: Offset,
    stored: &Bytes,
) -> Result<(Vec<Record>, Stamp), LogError> {
    let checked = frame::check(&state.place(last), stored).and_then(|()| frame::unpack(last, stored));
    checked.map_err(|error| corrupt(state, expected, Arc::new(error)))
}

fn corrupt(state: &PartitionState, offset: Offset, source: Cause) -> LogError {
    LogError::CorruptRecord { partition: state.name.clone(), offset, source }
}

fn offset_of(key: &[u8]) -> Option<Offset> {
    Some(Offset(u64::from_be_bytes(key.try_into().ok()?)))
}
