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
    metrics::Metric, sink::Batch, state::StateError, step::Output, store::TaskStore, table::Table,
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
const ENDPOINTS: Table<Endpoint> = Table::new(2);
const DELIVERIES: Table<Delivery> = Table::new(3);
/// Messages that were given up, kept to be replayed: under (endpoint, event).
const EXHAUSTED: Table<Delivery> = Table::new(4);

/// How many messages wait.
const PENDING: Table<u64> = Table::new(5);

/// More partitions than the sink's inputs have.
const POSITIONS_MAX: usize = 1_000;

/// The queue, shared by the sink, which fills it, and the courier, which empties it.
pub struct DeliveryQueue {
    inner: Mutex<Inner>,
    changed: tokio::sync::Notify,
}

struct Inner {
    store: TaskStore,
    /// The earliest due time of every endpoint that something waits for.
    waiting: BTreeMap<EndpointId, Timestamp>,
}

impl DeliveryQueue {
    /// Opens the queue in the store.
    pub fn open(log: Arc<EmbeddedLog>) -> Result<Arc<Self>, QueueError> {
        let store = TaskStore::open(log, "webhooks", Partition(0))?;
        let mut inner = Inner { store, waiting: BTreeMap::new() };
        inner.load()?;
        Ok(Arc::new(Self { inner: Mutex::new(inner), changed: tokio::sync::Notify::new() }))
    }

    /// The sink's positions.
    pub(super) fn positions(&self) -> Result<BTreeMap<TopicPartition, Offset>, QueueError> {
        let positions = POSITIONS.scan_prefix(&self.inner.lock().store, (), POSITIONS_MAX)?;
        Ok(positions.into_iter().map(|position| (position.partition, position.next)).collect())
    }

    /// Takes a batch: endpoints, messages and positions, in one commit.
    pub(super) fn accept(&self, batch: &Batch) -> Result<(), QueueError> {
        let mut inner = self.inner.lock();
        for record in &batch.records {
            match &record.message {
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
        let from = (endpoint, Timestamp::from_millis(i64::MIN));
        Ok(DELIVERIES.scan(&self.inner.lock().store, from, (endpoint, after), limit)?)
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
        match DELIVERIES.scan_prefix(&self.store, endpoint, 1)?.pop() {
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
