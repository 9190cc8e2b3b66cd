//! A record as it is appended and as it is read.

use bytes::Bytes;
use streambook_model::position::Offset;

/// A record to append. The engine gives it an offset and the time of the append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// What decides the partition; may be empty.
    pub key: Bytes,
    /// The payload.
    pub value: Bytes,
}

impl NewRecord {
    /// A record of a key and a payload.
    pub fn new(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { key: key.into(), value: value.into() }
    }

    /// Bytes of key and value.
    pub fn size(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

/// A record as read. It may share memory with the engine's caches: copy what is kept for long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the partition.
    pub offset: Offset,
    /// When it was appended, by the appending machine's clock, in milliseconds since 1970. Never falls within a
    /// partition. For retention and lag, never for business decisions.
    pub appended_at_ms: u64,
    /// What decided the partition.
    pub key: Bytes,
    /// The payload.
    pub value: Bytes,
}

impl Record {
    /// Bytes of key and value.
    pub fn size(&self) -> usize {
        self.key.len() + self.value.len()
    }
}
