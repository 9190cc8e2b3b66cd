//! What the handlers share, and the two tasks behind them: the reader of replies and the registry's view.

use std::{fmt, sync::Arc};

use axum::http::HeaderMap;
use ipnet::IpNet;
use streambook_log::{Log, LogError, Partition, TopicPartition};
use streambook_model::{
    time::Timestamp,
    topics::{API_REPLIES, PAYMENTS_EVENTS},
};
use streambook_runtime::{clock::Clock, health::Health, publisher::Publisher, secrets::SecretKey};
use streambook_sinks::sql::{Progress, Scope, SqlReads, Waited};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{ApiConfig, InvalidConfig},
    ingest_stripe::StripeIngest,
    limits::Limits,
    position::{LastPositions, Position},
    problem::Problem,
    registry_view::RegistryView,
    replies::{Replies, Waiters},
};

/// Renders the metrics in the Prometheus text format.
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

/// What the API is made of.
pub struct ApiParts {
    /// Its settings.
    pub config: ApiConfig,
    /// The log.
    pub log: Arc<dyn Log>,
    /// What of the surface is served.
    pub surface: Surface,
    /// The reads; absent where only Stripe's deliveries are received.
    pub reading: Option<Reading>,
    /// The clock.
    pub clock: Clock,
    /// The conditions of this process's parts.
    pub health: Health,
    /// The operator's key, under which webhook secrets are sealed.
    pub secret_key: SecretKey,
    /// Networks of the operator's in which webhook endpoints may be (`[webhooks] allowed_networks`).
    pub allowed_networks: Vec<IpNet>,
    /// Checks Stripe's deliveries; absent where Stripe is not configured.
    pub stripe: Option<StripeIngest>,
    /// Renders the metrics.
    pub metrics: MetricsText,
    /// This instance's partition of `api.replies`; no two instances that run share one.
    pub instance: Partition,
}

/// What of the HTTP surface a process serves, beside its health and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Surface {
    /// Everything below `/v1`.
    pub api: bool,
    /// Stripe's deliveries.
    pub stripe: bool,
}

/// Where reads come from, and how they wait for what their caller wrote.
pub struct Reading {
    /// The reads.
    pub reads: SqlReads,
    /// How far the SQL sink is.
    pub progress: Progress,
}

/// Why the API cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting cannot work.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// The instance has no partition of `api.replies`.
    #[error("instance {0} has no partition of api.replies: use 0 to {max}", max = API_REPLIES.partitions - 1)]
    Instance(u16),
    /// The log's end cannot be found.
    #[error("cannot find the end of the replies")]
    Log(#[from] LogError),
}

struct Inner {
    parts: ApiParts,
    publisher: Publisher,
    limits: Limits,
    waiters: Waiters,
    registry: RegistryView,
    last_positions: LastPositions,
}

/// What the handlers share. Cheap to clone.
#[derive(Clone)]
pub struct ApiState(Arc<Inner>);

impl fmt::Debug for ApiState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiState").field("instance", &self.0.parts.instance).finish_non_exhaustive()
    }
}

impl ApiState {
    /// Checks the settings and starts the tasks behind the handlers, which run until `stop`.
    pub async fn start(parts: ApiParts, stop: &CancellationToken) -> Result<Self, StartError> {
        parts.config.validate()?;
        if parts.instance.0 >= API_REPLIES.partitions {
            return Err(StartError::Instance(parts.instance.0));
        }
        let waiters = Waiters::new(parts.config.max_waiting);
        let from = TopicPartition::new(API_REPLIES.topic(), parts.instance);
        let replies = Replies::open(Arc::clone(&parts.log), from, waiters.clone()).await?;
        let registry = RegistryView::new();
        tokio::spawn(replies.run(parts.health.clone(), stop.clone()));
        tokio::spawn(registry.clone().run(Arc::clone(&parts.log), parts.health.clone(), stop.clone()));
        let publisher = Publisher::new(Arc::clone(&parts.log));
        let limits = Limits::new(&parts.config);
        let inner =
            Inner { parts, publisher, limits, waiters, registry, last_positions: LastPositions::new() };
        Ok(Self(Arc::new(inner)))
    }

    /// Waits until the registry, as it is in the log, has been read: from here on its keys are known.
    pub async fn registry_is_read(&self) {
        self.0.registry.caught_up().await;
    }

    /// Waits, bounded, until SQL has what a merchant's read must see. `true` when it has not.
    pub(crate) async fn is_stale(&self, scope: Scope, headers: &HeaderMap) -> Result<bool, Problem> {
        let asked = Position::of(headers, scope.merchant)?;
        let Some(wanted) = self.0.last_positions.at_least(scope.merchant, asked) else { return Ok(false) };
        // A book's partition has the same number in its inbox and in its public topics: both are keyed by merchant.
        let at = TopicPartition::new(PAYMENTS_EVENTS.topic(), wanted.partition);
        let waited = self.reading()?.progress.wait_for(&at, wanted.offset, self.config().read_wait()).await;
        Ok(waited != Waited::Reached)
    }

    pub(crate) fn config(&self) -> &ApiConfig {
        &self.0.parts.config
    }

    pub(crate) fn surface(&self) -> Surface {
        self.0.parts.surface
    }

    pub(crate) fn reads(&self) -> Result<&SqlReads, Problem> {
        Ok(&self.reading()?.reads)
    }

    fn reading(&self) -> Result<&Reading, Problem> {
        let elsewhere = || Problem::unavailable("reads_elsewhere", "this process serves no reads");
        self.0.parts.reading.as_ref().ok_or_else(elsewhere)
    }

    pub(crate) fn health(&self) -> &Health {
        &self.0.parts.health
    }

    pub(crate) fn secret_key(&self) -> &SecretKey {
        &self.0.parts.secret_key
    }

    pub(crate) fn allowed_networks(&self) -> &[IpNet] {
        &self.0.parts.allowed_networks
    }

    pub(crate) fn stripe(&self) -> Option<&StripeIngest> {
        self.0.parts.stripe.as_ref()
    }

    pub(crate) fn metrics_text(&self) -> String {
        (self.0.parts.metrics)()
    }

    pub(crate) fn instance(&self) -> Partition {
        self.0.parts.instance
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.0.parts.clock)()
    }

    pub(crate) fn publisher(&self) -> &Publisher {
        &self.0.publisher
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub(crate) fn waiters(&self) -> &Waiters {
        &self.0.waiters
    }

    pub(crate) fn registry(&self) -> &RegistryView {
        &self.0.registry
    }

    pub(crate) fn last_positions(&self) -> &LastPositions {
        &self.0.last_positions
    }
}
