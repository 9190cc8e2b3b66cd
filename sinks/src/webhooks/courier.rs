//! The courier's half: takes what is due, endpoint by endpoint in turn, makes the attempts, and records their results.
//!
//! Fairness: an endpoint has a limited share of the attempts under way, and the endpoints are asked in turn, so one
//! endpoint's backlog or slowness delays no other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use streambook_model::{
    id::{AttemptId, EndpointId, EventId},
    meta::Meta,
    records::{
        registry::Endpoint,
        webhook::{AttemptOutcome, WebhookAttempt},
    },
    time::Timestamp,
};
use streambook_runtime::{
    clock::{self, Clock},
    health::{Condition, Health},
    metrics::Metric,
    secrets::SecretKey,
    step::chain_of,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    config::WebhooksConfig,
    queue::{After, Delivery, DeliveryQueue, QueueError},
    schedule::next_attempt,
    service::{Answer, Service},
};

/// The longest wait without looking at the clock again.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How long attempts under way may take when the process is told to stop.
const LAST_WAIT: Duration = Duration::from_secs(5);
/// The courier's name in health and metrics.
const NAME: &str = "webhooks.courier";

/// Empties the delivery queue.
pub struct Courier {
    queue: Arc<DeliveryQueue>,
    service: Arc<Service>,
    config: WebhooksConfig,
    clock: Clock,
    health: Health,
    under_way: BTreeSet<(EndpointId, EventId)>,
    attempts: JoinSet<Attempted>,
    /// The endpoint after which the next round begins.
    turn: Option<EndpointId>,
}

/// An attempt that has ended.
struct Attempted {
    delivery: Delivery,
    endpoint: Option<Endpoint>,
    answer: Answer,
    began: Timestamp,
}

impl Courier {
    /// Empties this queue; secrets are sealed under `key`.
    pub fn new(
        queue: Arc<DeliveryQueue>,
        config: WebhooksConfig,
        key: SecretKey,
        clock: Clock,
        health: Health,
    ) -> Result<Self, reqwest::Error> {
        let service = Arc::new(Service::new(&config, key)?);
        let (under_way, attempts) = (BTreeSet::new(), JoinSet::new());
        Ok(Self { queue, service, config, clock, health, under_way, attempts, turn: None })
    }

    /// Runs until it is told to stop, or has to. Reports how it is; never returns an error, so that the rest goes on.
    pub async fn run(mut self, stop: CancellationToken) {
        self.health.report(NAME, Condition::Running);
        if let Err(error) = self.deliver(&stop).await {
            self.health.report(NAME, Condition::Stopped { reason: chain_of(&error) });
        }
    }

    async fn deliver(&mut self, stop: &CancellationToken) -> Result<(), QueueError> {
        while !stop.is_cancelled() {
            let next = self.start_due()?;
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = self.attempts.join_next() => self.take(ended)?,
                () = self.queue.changed() => {}
                () = tokio::time::sleep(next) => {}
            }
        }
        self.finish().await
    }

    /// What is under way may end; the rest stays in the queue.
    async fn finish(&mut self) -> Result<(), QueueError> {
        let deadline = tokio::time::Instant::now() + LAST_WAIT;
        while let Ok(Some(ended)) = tokio::time::timeout_at(deadline, self.attempts.join_next()).await {
            self.take(ended)?;
        }
        Ok(())
    }

    /// Starts as many due attempts as there is room for; gives the time until the next one is due.
    fn start_due(&mut self) -> Result<Duration, QueueError> {
        let now = (self.clock)();
        let waiting = self.queue.waiting();
        let (due, later): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(_, due)| *due <= now);
        let busy = self.busy();
        let after = due.iter().position(|(endpoint, _)| Some(*endpoint) > self.turn).unwrap_or(0);
        for (endpoint, _) in due[after..].iter().chain(&due[..after]) {
            if self.attempts.len() >= self.config.max_in_flight {
                break;
            }
            self.start(*endpoint, busy.get(endpoint).copied().unwrap_or(0), now)?;
            self.turn = Some(*endpoint);
        }
        let soonest = later.into_iter().map(|(_, due)| clock::since(now, due)).min();
        Ok(soonest.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT))
    }

    fn busy(&self) -> BTreeMap<EndpointId, usize> {
        let mut busy = BTreeMap::new();
        for (endpoint, _) in &self.under_way {
            *busy.entry(*endpoint).or_insert(0) += 1;
        }
        busy
    }

    fn start(&mut self, id: EndpointId, busy: usize, now: Timestamp) -> Result<(), QueueError> {
        let endpoint = self.queue.endpoint(id)?;
        if endpoint
            .as_ref()
            .is_some_and(|endpoint| endpoint.disabled.is_some() && endpoint.deleted_at.is_none())
        {
            return Ok(());
        }
        let room = self.config.max_in_flight.saturating_sub(self.attempts.len());
        let share = self.config.max_in_flight_per_endpoint.saturating_sub(busy).min(room);
        if share == 0 {
            return Ok(());
        }
        let due = self.queue.due(id, now, share + busy)?;
        let fresh: Vec<_> =
            due.into_iter().filter(|d| !self.under_way.contains(&d.key())).take(share).collect();
        for delivery in fresh {
            self.under_way.insert(delivery.key());
            let (service, clock, endpoint) =
                (Arc::clone(&self.service), self.clock.clone(), endpoint.clone());
            self.attempts.spawn(async move { attempt(&service, &clock, delivery, endpoint).await });
        }
        Ok(())
    }

    fn take(&mut self, ended: Result<Attempted, tokio::task::JoinError>) -> Result<(), QueueError> {
        let attempted = match ended {
            Ok(attempted) => attempted,
            // The delivery is still in the queue; forgetting all marks makes it, and no more than those under way, due again.
            Err(error) => {
                self.health
                    .report(NAME, Condition::Troubled { reason: format!("an attempt ended: {error}") });
                self.under_way.clear();
                return Ok(());
            }
        };
        let (record, after) = self.verdict(&attempted);
        Metric::WebhookAttempts.count(1, &[("outcome", outcome_name(record.outcome).to_owned())]);
        Metric::WebhookSeconds.observe(attempted.answer.took, &[]);
        tokio::task::block_in_place(|| self.queue.settle(&attempted.delivery, record, after))?;
        self.under_way.remove(&attempted.delivery.key());
        Ok(())
    }

    fn verdict(&self, attempted: &Attempted) -> (WebhookAttempt, After) {
        let (delivery, answer) = (&attempted.delivery, &attempted.answer);
        let number = delivery.attempts + 1;
        let now = (self.clock)();
        let gone = attempted.endpoint.as_ref().is_none_or(|endpoint| endpoint.deleted_at.is_some());
        let again = next_attempt(&self.config.retry_after_seconds, number, delivery.message.event, now);
        let (outcome, after) = match (&answer.error, again) {
            (None, _) => (AttemptOutcome::Delivered, After::Done),
            (Some(_), Some(due)) if !gone => (AttemptOutcome::Failed, After::Again(due)),
            _ => (AttemptOutcome::Exhausted, After::GivenUp),
        };
        let next_attempt_at = match after {
            After::Again(due) => Some(due),
            After::Done | After::GivenUp => None,
        };
        let record = WebhookAttempt {
            meta: meta(delivery, number, attempted.began),
            attempt: attempt_id(delivery, number, attempted.began),
            event: delivery.message.event,
            event_type: delivery.message.event_type.clone(),
            endpoint: delivery.message.endpoint,
            merchant: delivery.message.merchant,
            number,
            outcome,
            status_code: answer.status_code,
            error: answer.error.clone(),
            duration_ms: u32::try_from(answer.took.as_millis()).unwrap_or(u32::MAX),
            next_attempt_at,
        };
        (record, after)
    }
}

async fn attempt(
    service: &Service,
    clock: &Clock,
    delivery: Delivery,
    endpoint: Option<Endpoint>,
) -> Attempted {
    let began = clock();
    let answer = match &endpoint {
        Some(endpoint) if endpoint.deleted_at.is_none() => {
            service.attempt(endpoint, &delivery.message, began).await
        }
        _ => {
            Answer { status_code: None, error: Some("the endpoint was deleted".into()), took: Duration::ZERO }
        }
    };
    Attempted { delivery, endpoint, answer, began }
}

fn meta(delivery: &Delivery, number: u32, began: Timestamp) -> Meta {
    let message = &delivery.message;
    let id = format!("{}:{}:{number}", message.endpoint, message.event);
    Meta {
        source: None,
        id,
        occurred_at: began,
        recorded_at: began,
        cause: None,
        trace: message.meta.trace.clone(),
    }
}

/// An attempt that is made again after a crash is another attempt, so its time is part of its id.
fn attempt_id(delivery: &Delivery, number: u32, began: Timestamp) -> AttemptId {
    let (endpoint, event) = delivery.key();
    let parts: [&[u8]; 3] = [endpoint.bits(), &number.to_be_bytes(), &began.millis().to_be_bytes()];
    AttemptId::derive_beside(event.bits(), &parts)
}

fn outcome_name(outcome: AttemptOutcome) -> &'static str {
    match outcome {
        AttemptOutcome::Delivered => "delivered",
        AttemptOutcome::Failed => "failed",
        AttemptOutcome::Exhausted => "exhausted",
    }
}
