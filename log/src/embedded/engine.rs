//! The handle: opening and closing, the log's methods, and what the engine offers beside them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use async_trait::async_trait;
use parking_lot::Mutex;
use streambook_model::position::{Offset, TopicName, TopicPartition};

use super::commit::{Commit, Committed};
use super::gate::Syncs;
use super::journal::ActiveJournal;
use super::keeper::{self, KeeperSwitch};
use super::open::{self, STORE_DIRECTORY, open_failed};
use super::options::EmbeddedOptions;
use super::read;
use super::shared::{Shared, state_options};
use super::state::StateKeyspace;
use crate::{Appended, Bounds, Log, LogError, NewRecord, ReadLimit, Record, Topic, TopicSpec, Visibility};

const MAX_STATE_NAME_BYTES: usize = 200;

/// A log in a directory. Dropping it syncs what is written and closes the directory, once every [`StateKeyspace`] of it
/// is dropped too.
pub struct EmbeddedLog {
    pub(super) shared: Arc<Shared>,
    keeper: Arc<KeeperSwitch>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl EmbeddedLog {
    /// Opens the log in a directory, making it if there is none. What was torn by a crash is repaired first.
    ///
    /// # Errors
    /// [`LogError::InUse`], [`LogError::UnknownFormat`], [`LogError::DamagedJournal`], [`LogError::CorruptRecord`] when
    /// the last record of a partition cannot be read, and [`LogError::Open`].
    pub fn open(options: EmbeddedOptions) -> Result<Arc<Self>, LogError> {
        let shared = Arc::new(open::open(options)?);
        let path = shared.options.path.clone();
        let failed = |error: io::Error| open_failed(&path, error);
        let mut journal = ActiveJournal::open(&path.join(STORE_DIRECTORY)).map_err(failed)?;
        // What is found may have been written and never synced; readers may act on it as soon as it is seen.
        journal.sync().map_err(failed)?;
        let log = Self { shared, keeper: Arc::default(), threads: Mutex::default() };
        let shared = Arc::clone(&log.shared);
        log.spawn("log-sync", move || shared.keep_syncing(journal)).map_err(failed)?;
        let (shared, switch) = (Arc::clone(&log.shared), Arc::clone(&log.keeper));
        log.spawn("log-memory", move || keeper::run(&shared, &switch)).map_err(failed)?;
        Ok(Arc::new(log))
    }

    fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.lock().push(Builder::new().name(name.to_owned()).spawn(work)?);
        Ok(())
    }

    /// Opens the state of this name, making it if there is none. Names are 1 to 200 bytes.
    ///
    /// # Errors
    /// [`LogError::InvalidStateName`], [`LogError::Stopped`].
    pub fn state(&self, name: &str) -> Result<StateKeyspace, LogError> {
        if name.is_empty() || name.len() > MAX_STATE_NAME_BYTES {
            return Err(LogError::InvalidStateName(name.to_owned()));
        }
        let keyspace = self.shared.make(&format!("state/{name}"), state_options)?;
        Ok(StateKeyspace::new(name, keyspace, self.shared.db.clone()))
    }

    /// Applies state changes and appends records in one atomic step, and returns when they are written, not yet synced.
    /// May wait for the tables to take in what was written before, so it is for threads that may wait.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`], [`LogError::UnknownPartition`], [`LogError::TooLarge`], [`LogError::EmptyStateKey`]
    /// (nothing was changed); [`LogError::Stopped`] (the log accepts no more writes; whether this commit is there is
    /// known when it is opened again).
    pub fn commit(&self, commit: &Commit) -> Result<Committed, LogError> {
        self.shared.commit(commit)
    }

    /// Waits until everything up to this position (of a [`Committed`] or an [`Appended`] of this log) is on disk.
    ///
    /// # Errors
    /// [`LogError::Stopped`]: it may or may not be there when the log is opened again.
    pub async fn synced_to(&self, position: u64) -> Result<(), LogError> {
        self.shared.synced_to(position).await
    }

    /// The position of everything written so far, for [`EmbeddedLog::synced_to`].
    pub fn written_position(&self) -> u64 {
        self.shared.gate.position()
    }

    /// The position up to which everything is on disk.
    pub fn synced_position(&self) -> u64 {
        *self.shared.gate.synced.borrow()
    }

    /// The offset the next record of a partition will have.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`], [`LogError::UnknownPartition`].
    pub fn written_end(&self, of: &TopicPartition) -> Result<Offset, LogError> {
        Ok(self.shared.partition(of)?.bounds(Visibility::Written).end)
    }

    /// One past the last offset of a partition that is on disk.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`], [`LogError::UnknownPartition`].
    pub fn synced_end(&self, of: &TopicPartition) -> Result<Offset, LogError> {
        Ok(self.shared.partition(of)?.bounds(Visibility::Synced).end)
    }

    /// As [`Log::read`], on the calling thread, which may have to wait for the disk.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub fn read_blocking(
        &self,
        from: &TopicPartition,
        offset: Offset,
        limit: ReadLimit,
        visibility: Visibility,
    ) -> Result<Vec<Record>, LogError> {
        let state = self.shared.partition(from)?;
        match read::from_memory(&state, offset, limit, visibility)? {
            Some(records) => Ok(records),
            None => read::from_tables(&state, offset, limit, visibility),
        }
    }

    /// Trims every topic to its retention; inboxes ([`Retention::Forever`](crate::Retention::Forever)) never. The owner
    /// calls it now and then, from a thread that may wait.
    ///
    /// # Errors
    /// As [`Log::trim`] and [`Log::read`].
    pub fn enforce_retention(&self, now_ms: u64) -> Result<(), LogError> {
        self.shared.enforce_retention(now_ms)
    }

    /// Fails with the reason once the log accepts no more writes.
    ///
    /// # Errors
    /// [`LogError::Stopped`].
    pub fn check(&self) -> Result<(), LogError> {
        self.shared.stop.check()
    }

    /// How often and how long the journal was synced.
    pub fn syncs(&self) -> Syncs {
        self.shared.gate.syncs()
    }

    /// Bytes on disk: journals and tables.
    ///
    /// # Errors
    /// [`LogError::Read`].
    pub fn disk_bytes(&self) -> Result<u64, LogError> {
        let bytes = self.shared.db.disk_space();
        bytes.map_err(|error| super::failure::read_failed("the size on disk".to_owned(), error))
    }
}

#[async_trait]
impl Log for EmbeddedLog {
    async fn ensure_topic(&self, spec: &TopicSpec) -> Result<Topic, LogError> {
        let topic = self.shared.ensure_topic(spec)?;
        // Its identity must not be lost once records or consumers refer to it.
        self.shared.synced_to(self.shared.gate.position()).await?;
        Ok(topic)
    }

    async fn topics(&self) -> Result<Vec<Topic>, LogError> {
        Ok(self.shared.topics.read().values().map(|topic| topic.describe()).collect())
    }

    async fn topic(&self, name: &TopicName) -> Result<Topic, LogError> {
        Ok(self.shared.topic(name)?.describe())
    }

    async fn append(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Result<Appended, LogError> {
        self.shared.room_for(to).await?;
        self.shared.append(to, records)
    }

    async fn synced(&self, appended: &Appended) -> Result<(), LogError> {
        self.shared.synced_to(appended.position).await
    }

    async fn read(
        &self,
        from: &TopicPartition,
        offset: Offset,
        limit: ReadLimit,
        visibility: Visibility,
    ) -> Result<Vec<Record>, LogError> {
        let state = self.shared.partition(from)?;
        if let Some(records) = read::from_memory(&state, offset, limit, visibility)? {
            return Ok(records);
        }
        blocking(from, move || read::from_tables(&state, offset, limit, visibility)).await
    }

    async fn wait(
        &self,
        on: &TopicPartition,
        offset: Offset,
        visibility: Visibility,
    ) -> Result<(), LogError> {
        let state = self.shared.partition(on)?;
        let (mut end, mut stopped) = (state.end(visibility).subscribe(), self.shared.stop.watch());
        loop {
            if *end.borrow_and_update() > offset.0 {
                return Ok(());
            }
            self.shared.stop.check()?;
            if visibility == Visibility::Synced && *state.written.borrow() > offset.0 {
                self.shared.gate.want_all();
            }
            // Neither sender goes away meanwhile, so both results say only that something changed.
            tokio::select! {
                _ = end.changed() => {}
                _ = stopped.changed() => {}
            }
        }
    }

    async fn wait_synced(&self, on: &BTreeMap<TopicPartition, Offset>) -> Result<(), LogError> {
        let state = |(name, offset): (_, &Offset)| Ok((self.shared.partition(name)?, offset.0));
        let states: Vec<_> = on.iter().map(state).collect::<Result<_, LogError>>()?;
        // One channel for all partitions: theirs are set before it.
        let (mut synced, mut stopped) = (self.shared.gate.synced.subscribe(), self.shared.stop.watch());
        loop {
            synced.borrow_and_update();
            if states.iter().any(|(state, offset)| *state.synced.borrow() > *offset) {
                return Ok(());
            }
            self.shared.stop.check()?;
            if states.iter().any(|(state, offset)| *state.written.borrow() > *offset) {
                self.shared.gate.want_all();
            }
            tokio::select! {
                _ = synced.changed() => {}
                _ = stopped.changed() => {}
            }
        }
    }

    async fn bounds(&self, of: &TopicPartition, visibility: Visibility) -> Result<Bounds, LogError> {
        Ok(self.shared.partition(of)?.bounds(visibility))
    }

    async fn trim(&self, partition: &TopicPartition, before: Offset) -> Result<(), LogError> {
        let (shared, state) = (Arc::clone(&self.shared), self.shared.partition(partition)?);
        blocking(partition, move || shared.trim(&state, before)).await
    }
}

/// Runs work that waits for the disk off the threads that drive tasks.
async fn blocking<T: Send + 'static>(
    on: &TopicPartition,
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(LogError::Read { what: on.to_string(), source: Arc::new(error) }))
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        self.keeper.close();
        self.shared.gate.close();
        for thread in self.threads.get_mut().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the log panicked");
            }
        }
        if let Err(error) = self.shared.seal() {
            tracing::warn!(error = %error, "the log was closed without a final mark");
        }
        self.shared.stop.close();
    }
}
