//! The sinks of a process, each fed by a runner of its own.

use std::sync::Arc;

use anyhow::Context;
use streambook_log::ReadLimit;
use streambook_runtime::{checkpoints::Board, lineage::Gaps, sink::Sink, sink_runner::SinkRunner};
use streambook_sinks::{
    clickhouse::{ClickHouseConfig, ClickHouseSink},
    sql::{SqlConfig, SqlSink},
    webhooks::{Courier, DeliveryQueue, WebhooksSink},
};

use super::{Part, Parts, System, surface::secret_key};
use crate::config::Config;

impl System {
    /// Starts those that run here, but for SQL, which the API's reads start with.
    pub(super) fn start_sinks(
        &mut self,
        config: &Config,
        parts: &Parts,
        board: Option<&Board>,
    ) -> anyhow::Result<()> {
        if parts.has(Part::Clickhouse) {
            self.start_clickhouse(&config.clickhouse, board)?;
        }
        if parts.has(Part::Webhooks) {
            self.start_webhooks(config, board)?;
        }
        Ok(())
    }

    pub(super) fn start_sql(&mut self, config: &SqlConfig, sink: SqlSink, board: Option<&Board>) {
        let records = usize::try_from(config.batch_records).unwrap_or(usize::MAX);
        let limit = ReadLimit { records, ..ReadLimit::default() };
        self.feed(sink.with_gaps(gaps(board)), limit, board);
    }

    /// A server that is down is waited for, and everything else goes on.
    fn start_clickhouse(&mut self, config: &ClickHouseConfig, board: Option<&Board>) -> anyhow::Result<()> {
        if !config.is_on() {
            return Ok(());
        }
        let sink =
            ClickHouseSink::new(config, Arc::clone(&self.log), Self::clock()).context("[clickhouse]")?;
        let records = usize::try_from(config.batch_records).unwrap_or(usize::MAX);
        let bytes = usize::try_from(config.batch_mib).unwrap_or(usize::MAX).saturating_mul(1 << 20);
        self.feed(sink.with_gaps(gaps(board)), ReadLimit { records, bytes }, board);
        Ok(())
    }

    fn start_webhooks(&mut self, config: &Config, board: Option<&Board>) -> anyhow::Result<()> {
        let queue = DeliveryQueue::open(Arc::clone(&self.store), gaps(board))?;
        self.feed(WebhooksSink::new(Arc::clone(&queue)), ReadLimit::default(), board);
        let key = secret_key(config)?;
        let courier = Courier::new(queue, config.webhooks.clone(), key, Self::clock(), self.health.clone());
        let courier = courier.context("[webhooks] cannot prepare the HTTP client")?;
        self.parts.spawn(courier.run(self.stop.clone()));
        Ok(())
    }

    fn feed(&mut self, sink: impl Sink + Sync, limit: ReadLimit, board: Option<&Board>) {
        let log = Arc::clone(&self.log);
        let runner = SinkRunner::new(log, sink, limit, Self::clock(), self.health.clone());
        let runner = match board {
            Some(board) => runner.telling(board.clone()),
            None => runner,
        };
        self.parts.spawn(runner.run(self.stop.clone()));
    }
}

/// Where others wait for this process's word, what the log loses is sent again.
fn gaps(board: Option<&Board>) -> Gaps {
    if board.is_some() { Gaps::AwaitResend } else { Gaps::Stop }
}
