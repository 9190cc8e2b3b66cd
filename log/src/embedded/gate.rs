//! Writing batches and syncing them together.
//!
//! Batches pass a gate one at a time, which numbers them in the order in which they reach the journal. One thread syncs
//! the journal: as soon as something is unsynced and somebody waits for it, and otherwise after the sync interval. A sync
//! covers all that passed the gate before it began, so everybody who came in the meantime shares the next one. Writers
//! are not held up by a sync.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fjall::{OwnedWriteBatch, PersistMode};
use parking_lot::{Condvar, Mutex};
use streambook_model::position::TopicPartition;
use tokio::sync::watch;

use super::journal::ActiveJournal;
use super::marker::{MARKER_KEY, Marker};
use super::partition::PartitionState;
use super::shared::Shared;
use crate::LogError;

/// Ends of partitions that are written and not yet synced.
type Ends = BTreeMap<TopicPartition, (Arc<PartitionState>, u64)>;

/// The gate and what waits behind it.
pub(super) struct Gate {
    state: Mutex<GateState>,
    wake: Condvar,
    /// The position up to which everything is synced.
    pub(super) synced: watch::Sender<u64>,
}

struct GateState {
    /// The last batch written.
    position: u64,
    /// The last batch synced.
    synced: u64,
    /// The last batch somebody waits for.
    wanted: u64,
    unsynced: Ends,
    syncs: Syncs,
    closing: bool,
}

/// How often the journal was synced since the log was opened, and how long that took: for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Syncs {
    /// How many syncs.
    pub count: u64,
    /// The time they took together.
    pub time: Duration,
}

/// The closed gate.
pub(super) struct Held<'a>(
    #[expect(dead_code, reason = "held, not read")] parking_lot::MutexGuard<'a, GateState>,
);

impl Gate {
    /// A gate behind which everything up to `position` is synced.
    pub(super) fn new(position: u64) -> Self {
        let state = GateState {
            position,
            synced: position,
            wanted: position,
            unsynced: Ends::new(),
            syncs: Syncs::default(),
            closing: false,
        };
        Self { state: Mutex::new(state), wake: Condvar::new(), synced: watch::Sender::new(position) }
    }

    /// Asks for a sync of everything written so far, up to `position`.
    pub(super) fn want(&self, position: u64) {
        let mut state = self.state.lock();
        if state.wanted < position.min(state.position) {
            state.wanted = position.min(state.position);
            self.wake.notify_all();
        }
    }

    /// The position of the last batch written.
    pub(super) fn position(&self) -> u64 {
        self.state.lock().position
    }

    pub(super) fn syncs(&self) -> Syncs {
        self.state.lock().syncs
    }

    /// Asks for a sync of everything written so far.
    pub(super) fn want_all(&self) {
        self.want(u64::MAX);
    }

    /// Keeps batches out while it is held.
    pub(super) fn hold(&self) -> Held<'_> {
        Held(self.state.lock())
    }

    /// Lets the syncing thread sync what is left and end.
    pub(super) fn close(&self) {
        self.state.lock().closing = true;
        self.wake.notify_all();
    }
}

impl Shared {
    /// Writes a batch and returns its position. `ends` are the partitions' ends after it.
    pub(super) fn write(
        &self,
        mut batch: OwnedWriteBatch,
        ends: Vec<(Arc<PartitionState>, u64)>,
    ) -> Result<u64, LogError> {
        let mut state = self.gate.state.lock();
        self.stop.check()?;
        let position = state.position + 1;
        let marker = Marker { position, synced: state.synced };
        batch.insert(&self.meta, MARKER_KEY, marker.encode(&self.store));
        batch.commit().map_err(|error| self.failed(error))?;
        let was_idle = state.position == state.synced;
        state.position = position;
        for (partition, end) in ends {
            state.unsynced.insert(partition.name.clone(), (partition, end));
        }
        if was_idle {
            self.gate.wake.notify_all();
        }
        Ok(position)
    }

    /// Waits until everything up to `position` is synced.
    pub(super) async fn synced_to(&self, position: u64) -> Result<(), LogError> {
        let (mut synced, mut stopped) = (self.gate.synced.subscribe(), self.stop.watch());
        loop {
            if *synced.borrow_and_update() >= position {
                return Ok(());
            }
            self.stop.check()?;
            self.gate.want(position);
            // Neither sender goes away while `self` is borrowed, so both results say only that something changed.
            tokio::select! {
                _ = synced.changed() => {}
                _ = stopped.changed() => {}
            }
        }
    }

    /// The syncing thread: runs until the log is closed or a sync fails.
    pub(super) fn keep_syncing(&self, mut journal: ActiveJournal) {
        while let Some((position, ends)) = self.next_sync() {
            let began = Instant::now();
            if let Err(error) = journal.sync() {
                self.failed(fjall::Error::Io(error));
                return;
            }
            let mut state = self.gate.state.lock();
            state.synced = position;
            state.syncs.count += 1;
            state.syncs.time += began.elapsed();
            drop(state);
            for (partition, end) in ends.into_values() {
                partition.synced.send_replace(end);
            }
            self.gate.synced.send_replace(position);
        }
    }

    /// Waits until a sync is due; `None` when the log closes and nothing is left to sync.
    fn next_sync(&self) -> Option<(u64, Ends)> {
        let mut state = self.gate.state.lock();
        let mut waited = false;
        loop {
            if self.stop.check().is_err() {
                return None;
            }
            if state.position == state.synced {
                if state.closing {
                    return None;
                }
                self.gate.wake.wait(&mut state);
                waited = false;
            } else if waited || state.closing || state.wanted > state.synced {
                return Some((state.position, std::mem::take(&mut state.unsynced)));
            } else {
                waited = self.gate.wake.wait_for(&mut state, self.options.sync_interval).timed_out();
            }
        }
    }

    /// Writes a last mark, so that damage to synced data is told from a torn end even if nothing was written after it.
    pub(super) fn seal(&self) -> Result<(), LogError> {
        self.stop.check()?;
        let state = self.gate.state.lock();
        let marker = Marker { position: state.position, synced: state.synced };
        let mut batch = self.batch().durability(Some(PersistMode::SyncAll));
        batch.insert(&self.meta, MARKER_KEY, marker.encode(&self.store));
        batch.commit().map_err(|error| self.failed(error))
    }
}
