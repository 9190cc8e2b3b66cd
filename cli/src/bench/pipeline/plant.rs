//! The parts under measurement, wired as `up` wires them: every task, and the SQL sink. What an operator and merchants
//! would have set up is set up through the registry.

use std::{path::Path, str::FromStr, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use serde::Serialize;
use streambook_log::{Log, ReadLimit, Visibility, embedded::EmbeddedLog};
use streambook_model::{
    asset::{Asset, AssetId},
    bytes::Address,
    chain::{ChainId, ConfirmationPolicy},
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
    clock,
    health::Health,
    publisher::Publisher,
    runner::{Runner, supervise},
    sink_runner::SinkRunner,
    threads::TaskThreads,
};
use streambook_sinks::sql::{Progress, SqlConfig, SqlReads, SqlSink, SqlUrl};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{super::TEST_XPUB, PipelineBench};
use crate::{config::Config, system};

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
    pub(super) log: Arc<EmbeddedLog>,
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
        let log = system::open_log(&config).await?;
        let mut plant = Self {
            log,
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
        plant.start_tasks();
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
                let (log, processor) = (Arc::clone(&self.log), Arc::clone(&processor));
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
        let runner = SinkRunner::new(self.shared_log(), sink, limit, clock::system(), self.health.clone());
        self.parts.spawn(runner.run(self.stop.clone()));
        Ok(())
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
        // The registry tells the books before, or in the commit in which, it tells everybody.
        let told = TopicPartition::new(topics::REGISTRY_EVENTS.topic(), Partition(0));
        let last = Offset(self.merchants.len() as u64);
        let waited = tokio::time::timeout(SET_UP_MOST, self.log.wait(&told, last, Visibility::Synced)).await;
        self.check()?;
        Ok(waited.context("the registry did not take the settings and merchants")??)
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
        Arc::<EmbeddedLog>::clone(&self.log)
    }

    /// Appends to the log.
    pub(super) fn publisher(&self) -> Publisher {
        Publisher::new(self.shared_log())
    }

    /// Records ever appended to a topic.
    pub(super) fn records(&self, topic: TopicDef) -> anyhow::Result<u64> {
        let end = |number| self.log.written_end(&TopicPartition::new(topic.topic(), Partition(number)));
        let ends = (0..topic.partitions).map(end).collect::<Result<Vec<_>, _>>()?;
        Ok(ends.iter().map(|end| end.0).sum())
    }

    /// Fails with the reason if a part has stopped.
    pub(super) fn check(&self) -> anyhow::Result<()> {
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

/// What a record of the benchmark says about itself, now.
pub(super) fn meta(id: &str) -> Meta {
    let now = clock::system()();
    Meta { source: None, id: id.to_owned(), occurred_at: now, recorded_at: now, cause: None, trace: None }
}
