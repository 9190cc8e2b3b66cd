//! Finds out when payments are done: follows the completed payments of each partition of `payments.events` and waits, for
//! each, until the sink has committed what followed from the same record of the book's inbox, the event and the postings.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use parking_lot::Mutex;
use streambook_log::{Log, ReadLimit, Visibility};
use streambook_model::{
    codec,
    message::Message,
    position::{Offset, Partition, TopicPartition},
    records::payment::{PaymentEvent, PaymentEventType},
    topics,
};
use streambook_sinks::sql::{Progress, Waited};
use tokio::sync::watch;

use super::{commands::Shop, miner::Mined};

/// The longest wait for the sink to commit a batch.
const COMMIT_MOST: Duration = Duration::from_secs(60);

/// Completed payments, as they become rows.
pub(super) struct Done {
    shop: Arc<Shop>,
    mined: Mined,
    confirmations: u32,
    progress: Option<Progress>,
    count: watch::Sender<u64>,
    took: Mutex<Vec<Duration>>,
}

impl Done {
    /// Gives back the shop's room for each payment that is done.
    pub(super) fn new(
        shop: Arc<Shop>,
        mined: Mined,
        confirmations: u32,
        progress: Option<Progress>,
    ) -> Arc<Self> {
        let (count, took) = (watch::Sender::new(0), Mutex::default());
        Arc::new(Self { shop, mined, confirmations, progress, count, took })
    }

    /// How many payments are done, as it changes.
    pub(super) fn count(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }

    /// From the confirming block to the committed row, of the payments done since the last call.
    pub(super) fn take_latencies(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.took.lock())
    }

    /// Follows one partition. Ends only with an error.
    pub(super) async fn follow(
        self: Arc<Self>,
        log: Arc<dyn Log>,
        partition: Partition,
    ) -> anyhow::Result<()> {
        let (from, mut next) = (TopicPartition::new(topics::PAYMENTS_EVENTS.topic(), partition), Offset(0));
        let posted = TopicPartition::new(topics::LEDGER_TRANSACTIONS.topic(), partition);
        let mut last = 0;
        loop {
            log.wait(&from, next, Visibility::Synced).await?;
            for record in log.read(&from, next, ReadLimit::default(), Visibility::Synced).await? {
                next = record.offset.plus(1);
                let Message::PaymentEvent(event) = codec::decode(&record.value)? else { continue };
                // One task writes here; on a cluster it may send again.
                let seq = event.meta.source.as_ref().map_or(0, |source| source.seq);
                let is_repeat = seq <= last;
                last = seq.max(last);
                if !is_repeat && event.event_type == PaymentEventType::Completed {
                    self.committed(&from, &event).await?;
                    self.committed(&posted, &event).await?;
                    self.done(&event);
                }
            }
        }
    }

    async fn committed(&self, at: &TopicPartition, event: &PaymentEvent) -> anyhow::Result<()> {
        let Some(progress) = &self.progress else { return Ok(()) };
        let cause = event.meta.cause.context("an event without its cause")?;
        let cause = Offset(cause.offset);
        if progress.cause_offset(at) >= Some(cause) {
            return Ok(());
        }
        let waited = progress.wait_for(at, cause, COMMIT_MOST).await;
        ensure!(waited == Waited::Reached, "the rows of {} did not come: {waited:?}", event.payment.id);
        Ok(())
    }

    fn done(&self, event: &PaymentEvent) {
        let now = Instant::now();
        let included = event.payment.transfers.first().map(|transfer| transfer.block_number);
        let began = included.and_then(|block| self.mined.confirmed_at(block, self.confirmations));
        self.took.lock().extend(began.map(|began| now.saturating_duration_since(began)));
        self.shop.room.add_permits(1);
        self.count.send_modify(|count| *count += 1);
    }
}
