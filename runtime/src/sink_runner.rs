//! Feeds a sink: reads synced records of all its partitions, hands them over in batches, retries what failed.
//!
//! Memory is bounded by one batch; a slow sink slows only itself, since the log holds what waits.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use streambook_log::{Log, LogError, ReadLimit, Record, Visibility};
use streambook_model::{
    codec::{self, CodecError},
    position::{Offset, Partition, TopicPartition},
};
use tokio_util::sync::CancellationToken;

use crate::{
    checkpoints::Board,
    clock::{self, Clock},
    health::{Condition, Health},
    metrics::Metric,
    sink::{Batch, Delivered, Sink, SinkError},
    step::chain_of,
};

/// The first pause after a failed write; each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_LONGEST: Duration = Duration::from_secs(10);

/// Why a sink ended.
#[derive(Debug, thiserror::Error)]
pub enum SinkStopped {
    /// The log failed, or what it holds is not what was written.
    #[error("the log failed")]
    Log(#[from] LogError),
    /// A record cannot be decoded: this program is older than the one that wrote it, or the record is damaged.
    #[error("{from} offset {offset} cannot be decoded")]
    Decode {
        /// The partition.
        from: TopicPartition,
        /// The offset.
        offset: Offset,
        /// Why.
        #[source]
        source: CodecError,
    },
    /// The sink refuses to go on.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

/// A sink and what it needs to run.
pub struct SinkRunner<S> {
    log: Arc<dyn Log>,
    sink: S,
    limit: ReadLimit,
    clock: Clock,
    health: Health,
    board: Option<Board>,
}

impl<S: Sink> SinkRunner<S> {
    /// Feeds this sink from this log, at most `limit` at a time.
    pub fn new(log: Arc<dyn Log>, sink: S, limit: ReadLimit, clock: Clock, health: Health) -> Self {
        Self { log, sink, limit, clock, health, board: None }
    }

    /// The same sink, which also says on this board how far it is.
    #[must_use]
    pub fn telling(self, board: Board) -> Self {
        Self { board: Some(board), ..self }
    }

    /// Runs until it is told to stop, or has to. Reports how it is; never returns an error, so that the rest goes on.
    pub async fn run(mut self, stop: CancellationToken) {
        let name = self.sink.name();
        self.health.report(name, Condition::Running);
        if let Err(error) = self.feed(&stop).await {
            self.health.report(name, Condition::Stopped { reason: chain_of(&error) });
        }
    }

    async fn feed(&mut self, stop: &CancellationToken) -> Result<(), SinkStopped> {
        let mut positions = self.start(stop).await?;
        self.tell(&positions);
        while !stop.is_cancelled() {
            let (batch, waiting) = self.batch(&positions).await?;
            if batch.records.is_empty() {
                self.tell(&positions);
                tokio::select! {
                    () = stop.cancelled() => {}
                    waited = self.log.wait_synced(&positions) => waited?,
                }
                continue;
            }
            if self.write(&batch, stop).await? {
                positions.extend(batch.after);
                if self.board.as_ref().is_some_and(|board| board.is_due(self.sink.name())) {
                    self.tell(&positions);
                }
                if batch.records.len() as u64 >= waiting {
                    self.gather(stop).await;
                }
            }
        }
        Ok(())
    }

    /// The position of every partition of every input; waits for the sink to be reachable.
    async fn start(
        &mut self,
        stop: &CancellationToken,
    ) -> Result<BTreeMap<TopicPartition, Offset>, SinkStopped> {
        let mut pause = PAUSE_FIRST;
        let committed = loop {
            match self.sink.positions().await {
                Ok(positions) => {
                    // It may have been troubled, and there may be nothing to write that would say otherwise.
                    self.health.report(self.sink.name(), Condition::Running);
                    break positions;
                }
                Err(error) if stop.is_cancelled() => return Err(error.into()),
                Err(error) => pause = self.pause(error, pause, stop).await?,
            }
        };
        let mut positions = BTreeMap::new();
        for topic in self.sink.inputs() {
            for number in 0..topic.partitions {
                let partition = TopicPartition::new(topic.topic(), Partition(number));
                let bounds = self.log.bounds(&partition, Visibility::Synced).await?;
                let next = committed.get(&partition).copied().unwrap_or(bounds.first);
                positions.insert(partition, next);
            }
        }
        Ok(positions)
    }

    /// What is there, up to the limit. Every partition that has something gets an equal share, and what one leaves of its
    /// share goes to the others, so that none can starve another. And how many records were waiting.
    async fn batch(&self, positions: &BTreeMap<TopicPartition, Offset>) -> Result<(Batch, u64), SinkStopped> {
        let mut waiting = Vec::new();
        for (from, next) in positions {
            let end = self.log.bounds(from, Visibility::Synced).await?.end;
            if end > *next {
                waiting.push((end.0 - next.0, from, *next));
            }
        }
        let lag: u64 = waiting.iter().map(|(records, ..)| records).sum();
        Metric::SinkLag.set(lag, &[("sink", self.sink.name().to_owned())]);
        waiting.sort_unstable();
        let mut batch = Batch { records: Vec::new(), before: BTreeMap::new(), after: BTreeMap::new() };
        let (mut others, bytes) = (waiting.len(), self.limit.bytes / waiting.len().max(1));
        for (_, from, next) in waiting {
            let share = self.limit.records.saturating_sub(batch.records.len()) / others.max(1);
            let limit = ReadLimit { records: share.max(1), bytes };
            self.take(&mut batch, from, next, limit).await?;
            others -= 1;
        }
        Ok((batch, lag))
    }

    async fn take(
        &self,
        batch: &mut Batch,
        from: &TopicPartition,
        next: Offset,
        limit: ReadLimit,
    ) -> Result<(), SinkStopped> {
        let records = self.log.read(from, next, limit, Visibility::Synced).await?;
        let Some(last) = records.last() else { return Ok(()) };
        batch.before.insert(from.clone(), next);
        batch.after.insert(from.clone(), last.offset.plus(1));
        for record in &records {
            batch.records.push(decode(from, record)?);
        }
        Ok(())
    }

    fn tell(&self, positions: &BTreeMap<TopicPartition, Offset>) {
        if let Some(board) = &self.board {
            board.put(self.sink.name(), positions, self.sink.marks());
        }
    }

    /// Lets records gather, if the sink asks for it.
    async fn gather(&self, stop: &CancellationToken) {
        let time = self.sink.gathers_for();
        if !time.is_zero() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(time) => {}
            }
        }
    }

    /// Writes until it succeeds. `false` when it was told to stop first.
    async fn write(&mut self, batch: &Batch, stop: &CancellationToken) -> Result<bool, SinkStopped> {
        let mut pause = PAUSE_FIRST;
        loop {
            let began = Instant::now();
            match self.sink.write(batch).await {
                Ok(()) => {
                    self.written(batch, began.elapsed());
                    return Ok(true);
                }
                Err(_) if stop.is_cancelled() => return Ok(false),
                Err(error) => pause = self.pause(error, pause, stop).await?,
            }
        }
    }

    fn written(&self, batch: &Batch, took: Duration) {
        let label = || ("sink", self.sink.name().to_owned());
        Metric::SinkRecords.count(batch.records.len() as u64, &[label()]);
        Metric::SinkWriteSeconds.observe(took, &[label()]);
        if let Some(oldest) = batch.records.iter().map(|record| record.message.meta().recorded_at).min() {
            Metric::SinkLatencySeconds.observe(clock::since(oldest, (self.clock)()), &[label()]);
        }
        self.health.report(self.sink.name(), Condition::Running);
    }

    async fn pause(
        &self,
        error: SinkError,
        pause: Duration,
        stop: &CancellationToken,
    ) -> Result<Duration, SinkStopped> {
        if matches!(error, SinkError::Stop(_)) {
            return Err(error.into());
        }
        Metric::SinkRetries.count(1, &[("sink", self.sink.name().to_owned())]);
        self.health.report(self.sink.name(), Condition::Troubled { reason: chain_of(&error) });
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
        Ok((pause * 2).min(PAUSE_LONGEST))
    }
}

fn decode(from: &TopicPartition, record: &Record) -> Result<Delivered, SinkStopped> {
    let message = codec::decode(&record.value);
    let message = message.map_err(|source| SinkStopped::Decode {
        from: from.clone(),
        offset: record.offset,
        source,
    })?;
    Ok(Delivered { from: from.clone(), offset: record.offset, message: Box::new(message) })
}
