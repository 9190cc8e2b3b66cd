//! The sink's half: from the outbox into the delivery queue, position and messages in one commit.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use streambook_model::{
    position::{Offset, TopicPartition},
    topics::{self, TopicDef},
};
use streambook_runtime::{
    lineage::Marks,
    sink::{Batch, Sink, SinkError},
    step::chain_of,
};

use super::queue::{DeliveryQueue, QueueError};

/// Fills the delivery queue.
pub struct WebhooksSink {
    queue: Arc<DeliveryQueue>,
}

impl WebhooksSink {
    /// Fills this queue.
    pub fn new(queue: Arc<DeliveryQueue>) -> Self {
        Self { queue }
    }
}

#[async_trait]
impl Sink for WebhooksSink {
    fn name(&self) -> &'static str {
        "webhooks"
    }

    fn inputs(&self) -> Vec<TopicDef> {
        vec![topics::REGISTRY_EVENTS, topics::WEBHOOKS_OUTBOX]
    }

    async fn positions(&mut self) -> Result<BTreeMap<TopicPartition, Offset>, SinkError> {
        self.queue.positions().map_err(|error| stop(&error))
    }

    /// Senders keep what they are not told of, so a queue that cannot be read only has them keep it for longer.
    fn marks(&self) -> Marks {
        self.queue.marks().unwrap_or_default()
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), SinkError> {
        tokio::task::block_in_place(|| self.queue.accept(batch)).map_err(|error| stop(&error))
    }
}

/// The store is the process's own: when it fails, trying again does not help.
fn stop(error: &QueueError) -> SinkError {
    SinkError::Stop(chain_of(error))
}
