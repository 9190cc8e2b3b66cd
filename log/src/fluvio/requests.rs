//! What is asked of the server that leads a partition: where it begins and ends, records at an offset, a stream of them,
//! and to append some. Offsets here are Fluvio's: the header of a partition has 0, the first record 1.

use std::time::Duration;

use bytes::Bytes;
use fluvio::Isolation;
use fluvio::dataplane::link::ErrorCode;
use fluvio_spu_schema::fetch::{FetchPartition, FetchRequest, FetchableTopic};
use fluvio_spu_schema::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use fluvio_spu_schema::server::fetch_offset::FetchOffsetsRequest;
use fluvio_spu_schema::server::stream_fetch::StreamFetchRequest;
use fluvio_spu_schema::server::update_offset::{OffsetUpdate, UpdateOffsetsRequest};
use streambook_model::position::{Offset, Partition};

use super::connection::{Connection, ConnectionError, PATIENCE, Sent};
use super::frame::{self, FrameError, Framed};
use super::names::Replica;
use super::wire::{self, Batches};

/// The largest record that is appended: key and value.
pub(super) const LARGEST_RECORD: usize = 8 << 20;
/// How many bytes of records an answer may have; more is asked for only where a batch is larger.
pub(super) const ANSWER_BYTES: i32 = 1 << 20;
/// Enough for any batch: as large as a segment.
pub(super) const LARGEST_ANSWER: i32 = 16 << 20;
/// How long a server waits for replicas before it says that they are late.
const REPLICA_PATIENCE: Duration = Duration::from_secs(10);

/// The offset Fluvio gives the record of this offset of ours.
pub(super) fn to_engine(offset: Offset) -> i64 {
    i64::try_from(offset.0).unwrap_or(i64::MAX).saturating_add(1)
}

/// Our offset of the record that has this one in Fluvio. The header, which is none of ours, is before the first.
pub(super) fn from_engine(offset: i64) -> Offset {
    Offset(u64::try_from(offset.saturating_sub(1)).unwrap_or(0))
}

/// Where a partition begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) first: i64,
    pub(super) end: i64,
}

/// Where the partition begins, and how far it is known to be replicated.
pub(super) async fn offsets(connection: &mut Connection, of: &Replica) -> Result<Ends, ConnectionError> {
    let sent = ask_offsets(connection, of).await?;
    let answer = tokio::time::timeout(PATIENCE, answer_to(connection, sent)).await;
    let answer = answer.unwrap_or_else(|_| Err(connection.silent(PATIENCE)))?;
    read_offsets(connection, sent, answer)
}

async fn answer_to(connection: &mut Connection, sent: Sent) -> Result<Bytes, ConnectionError> {
    loop {
        let (number, answer) = connection.receive().await?;
        if number == sent.number {
            return Ok(answer);
        }
    }
}

/// Asks without waiting for the answer.
pub(super) async fn ask_offsets(connection: &mut Connection, of: &Replica) -> Result<Sent, ConnectionError> {
    connection.send(FetchOffsetsRequest::new(of.topic.clone(), of.number)).await
}

pub(super) fn read_offsets(
    connection: &Connection,
    sent: Sent,
    answer: Bytes,
) -> Result<Ends, ConnectionError> {
    let answer = connection.read::<FetchOffsetsRequest>(sent, answer)?;
    let partition = answer.topics.into_iter().flat_map(|topic| topic.partitions).next();
    let partition = partition.ok_or_else(|| connection.garbled("an answer without the partition"))?;
    if partition.error_code != ErrorCode::None {
        return Err(connection.refused(partition.error_code));
    }
    Ok(Ends { first: partition.start_offset, end: partition.last_stable_offset })
}

/// Where the partition begins and where what this isolation shows ends.
///
/// With one replica everything written counts, but after a crash the server remembers an older mark and says that one: so the end is
/// walked to from there.
pub(super) async fn ends(
    connection: &mut Connection,
    of: &Replica,
    isolation: Isolation,
) -> Result<Ends, ConnectionError> {
    let mut ends = offsets(connection, of).await?;
    if isolation == Isolation::ReadCommitted {
        return Ok(ends);
    }
    loop {
        let batches = fetch(connection, of, ends.end, ANSWER_BYTES, isolation).await?;
        match wire::unpack(&batches).end {
            Some(end) if end > ends.end => ends.end = end,
            _ => return Ok(ends),
        }
    }
}

/// Records from an offset on, whole batches of them from the one that holds the offset.
pub(super) async fn fetch(
    connection: &mut Connection,
    from: &Replica,
    offset: i64,
    max_bytes: i32,
    isolation: Isolation,
) -> Result<Batches, ConnectionError> {
    let partition = FetchPartition {
        partition_index: from.number,
        fetch_offset: offset,
        max_bytes,
        ..FetchPartition::default()
    };
    let request = FetchRequest::<Batches> {
        max_bytes,
        isolation_level: isolation,
        topics: vec![FetchableTopic { name: from.topic.clone(), fetch_partitions: vec![partition] }],
        ..FetchRequest::default()
    };
    let answer = connection.call(request, PATIENCE).await?;
    let partition = answer.topics.into_iter().flat_map(|topic| topic.partitions).next();
    let partition = partition.ok_or_else(|| connection.garbled("an answer without the partition"))?;
    match partition.error_code {
        ErrorCode::None => Ok(partition.records),
        code => Err(connection.refused(code)),
    }
}

/// Where the partition ends, when this error says that it was asked for something behind that. The server says it in words
/// only.
pub(super) fn moved_back(error: &ConnectionError) -> Option<Offset> {
    let ConnectionError::Refused { source, .. } = error else { return None };
    let ErrorCode::Other(text) = &**source else { return None };
    let (_, end) = text.split_once("is greater than leo: ")?;
    end.trim().parse().ok().map(from_engine)
}

/// What the first record of a partition is.
#[derive(Debug)]
pub(super) enum First {
    /// Nothing was ever written to it.
    Empty,
    /// It is not one of this program, or not as it was written.
    Foreign(FrameError),
    /// It is the header, or where that is gone, a record.
    Found(Framed),
}

/// Reads the first record that is left: it tells whose topic it is, replicated or not.
pub(super) async fn first(connection: &mut Connection, of: &Replica) -> Result<First, ConnectionError> {
    let start = offsets(connection, of).await?.first;
    for max_bytes in [64 << 10, LARGEST_ANSWER] {
        let batches = fetch(connection, of, start, max_bytes, Isolation::ReadUncommitted).await?;
        let answer = wire::unpack(&batches);
        if let Some((_, value)) = answer.records.first() {
            let read = frame::read(Partition(u16::try_from(of.number).unwrap_or(u16::MAX)), value);
            return Ok(read.map_or_else(First::Foreign, First::Found));
        }
        if let Some(damage) = answer.damage {
            return Err(connection.garbled(&damage.to_string()));
        }
        if !answer.cut {
            return Ok(First::Empty);
        }
    }
    Err(connection.garbled("a first record that is too large"))
}

/// The kind of request a stream is.
pub(super) type Stream = StreamFetchRequest<Batches>;

/// Opens a stream from an offset on. The server sends an answer, and the next when it is told how far that one was taken.
pub(super) async fn open_stream(
    connection: &mut Connection,
    from: &Replica,
    offset: i64,
    max_bytes: i32,
    isolation: Isolation,
) -> Result<Sent, ConnectionError> {
    let mut request = Stream::default();
    request.topic = from.topic.clone();
    request.partition = from.number;
    request.fetch_offset = offset;
    request.max_bytes = max_bytes;
    request.isolation = isolation;
    connection.send(request).await
}

/// Says how far a stream was taken, without waiting for the answer.
pub(super) async fn took(
    connection: &mut Connection,
    stream: u32,
    offset: i64,
) -> Result<(), ConnectionError> {
    let offsets = vec![OffsetUpdate { offset, session_id: stream }];
    connection.send(UpdateOffsetsRequest { offsets }).await.map(|_| ())
}

/// What became of records that were sent.
#[derive(Debug)]
pub(super) enum Produced {
    /// They are there, the first at this offset.
    At(i64),
    /// They are with the leader, the first at this offset, and replicas are late.
    Unreplicated(i64, ErrorCode),
}

/// Appends. When this fails, they may or may not be there.
pub(super) async fn produce(
    connection: &mut Connection,
    to: &Replica,
    records: Batches,
    isolation: Isolation,
) -> Result<Produced, ConnectionError> {
    let partition = PartitionProduceData { partition_index: to.number, records };
    let topic = TopicProduceData {
        name: to.topic.clone(),
        partitions: vec![partition],
        ..TopicProduceData::default()
    };
    let request = ProduceRequest::<Batches> {
        isolation,
        timeout: REPLICA_PATIENCE,
        topics: vec![topic],
        ..ProduceRequest::default()
    };
    let patience = match isolation {
        Isolation::ReadCommitted => REPLICA_PATIENCE + PATIENCE,
        Isolation::ReadUncommitted => PATIENCE,
    };
    let answer = connection.call(request, patience).await?;
    let partition = answer.responses.into_iter().flat_map(|topic| topic.partitions).next();
    let partition = partition.ok_or_else(|| connection.garbled("an answer without the partition"))?;
    match partition.error_code {
        ErrorCode::None => Ok(Produced::At(partition.base_offset)),
        code @ ErrorCode::RequestTimedOut { .. } => Ok(Produced::Unreplicated(partition.base_offset, code)),
        code => Err(connection.refused(code)),
    }
}
