//! The parts under measurement, wired as `up` wires them: every task, and the SQL sink. What an operator and merchants
//! would have set up is set up through the registry.

use std::{collections::BTreeSet, path::Path, str::FromStr, sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use futures::future::try_join_all;
use serde::Serialize;
use streambook_log::{Log, ReadLimit, Visibility, embedded::EmbeddedLog, partitioner::partition_of};
use streambook_model::{
    asset::{Asset, AssetId},
    bytes::Address,
    chain::{ChainId, ConfirmationPolicy},
    codec,
    id::MerchantId,
    message::Message,
    meta::Meta,
    position::{Offset, Partition, TopicPartition},
    records::{
        registry::{Administrator, Merchant, PutMerchant, PutSettings},
        settings::{ChainSettings, FeeSchedule, Settings},
    },
    topics::{self, TopicDef},
};
use streambook_processors::book::ledger::BUILTIN_POSTINGS;
use streambook_runtime::{
    checkpoints::{Board, Checkpoints, Process},
    clock,
    health::Health,
    lineage::Gaps,
    publisher::Publisher,
    runner::{Runner, supervise},
    sink_runner::SinkRunner,
    threads::TaskThreads,
};
use streambook_sinks::sql::{Progress, SqlConfig, SqlReads, SqlSink, SqlUrl};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    super::TEST_XPUB,
    PipelineBench,
    books::{Books, ClusterChoice},
};
use crate::{
    config::{Config, Engine, LogConfig},
    system,
};

/// The chain of the benchmark.
pub(super) const CHAIN: ChainId = ChainId(31_337);
/// Its token.
pub(super) const TOKEN: Address = Address::new([0xaa; 20]);
/// How long the settings and merchants may take to arrive.
const SET_UP_MOST: Duration = Duration::from_secs(60);

/// Where results go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SqlChoice {
    /// SQLite with full synchronous commits; a payment is done when its rows are committed.
    Sqlite,
    /// PostgreSQL, an empty database; the same.
    Postgres(SqlUrl),
    /// Nowhere; a payment is done when its event is synced.
    None,
}

impl FromStr for SqlChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "sqlite" => Ok(Self::Sqlite),
            "none" => Ok(Self::None),
            url if url.starts_with("postgres") => Ok(Self::Postgres(url.into())),
            _ => Err("use `sqlite`, `none`, or `postgres://user@host:5432/database`".to_owned()),
        }
    }
}

/// The running parts.
pub(super) struct Plant {
    /// The log that is measured.
    pub(super) log: Arc<dyn Log>,
    /// This process's own store; the log itself, where it is embedded.
    pub(super) store: Arc<EmbeddedLog>,
    /// The processes that keep the books, where this one does not.
    books: Option<Books>,
    pub(super) merchants: Vec<MerchantId>,
    pub(super) asset: AssetId,
    pub(super) progress: Option<Progress>,
    pub(super) reads: Option<SqlReads>,
    health: Health,
    stop: CancellationToken,
    parts: JoinSet<()>,
    threads: TaskThreads,
}

impl Plant {
    /// Starts everything in an empty directory, and returns once every merchant can create payments.
    pub(super) async fn start(directory: &Path, bench: &PipelineBench) -> anyhow::Result<Self> {
        let mut config = Config::default();
        config.data.dir = directory.to_owned();
        let store = system::open_log(&config).await?;
        let (mut log, mut books): (Arc<dyn Log>, _) = (Arc::<EmbeddedLog>::clone(&store), None);
        if let Some(cluster) = &bench.cluster {
            log = join(&mut config, cluster).await?;
            books = Some(Books::start(directory, cluster).await?);
        }
        let mut plant = Self {
            log,
            store,
            books,
            merchants: (0..bench.merchants)
                .map(|_| MerchantId::from_bits(Uuid::now_v7().into_bytes()))
                .collect(),
            asset: "usdc:31337".parse()?,
            progress: None,
            reads: None,
            health: Health::default(),
            stop: CancellationToken::new(),
            parts: JoinSet::new(),
            threads: TaskThreads::start()?,
        };
        if plant.books.is_none() {
            plant.start_tasks();
        }
        match &bench.sql {
            SqlChoice::Sqlite => plant.start_sql(&SqlConfig::at(&directory.join("streambook.db"))).await?,
            SqlChoice::Postgres(url) => {
                plant.start_sql(&SqlConfig { url: url.clone(), ..SqlConfig::default() }).await?;
            }
            SqlChoice::None => {}
        }
        plant.set_up(bench.chain.confirmations).await?;
        Ok(plant)
    }

    fn start_tasks(&mut self) {
        for processor in system::processors() {
            for number in 0..processor.inbox().partitions {
                let (log, processor) = (Arc::clone(&self.store), Arc::clone(&processor));
                let runner =
                    Runner::new(log, processor, Partition(number), clock::system(), self.health.clone());
                self.threads.spawn(&mut self.parts, supervise(runner, self.stop.clone()));
            }
        }
    }

    async fn start_sql(&mut self, config: &SqlConfig) -> anyhow::Result<()> {
        let sink = SqlSink::open(config).await.context("cannot open the SQL database")?;
        self.progress = Some(sink.progress());
        self.reads = Some(sink.reads());
        let records = usize::try_from(config.batch_records)?;
        let limit = ReadLimit { records, ..ReadLimit::default() };
        let gaps = if self.books.is_some() { Gaps::AwaitResend } else { Gaps::Stop };
        let sink = sink.with_gaps(gaps);
        let mut runner =
            SinkRunner::new(Arc::clone(&self.log), sink, limit, clock::system(), self.health.clone());
        if self.books.is_some() {
            let board = Board::default();
            runner = runner.telling(board.clone());
            self.tell(board);
        }
        self.parts.spawn(runner.run(self.stop.clone()));
        Ok(())
    }

    /// Says to the books' processes how far the sink is, so that they can forget what has arrived.
    fn tell(&mut self, board: Board) {
        let process = Process { name: "bench".into(), address: String::new() };
        let logs = (Arc::clone(&self.store), Arc::clone(&self.log));
        let around = (clock::system(), self.health.clone());
        let checkpoints = Checkpoints::new(process, logs, Vec::new(), board, around);
        self.parts.spawn(checkpoints.run(self.stop.clone()));
    }

    async fn set_up(&self, confirmations: u32) -> anyhow::Result<()> {
        let publisher = self.publisher();
        let settings = self.settings(confirmations);
        let put = Message::from(PutSettings { meta: meta("settings"), settings });
        publisher.publish(topics::REGISTRY_INBOX, b"settings", put).await?;
        for id in &self.merchants {
            let merchant = Merchant {
                id: *id,
                name: "shop".into(),
                settlement: "custodial".into(),
                created_at: clock::system()(),
                addresses: Vec::new(),
                tolerance: None,
            };
            let administrator = Administrator { key: None, reply: None, idempotency: None };
            let put = PutMerchant { meta: meta(&id.to_string()), administrator, merchant };
            publisher.publish(topics::REGISTRY_INBOX, id.to_string().as_bytes(), put).await?;
        }
        let waited = tokio::time::timeout(SET_UP_MOST, self.until_told()).await;
        self.check()?;
        waited.context("the registry did not take the settings and merchants")?
    }

    /// Waits until the registry has told everybody: on a cluster each partition is told for itself.
    async fn until_told(&self) -> anyhow::Result<()> {
        self.until_told_at(topics::REGISTRY_EVENTS, Partition(0), self.merchants.len()).await?;
        for number in 0..topics::BOOK_INBOX.partitions {
            let lives_here = |merchant: &&MerchantId| {
                let key = merchant.to_string();
                partition_of(key.as_bytes(), topics::BOOK_INBOX.partitions) == Partition(number)
            };
            let merchants = self.merchants.iter().filter(lives_here).count();
            self.until_told_at(topics::BOOK_INBOX, Partition(number), merchants).await?;
        }
        let chain = partition_of(CHAIN.to_string().as_bytes(), topics::CHAIN_INBOX.partitions);
        self.until_told_at(topics::CHAIN_INBOX, chain, 0).await
    }

    /// Waits until a partition has the settings and so many merchants.
    async fn until_told_at(
        &self,
        topic: TopicDef,
        partition: Partition,
        merchants: usize,
    ) -> anyhow::Result<()> {
        let (from, mut next) = (TopicPartition::new(topic.topic(), partition), Offset(0));
        let (mut known, mut is_set) = (BTreeSet::new(), false);
        while known.len() < merchants || !is_set {
            self.log.wait(&from, next, Visibility::Synced).await?;
            for record in self.log.read(&from, next, ReadLimit::default(), Visibility::Synced).await? {
                next = record.offset.plus(1);
                match codec::decode(&record.value)? {
                    Message::MerchantChanged(changed) => drop(known.insert(changed.merchant.id)),
                    Message::SettingsChanged(changed) => {
                        is_set |= changed.settings.chains.iter().any(|chain| chain.id == CHAIN);
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn settings(&self, confirmations: u32) -> Settings {
        let policy = ConfirmationPolicy { depth: Some(confirmations) };
        Settings {
            version: 0,
            assets: vec![Asset { id: self.asset.clone(), scale: 6, contract: Some(TOKEN) }],
            chains: vec![ChainSettings { id: CHAIN, policy, look_back_seconds: 86_400 }],
            fee: FeeSchedule { parts_per_million: 5_000 },
            xpub: Some(TEST_XPUB.into()),
            postings: BUILTIN_POSTINGS.into(),
            tiers: Vec::new(),
            exact_amount_grace_seconds: 86_400,
        }
    }

    /// The log behind its trait.
    pub(super) fn shared_log(&self) -> Arc<dyn Log> {
        Arc::clone(&self.log)
    }

    /// Whether the log is on a cluster, where an append takes a while.
    pub(super) const fn is_shared(&self) -> bool {
        self.books.is_some()
    }

    /// The processes beside this one.
    pub(super) fn others(&self) -> Vec<u32> {
        self.books.as_ref().map(Books::ids).unwrap_or_default()
    }

    /// Appends to the log.
    pub(super) fn publisher(&self) -> Publisher {
        Publisher::new(self.shared_log())
    }

    /// Records ever appended to a topic.
    pub(super) async fn records(&self, topic: TopicDef) -> anyhow::Result<u64> {
        let at = |number| TopicPartition::new(topic.topic(), Partition(number));
        let partitions: Vec<_> = (0..topic.partitions).map(at).collect();
        let ends = partitions.iter().map(|at| self.log.bounds(at, Visibility::Written));
        Ok(try_join_all(ends).await?.iter().map(|bounds| bounds.end.0).sum())
    }

    /// Fails with the reason if a part has stopped.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        self.books.as_ref().map_or(Ok(()), Books::check)?;
        match self.health.stopped().into_iter().next() {
            Some((part, reason)) => bail!("{part} has stopped: {reason}"),
            None => Ok(()),
        }
    }

    /// Stops everything and waits until it has ended.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        while self.parts.join_next().await.is_some() {}
    }
}

/// The log of a cluster on which nothing of Streambook's is yet: what is counted is of this measurement only.
async fn join(config: &mut Config, cluster: &ClusterChoice) -> anyhow::Result<Arc<dyn Log>> {
    let (endpoint, replication) = (cluster.endpoint.clone(), cluster.replication);
    config.log = LogConfig { engine: Engine::Fluvio, endpoint, replication };
    let log = system::connect(config).await?;
    let inbox = TopicPartition::new(topics::REGISTRY_INBOX.topic(), Partition(0));
    ensure!(
        log.bounds(&inbox, Visibility::Synced).await?.end == Offset(0),
        "the cluster at {} is in use: measure on one of the benchmark's own (docs/fluvio.md)",
        cluster.endpoint
    );
    Ok(log)
}

/// What a record of the benchmark says about itself, now.
pub(super) fn meta(id: &str) -> Meta {
    let now = clock::system()();
    Meta { source: None, id: id.to_owned(), occurred_at: now, recorded_at: now, cause: None, trace: None }
}
