//! What a process serves: the API with its reads, Stripe's deliveries, or no more than its health and metrics.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use streambook_api::{ApiParts, ApiState, Reading, Surface, operator_router};
use streambook_runtime::{checkpoints::Board, health::Condition, secrets::SecretKey, step::chain_of};
use streambook_sinks::sql::{Progress, SqlConfig, SqlReads, SqlSink};
use tokio::net::TcpListener;

use super::{LAST_WAIT, Layout, Part, Parts, System, bootstrap};
use crate::{config::Config, output};

/// How often the database of another process's sink is asked how far it is.
const ASK: Duration = Duration::from_millis(50);
/// The pause before a database that is not ready is tried again.
const PAUSE: Duration = Duration::from_secs(1);

impl System {
    /// Starts the SQL sink if it runs here, and what this process serves.
    pub(super) async fn start_surface(
        &mut self,
        config: &Config,
        parts: &Parts,
        board: Option<&Board>,
        listener: TcpListener,
        metrics: PrometheusHandle,
    ) -> anyhow::Result<()> {
        let sql = Layout::of(config).sql;
        let sink = match parts.has(Part::Sql) {
            true => Some(SqlSink::open_when_there(&sql).await.context("cannot open the SQL database")?),
            false => None,
        };
        self.without_sql = sink.as_ref().and_then(SqlSink::absence).map(|reason| chain_of(reason));
        let reading = match (&sink, parts.has(Part::Api)) {
            (_, false) => None,
            (Some(sink), true) => Some(Reading { reads: sink.reads(), progress: sink.progress() }),
            (None, true) => Some(self.reads_elsewhere(&sql).await),
        };
        self.reads = reading.as_ref().map(|reading| reading.reads.clone());
        match (parts.has(Part::Api), parts.has(Part::Stripe)) {
            (false, false) => self.serve_operators(config, listener, metrics),
            (api, stripe) => {
                let surface = Surface { api, stripe };
                self.serve(config, (surface, parts), reading, listener, metrics).await?;
            }
        }
        if let Some(sink) = sink {
            self.start_sql(&sql, sink, board);
        }
        Ok(())
    }

    /// The reads of a database that another process writes, once it has made it.
    async fn reads_elsewhere(&mut self, sql: &SqlConfig) -> Reading {
        let reads = loop {
            match SqlReads::open(sql).await {
                Ok(reads) => break reads,
                Err(error) => output::note(format!("waiting for the SQL database: {}", chain_of(&error))),
            }
            tokio::time::sleep(PAUSE).await;
        };
        let (progress, asking) = Progress::elsewhere(reads.clone(), ASK);
        let stop = self.stop.clone();
        self.parts.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = asking => {}
            }
        });
        Reading { reads, progress }
    }

    async fn serve(
        &mut self,
        config: &Config,
        (surface, parts): (Surface, &Parts),
        reading: Option<Reading>,
        listener: TcpListener,
        metrics: PrometheusHandle,
    ) -> anyhow::Result<()> {
        // The secrets are where deliveries come in, and nowhere else.
        let secrets = if surface.stripe { bootstrap::stripe_secrets(&config.stripe)? } else { None };
        let stripe = secrets.map(bootstrap::stripe_ingest).transpose()?;
        let parts = ApiParts {
            config: config.api.clone(),
            log: Arc::clone(&self.log),
            surface,
            reading,
            clock: Self::clock(),
            health: self.health.clone(),
            secret_key: secret_key(config)?,
            allowed_networks: config.webhooks.allowed_networks.clone(),
            stripe,
            metrics: Arc::new(move || metrics.render()),
            instance: parts.instance,
        };
        let state = ApiState::start(parts, &self.stop).await?;
        let read = tokio::time::timeout(LAST_WAIT, state.registry_is_read()).await;
        read.context("the registry could not be read in time")?;
        let (config, router) = (config.api.clone(), streambook_api::router(state));
        self.listen(config, router, listener);
        Ok(())
    }

    fn serve_operators(&mut self, config: &Config, listener: TcpListener, metrics: PrometheusHandle) {
        let router = operator_router(self.health.clone(), Arc::new(move || metrics.render()));
        self.listen(config.api.clone(), router, listener);
    }

    fn listen(&mut self, config: streambook_api::ApiConfig, router: axum::Router, listener: TcpListener) {
        let (health, stop) = (self.health.clone(), self.stop.clone());
        self.parts.spawn(async move {
            if let Err(error) = streambook_api::serve(router, &config, listener, stop).await {
                health.report("api", Condition::Stopped { reason: chain_of(&error) });
            }
        });
    }
}

/// The key that seals secrets: the processes of a Streambook share it.
pub(super) fn secret_key(config: &Config) -> anyhow::Result<SecretKey> {
    bootstrap::secret_key(&Layout::of(config).secret_key)
}
