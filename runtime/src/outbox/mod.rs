//! On a log that many processes share: what a process has decided and others must learn.
//!
//! A task commits its state, its offset and its outputs in one step to the process's own store, so the store's partitions
//! are the outbox. From there each destination partition has a [`Lane`] that appends to the shared log, in order, and keeps
//! every record until its receiver's checkpoint says that it was taken. What the log lost, or a crash made unsure, is sent
//! again; the receiver drops what it has by lineage.
//!
//! The outbox has a limit: while it holds more, tasks take nothing ([`Room`]).

mod lane;
mod pending;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use streambook_log::{Log, LogError, ReadLimit, Record, Visibility, embedded::EmbeddedLog};
use streambook_model::{
    peek::NotARecord,
    position::{Offset, Partition, TopicPartition},
    time::Timestamp,
    topics::{self, TopicDef},
};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use self::lane::Lane;
use crate::{
    checkpoints::View,
    clock,
    health::{Condition, Health},
    metrics::Metric,
    step::chain_of,
};

/// Most records that are held before tasks have to wait: some minutes of a busy process.
const MOST_HELD: u64 = 2_000_000;
/// How often the outbox is measured.
const LOOK: Duration = Duration::from_millis(500);
/// The outbox's name in health.
const NAME: &str = "outbox";

/// Why records are no longer sent.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The store or the shared log failed.
    #[error("the log failed")]
    Log(#[from] LogError),
    /// What is in the store is no record.
    #[error("{from} offset {offset} in this process's store")]
    NotARecord {
        /// The partition.
        from: TopicPartition,
        /// The offset in the store.
        offset: Offset,
        /// Why.
        #[source]
        source: NotARecord,
    },
    /// The receiver took something else under a number of ours.
    #[error(transparent)]
    Contradiction(#[from] pending::Contradiction),
}

/// Whether tasks may take more.
#[derive(Debug, Clone)]
pub struct Room(watch::Receiver<bool>);

impl Room {
    /// Waits until the outbox is below its limit. Once the outbox has ended there is no limit to wait for: nothing is sent
    /// any more, and health says so.
    pub async fn wait(&mut self) {
        let _ = self.0.wait_for(|room| *room).await;
    }
}

/// Sends what the store's partitions hold to the shared log.
pub struct Outbox {
    store: Arc<EmbeddedLog>,
    log: Arc<dyn Log>,
    view: View,
    health: Health,
    room: watch::Sender<bool>,
    /// Records that were sent and are not known to have arrived, of all lanes.
    unacknowledged: Arc<AtomicU64>,
}

impl Outbox {
    /// From this process's store to the shared log, kept until `view` says that it arrived.
    pub fn new(store: Arc<EmbeddedLog>, log: Arc<dyn Log>, view: View, health: Health) -> Self {
        let (room, unacknowledged) = (watch::Sender::new(true), Arc::default());
        Self { store, log, view, health, room, unacknowledged }
    }

    /// Tells tasks when to wait.
    pub fn room(&self) -> Room {
        Room(self.room.subscribe())
    }

    /// Runs until it is told to stop. A lane that has to stop reports why; the others go on.
    pub async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => return,
            () = self.view.caught_up() => {}
        }
        self.health.report(NAME, Condition::Running);
        // Counted even where there is none, so that an alarm sees the first one as a change.
        for topic in topics::ALL.iter().filter(|topic| topic.receiver.is_some()) {
            Metric::OutboxResends.count(0, &[("topic", topic.name.to_owned())]);
        }
        let mut lanes = JoinSet::new();
        for (topic, partition) in destinations() {
            let lane = Lane::new(&self, &topic, partition);
            let (health, stop) = (self.health.clone(), stop.clone());
            lanes.spawn(async move {
                let name = lane.name();
                if let Err(error) = lane.run(&stop).await {
                    health.report(&name, Condition::Stopped { reason: chain_of(&error) });
                }
            });
        }
        while !stop.is_cancelled() {
            if let Err(error) = self.measure().await {
                self.health.report(NAME, Condition::Stopped { reason: chain_of(&error) });
                break;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        lanes.join_all().await;
    }

    async fn measure(&self) -> Result<(), LogError> {
        let (mut held, mut oldest) = (0_u64, None);
        for (topic, partition) in destinations() {
            let at = TopicPartition::new(topic.topic(), partition);
            let bounds = self.store.bounds(&at, Visibility::Written).await?;
            held = held.saturating_add(bounds.records());
            if bounds.records() > 0 {
                oldest = [oldest, self.written_at(&at, bounds.first).await?].into_iter().flatten().min();
            }
        }
        Metric::OutboxRecords.set(held, &[]);
        Metric::OutboxUnacknowledged.set(self.unacknowledged.load(Relaxed), &[]);
        Metric::OutboxOldestSeconds.set(oldest.map_or(0, |oldest| age(oldest).as_secs()), &[]);
        let room = held < MOST_HELD;
        let changed = self.room.send_if_modified(|before| std::mem::replace(before, room) != room);
        if changed {
            let reason = format!("{held} records wait to be sent or taken: tasks wait");
            self.health.report(NAME, if room { Condition::Running } else { Condition::Troubled { reason } });
        }
        Ok(())
    }

    /// When the record at this offset of the store was written; none where it was given up meanwhile.
    async fn written_at(&self, at: &TopicPartition, offset: Offset) -> Result<Option<Timestamp>, LogError> {
        let one = ReadLimit { records: 1, bytes: 1 };
        let read = match self.store.read(at, offset, one, Visibility::Written).await {
            Err(LogError::Trimmed { .. }) => return Ok(None),
            read => read?,
        };
        let written = |record: &Record| i64::try_from(record.appended_at_ms).unwrap_or(i64::MAX);
        Ok(read.first().map(written).map(Timestamp::from_millis))
    }
}

fn age(of: Timestamp) -> Duration {
    clock::since(of, clock::system()())
}

/// Every partition that something may be sent to.
fn destinations() -> impl Iterator<Item = (TopicDef, Partition)> {
    topics::ALL
        .into_iter()
        .flat_map(|topic| (0..topic.partitions).map(move |number| (topic, Partition(number))))
}
