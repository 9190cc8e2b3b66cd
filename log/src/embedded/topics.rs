//! Topics and first offsets in the store's metadata.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use fjall::{Keyspace, OwnedWriteBatch};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use streambook_model::position::{TopicName, TopicPartition};
use uuid::Uuid;

use super::failure::read_failed;
use super::frame::Stamp;
use super::partition::{PartitionState, Tail, TopicState};
use super::read;
use super::shared::{Shared, partition_keyspace, partition_options};
use crate::{LogError, Record, Retention, Topic, TopicId, TopicSpec};

const TOPIC_PREFIX: &str = "topic/";

/// A topic as it is kept.
#[derive(Serialize, Deserialize)]
struct TopicEntry {
    name: TopicName,
    id: TopicId,
    partitions: u16,
    retention: Retention,
}

/// A partition's first offset as it is kept, with what an empty partition's next record needs to know.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct FirstEntry {
    pub(super) first: u64,
    pub(super) bytes: u64,
    pub(super) appended_at_ms: u64,
}

impl Shared {
    pub(super) fn ensure_topic(&self, spec: &TopicSpec) -> Result<Topic, LogError> {
        if spec.partitions == 0 {
            return Err(LogError::NoPartitions(spec.name.clone()));
        }
        let mut topics = self.topics.write();
        if let Some(existing) = topics.get(&spec.name) {
            return self.adopt(existing, spec);
        }
        let entry = TopicEntry {
            name: spec.name.clone(),
            id: TopicId(Uuid::now_v7().into_bytes()),
            partitions: spec.partitions,
            retention: spec.retention,
        };
        self.put_topic(&entry)?;
        let state = Arc::new(new_topic(entry, |_| Ok(PartitionFound::default()))?);
        topics.insert(spec.name.clone(), Arc::clone(&state));
        Ok(state.describe())
    }

    /// An existing topic must have the same partitions; its retention may change.
    fn adopt(&self, existing: &TopicState, spec: &TopicSpec) -> Result<Topic, LogError> {
        let has = existing.topic.partitions;
        if has != spec.partitions {
            return Err(LogError::PartitionCount { topic: spec.name.clone(), has, asked: spec.partitions });
        }
        let mut retention = existing.retention.lock();
        if *retention != spec.retention {
            let Topic { name, id, partitions, .. } = existing.topic.clone();
            self.put_topic(&TopicEntry { name, id, partitions, retention: spec.retention })?;
            *retention = spec.retention;
        }
        drop(retention);
        Ok(existing.describe())
    }

    fn put_topic(&self, entry: &TopicEntry) -> Result<(), LogError> {
        let key = format!("{TOPIC_PREFIX}{}", entry.name);
        let mut batch = self.batch();
        batch.insert(&self.meta, key.as_bytes(), encode(&key, entry)?);
        self.write(batch, Vec::new()).map(|_| ())
    }
}

/// Reads every topic from the metadata, and the end of every partition from its last record.
pub(super) fn load(
    db: &fjall::Database,
    meta: &Keyspace,
) -> Result<BTreeMap<TopicName, Arc<TopicState>>, LogError> {
    let existing: HashSet<String> = db.list_keyspace_names().iter().map(ToString::to_string).collect();
    let mut topics = BTreeMap::new();
    for guard in meta.prefix(TOPIC_PREFIX) {
        let (key, value) =
            guard.into_inner().map_err(|error| read_failed("the list of topics".to_owned(), error))?;
        let entry: TopicEntry = decode(&String::from_utf8_lossy(&key), &value)?;
        let topic = new_topic(entry, |name| {
            let keyspace_name = partition_keyspace(name);
            let keyspace = if existing.contains(&keyspace_name) {
                let opened = db.keyspace(&keyspace_name, partition_options);
                Some(opened.map_err(|error| read_failed(name.to_string(), error))?)
            } else {
                None
            };
            Ok(PartitionFound { first: get_first(meta, name)?, keyspace })
        })?;
        topics.insert(topic.topic.name.clone(), Arc::new(topic));
    }
    Ok(topics)
}

/// What the store has of a partition.
#[derive(Default)]
struct PartitionFound {
    first: FirstEntry,
    keyspace: Option<Keyspace>,
}

fn new_topic(
    entry: TopicEntry,
    find: impl Fn(&TopicPartition) -> Result<PartitionFound, LogError>,
) -> Result<TopicState, LogError> {
    let TopicEntry { name, id, partitions, retention } = entry;
    let topic = Topic { name, id, partitions, retention };
    let states: Result<Vec<_>, LogError> =
        topic.partitions().map(|name| Ok(Arc::new(new_partition(&topic, &name, find(&name)?)?))).collect();
    Ok(TopicState { retention: Mutex::new(retention), partitions: states?, topic })
}

fn new_partition(
    topic: &Topic,
    name: &TopicPartition,
    found: PartitionFound,
) -> Result<PartitionState, LogError> {
    let FirstEntry { first, bytes, appended_at_ms } = found.first;
    let trimmed = Tail { end: first, bytes, appended_at_ms };
    let empty = PartitionState::new(name.clone(), topic.id, first, trimmed);
    let Some(keyspace) = found.keyspace else { return Ok(empty) };
    let found = read::last(&empty, &keyspace)?.and_then(|(records, stamp)| tail_of(&records, stamp));
    // Frames before the first offset may be left over from tables that were not dropped yet.
    let tail = found.filter(|tail| tail.end > first).unwrap_or(trimmed);
    let state = PartitionState::new(name.clone(), topic.id, first, tail);
    state.keyspace.get_or_init(|| keyspace);
    Ok(state)
}

/// The end of a partition whose newest frame this is.
fn tail_of(records: &[Record], stamp: Stamp) -> Option<Tail> {
    let bytes: usize = records.iter().map(Record::size).sum();
    Some(Tail {
        end: records.last()?.offset.0 + 1,
        bytes: stamp.bytes_before + u64::try_from(bytes).unwrap_or_default(),
        appended_at_ms: stamp.appended_at_ms,
    })
}

fn first_key(name: &TopicPartition) -> String {
    format!("first/{name}")
}

fn get_first(meta: &Keyspace, name: &TopicPartition) -> Result<FirstEntry, LogError> {
    let key = first_key(name);
    let stored = meta.get(&key).map_err(|error| read_failed(key.clone(), error))?;
    stored.map_or_else(|| Ok(FirstEntry::default()), |stored| decode(&key, &stored))
}

pub(super) fn put_first(
    batch: &mut OwnedWriteBatch,
    meta: &Keyspace,
    name: &TopicPartition,
    entry: &FirstEntry,
) -> Result<(), LogError> {
    let key = first_key(name);
    let value = encode(&key, entry)?;
    batch.insert(meta, key.as_bytes(), value);
    Ok(())
}

fn encode(key: &str, entry: &impl Serialize) -> Result<Vec<u8>, LogError> {
    postcard::to_stdvec(entry)
        .map_err(|error| LogError::CorruptMetadata { entry: key.to_owned(), source: Arc::new(error) })
}

fn decode<T: DeserializeOwned>(key: &str, stored: &[u8]) -> Result<T, LogError> {
    postcard::from_bytes(stored)
        .map_err(|error| LogError::CorruptMetadata { entry: key.to_owned(), source: Arc::new(error) })
}
