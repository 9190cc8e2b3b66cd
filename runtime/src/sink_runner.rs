//! Feeds a sink: reads synced records of all its partitions, hands them over in batches, retries what failed.
//!
//! Memory is bounded by one batch; a slow sink slows only itself, since the log holds what waits.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use streambook_log::{Bounds, Log, LogError, ReadLimit, Record, Visibility};
use streambook_model::{
    codec::{self, CodecError},
    meta::Source,
    position::{Offset, Partition, TopicPartition},
};
use tokio_util::sync::CancellationToken;

use crate::{
    checkpoints::Board,
    clock::{self, Clock},
    health::{Condition, Health},
    lineage::{Mark, Marks},
    metrics::Metric,
    missing::Missing,
    sink::{Batch, Delivered, Sink, SinkError},
    step::chain_of,
};

/// The first pause after a failed write; each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// How often it is looked whether the log is as long as the sink's positions.
const LOOK: Duration = Duration::from_secs(1);
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
    /// What the sink has does not lead to what the log has.
    #[error(
        "{from} offset {offset}: number {seq} of {task} does not follow what the {sink} sink has: it was filled from another log; give \
         it the database that belongs to this one, or an empty one"
    )]
    OtherLog {
        /// The partition.
        from: TopicPartition,
        /// The offset.
        offset: Offset,
        /// The task.
        task: String,
        /// The record's number.
        seq: u64,
        /// The sink.
        sink: &'static str,
    },
    /// The sink would begin in the middle.
    #[error(
        "{from}: the records before offset {first} were trimmed, and the {sink} sink has none of them: restore its database from a \
         backup, which it then carries on, or do without them ([sql] begin_late = true)"
    )]
    BeginsLate {
        /// The partition.
        from: TopicPartition,
        /// The first offset that is left.
        first: Offset,
        /// The sink.
        sink: &'static str,
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
    ties: Ties,
    highest: Highest,
    missing: Missing,
}

/// The last record that the sink had of each task when it was started, until the next one has shown that it follows.
type Ties = BTreeMap<TopicPartition, BTreeMap<String, Mark>>;

/// The highest number of each task that was handed over.
type Highest = BTreeMap<TopicPartition, BTreeMap<String, u64>>;

impl<S: Sink> SinkRunner<S> {
    /// Feeds this sink from this log, at most `limit` at a time.
    pub fn new(log: Arc<dyn Log>, sink: S, limit: ReadLimit, clock: Clock, health: Health) -> Self {
        let (ties, highest, missing) = (Ties::new(), Highest::new(), Missing::default());
        Self { log, sink, limit, clock, health, board: None, ties, highest, missing }
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
        for ((from, task), mark) in self.sink.marks() {
            self.ties.entry(from).or_default().insert(task, mark);
        }
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
                let next = self.begin(&partition, committed.get(&partition).copied(), stop).await?;
                positions.insert(partition, next);
            }
        }
        Ok(positions)
    }

    /// Where a partition is read from. A position beyond the log's end is waited for, and said: the log may hide its last records
    /// for a while after a crash; or it is an older copy, or another log, and then nothing may be read from it.
    async fn begin(
        &self,
        from: &TopicPartition,
        committed: Option<Offset>,
        stop: &CancellationToken,
    ) -> Result<Offset, SinkStopped> {
        let sink = self.sink.name();
        loop {
            let Bounds { first, end } = self.log.bounds(from, Visibility::Synced).await?;
            match committed {
                None if first > Offset(0) && self.sink.needs_all() => {
                    return Err(SinkStopped::BeginsLate { from: from.clone(), first, sink });
                }
                None => return Ok(first),
                Some(next) if next <= end || stop.is_cancelled() => return Ok(next),
                Some(next) => self.health.report(sink, beyond(from, next, end)),
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// What is there, up to the limit. Every partition that has something gets an equal share, and what one leaves of its
    /// share goes to the others, so that none can starve another. And how many records were waiting.
    async fn batch(
        &mut self,
        positions: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<(Batch, u64), SinkStopped> {
        let mut waiting = Vec::new();
        for (from, next) in positions {
            let end = self.log.bounds_lately(from, Visibility::Synced).await?.end;
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
        &mut self,
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
            let delivered = decode(from, record)?;
            if let Some(source) = &delivered.message.meta().source {
                self.follows(from, record, source)?;
                self.hand_over(from, source);
            }
            batch.records.push(delivered);
        }
        Ok(())
    }

    /// Whether the first record of a task since the start follows what the sink had: a database that was filled from another log
    /// has the same numbers and other hashes.
    fn follows(
        &mut self,
        from: &TopicPartition,
        record: &Record,
        source: &Source,
    ) -> Result<(), SinkStopped> {
        let Some(ties) = self.ties.get_mut(from) else { return Ok(()) };
        let Some(last) = ties.get(&source.task).filter(|last| last.seq.saturating_add(1) == source.seq)
        else {
            return Ok(());
        };
        let unstamped = codec::unstamp(&record.value, source);
        let unstamped = unstamped.map_err(|error| SinkStopped::Decode {
            from: from.clone(),
            offset: record.offset,
            source: error,
        })?;
        if codec::extend_chain(last.chain, source.seq, &unstamped) != source.chain {
            let (task, seq) = (source.task.clone(), source.seq);
            let (from, offset, sink) = (from.clone(), record.offset, self.sink.name());
            return Err(SinkStopped::OtherLog { from, offset, task, seq, sink });
        }
        ties.remove(&source.task);
        if ties.is_empty() {
            self.ties.remove(from);
        }
        Ok(())
    }

    /// Remembers what was handed over, where others wait for this sink's word.
    fn hand_over(&mut self, from: &TopicPartition, source: &Source) {
        if self.board.is_none() {
            return;
        }
        // Names are copied once only: nearly every record is of a task that is known.
        match self.highest.get_mut(from).and_then(|tasks| tasks.get_mut(&source.task)) {
            Some(highest) => *highest = source.seq.max(*highest),
            None => {
                let tasks = self.highest.entry(from.clone()).or_default();
                tasks.insert(source.task.clone(), source.seq);
            }
        }
    }

    fn tell(&mut self, positions: &BTreeMap<TopicPartition, Offset>) {
        let Some(board) = &self.board else { return };
        let marks = self.sink.marks();
        let missing = missing(&self.highest, &marks);
        board.put(self.sink.name(), positions, marks);
        let was_long = self.missing.is_long();
        let lacks = self.missing.see(missing, Instant::now());
        if !lacks.is_empty() {
            self.health.report(self.sink.name(), Condition::Troubled { reason: lacks.join("; ") });
        } else if was_long {
            self.health.report(self.sink.name(), Condition::Running);
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
        if !self.missing.is_long() {
            self.health.report(self.sink.name(), Condition::Running);
        }
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

/// The next number of each task of which later ones were handed over and left out. Nothing is said where the sink keeps no
/// marks.
fn missing(highest: &Highest, marks: &Marks) -> BTreeMap<String, u64> {
    let mut missing = BTreeMap::new();
    if marks.is_empty() {
        return missing;
    }
    for (from, tasks) in highest {
        for (task, highest) in tasks {
            let last = marks.get(&(from.clone(), task.clone())).map_or(0, |mark| mark.seq);
            if *highest > last {
                missing.insert(format!("{task} in {from}"), last.saturating_add(1));
            }
        }
    }
    missing
}

fn beyond(from: &TopicPartition, next: Offset, end: Offset) -> Condition {
    let reason = format!(
        "{from}: the database has records up to offset {next} and the log ends at {end}: the log hides its last records since a \
         crash, or it is an older copy, or the database belongs to another log; nothing is read until the log is as long"
    );
    Condition::Troubled { reason }
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
