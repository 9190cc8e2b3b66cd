//! Every metric's name, as a type: dashboards and code cannot drift apart. The raw macros are used here only.

use std::time::Duration;

/// A metric. [`Metric::name`] is what Prometheus scrapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Counter by task and result: records taken from an inbox.
    Records,
    /// Counter by task: records emitted.
    Outputs,
    /// Histogram by task, seconds: one commit of offset, state and outputs.
    CommitSeconds,
    /// Histogram by task, seconds: from a record's being written to the log to its step's commit.
    LatencySeconds,
    /// Gauge by task: records in the inbox that are not taken yet.
    Lag,
    /// Gauge by task: 1 while it runs, 0 once it has stopped.
    TaskUp,
    /// Counter by invariant: checks made while records were taken.
    InvariantChecks,
    /// Counter by invariant: checks that failed. Each has stopped its task.
    InvariantViolations,
    /// Counter by sink: records written.
    SinkRecords,
    /// Histogram by sink, seconds: one write.
    SinkWriteSeconds,
    /// Histogram by sink, seconds: from a record's being written to the log to its being in the sink.
    SinkLatencySeconds,
    /// Counter by sink: writes that failed and were tried again.
    SinkRetries,
    /// Gauge by sink: records not written yet.
    SinkLag,
    /// Counter by table: rows inserted into ClickHouse.
    ClickHouseRows,
    /// Histogram by table, seconds: one insert into ClickHouse.
    ClickHouseInsertSeconds,
    /// Counter: batches that were planned before a crash and read from the log again.
    ClickHouseRebuilt,
    /// Counter by task: records put aside. Which and why is in `dead.letters`.
    DeadLetters,
    /// Counter by method, route and status: API requests.
    HttpRequests,
    /// Histogram by method and route, seconds: API requests.
    HttpSeconds,
    /// Counter by reason: requests refused before they reached a handler.
    HttpRefused,
    /// Counter by result: Stripe deliveries received.
    StripeDeliveries,
    /// Gauge by chain: the height the connector has appended.
    ChainAppended,
    /// Gauge by chain: the head the nodes report.
    ChainHead,
    /// Counter by chain and node: calls that failed or whose answer was refused.
    NodeFailures,
    /// Gauge by chain and node: 1 while the node is used.
    NodeUp,
    /// Gauge by chain and node: 100 for a node that did nothing wrong of late, 0 for the worst.
    NodeScore,
    /// Gauge by chain and node: milliseconds the node takes to answer, as a moving average.
    NodeLatency,
    /// Counter by chain, node and kind: what a node did wrong: lie, lag, contradiction, error, throttled, slow.
    NodeFaults,
    /// Gauge by chain and what: seconds that the head, `safe` or `finalized` has stood still beyond what is allowed; 0 while it moves.
    ChainStalled,
    /// Gauge by chain: blocks a second while the connector catches up; 0 at the head.
    ChainCatchUpRate,
    /// Gauge by chain: seconds until the connector has caught up; 0 at the head.
    ChainCatchUpSeconds,
    /// Gauge by chain: subscriptions to heads that are open.
    ChainSubscriptions,
    /// Counter by outcome: webhook attempts.
    WebhookAttempts,
    /// Histogram, seconds: one webhook attempt.
    WebhookSeconds,
    /// Gauge: messages waiting for an attempt.
    WebhookPending,
    /// Gauge: records of this process that are not sent to the shared log, or not known to have arrived.
    OutboxRecords,
    /// Gauge: records of this process that were sent to the shared log and are not known to have arrived.
    OutboxUnacknowledged,
    /// Gauge, seconds: the age of the oldest record that is not sent, or not known to have arrived; 0 where there is none.
    OutboxOldestSeconds,
    /// Counter by topic: times that records were sent again since they had not arrived.
    OutboxResends,
}

impl Metric {
    /// The name Prometheus sees.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Records => "streambook_records_total",
            Self::Outputs => "streambook_outputs_total",
            Self::CommitSeconds => "streambook_commit_seconds",
            Self::LatencySeconds => "streambook_latency_seconds",
            Self::Lag => "streambook_lag_records",
            Self::TaskUp => "streambook_task_up",
            Self::InvariantChecks => "streambook_invariant_checks_total",
            Self::InvariantViolations => "streambook_invariant_violations_total",
            Self::SinkRecords => "streambook_sink_records_total",
            Self::SinkWriteSeconds => "streambook_sink_write_seconds",
            Self::SinkLatencySeconds => "streambook_sink_latency_seconds",
            Self::SinkRetries => "streambook_sink_retries_total",
            Self::SinkLag => "streambook_sink_lag_records",
            Self::ClickHouseRows => "streambook_clickhouse_rows_total",
            Self::ClickHouseInsertSeconds => "streambook_clickhouse_insert_seconds",
            Self::ClickHouseRebuilt => "streambook_clickhouse_rebuilt_batches_total",
            Self::DeadLetters => "streambook_dead_letters_total",
            Self::HttpRequests => "streambook_http_requests_total",
            Self::HttpSeconds => "streambook_http_seconds",
            Self::HttpRefused => "streambook_http_refused_total",
            Self::StripeDeliveries => "streambook_stripe_deliveries_total",
            Self::ChainAppended => "streambook_chain_appended_block",
            Self::ChainHead => "streambook_chain_head_block",
            Self::NodeFailures => "streambook_node_failures_total",
            Self::NodeUp => "streambook_node_up",
            Self::NodeScore => "streambook_node_score",
            Self::NodeLatency => "streambook_node_latency_milliseconds",
            Self::NodeFaults => "streambook_node_faults_total",
            Self::ChainStalled => "streambook_chain_stalled_seconds",
            Self::ChainCatchUpRate => "streambook_chain_catch_up_blocks_per_second",
            Self::ChainCatchUpSeconds => "streambook_chain_catch_up_seconds",
            Self::ChainSubscriptions => "streambook_chain_subscriptions",
            Self::WebhookAttempts => "streambook_webhook_attempts_total",
            Self::WebhookSeconds => "streambook_webhook_seconds",
            Self::WebhookPending => "streambook_webhook_pending",
            Self::OutboxRecords => "streambook_outbox_records",
            Self::OutboxUnacknowledged => "streambook_outbox_unacknowledged_records",
            Self::OutboxOldestSeconds => "streambook_outbox_oldest_seconds",
            Self::OutboxResends => "streambook_outbox_resends_total",
        }
    }

    /// Counts. Labels are few and from small sets.
    #[expect(clippy::disallowed_macros, reason = "the one place that names metrics")]
    pub fn count(self, by: u64, labels: &[(&'static str, String)]) {
        metrics::counter!(self.name(), &labels.to_vec()).increment(by);
    }

    /// Sets a gauge.
    #[expect(clippy::disallowed_macros, reason = "the one place that names metrics")]
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; counts beyond 2^53 do not occur")]
    pub fn set(self, value: u64, labels: &[(&'static str, String)]) {
        metrics::gauge!(self.name(), &labels.to_vec()).set(value as f64);
    }

    /// Records how long something took.
    #[expect(clippy::disallowed_macros, reason = "the one place that names metrics")]
    pub fn observe(self, took: Duration, labels: &[(&'static str, String)]) {
        metrics::histogram!(self.name(), &labels.to_vec()).record(took.as_secs_f64());
    }
}
