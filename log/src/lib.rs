//! The log every part of Streambook writes to and reads from: the [`Log`] trait and its embedded engine.
//!
//! A topic is a fixed number of partitions; a partition is a sequence of records whose offsets have no gaps.
//! What an engine promises, whatever it is built on: records of one append are kept together and in order;
//! what [`Log::synced`] acknowledged is there after a crash; what [`Log::read`] returns is exactly what was
//! appended, at the offsets it was appended to, or an error.
//!
//! [`embedded::EmbeddedLog`] keeps everything in one directory of one machine, [`fluvio::FluvioLog`] on a Fluvio cluster. How
//! the trait maps to them and to Kafka, and which of their faults an engine has to make up for, is in `log/ENGINES.md`.

mod error;
mod log;
mod record;
mod topic;

pub mod embedded;
pub mod fluvio;
pub mod partitioner;

pub use crate::error::{Cause, LogError};
pub use crate::log::{Appended, Bounds, Log, ReadLimit, Visibility};
pub use crate::record::{NewRecord, Record};
pub use crate::topic::{Retention, Topic, TopicId, TopicSpec};
pub use streambook_model::position::{Offset, Partition, TopicName, TopicPartition};
