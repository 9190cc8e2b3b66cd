//! What can go wrong with a log, by operation.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use streambook_model::position::{Offset, TopicName, TopicPartition};

/// The cause of a failure, shared because a failure that stops the engine is told to every later caller.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// A failed operation on a log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// The topic does not exist.
    #[error("there is no topic `{0}`: create it with ensure_topic first")]
    UnknownTopic(TopicName),
    /// The topic exists, the partition does not.
    #[error("there is no partition {partition}: the topic has {partitions}")]
    UnknownPartition {
        /// What was asked for.
        partition: TopicPartition,
        /// How many the topic has.
        partitions: u16,
    },
    /// The topic exists with another number of partitions, which is fixed at creation.
    #[error(
        "topic `{topic}` has {has} partitions and {asked} were asked for: the number is fixed at creation"
    )]
    PartitionCount {
        /// The topic.
        topic: TopicName,
        /// What it has.
        has: u16,
        /// What was asked for.
        asked: u16,
    },
    /// A topic was asked for with no partition.
    #[error("topic `{0}` was asked for with no partitions: ask for at least 1")]
    NoPartitions(TopicName),
    /// A state keyspace was asked for under a name that cannot be used.
    #[error("`{0}` is not a state name: use 1 to 200 bytes")]
    InvalidStateName(String),
    /// A state key is empty.
    #[error("a key for state `{0}` is empty: use 1 to 65535 bytes")]
    EmptyStateKey(String),
    /// A key or a record is larger than the store can keep.
    #[error("{what} has {bytes} bytes, at most {max} are possible")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The largest size.
        max: usize,
    },
    /// The offset was trimmed away.
    #[error("{partition} was trimmed: its first offset is {first}, offset {asked} is gone")]
    Trimmed {
        /// The partition.
        partition: TopicPartition,
        /// The offset asked for.
        asked: Offset,
        /// The first offset that is left.
        first: Offset,
    },
    /// A stored record is not what was appended: its checksum or its frame is wrong, or its block cannot be decoded.
    #[error("the record at {partition} offset {offset} is corrupt: restore the log from a copy")]
    CorruptRecord {
        /// The partition.
        partition: TopicPartition,
        /// The offset at which reading failed.
        offset: Offset,
        /// What was found.
        #[source]
        source: Cause,
    },
    /// A record that must be there is not.
    #[error("{partition} has a gap: offset {expected} is missing, the next one found is {found:?}")]
    Gap {
        /// The partition.
        partition: TopicPartition,
        /// The offset that must be there.
        expected: Offset,
        /// What was found instead, if anything.
        found: Option<Offset>,
    },
    /// Something the store keeps about itself cannot be decoded.
    #[error("the store's own entry `{entry}` is corrupt: restore the log from a copy")]
    CorruptMetadata {
        /// Which entry.
        entry: String,
        /// What was found.
        #[source]
        source: Cause,
    },
    /// The topic was deleted and made again, so offsets and identities remembered from it mean nothing any more.
    #[error("topic `{0}` is not the one it was: it was deleted and made again; start with an empty store")]
    TopicReplaced(TopicName),
    /// A topic exists under this name that is none of this program's.
    #[error("topic `{topic}` on the cluster was not made by this program: delete it, or use another cluster")]
    ForeignTopic {
        /// The topic.
        topic: TopicName,
        /// What its first record is.
        #[source]
        source: Cause,
    },
    /// Whoever made the topic was interrupted.
    #[error("topic `{0}` was never finished, so nothing is in it: delete it and start again")]
    UnfinishedTopic(TopicName),
    /// A topic exists with settings under which records would be lost.
    #[error("topic `{topic}` would lose records: its {setting} is {found} and must be {wanted}")]
    TopicSettings {
        /// The topic.
        topic: TopicName,
        /// Which setting.
        setting: &'static str,
        /// What it is.
        found: Box<str>,
        /// What it must be.
        wanted: Box<str>,
    },
    /// Records that were there are not any more, and their offsets would be given to others.
    #[error(
        "{partition} ends at offset {end} and had records up to {seen}: acknowledged records were lost; restore the log from a copy"
    )]
    EndMovedBack {
        /// The partition.
        partition: TopicPartition,
        /// One past the last offset that was seen.
        seen: Offset,
        /// Where it ends now.
        end: Offset,
    },
    /// The engine cannot give up single records: it does so by the topic's retention, set when the topic was made.
    #[error("{0} cannot be trimmed by hand: this engine keeps records by the topic's retention")]
    TrimmedByRetention(TopicPartition),
    /// The cluster does not answer.
    #[error("the cluster at {endpoint} does not answer")]
    Unreachable {
        /// Its address.
        endpoint: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// Too few servers are online for the copies that are asked for.
    #[error("{online} servers of the cluster are online and {needed} are needed, one for each copy")]
    TooFewServers {
        /// How many are online.
        online: usize,
        /// How many copies there must be.
        needed: usize,
    },
    /// The cluster refused to do something and would again.
    #[error("the cluster refused to {what}")]
    Refused {
        /// What.
        what: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// Another process has the directory open.
    #[error("{path} is in use by another process: stop it first, or use another directory")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The directory was written by a version of this program that this one does not know.
    #[error(
        "{path} has log format {found}, this program knows {known}: use the program that wrote it, or a newer one"
    )]
    UnknownFormat {
        /// The directory.
        path: PathBuf,
        /// The format found.
        found: String,
        /// The format this program writes.
        known: u32,
    },
    /// Synced data in the write-ahead journal is damaged. Opening would drop acknowledged records, so it is refused and
    /// nothing was changed.
    #[error(
        "{file} is damaged at byte {at}, and acknowledged records follow: restore the log from a copy; nothing was changed"
    )]
    DamagedJournal {
        /// The journal file.
        file: PathBuf,
        /// Where the damage begins.
        at: u64,
    },
    /// The directory could not be opened.
    #[error("could not open the log in {path}")]
    Open {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: Cause,
    },
    /// A read of the store failed; what was acknowledged may still be there.
    #[error("could not read {what}")]
    Read {
        /// What was read.
        what: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// An earlier write or sync failed, so nothing can be written any more until the log is opened again. Reads go on.
    #[error("the log accepts no more writes: {remedy}")]
    Stopped {
        /// What to do, for example free space and start again.
        remedy: &'static str,
        /// The failure that stopped it.
        #[source]
        source: Cause,
    },
}

impl LogError {
    /// Whether the disk (or a quota, or a limit on file size) is full.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Stopped { remedy, .. } if *remedy == DISK_FULL)
    }
}

pub(crate) const DISK_FULL: &str = "the disk is full: free space and start again";
pub(crate) const DISK_FAILED: &str = "the disk failed: check it, then start again";
pub(crate) const CLOSED: &str = "the log was closed";

/// Whether this error, or one it was caused by, says that space ran out.
pub(crate) fn says_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(io) = current.downcast_ref::<io::Error>() {
            let full =
                [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge];
            return full.contains(&io.kind());
        }
        next = current.source();
    }
    false
}
