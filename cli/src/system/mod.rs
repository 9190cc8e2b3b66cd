//! The parts of Streambook, wired together: the processors' tasks, the sinks, the connectors, the API. One process runs all of
//! them on the embedded log (`up`), or many run chosen ones on a log they share (`run`); the parts do not know which.
//!
//! Parts fail alone: each reports its condition, and the rest goes on. Stopping is asked of all at once; what is committed
//! stays, and what is not is done again at the next start.

mod belonging;
mod bootstrap;
mod chains;
mod parts;
mod processors;
mod settings;
mod shared;
mod sinks;
mod surface;
mod telemetry;
mod upkeep;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use metrics_exporter_prometheus::PrometheusHandle;
use streambook_log::{
    Log, Partition, Retention, TopicSpec,
    embedded::{EmbeddedLog, EmbeddedOptions},
    fluvio::FluvioLog,
};
use streambook_model::topics::{self, Keep};
use streambook_runtime::{
    checkpoints::{Board, Process},
    clock::{self, Clock},
    health::Health,
    outbox::Room,
    processor::Processor,
    runner::{Runner, supervise},
    threads::TaskThreads,
};
use streambook_sinks::sql::{SqlConfig, SqlReads};
use tokio::{net::TcpListener, sync::Mutex, task::JoinSet};
use tokio_util::sync::CancellationToken;

use self::shared::Shared;
pub(crate) use self::{
    bootstrap::AdminKey,
    chains::Connectors,
    parts::{Part, Partitions, Parts, instance},
    processors::all as processors,
    shared::{connect, look},
    telemetry::{install_logging, install_metrics},
};
use crate::{
    chain::{Chains, Running},
    config::{Config, Engine},
    control::{self, Services},
    verify::Verifier,
};

/// How long parts may take to end when they are asked to.
const LAST_WAIT: Duration = Duration::from_secs(20);

/// A running Streambook.
pub(crate) struct System {
    pub(crate) address: SocketAddr,
    /// This process's own store: state, offsets, outbox. Where one process runs everything it is the log as well.
    pub(crate) store: Arc<EmbeddedLog>,
    /// The log.
    pub(crate) log: Arc<dyn Log>,
    pub(crate) health: Health,
    /// The admin key, on the first start only: it is stored as a hash.
    pub(crate) admin_key: Option<AdminKey>,
    /// Why the SQL database could not be opened, if it is waited for.
    pub(crate) without_sql: Option<String>,
    /// The reads of the API, where it runs here.
    pub(crate) reads: Option<SqlReads>,
    stop: CancellationToken,
    parts: JoinSet<()>,
    threads: TaskThreads,
    /// What carries to the shared log what the parts have decided; it ends after them.
    carriers: JoinSet<()>,
    carry: CancellationToken,
}

/// What the parts of a process on a shared log need of it.
struct Place {
    board: Board,
    room: Room,
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
        let secret_key = config.data.secret_key_file.clone().unwrap_or_else(|| dir.join("secret.key"));
        Self { log: dir.join("log"), sql, secret_key }
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

/// The log of a configuration, for a command that looks into it: the cluster's, beside its processes, or that of a data
/// directory which no process has open.
pub(crate) async fn log_to_look_into(config: &Config) -> anyhow::Result<Arc<dyn Log>> {
    if config.log.engine == Engine::Fluvio {
        return Ok(look(config).await?);
    }
    if !Layout::of(config).log.exists() {
        bail!("there is no log in {}: name the data directory with --data", config.data.dir.display());
    }
    Ok(open_log(config).await?)
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
        Self::start_parts(config, &Parts::all(), "up", metrics).await
    }

    /// Starts these parts, under a name that no other process on the same log has.
    pub(crate) async fn start_parts(
        config: &Config,
        parts: &Parts,
        name: &str,
        metrics: PrometheusHandle,
    ) -> anyhow::Result<Self> {
        let store = open_log(config).await?;
        let cluster = match config.log.engine {
            Engine::Embedded => {
                belonging::alone(&store).with_context(|| data_dir(config))?;
                None
            }
            Engine::Fluvio => {
                let cluster = connect(config).await?;
                belonging::to(&store, &*cluster).await.with_context(|| data_dir(config))?;
                Some(cluster)
            }
        };
        let log: Arc<dyn Log> = match &cluster {
            None => Arc::<EmbeddedLog>::clone(&store),
            Some(cluster) => Arc::<FluvioLog>::clone(cluster),
        };
        let listener = TcpListener::bind(config.api.listen).await;
        let listener =
            listener.with_context(|| format!("[api] listen: cannot listen on {}", config.api.listen))?;
        let mut system = Self {
            address: listener.local_addr()?,
            store,
            log,
            health: Health::default(),
            admin_key: None,
            without_sql: None,
            reads: None,
            stop: CancellationToken::new(),
            parts: JoinSet::new(),
            threads: TaskThreads::start().context("cannot start the threads of the tasks")?,
            carriers: JoinSet::new(),
            carry: CancellationToken::new(),
        };
        let place = cluster.map(|cluster| system.join(cluster, parts, name));
        system.start_tasks(parts, place.as_ref());
        if parts.bootstraps {
            system.admin_key = bootstrap::first_admin_key(&system.log).await?;
            bootstrap::put_settings(&system.log, settings::of(config)?).await?;
        }
        if parts.runs_registry() {
            bootstrap::registry_took_all(&system.log, &system.store, &system.health).await?;
        }
        let board = place.map(|place| place.board);
        system.start_surface(config, parts, board.as_ref(), listener, metrics).await?;
        system.start_sinks(config, parts, board.as_ref())?;
        let connectors = match parts.has(Part::Chain) {
            true => chains::start(&mut system, config).await?,
            false => Connectors::default(),
        };
        system.look_after(config, connectors)?;
        Ok(system)
    }

    /// Takes a place on a log that is shared.
    fn join(&mut self, cluster: Arc<FluvioLog>, parts: &Parts, name: &str) -> Place {
        self.carriers.spawn(shared::watch(cluster, self.health.clone(), self.carry.clone()));
        let shared = Shared::new(self);
        let place = Place { board: shared.board.clone(), room: shared.room.clone() };
        let process = Process { name: name.to_owned(), address: format!("http://{}", self.address) };
        shared.start(self, process, tasks(parts).collect());
        place
    }

    fn clock() -> Clock {
        clock::system()
    }

    /// One task for each partition of each processor's inbox that runs here.
    fn start_tasks(&mut self, parts: &Parts, place: Option<&Place>) {
        for (processor, partition) in tasks(parts) {
            let (store, health) = (Arc::clone(&self.store), self.health.clone());
            let runner = Runner::new(store, processor, partition, Self::clock(), health);
            let runner = match place {
                Some(place) => runner.on(Arc::clone(&self.log), place.room.clone()),
                None => runner,
            };
            self.threads.spawn(&mut self.parts, supervise(runner, self.stop.clone()));
        }
    }

    /// Retention, the store's health, and whoever asks for a proof or for something of the chains. On a shared log commands read
    /// the log themselves, and retention is the cluster's.
    fn look_after(&mut self, config: &Config, connectors: Connectors) -> anyhow::Result<()> {
        let (store, health, stop) = (Arc::clone(&self.store), self.health.clone(), self.stop.clone());
        if config.log.engine == Engine::Fluvio {
            self.parts.spawn(upkeep::run(store, None, health, stop));
            return Ok(());
        }
        let verifier = Verifier::new(Arc::clone(&store), processors(), Layout::of(config).sql);
        let trimming: Arc<Mutex<()>> = verifier.trimming();
        let running = Some(Running { connectors, health: health.clone() });
        let chains = Chains::new(Arc::clone(&self.log), config.chain.clone(), running);
        let server = control::Server::bind(config.data.dir.clone(), Services { verifier, chains })?;
        self.parts.spawn(server.run(stop.clone()));
        self.parts.spawn(upkeep::run(store, Some(trimming), health, stop));
        Ok(())
    }

    /// Stops everything and waits until it has ended: first what takes and decides, then what carries it to others.
    pub(crate) async fn shutdown(mut self) {
        self.stop.cancel();
        end(&mut self.parts, LAST_WAIT).await;
        self.carry.cancel();
        end(&mut self.carriers, LAST_WAIT).await;
    }
}

fn data_dir(config: &Config) -> String {
    format!("the data directory {}", config.data.dir.display())
}

async fn end(parts: &mut JoinSet<()>, limit: Duration) {
    let ended = tokio::time::timeout(limit, async { while parts.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        tracing::warn!(
            "some parts did not end in time; what they had not committed is done again at the next start"
        );
        parts.abort_all();
    }
}

/// The tasks that run here.
fn tasks(parts: &Parts) -> impl Iterator<Item = (Arc<dyn Processor>, Partition)> + '_ {
    processors().into_iter().flat_map(move |processor| {
        let partitions = (0..processor.inbox().partitions).map(Partition);
        partitions.filter(|at| parts.runs(*at)).map(move |at| (Arc::clone(&processor), at))
    })
}
