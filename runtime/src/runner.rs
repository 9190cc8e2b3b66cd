//! Runs one task: reads its inbox, steps, commits, appends ticks when they are due.
//!
//! Reads see records that are written and not yet synced: one write-ahead log orders everything in this process, so no
//! later commit can survive without an earlier one. A record that stops the task leaves the ones before it committed.
//!
//! On a log that many processes share ([`Runner::on`]) the inbox is there, and state, offset and outputs are committed to
//! this process's store, whose outbox sends the outputs on.
//!
//! A step reads the store and a commit may wait for it, so a task holds its thread meanwhile: tasks run on threads of
//! their own ([`TaskThreads`](crate::threads::TaskThreads)). To move the other futures of a thread elsewhere for each
//! step costs more than most steps.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use streambook_log::{Log, LogError, ReadLimit, Record, Visibility, embedded::EmbeddedLog};
use streambook_model::{
    message::Message,
    meta::Meta,
    position::{Offset, Partition},
    records::book::Tick,
    time::Timestamp,
};
use tokio_util::sync::CancellationToken;

use crate::{
    checks::Checks,
    clock::{self, Clock},
    health::{Condition, Health},
    lineage::{self, Gaps},
    metrics::Metric,
    missing::Missing,
    outbox::Room,
    processor::Processor,
    publisher::{PublishError, Publisher},
    state::StateError,
    step::{Output, Step, Stopped, Taken, Task, chain_of},
    store::TaskStore,
};

/// Most records of one commit: enough to share its cost, few enough that state and outputs of a batch stay small.
const BATCH: ReadLimit = ReadLimit { records: 512, bytes: 4 << 20 };
/// The longest wait without looking at the clock again.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Why a task ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A record stopped it.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The log failed.
    #[error("the log failed")]
    Log(#[from] LogError),
    /// A tick could not be appended.
    #[error("a tick could not be appended")]
    Tick(#[from] PublishError),
}

/// One task and what it needs to run.
pub struct Runner {
    log: Arc<dyn Log>,
    store: Arc<EmbeddedLog>,
    shared: Option<Room>,
    processor: Arc<dyn Processor>,
    partition: Partition,
    clock: Clock,
    health: Health,
    missing: Missing,
    /// What has been missing for long, and when that was looked at.
    lacks: (Vec<String>, Option<Instant>),
}

impl Runner {
    /// A task of this processor at this partition; its inbox is in the store.
    pub fn new(
        store: Arc<EmbeddedLog>,
        processor: Arc<dyn Processor>,
        partition: Partition,
        clock: Clock,
        health: Health,
    ) -> Self {
        let log: Arc<dyn Log> = Arc::<EmbeddedLog>::clone(&store);
        let (missing, lacks) = (Missing::default(), (Vec::new(), None));
        Self { log, store, shared: None, processor, partition, clock, health, missing, lacks }
    }

    /// The same task with its inbox in a log that many processes share; it waits while the outbox has no room.
    #[must_use]
    pub fn on(self, log: Arc<dyn Log>, room: Room) -> Self {
        Self { log, shared: Some(room), ..self }
    }

    /// The task's name, for example `book/3`.
    pub fn name(&self) -> String {
        crate::step::task_name(&*self.processor, self.partition)
    }

    /// Runs until it is told to stop, or has to.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), RunError> {
        let processor = Arc::clone(&self.processor);
        let gaps = if self.shared.is_some() { Gaps::AwaitResend } else { Gaps::Stop };
        let task = Task::new(&*processor, self.partition).with_gaps(gaps);
        let mut store = TaskStore::open(Arc::clone(&self.store), self.processor.name(), self.partition)?;
        let mut next = store.next_offset()?;
        let mut ticked_to = Offset(0);
        // Counted even where there is none, so that an alarm sees the first one as a change.
        Metric::DeadLetters.count(0, &[("task", task.name().to_owned())]);
        self.report(&store)?;
        while !stop.is_cancelled() {
            if let Some(room) = &mut self.shared {
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = room.wait() => {}
                }
            }
            let records = self.log.read(task.inbox(), next, BATCH, Visibility::Written).await?;
            if records.is_empty() {
                self.report(&store)?;
                // A tick that is appended and not yet taken must not be appended again.
                let due = if next >= ticked_to { self.processor.next_deadline(&store)? } else { None };
                if let Some(tick) = due.filter(|due| *due <= (self.clock)()) {
                    ticked_to = self.tick(&task, tick).await?;
                    continue;
                }
                tokio::select! {
                    () = stop.cancelled() => break,
                    waited = self.log.wait(task.inbox(), next, Visibility::Written) => waited?,
                    () = tokio::time::sleep(self.until(due)) => {}
                }
                continue;
            }
            next = self.take(&task, &mut store, &records)?;
            self.lag(&task, next).await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Steps through the records and commits what was done, even when one of them stops the task.
    fn take(
        &mut self,
        task: &Task<'_>,
        store: &mut TaskStore,
        records: &[Record],
    ) -> Result<Offset, RunError> {
        let mut outputs: Vec<Output> = Vec::new();
        let mut taken = Vec::with_capacity(records.len());
        let mut stopped = None;
        for record in records {
            match task.step(record, store) {
                Ok(mut step) => {
                    outputs.append(&mut step.outputs);
                    taken.push(step);
                }
                Err(reason) => {
                    count_violation(&reason);
                    stopped = Some(reason);
                    break;
                }
            }
        }
        let first = records.first().map_or(Offset(0), |record| record.offset);
        let next = first.plus(u64::try_from(taken.len()).unwrap_or(u64::MAX));
        if !taken.is_empty() {
            let emitted = outputs.len();
            let began = Instant::now();
            store.commit(next, outputs)?;
            self.count(task, &taken, records, emitted, began.elapsed());
            self.report(store)?;
        }
        stopped.map_or(Ok(next), |reason| Err(reason.into()))
    }

    fn count(&self, task: &Task<'_>, taken: &[Step], records: &[Record], emitted: usize, commit: Duration) {
        let label = || ("task", task.name().to_owned());
        let kinds = [
            (Taken::Processed, "processed"),
            (Taken::Repeat, "repeat"),
            (Taken::Early, "early"),
            (Taken::DeadLettered, "dead"),
        ];
        for (kind, name) in kinds {
            let count = taken.iter().filter(|step| step.taken == kind).count();
            if count > 0 {
                Metric::Records.count(count as u64, &[label(), ("result", name.to_owned())]);
            }
        }
        let dead = taken.iter().filter(|step| step.taken == Taken::DeadLettered).count();
        if dead > 0 {
            Metric::DeadLetters.count(dead as u64, &[label()]);
        }
        count_checks(taken);
        Metric::Outputs.count(emitted as u64, &[label()]);
        Metric::CommitSeconds.observe(commit, &[label()]);
        if let Some(oldest) = records.first() {
            let appended = Timestamp::from_millis(i64::try_from(oldest.appended_at_ms).unwrap_or(i64::MAX));
            Metric::LatencySeconds.observe(clock::since(appended, (self.clock)()), &[label()]);
        }
    }

    async fn lag(&self, task: &Task<'_>, next: Offset) -> Result<(), RunError> {
        let end = self.log.bounds_lately(task.inbox(), Visibility::Written).await?.end;
        Metric::Lag.set(end.0.saturating_sub(next.0), &[("task", task.name().to_owned())]);
        Ok(())
    }

    fn report(&mut self, store: &TaskStore) -> Result<(), RunError> {
        let mut alarms = self.processor.alarms(store)?;
        if self.shared.is_some() {
            self.look_for_missing(store)?;
            alarms.extend_from_slice(&self.lacks.0);
        }
        let condition = match alarms.is_empty() {
            true => Condition::Running,
            false => Condition::Troubled { reason: alarms.join("; ") },
        };
        self.health.report(&self.name(), condition);
        Ok(())
    }

    fn look_for_missing(&mut self, store: &TaskStore) -> Result<(), RunError> {
        let now = Instant::now();
        if self.lacks.1.is_none_or(|looked| now.duration_since(looked) >= LONGEST_WAIT) {
            self.lacks = (self.missing.see(lineage::missing(store)?, now), Some(now));
        }
        Ok(())
    }

    fn until(&self, due: Option<Timestamp>) -> Duration {
        due.map_or(LONGEST_WAIT, |due| clock::since((self.clock)(), due).min(LONGEST_WAIT))
    }

    /// Appends the tick; gives the offset after it.
    async fn tick(&self, task: &Task<'_>, due: Timestamp) -> Result<Offset, RunError> {
        let now = (self.clock)();
        let id = format!("tick:{}:{}", task.name(), due.millis());
        let meta = Meta { source: None, id, occurred_at: due, recorded_at: now, cause: None, trace: None };
        let message = Message::from(Tick { meta, now });
        let appended =
            Publisher::new(Arc::clone(&self.log)).publish_to(task.inbox(), b"tick", &message).await?;
        Ok(appended.base.plus(appended.records))
    }
}

/// Violations are counted even where there are none, so that an alarm has a number to look at.
fn count_checks(taken: &[Step]) {
    let mut checks = Checks::default();
    taken.iter().for_each(|step| checks.merge(&step.checks));
    for (invariant, count) in checks.iter() {
        let label = [("invariant", invariant.to_owned())];
        Metric::InvariantChecks.count(count, &label);
        Metric::InvariantViolations.count(0, &label);
    }
}

fn count_violation(stopped: &Stopped) {
    if let Stopped::Violated { invariant, .. } = stopped {
        Metric::InvariantViolations.count(1, &[("invariant", (*invariant).to_owned())]);
    }
}

/// Runs a task and reports how it ended; never returns an error, so that the rest goes on.
pub async fn supervise(runner: Runner, stop: CancellationToken) {
    let (name, health) = (runner.name(), runner.health.clone());
    let ended = tokio::spawn(runner.run(stop.clone())).await;
    let reason = match ended {
        Ok(Ok(())) if stop.is_cancelled() => return,
        Ok(Ok(())) => "it ended by itself".to_owned(),
        Ok(Err(error)) => chain_of(&error),
        Err(panicked) => format!("a defect of Streambook: {panicked}"),
    };
    health.report(&name, Condition::Stopped { reason });
}
