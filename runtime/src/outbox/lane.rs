//! One destination: reads what the store holds for it, appends it to the shared log in order, and gives the space back once
//! it has arrived.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use streambook_log::{Log, LogError, NewRecord, ReadLimit, Record, Visibility, embedded::EmbeddedLog};
use streambook_model::{
    peek,
    position::{Offset, Partition, TopicPartition},
    topics::TopicDef,
};
use tokio_util::sync::CancellationToken;

use super::{
    Outbox, OutboxError,
    pending::{self, Lost, Pending, Sent},
};
use crate::{
    checkpoints::{Heard, Received, View, receiver_of},
    health::{Condition, Health},
    lineage::Mark,
    metrics::Metric,
};

/// Most records that are sent and have not arrived.
const MOST_PENDING: usize = 20_000;
/// How often it is looked whether something has arrived.
const LOOK: Duration = Duration::from_millis(500);
/// Space is given back so often at most: it costs a write.
const TRIM_EVERY: Duration = Duration::from_secs(1);

/// The way to one partition.
pub(super) struct Lane {
    to: TopicPartition,
    receiver: Option<String>,
    store: Arc<EmbeddedLog>,
    log: Arc<dyn Log>,
    view: View,
    /// The first record in the store that is not sent.
    next: Offset,
    pending: Pending,
    /// How many are pending, as the outbox was told.
    told: u64,
    condition: Condition,
    unacknowledged: Arc<AtomicU64>,
    health: Health,
    trimmed: Offset,
    trimmed_at: Instant,
}

impl Lane {
    pub(super) fn new(outbox: &Outbox, topic: &TopicDef, partition: Partition) -> Self {
        Self {
            to: TopicPartition::new(topic.topic(), partition),
            receiver: receiver_of(topic, partition),
            store: Arc::clone(&outbox.store),
            log: Arc::clone(&outbox.log),
            view: outbox.view.clone(),
            next: Offset(0),
            pending: Pending::default(),
            told: 0,
            condition: Condition::Running,
            unacknowledged: Arc::clone(&outbox.unacknowledged),
            health: outbox.health.clone(),
            trimmed: Offset(0),
            trimmed_at: Instant::now(),
        }
    }

    /// Its name in health.
    pub(super) fn name(&self) -> String {
        format!("outbox/{}", self.to)
    }

    /// Runs until it is told to stop and everything is sent, or has to.
    pub(super) async fn run(mut self, stop: &CancellationToken) -> Result<(), OutboxError> {
        self.trimmed = self.store.bounds(&self.to, Visibility::Written).await?.first;
        self.next = self.trimmed;
        loop {
            let heard = self.heard();
            self.settle(&heard).await?;
            let has_sent = self.send(&heard.received).await?;
            self.tell();
            if has_sent {
                continue;
            }
            if stop.is_cancelled() {
                return Ok(());
            }
            self.idle(stop).await?;
        }
    }

    fn heard(&self) -> Heard {
        let Some(receiver) = &self.receiver else { return pending::nothing("") };
        self.view.heard(receiver, &self.to).unwrap_or_else(|| pending::nothing(receiver))
    }

    /// Says how many records are under way, and which of them does not arrive.
    fn tell(&mut self) {
        let pending = self.pending.len() as u64;
        if pending != self.told {
            self.unacknowledged.fetch_add(pending, Relaxed);
            self.unacknowledged.fetch_sub(self.told, Relaxed);
            self.told = pending;
        }
        let condition = match self.pending.trouble() {
            Some(reason) => Condition::Troubled { reason },
            None => Condition::Running,
        };
        if condition != self.condition {
            self.health.report(&self.name(), condition.clone());
            self.condition = condition;
        }
    }

    /// Forgets what has arrived, goes back to what was lost, and gives space back.
    async fn settle(&mut self, heard: &Heard) -> Result<(), OutboxError> {
        self.pending.settle(&heard.received)?;
        let kept = self.pending.first().unwrap_or(self.next);
        let lost = self.pending.lost(heard, Instant::now());
        if lost != Lost::Nothing {
            Metric::OutboxResends.count(1, &[("topic", self.to.topic.to_string())]);
            let receiver = &heard.received.receiver;
            tracing::warn!(to = %self.to, receiver, "records have not arrived: they are sent again");
        }
        match lost {
            Lost::Nothing => {}
            Lost::From(first) => self.next = first,
            Lost::Only(record) => self.send_again(record).await?,
        }
        if kept > self.trimmed && self.trimmed_at.elapsed() >= TRIM_EVERY {
            self.store.trim(&self.to, kept).await?;
            self.trimmed = kept;
            self.trimmed_at = Instant::now();
        }
        Ok(())
    }

    /// Sends what there is, up to a batch. `false` when there is nothing, or too much under way.
    async fn send(&mut self, received: &Received) -> Result<bool, OutboxError> {
        if self.pending.len() >= MOST_PENDING {
            return Ok(false);
        }
        let records = self.store.read(&self.to, self.next, ReadLimit::default(), Visibility::Synced).await?;
        let Some(last) = records.last() else { return Ok(false) };
        let after = last.offset.plus(1);
        let (mut sending, mut sent) = (Vec::new(), Vec::new());
        for record in records {
            let lineage = self.lineage(&record)?;
            if let Some((task, mark)) = lineage {
                if pending::has_arrived(&task, mark, received)? {
                    continue;
                }
                if self.receiver.is_some() {
                    let shared = Offset(sending.len() as u64);
                    sent.push(Sent { at: record.offset, task, mark, shared });
                }
            }
            sending.push(NewRecord { key: record.key, value: record.value });
        }
        let base = self.append(sending).await?;
        for sent in sent {
            self.pending.push(Sent { shared: base.plus(sent.shared.0), ..sent });
        }
        self.next = after;
        Ok(true)
    }

    /// Sends one record again, beside what is pending.
    async fn send_again(&self, at: Offset) -> Result<(), OutboxError> {
        let one = ReadLimit { records: 1, ..ReadLimit::default() };
        let records = self.store.read(&self.to, at, one, Visibility::Synced).await?;
        let again = records.into_iter().map(|record| NewRecord { key: record.key, value: record.value });
        self.append(again.collect()).await?;
        Ok(())
    }

    fn lineage(&self, record: &Record) -> Result<Option<(String, Mark)>, OutboxError> {
        let broken =
            |source| OutboxError::NotARecord { from: self.to.clone(), offset: record.offset, source };
        let source = peek::source(&record.value).map_err(broken)?;
        Ok(source.map(|source| (source.task, Mark { seq: source.seq, chain: source.chain })))
    }

    /// Appends, for as long as it takes: an outage of the log is no error, and nothing is given up.
    async fn append(&self, records: Vec<NewRecord>) -> Result<Offset, LogError> {
        if records.is_empty() {
            return Ok(Offset(0));
        }
        let appended = self.log.append(&self.to, records).await?;
        self.log.synced(&appended).await?;
        Ok(appended.base)
    }

    async fn idle(&self, stop: &CancellationToken) -> Result<(), OutboxError> {
        let is_full = self.pending.len() >= MOST_PENDING;
        let waits = self.pending.len() > 0 || self.next > self.trimmed;
        tokio::select! {
            () = stop.cancelled() => {}
            more = self.store.wait(&self.to, self.next, Visibility::Synced), if !is_full => more?,
            () = tokio::time::sleep(LOOK), if waits => {}
        }
        Ok(())
    }
}
