//! What every record says about itself.

use apache_avro::AvroSchema;
use serde::{Deserialize, Serialize};

use crate::{bytes::LineageHash, time::Timestamp};

/// The first field of every record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct Meta {
    /// Which task emitted the record, for records emitted by a task. It stays the first field, since the codec
    /// stamps it into the encoded record (see `codec::stamp`).
    #[serde(default)]
    pub source: Option<Source>,
    /// The record's natural id: repeats of the same fact carry the same id.
    pub id: String,
    /// When it happened, by the clock of where it happened (a block's time, Stripe's `created`, the API's clock).
    pub occurred_at: Timestamp,
    /// When Streambook first wrote it, or the input it follows from, to its log.
    pub recorded_at: Timestamp,
    /// Which record of the emitting task's inbox led to this one.
    #[serde(default)]
    pub cause: Option<Cause>,
    /// W3C `traceparent` of the request it belongs to.
    #[serde(default)]
    pub trace: Option<String>,
}

/// The lineage of a record emitted by a task: receivers drop a `seq` they have seen, take the next, and stop on a
/// gap or on a known `seq` with another `chain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct Source {
    /// The task, for example `book/3`.
    pub task: String,
    /// Contiguous from 1 for each (task, destination partition), whatever the batching.
    #[serde(with = "crate::avro::long")]
    #[avro(with)]
    pub seq: u64,
    /// Running hash over what the task has sent to this destination partition, this record included.
    pub chain: LineageHash,
}

/// A position in a task's inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct Cause {
    /// The inbox's partition.
    pub partition: u16,
    /// The offset in it.
    #[serde(with = "crate::avro::long")]
    #[avro(with)]
    pub offset: u64,
}
