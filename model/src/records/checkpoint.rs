//! How far a receiver is, on a log that many processes share.

use apache_avro::AvroSchema;
use serde::{Deserialize, Serialize};

use crate::{bytes::LineageHash, meta::Meta};

/// What a task or a sink has taken and will not forget: senders may forget it then. Stated again every few seconds, so that
/// it also says that the process lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct Checkpoint {
    /// About the record.
    pub meta: Meta,
    /// The process, by the name its operator gave it.
    pub process: String,
    /// Where its health and metrics are, for example `http://127.0.0.1:9101`.
    pub address: String,
    /// The task (`book/3`) or sink (`sql`).
    pub receiver: String,
    /// `running`, `troubled` or `stopped`.
    pub condition: String,
    /// What is the matter, when something is.
    #[serde(default)]
    pub reason: Option<String>,
    /// Everything it reads.
    pub inputs: Vec<CheckpointInput>,
}

/// How far a receiver is in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct CheckpointInput {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u16,
    /// The offset of the first record it has not taken.
    #[serde(with = "crate::avro::long")]
    #[avro(with)]
    pub next_offset: u64,
    /// The last record it took from each task that sends there.
    pub sources: Vec<CheckpointSource>,
}

/// The last record a receiver took from one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct CheckpointSource {
    /// The sending task.
    pub task: String,
    /// Its number.
    #[serde(with = "crate::avro::long")]
    #[avro(with)]
    pub seq: u64,
    /// The running hash after it.
    pub chain: LineageHash,
}
