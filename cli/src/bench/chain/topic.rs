//! From a block's being mined to what the public topic says of it: the connector, its feed, the real reorg task on an embedded
//! log, and a reader of `chain.transfers` that sees only what is on disk, as everybody outside does.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Value, json};
use streambook_connectors::chain::{self, ChainStatus, Feed, Resume};
use streambook_log::{
    Log, ReadLimit, Retention, TopicSpec, Visibility,
    embedded::{EmbeddedLog, EmbeddedOptions},
    partitioner::partition_of,
};
use streambook_model::{
    asset::Asset,
    bytes::Address,
    chain::{ChainId, ConfirmationPolicy},
    codec,
    id::{MerchantId, PaymentId},
    message::Message,
    meta::Meta,
    position::{Offset, TopicPartition},
    records::{
        chain::{TransferStatus, WatchAddress},
        registry::SettingsChanged,
        settings::{ChainSettings, EXACT_AMOUNT_GRACE_SECONDS, FeeSchedule, Settings},
    },
    time::Timestamp,
    topics::{self, TopicDef},
};
use streambook_processors::reorg::Reorg;
use streambook_runtime::{
    clock,
    health::Health,
    publisher::Publisher,
    runner::{Runner, supervise},
    threads::TaskThreads,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    Latency,
    follow::{BLOCK_TIME, By, PATIENCE},
    node::{CHAIN, Node, TOKEN},
};

/// Whose transfers are watched.
const WATCHED: u64 = 0xdead_0001;
/// The deepest reorganisation.
const DEEPEST: u64 = 3;

/// How long it takes until everybody can read of it.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct OnTopic {
    /// From a block's being mined to `seen` of its transfer.
    pub(crate) seen: Latency,
    /// From a reorganisation of 1 to 3 blocks to `orphaned` of all that was in them.
    pub(crate) orphaned: Latency,
}

/// When what became of a transaction was first readable.
#[derive(Default)]
struct Said {
    when: Mutex<BTreeMap<(&'static str, String), Instant>>,
    more: Notify,
}

impl Said {
    async fn of(&self, status: &'static str, transaction: &str) -> anyhow::Result<Instant> {
        let key = (status, transaction.to_owned());
        let said = async {
            loop {
                let more = self.more.notified();
                if let Some(at) = self.when.lock().get(&key) {
                    return *at;
                }
                more.await;
            }
        };
        timeout(PATIENCE, said).await.with_context(|| format!("{transaction} was never {status}"))
    }
}

/// The connector, the log and the reorg task. They end when it is dropped.
struct Books {
    said: Arc<Said>,
    /// Every transfer has a value of its own: two transactions that are alike would be one.
    paid: AtomicU64,
    _tasks: Vec<AbortOnDropHandle<()>>,
    /// Drops after the tasks are told to stop.
    _stop: tokio_util::sync::DropGuard,
    _parts: JoinSet<()>,
    _threads: TaskThreads,
}

/// Follows at a block a second for so long, then takes blocks back so often.
pub(super) async fn measure(
    node: &Node,
    by: By,
    (seconds, reorgs): (u64, u64),
    directory: &Path,
) -> anyhow::Result<OnTopic> {
    let books = Books::start(node, by.settings(node), directory).await?;
    // The first block shows that all has begun; it is not counted.
    books.seen(node).await?;
    let mut seen = Vec::new();
    for _ in 0..seconds {
        let begun = Instant::now();
        seen.push(books.seen(node).await?);
        sleep(BLOCK_TIME.saturating_sub(begun.elapsed())).await;
    }
    let mut orphaned = Vec::new();
    for round in 0..reorgs {
        orphaned.push(books.taken_back(node, round % DEEPEST + 1).await?);
    }
    Ok(OnTopic { seen: Latency::of(seen), orphaned: Latency::of(orphaned) })
}

impl Books {
    async fn start(node: &Node, settings: Value, directory: &Path) -> anyhow::Result<Self> {
        let log = EmbeddedLog::open(EmbeddedOptions::new(directory))?;
        for def in topics::ALL {
            let spec =
                TopicSpec { name: def.topic(), partitions: def.partitions, retention: Retention::Forever };
            log.ensure_topic(&spec).await?;
        }
        let (stop, threads, mut parts) = (CancellationToken::new(), TaskThreads::start()?, JoinSet::new());
        let partition = of_chain(topics::CHAIN_INBOX).partition;
        let reorg = Runner::new(log.clone(), Arc::new(Reorg), partition, clock::system(), Health::default());
        threads.spawn(&mut parts, supervise(reorg, stop.clone()));
        let shared: Arc<dyn Log> = log.clone();
        let told = [Message::from(settings_of_the_chain()?), Message::from(watched()?)];
        let publisher = Publisher::new(Arc::clone(&shared));
        publisher.publish_all(topics::CHAIN_INBOX, CHAIN.to_string().as_bytes(), &told).await?;
        let said = Arc::new(Said::default());
        let mut tasks = connect(node, settings, &shared, &stop).await?;
        let reader = read(shared, Arc::clone(&said));
        tasks.push(AbortOnDropHandle::new(tokio::spawn(async move {
            // Why it ended shows in what is never said.
            let _ = reader.await;
        })));
        let paid = AtomicU64::new(1);
        Ok(Self { said, paid, _tasks: tasks, _stop: stop.drop_guard(), _parts: parts, _threads: threads })
    }

    async fn pay(&self, node: &Node) -> anyhow::Result<String> {
        node.pay(WATCHED, self.paid.fetch_add(1, Ordering::Relaxed)).await
    }

    /// Mines a block with a transfer; gives the time until it is seen.
    async fn seen(&self, node: &Node) -> anyhow::Result<Duration> {
        let transaction = self.pay(node).await?;
        node.call("evm_mine", json!([])).await?;
        let mined = Instant::now();
        let seen = self.said.of("seen", &transaction).await?;
        Ok(seen.saturating_duration_since(mined))
    }

    /// Mines so many blocks with a transfer each and takes them back; gives the time until all of them are orphaned.
    async fn taken_back(&self, node: &Node, depth: u64) -> anyhow::Result<Duration> {
        let mut transactions = Vec::new();
        for _ in 0..depth {
            let transaction = self.pay(node).await?;
            node.call("evm_mine", json!([])).await?;
            self.said.of("seen", &transaction).await?;
            transactions.push(transaction);
        }
        node.call("anvil_reorg", json!([depth, []])).await?;
        let (replaced, mut last) = (Instant::now(), Duration::ZERO);
        for transaction in &transactions {
            let orphaned = self.said.of("orphaned", transaction).await?;
            last = last.max(orphaned.saturating_duration_since(replaced));
        }
        Ok(last)
    }
}

fn of_chain(topic: TopicDef) -> TopicPartition {
    TopicPartition::new(topic.topic(), partition_of(CHAIN.to_string().as_bytes(), topic.partitions))
}

fn told_now() -> Meta {
    let now = clock::system()();
    Meta { source: None, id: "bench".into(), occurred_at: now, recorded_at: now, cause: None, trace: None }
}

fn token() -> anyhow::Result<Address> {
    TOKEN.parse().context("the token's address")
}

/// What the reorg task needs of an operator's settings: the chain and its token.
fn settings_of_the_chain() -> anyhow::Result<SettingsChanged> {
    let policy = ConfirmationPolicy { depth: Some(1_000) };
    let settings = Settings {
        version: 1,
        assets: vec![Asset { id: format!("usdc:{CHAIN}").parse()?, scale: 6, contract: Some(token()?) }],
        chains: vec![ChainSettings { id: ChainId(CHAIN), policy, look_back_seconds: 86_400 }],
        fee: FeeSchedule { parts_per_million: 0 },
        xpub: None,
        postings: String::new(),
        tiers: Vec::new(),
        exact_amount_grace_seconds: EXACT_AMOUNT_GRACE_SECONDS,
    };
    Ok(SettingsChanged { meta: told_now(), settings })
}

fn watched() -> anyhow::Result<WatchAddress> {
    let mut address = [0; 20];
    address.iter_mut().rev().zip(WATCHED.to_le_bytes()).for_each(|(to, from)| *to = from);
    Ok(WatchAddress {
        meta: told_now(),
        chain: ChainId(CHAIN),
        merchant: MerchantId::derive(&[b"bench"]),
        payment: PaymentId::derive(&[b"bench"]),
        address: Address::new(address),
        asset: format!("usdc:{CHAIN}").parse()?,
        token: token()?,
        deadline: Timestamp::from_seconds(4_000_000_000).context("a time")?,
        policy: ConfirmationPolicy { depth: Some(1_000) },
        exact: None,
    })
}

/// The connector from the node's head on, and its feed.
async fn connect(
    node: &Node,
    settings: Value,
    log: &Arc<dyn Log>,
    stop: &CancellationToken,
) -> anyhow::Result<Vec<AbortOnDropHandle<()>>> {
    let mut config = node.config(settings)?;
    config.start_block = node.head().await?;
    let settings = config.check().map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let (out, observations) = mpsc::channel(256);
    let (status, _shown) = watch::channel(ChainStatus::starting(CHAIN));
    let (feed, stop) = (Feed::new(Arc::clone(log), ChainId(CHAIN), clock::system()), stop.clone());
    let feed = tokio::spawn(async move {
        // Why either ended shows in what is never said.
        let _ = feed.run(observations).await;
    });
    let connector = tokio::spawn(async move {
        let _ = chain::run(settings, Resume::default(), out, stop, status).await;
    });
    Ok(vec![AbortOnDropHandle::new(feed), AbortOnDropHandle::new(connector)])
}

/// Notes when each status of a transaction could first be read.
async fn read(log: Arc<dyn Log>, said: Arc<Said>) -> anyhow::Result<()> {
    let (from, mut next) = (of_chain(topics::CHAIN_TRANSFERS), Offset(0));
    loop {
        log.wait(&from, next, Visibility::Synced).await?;
        let records = log.read(&from, next, ReadLimit::default(), Visibility::Synced).await?;
        let now = Instant::now();
        for record in &records {
            next = Offset(record.offset.0.saturating_add(1));
            if let Message::TransferEvent(event) = codec::decode(&record.value)? {
                let status = match event.status {
                    TransferStatus::Seen => "seen",
                    TransferStatus::Orphaned => "orphaned",
                    TransferStatus::Confirmed | TransferStatus::Finalized => continue,
                };
                said.when.lock().entry((status, event.inclusion.tx_hash.to_string())).or_insert(now);
            }
        }
        said.more.notify_waiters();
    }
}
