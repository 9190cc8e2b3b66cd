//! What could not be processed, why, and where it came from.

use apache_avro::AvroSchema;
use serde::{Deserialize, Serialize};

use crate::{id::DeadLetterId, meta::Meta};

/// A record that changed nothing because it could not be used. Public on `dead.letters`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct DeadLetter {
    /// About the record.
    pub meta: Meta,
    /// Its id.
    pub letter: DeadLetterId,
    /// The task or connector that could not use it.
    pub task: String,
    /// The topic it was read from.
    pub topic: String,
    /// The partition.
    pub partition: u16,
    /// The offset.
    #[serde(with = "crate::avro::long")]
    #[avro(with)]
    pub offset: u64,
    /// A stable code for the reason, for example `unknown_payment`.
    pub code: String,
    /// The reason in words, and the remedy where there is one.
    pub reason: String,
    /// The record's key.
    #[serde(with = "apache_avro::serde::bytes")]
    #[avro(with)]
    pub key: Vec<u8>,
    /// The record, byte for byte.
    #[serde(with = "apache_avro::serde::bytes")]
    #[avro(with)]
    pub record: Vec<u8>,
}
