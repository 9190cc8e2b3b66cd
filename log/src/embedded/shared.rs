//! What the log's handle and its threads share.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use fjall::config::{BlockSizePolicy, CompressionPolicy, FilterPolicy};
use fjall::{
    AbstractTree, CompressionType, Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode,
};
use parking_lot::{Mutex, RwLock};
use streambook_model::position::{TopicName, TopicPartition};

use super::failure::StopSwitch;
use super::gate::Gate;
use super::marker::StoreId;
use super::options::EmbeddedOptions;
use super::partition::{PartitionState, TopicState};
use super::recent::Recent;
use crate::LogError;

/// How often a writer that waits for room looks again.
const ROOM_INTERVAL: Duration = Duration::from_millis(5);

pub(super) struct Shared {
    pub(super) options: EmbeddedOptions,
    pub(super) store: StoreId,
    pub(super) db: Database,
    pub(super) meta: Keyspace,
    pub(super) topics: RwLock<BTreeMap<TopicName, Arc<TopicState>>>,
    /// Every open keyspace, for the thread that keeps the write buffer small.
    pub(super) keyspaces: Mutex<BTreeMap<String, Keyspace>>,
    pub(super) recent: Recent,
    pub(super) gate: Gate,
    pub(super) stop: StopSwitch,
    /// Held while the directory is open. Declared last, so that it is given up after the store is closed.
    pub(super) _lock: File,
}

impl Shared {
    pub(super) fn topic(&self, name: &TopicName) -> Result<Arc<TopicState>, LogError> {
        self.topics.read().get(name).map(Arc::clone).ok_or_else(|| LogError::UnknownTopic(name.clone()))
    }

    pub(super) fn partition(&self, name: &TopicPartition) -> Result<Arc<PartitionState>, LogError> {
        let topic = self.topic(&name.topic)?;
        topic.partitions.get(usize::from(name.partition.0)).map(Arc::clone).ok_or_else(|| {
            LogError::UnknownPartition { partition: name.clone(), partitions: topic.topic.partitions }
        })
    }

    /// The keyspace of a partition, made if this is its first append.
    pub(super) fn keyspace_of<'a>(&self, state: &'a PartitionState) -> Result<&'a Keyspace, LogError> {
        if let Some(keyspace) = state.keyspace.get() {
            return Ok(keyspace);
        }
        let made = self.make(&partition_keyspace(&state.name), partition_options)?;
        Ok(state.keyspace.get_or_init(|| made))
    }

    /// Opens a keyspace, or makes it. No batch is written meanwhile: making one moves the store's visible sequence
    /// number, which would show half of a batch.
    pub(super) fn make(
        &self,
        name: &str,
        options: impl FnOnce() -> KeyspaceCreateOptions,
    ) -> Result<Keyspace, LogError> {
        self.stop.check()?;
        let held = self.gate.hold();
        let keyspace = self.db.keyspace(name, options).map_err(|error| self.failed(error))?;
        drop(held);
        self.keyspaces.lock().insert(name.to_owned(), keyspace.clone());
        Ok(keyspace)
    }

    /// A batch that is handed to the operating system when it is committed, so that readers and a second handle on the
    /// journal find it.
    pub(super) fn batch(&self) -> OwnedWriteBatch {
        self.db.batch().durability(Some(PersistMode::Buffer))
    }

    /// Stops the engine because of this failure.
    pub(super) fn failed(&self, error: fjall::Error) -> LogError {
        self.stop.stop(&self.options.path, error)
    }

    /// Waits while a keyspace has more data than its tables can take in. The store would wait as well, but without end
    /// when its own threads have failed, so this begins to wait earlier and notices the failure.
    pub(super) fn room(&self, keyspace: &Keyspace) -> Result<(), LogError> {
        while self.is_crowded(keyspace) {
            self.stop.check()?;
            self.db.persist(PersistMode::Buffer).map_err(|error| self.failed(error))?;
            std::thread::sleep(ROOM_INTERVAL);
        }
        Ok(())
    }

    /// Whether a writer of this keyspace would have to wait now.
    pub(super) fn is_crowded(&self, keyspace: &Keyspace) -> bool {
        let over = self.db.write_buffer_size() > self.options.write_buffer_bytes.saturating_mul(2);
        keyspace.sealed_memtable_count() >= 2
            || keyspace.tree.l0_run_count() >= 16
            || (over && self.db.outstanding_flushes() > 0)
    }

    /// As [`Shared::room`], without blocking the calling thread.
    pub(super) async fn room_for(&self, partition: &TopicPartition) -> Result<(), LogError> {
        let state = self.partition(partition)?;
        while state.keyspace.get().is_some_and(|keyspace| self.is_crowded(keyspace)) {
            self.stop.check()?;
            self.db.persist(PersistMode::Buffer).map_err(|error| self.failed(error))?;
            tokio::time::sleep(ROOM_INTERVAL).await;
        }
        Ok(())
    }
}

/// The name of a partition's keyspace.
pub(super) fn partition_keyspace(name: &TopicPartition) -> String {
    format!("topic/{name}")
}

/// What all keyspaces have in common: when they are written to tables is for [`keeper`](super::keeper) to say.
fn options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(u64::MAX)
}

/// A partition is appended to and read in ranges: larger compressed blocks, and no filters, which serve point reads.
pub(super) fn partition_options() -> KeyspaceCreateOptions {
    options()
        .data_block_size_policy(BlockSizePolicy::all(16 * 1_024))
        // What was just written is often moved on or trimmed before it is read from its table: it is compressed when it
        // is first rewritten.
        .data_block_compression_policy(CompressionPolicy::new([CompressionType::None, CompressionType::Lz4]))
        .filter_policy(FilterPolicy::disabled())
}

/// State is read by key.
pub(super) fn state_options() -> KeyspaceCreateOptions {
    options()
}

/// The metadata is a few keys.
pub(super) fn meta_options() -> KeyspaceCreateOptions {
    options()
}
