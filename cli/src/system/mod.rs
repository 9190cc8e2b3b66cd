//! Everything in one process, wired together: the embedded log, the processors' tasks, the sinks, the connectors, the API.
//!
//! Parts fail alone: each reports its condition, and the rest goes on. Stopping is asked of all at once; what is committed
//! stays, and what is not is done again at the next start.

mod bootstrap;
mod chains;
mod processors;
mod settings;
mod telemetry;
mod upkeep;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use streambook_api::{ApiParts, ApiState, StripeIngest};
use streambook_log::{
    Log, Partition, ReadLimit, Retention, TopicSpec,
    embedded::{EmbeddedLog, EmbeddedOptions},
};
use streambook_model::topics::{self, Keep};
use streambook_runtime::{
    clock::{self, Clock},
    health::Health,
    runner::{Runner, supervise},
    secrets::SecretKey,
    sink_runner::SinkRunner,
    threads::TaskThreads,
};
use streambook_sinks::{
    clickhouse::{ClickHouseConfig, ClickHouseSink},
    sql::{SqlConfig, SqlReads, SqlSink},
    webhooks::{Courier, DeliveryQueue, WebhooksSink},
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub(crate) use self::{
    bootstrap::AdminKey,
    processors::all as processors,
    telemetry::{install_logging, install_metrics},
};
use crate::{config::Config, verify::live};

/// How long parts may take to end when they are asked to.
const LAST_WAIT: Duration = Duration::from_secs(20);

/// A running Streambook.
pub(crate) struct System {
    pub(crate) address: SocketAddr,
    pub(crate) log: Arc<EmbeddedLog>,
    pub(crate) reads: SqlReads,
    pub(crate) health: Health,
    /// The admin key, on the first start only: it is stored as a hash.
    pub(crate) admin_key: Option<AdminKey>,
    stop: CancellationToken,
    parts: JoinSet<()>,
    threads: TaskThreads,
}

/// Where things are in the data directory.
pub(crate) struct Layout {
    pub(crate) log: PathBuf,
    pub(crate) sql: SqlConfig,
    pub(crate) secret_key: PathBuf,
}

impl Layout {
    pub(crate) fn of(config: &Config) -> Self {
        let dir = &config.data.dir;
        let default = SqlConfig::default().url;
        let mut sql = config.sql.clone();
        if sql.url == default {
            sql.url = SqlConfig::at(&dir.join("streambook.db")).url;
        }
        Self { log: dir.join("log"), sql, secret_key: dir.join("secret.key") }
    }
}

/// How the log of this configuration is opened.
pub(crate) fn log_options(config: &Config) -> EmbeddedOptions {
    EmbeddedOptions {
        write_buffer_bytes: config.data.write_buffer_mib << 20,
        cache_bytes: config.data.cache_mib << 20,
        ..EmbeddedOptions::new(Layout::of(config).log)
    }
}

/// Opens the log and makes sure of its topics.
pub(crate) async fn open_log(config: &Config) -> anyhow::Result<Arc<EmbeddedLog>> {
    std::fs::create_dir_all(&config.data.dir)
        .with_context(|| format!("cannot make the data directory {}", config.data.dir.display()))?;
    let options = log_options(config);
    let log = tokio::task::block_in_place(|| EmbeddedLog::open(options))?;
    let age = Retention::Age { max_ms: config.data.retention_days.saturating_mul(86_400_000) };
    for topic in topics::ALL {
        let retention = match topic.keep {
            Keep::Forever => Retention::Forever,
            Keep::Retention => age,
        };
        let spec = TopicSpec { name: topic.topic(), partitions: topic.partitions, retention };
        log.ensure_topic(&spec).await?;
    }
    Ok(log)
}

impl System {
    /// Starts everything. Returns once the API accepts connections and knows the keys, the first admin key included.
    pub(crate) async fn start(config: &Config, metrics: PrometheusHandle) -> anyhow::Result<Self> {
        let layout = Layout::of(config);
        let log = open_log(config).await?;
        let key = bootstrap::secret_key(&layout.secret_key)?;
        let sql = SqlSink::open(&layout.sql).await.context("cannot open the SQL database")?;
        let listener = TcpListener::bind(config.api.listen).await;
        let listener =
            listener.with_context(|| format!("[api] listen: cannot listen on {}", config.api.listen))?;
        let mut system = Self {
            address: listener.local_addr()?,
            log: Arc::clone(&log),
            reads: sql.reads(),
            health: Health::default(),
            admin_key: None,
            stop: CancellationToken::new(),
            parts: JoinSet::new(),
            threads: TaskThreads::start().context("cannot start the threads of the tasks")?,
        };
        system.start_tasks();
        system.admin_key = bootstrap::first_admin_key(&log).await?;
        bootstrap::put_settings(&log, settings::of(config)?).await?;
        bootstrap::registry_took_all(&log, &system.health).await?;
        system.start_api(config, &key, &sql, listener, metrics).await?;
        system.start_sql(&layout.sql, sql);
        system.start_clickhouse(&config.clickhouse)?;
        system.start_webhooks(config, key)?;
        let data = config.data.dir.clone();
        let verifier = live::Server::bind(data, Arc::clone(&log), processors(), layout.sql.clone())?;
        let trimming = verifier.trimming();
        system.parts.spawn(verifier.run(system.stop.clone()));
        chains::start(&mut system, config).await?;
        let (log, stop) = (Arc::clone(&system.log), system.stop.clone());
        system.parts.spawn(upkeep::run(log, trimming, system.health.clone(), stop));
        Ok(system)
    }

    fn shared_log(&self) -> Arc<dyn Log> {
        Arc::<EmbeddedLog>::clone(&self.log)
    }

    fn clock() -> Clock {
        clock::system()
    }

    /// One task for each partition of each processor's inbox.
    fn start_tasks(&mut self) {
        for processor in processors() {
            for number in 0..processor.inbox().partitions {
                let (log, partition) = (Arc::clone(&self.log), Partition(number));
                let runner =
                    Runner::new(log, Arc::clone(&processor), partition, Self::clock(), self.health.clone());
                self.threads.spawn(&mut self.parts, supervise(runner, self.stop.clone()));
            }
        }
    }

    async fn start_api(
        &mut self,
        config: &Config,
        key: &SecretKey,
        sql: &SqlSink,
        listener: TcpListener,
        metrics: PrometheusHandle,
    ) -> anyhow::Result<()> {
        let parts = ApiParts {
            config: config.api.clone(),
            log: self.shared_log(),
            reads: sql.reads(),
            progress: Some(sql.progress()),
            clock: Self::clock(),
            health: self.health.clone(),
            secret_key: key.clone(),
            allowed_networks: config.webhooks.allowed_networks.clone(),
            stripe: stripe_ingest(config)?,
            metrics: Arc::new(move || metrics.render()),
            instance: Partition(0),
        };
        let state = ApiState::start(parts, &self.stop).await?;
        let read = tokio::time::timeout(LAST_WAIT, state.registry_is_read()).await;
        read.context("the registry could not be read in time")?;
        let (health, stop) = (self.health.clone(), self.stop.clone());
        self.parts.spawn(async move {
            if let Err(error) = streambook_api::serve(state, listener, stop).await {
                let reason = streambook_runtime::step::chain_of(&error);
                health.report("api", streambook_runtime::health::Condition::Stopped { reason });
            }
        });
        Ok(())
    }

    fn start_sql(&mut self, config: &SqlConfig, sink: SqlSink) {
        let records = usize::try_from(config.batch_records).unwrap_or(usize::MAX);
        let limit = ReadLimit { records, ..ReadLimit::default() };
        let runner = SinkRunner::new(self.shared_log(), sink, limit, Self::clock(), self.health.clone());
        self.parts.spawn(runner.run(self.stop.clone()));
    }

    /// A server that is down is waited for, and everything else goes on.
    fn start_clickhouse(&mut self, config: &ClickHouseConfig) -> anyhow::Result<()> {
        if !config.is_on() {
            return Ok(());
        }
        let sink = ClickHouseSink::new(config, self.shared_log(), Self::clock()).context("[clickhouse]")?;
        let records = usize::try_from(config.batch_records).unwrap_or(usize::MAX);
        let bytes = usize::try_from(config.batch_mib).unwrap_or(usize::MAX).saturating_mul(1 << 20);
        let limit = ReadLimit { records, bytes };
        let runner = SinkRunner::new(self.shared_log(), sink, limit, Self::clock(), self.health.clone());
        self.parts.spawn(runner.run(self.stop.clone()));
        Ok(())
    }

    fn start_webhooks(&mut self, config: &Config, key: SecretKey) -> anyhow::Result<()> {
        let queue = DeliveryQueue::open(Arc::clone(&self.log))?;
        let sink = WebhooksSink::new(Arc::clone(&queue));
        let limit = ReadLimit::default();
        let runner = SinkRunner::new(self.shared_log(), sink, limit, Self::clock(), self.health.clone());
        self.parts.spawn(runner.run(self.stop.clone()));
        let courier = Courier::new(queue, config.webhooks.clone(), key, Self::clock(), self.health.clone());
        let courier = courier.context("[webhooks] cannot prepare the HTTP client")?;
        self.parts.spawn(courier.run(self.stop.clone()));
        Ok(())
    }

    /// Stops everything and waits until it has ended.
    pub(crate) async fn shutdown(mut self) {
        self.stop.cancel();
        let ended =
            tokio::time::timeout(LAST_WAIT, async { while self.parts.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            tracing::warn!(
                "some parts did not end in time; what they had not committed is done again at the next start"
            );
            self.parts.abort_all();
        }
    }
}

fn stripe_ingest(config: &Config) -> anyhow::Result<Option<StripeIngest>> {
    bootstrap::stripe_secrets(&config.stripe)?.map(bootstrap::stripe_ingest).transpose()
}
