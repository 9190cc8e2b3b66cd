//! Where a record lives in the log: topic, partition, offset.
//!
//! Each is a type of its own so that an offset can never be passed where a partition is meant.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

/// The name of a topic, for example `book.inbox`. Lower-case letters, digits, `.` and `-`, at most 100 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TopicName(Cow<'static, str>);

/// A topic name with a character outside `[a-z0-9.-]`, empty, or too long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a topic name: use 1 to 100 of a-z, 0-9, `.` and `-`")]
pub struct InvalidTopicName(pub String);

impl TopicName {
    /// Checks and wraps a name.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidTopicName> {
        let name = name.into();
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
        if name.is_empty() || name.len() > 100 || !name.bytes().all(allowed) {
            return Err(InvalidTopicName(name));
        }
        Ok(Self(Cow::Owned(name)))
    }

    /// Wraps a name written in the code, which a test checks.
    pub(crate) const fn constant(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of a partition within its topic, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Partition(pub u16);

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The position of a record in its partition. The first record ever appended has offset 0; offsets have no gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(pub u64);

impl Offset {
    /// The offset `records` further on.
    pub const fn plus(self, records: u64) -> Self {
        Self(self.0 + records)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One partition of one topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicName,
    /// The partition in it.
    pub partition: Partition,
}

impl TopicPartition {
    /// Names one partition.
    pub const fn new(topic: TopicName, partition: Partition) -> Self {
        Self { topic, partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}
