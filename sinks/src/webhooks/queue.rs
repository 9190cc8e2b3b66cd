//! The delivery queue: what waits for an attempt, ordered by endpoint and due time, beside the sink's positions and the
//! endpoints as the registry last stated them. Every change is one commit of the store, public records included.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use streambook_log::{LogError, NewRecord, embedded::EmbeddedLog, partitioner::partition_of};
use streambook_model::{
    codec::{self, CodecError},
    id::{EndpointId, EventId},
    message::Message,
    position::{Offset, Partition, TopicName, TopicPartition},
    records::{
        registry::Endpoint,
        webhook::{WebhookAttempt, WebhookMessage},
    },
    time::Timestamp,
    topics,
};
use streambook_runtime::{
    lineage::{Gaps, Mark, Marks, Verdict, judge},
    metrics::Metric,
    processor::Fault,
    sink::{Batch, Delivered},
    state::StateError,
    step::Output,
    store::TaskStore,
    table::Table,
};

/// The queue could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The store could not be read.
    #[error("cannot read the delivery queue")]
    Read(#[from] StateError),
    /// The store did not take a change.
    #[error("cannot change the delivery queue")]
    Commit(#[from] LogError),
    /// A record contradicts one that was taken before, or one before it is missing.
    #[error("{partition} offset {offset}")]
    Lineage {
        /// The partition.
        partition: TopicPartition,
        /// The offset.
        offset: Offset,
        /// Why.
        #[source]
        source: Box<Fault>,
    },
    /// A public record could not be encoded.
    #[error("cannot encode a delivery attempt")]
    Encode(#[from] CodecError),
}

/// A message that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Delivery {
    pub(super) message: WebhookMessage,
    /// Attempts made.
    pub(super) attempts: u32,
    /// When the next one is due; part of its place in the queue.
    pub(super) due: Timestamp,
}

impl Delivery {
    pub(super) fn key(&self) -> (EndpointId, EventId) {
        (self.message.endpoint, self.message.event)
    }

    fn place(&self) -> (EndpointId, Timestamp, EventId) {
        (self.message.endpoint, self.due, self.message.event)
    }
}

/// A sink's position in one partition.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Position {
    partition: TopicPartition,
    next: Offset,
}

const POSITIONS: Table<Position> = Table::new(1);
/// What was last taken from a task in a partition, to be dropped when it comes again.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Taken {
    partition: TopicPartition,
    task: String,
    mark: Mark,
}

const ENDPOINTS: Table<Endpoint> = Table::new(2);
const DELIVERIES: Table<Delivery> = Table::new(3);
/// Messages that were given up, kept to be replayed: under (endpoint, event).
const EXHAUSTED: Table<Delivery> = Table::new(4);

/// How many messages wait.
const PENDING: Table<u64> = Table::new(5);

/// Under (topic, partition, task).
const TAKEN: Table<Taken> = Table::new(6);

/// More partitions than the sink's inputs have.
const POSITIONS_MAX: usize = 1_000;
/// More tasks in all partitions than send to the sink's inputs.
const TAKEN_MAX: usize = 100_000;

/// The queue, shared by the sink, which fills it, and the courier, which empties it.
pub struct DeliveryQueue {
    inner: Mutex<Inner>,
    changed: tokio::sync::Notify,
}

struct Inner {
    store: TaskStore,
    gaps: Gaps,
    /// The earliest due time of every endpoint that something waits for. Scans begin there: before it lies nothing but what
    /// was delivered, which the store walks over one by one until it has compacted it away.
    waiting: BTreeMap<EndpointId, Timestamp>,
}

impl DeliveryQueue {
    /// Opens the queue in the store; what comes again is dropped, and `gaps` says what a gap means.
    pub fn open(store: Arc<EmbeddedLog>, gaps: Gaps) -> Result<Arc<Self>, QueueError> {
        let store = TaskStore::open(store, "webhooks", Partition(0))?;
        let mut inner = Inner { store, gaps, waiting: BTreeMap::new() };
        inner.load()?;
        Ok(Arc::new(Self { inner: Mutex::new(inner), changed: tokio::sync::Notify::new() }))
    }

    /// The sink's positions.
    pub(super) fn positions(&self) -> Result<BTreeMap<TopicPartition, Offset>, QueueError> {
        let positions = POSITIONS.scan_prefix(&self.inner.lock().store, (), POSITIONS_MAX)?;
        Ok(positions.into_iter().map(|position| (position.partition, position.next)).collect())
    }

    /// The last record taken of each task.
    pub(super) fn marks(&self) -> Result<Marks, QueueError> {
        let taken = TAKEN.scan_prefix(&self.inner.lock().store, (), TAKEN_MAX)?;
        Ok(taken.into_iter().map(|taken| ((taken.partition, taken.task), taken.mark)).collect())
    }

    /// Takes a batch: endpoints, messages and positions, in one commit.
    pub(super) fn accept(&self, batch: &Batch) -> Result<(), QueueError> {
        let mut inner = self.inner.lock();
        for record in &batch.records {
            if !inner.takes(record)? {
                continue;
            }
            match &*record.message {
                Message::EndpointChanged(change) => {
                    let endpoint = &change.endpoint;
                    ENDPOINTS.put(&mut inner.store, endpoint.id, endpoint)?;
                }
                Message::WebhookMessage(message) => inner.enqueue(message.clone())?,
                // Merchants, keys and settings share the registry's topic and do not concern deliveries.
                _ => {}
            }
        }
        for (partition, next) in &batch.after {
            let position = Position { partition: partition.clone(), next: *next };
            let key = (partition.topic.as_str().to_owned(), partition.partition.0);
            POSITIONS.put(&mut inner.store, key, &position)?;
        }
        inner.commit(Vec::new())?;
        self.changed.notify_one();
        Ok(())
    }

    /// Waits until something was added.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The endpoints that something waits for, with the time it is due.
    pub(super) fn waiting(&self) -> Vec<(EndpointId, Timestamp)> {
        self.inner.lock().waiting.iter().map(|(endpoint, due)| (*endpoint, *due)).collect()
    }

    /// The first deliveries to an endpoint that are due.
    pub(super) fn due(
        &self,
        endpoint: EndpointId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Delivery>, QueueError> {
        let after = Timestamp::from_millis(now.millis().saturating_add(1));
        let inner = self.inner.lock();
        let Some(earliest) = inner.waiting.get(&endpoint) else { return Ok(Vec::new()) };
        Ok(DELIVERIES.scan(&inner.store, (endpoint, *earliest), (endpoint, after), limit)?)
    }

    /// An endpoint as the registry last stated it.
    pub(super) fn endpoint(&self, id: EndpointId) -> Result<Option<Endpoint>, QueueError> {
        Ok(ENDPOINTS.get(&self.inner.lock().store, id)?)
    }

    /// Records an attempt: the delivery leaves the queue, moves to its next due time, or is given up and kept. The
    /// public record of the attempt is part of the same commit.
    pub(super) fn settle(
        &self,
        delivery: &Delivery,
        attempt: WebhookAttempt,
        after: After,
    ) -> Result<(), QueueError> {
        let mut inner = self.inner.lock();
        inner.remove(delivery)?;
        let attempted = Delivery { attempts: attempt.number, ..delivery.clone() };
        match after {
            After::Done => {}
            After::Again(due) => inner.put(&Delivery { due, ..attempted })?,
            After::GivenUp => EXHAUSTED.put(&mut inner.store, delivery.key(), &attempted)?,
        }
        inner.commit(vec![output(attempt)?])?;
        inner.refresh(delivery.message.endpoint)?;
        Ok(())
    }
}

/// What becomes of a delivery after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Done,
    Again(Timestamp),
    GivenUp,
}

impl Inner {
    /// Finds the endpoints that something waits for, jumping from one to the next.
    fn load(&mut self) -> Result<(), QueueError> {
        let mut from = EndpointId::from_bits([0; 16]);
        let last = EndpointId::from_bits([u8::MAX; 16]);
        while let Some(first) = DELIVERIES.scan(&self.store, from, (last, u64::MAX), 1)?.pop() {
            let endpoint = first.message.endpoint;
            self.waiting.insert(endpoint, first.due);
            let next = u128::from_be_bytes(*endpoint.bits()).checked_add(1);
            let Some(next) = next else { break };
            from = EndpointId::from_bits(next.to_be_bytes());
        }
        Ok(())
    }

    /// Whether a record is new. What is read here is never trimmed, so a task's first record is its number 1.
    fn takes(&mut self, record: &Delivered) -> Result<bool, QueueError> {
        let Some(source) = &record.message.meta().source else { return Ok(true) };
        let (partition, task) = (record.from.clone(), source.task.clone());
        let key = (partition.topic.as_str().to_owned(), partition.partition.0, task.clone());
        let last = TAKEN.get(&self.store, key.clone())?.map_or(Mark::START, |last| last.mark);
        let stopped = |fault| QueueError::Lineage {
            partition: partition.clone(),
            offset: record.offset,
            source: Box::new(fault),
        };
        if judge(last, source, self.gaps).map_err(stopped)? != Verdict::Take {
            return Ok(false);
        }
        let mark = Mark { seq: source.seq, chain: source.chain };
        TAKEN.put(&mut self.store, key, &Taken { partition, task, mark })?;
        Ok(true)
    }

    fn enqueue(&mut self, message: WebhookMessage) -> Result<(), StateError> {
        let due = message.meta.recorded_at;
        self.put(&Delivery { message, attempts: 0, due })
    }

    fn put(&mut self, delivery: &Delivery) -> Result<(), StateError> {
        DELIVERIES.put(&mut self.store, delivery.place(), delivery)?;
        self.count(|pending| pending.saturating_add(1))?;
        let earliest = self.waiting.entry(delivery.message.endpoint).or_insert(delivery.due);
        *earliest = delivery.due.min(*earliest);
        Ok(())
    }

    fn remove(&mut self, delivery: &Delivery) -> Result<(), StateError> {
        DELIVERIES.delete(&mut self.store, delivery.place());
        self.count(|pending| pending.saturating_sub(1))
    }

    fn count(&mut self, change: impl FnOnce(u64) -> u64) -> Result<(), StateError> {
        let pending = change(PENDING.get(&self.store, ())?.unwrap_or(0));
        PENDING.put(&mut self.store, (), &pending)
    }

    /// The queue has no single inbox, so the store's own offset is not used; positions are kept by partition.
    fn commit(&mut self, outputs: Vec<Output>) -> Result<(), QueueError> {
        let pending = PENDING.get(&self.store, ())?.unwrap_or(0);
        self.store.commit(Offset(0), outputs)?;
        Metric::WebhookPending.set(pending, &[]);
        Ok(())
    }

    fn refresh(&mut self, endpoint: EndpointId) -> Result<(), StateError> {
        let Some(earliest) = self.waiting.get(&endpoint) else { return Ok(()) };
        let (from, to) = ((endpoint, *earliest), (endpoint, u64::MAX));
        match DELIVERIES.scan(&self.store, from, to, 1)?.pop() {
            Some(first) => self.waiting.insert(endpoint, first.due),
            None => self.waiting.remove(&endpoint),
        };
        Ok(())
    }
}

fn output(attempt: WebhookAttempt) -> Result<Output, CodecError> {
    let key = attempt.endpoint.to_string();
    let partition = partition_of(key.as_bytes(), topics::WEBHOOKS_ATTEMPTS.partitions);
    let topic: TopicName = topics::WEBHOOKS_ATTEMPTS.topic();
    let record = NewRecord::new(key.into_bytes(), codec::encode(&Message::from(attempt))?);
    Ok(Output { to: TopicPartition::new(topic, partition), record })
}
