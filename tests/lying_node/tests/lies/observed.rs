//! The connector with its feed into a real log, in front of some nodes, and what the log then holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use streambook_connectors::chain::{self, ChainConfig, ChainStatus, Feed};
use streambook_log::embedded::{EmbeddedLog, EmbeddedOptions};
use streambook_log::partitioner::partition_of;
use streambook_log::{Log, ReadLimit, Retention, TopicSpec, Visibility};
use streambook_lying_node::{LyingNode, Mix};
use streambook_model::chain::{BlockNumber, ChainId};
use streambook_model::codec;
use streambook_model::message::Message;
use streambook_model::meta::Meta;
use streambook_model::position::{Offset, TopicPartition};
use streambook_model::records::chain::{ChainBlock, ChainFork, ChainRebuild};
use streambook_model::topics::{CHAIN_INBOX, DEAD_LETTERS, TopicDef};
use streambook_runtime::clock;
use streambook_runtime::publisher::Publisher;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::truth::{Transfers, Truth};

pub(crate) const CHAIN: u64 = 31_337;
/// No wait takes anything near it; it ends a test that would hang.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connector that runs.
pub(crate) struct Observed {
    log: Arc<EmbeddedLog>,
    status: watch::Receiver<ChainStatus>,
    stop: CancellationToken,
    feed: tokio::task::JoinHandle<()>,
    directory: tempfile::TempDir,
}

fn config(token: &str, urls: &[String]) -> ChainConfig {
    let token = json!({ "asset": format!("usdc:{CHAIN}"), "address": token, "decimals": 6 });
    serde_json::from_value(json!({
        "id": CHAIN, "rpc": urls, "confirmations": 3, "tokens": [token], "poll_interval_ms": 10,
        "request_timeout_ms": 1_000, "hedge_after_ms": 60, "retry_min_ms": 5, "retry_max_ms": 60, "absent_after_ms": 400,
    }))
    .unwrap()
}

impl Observed {
    pub(crate) async fn start(token: &str, nodes: &[&LyingNode]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(EmbeddedOptions::new(directory.path())).unwrap();
        for def in [CHAIN_INBOX, DEAD_LETTERS] {
            let spec =
                TopicSpec { name: def.topic(), partitions: def.partitions, retention: Retention::Forever };
            log.ensure_topic(&spec).await.unwrap();
        }
        Self::on(log, directory, token, nodes).await
    }

    /// Starts a connector from where the log is.
    async fn on(
        log: Arc<EmbeddedLog>,
        directory: tempfile::TempDir,
        token: &str,
        nodes: &[&LyingNode],
    ) -> Self {
        let urls: Vec<_> = nodes.iter().map(|node| node.url()).collect();
        let settings = config(token, &urls).check().unwrap();
        let (out, observations) = mpsc::channel(64);
        let (shown, status) = watch::channel(ChainStatus::starting(CHAIN));
        let stop = CancellationToken::new();
        let shared: Arc<dyn Log> = log.clone();
        let feed = Feed::new(shared, ChainId(CHAIN), clock::system());
        let feed = tokio::spawn(async move { feed.run(observations).await.unwrap() });
        let resume = chain::resume(&*log, ChainId(CHAIN)).await.unwrap();
        tokio::spawn(chain::run(settings, resume, out, stop.clone(), shown));
        Self { log, status, stop, feed, directory }
    }

    /// Waits until the log holds a record.
    async fn until<T>(&self, what: &str, wanted: impl Fn(Message) -> Option<T>) -> T {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.records(CHAIN_INBOX).await.into_iter().find_map(&wanted) {
                return found;
            }
            assert!(tokio::time::Instant::now() < deadline, "{what}: {:?}", self.status.borrow());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn until_finalized(&self, number: u64) {
        let reached = |message| match message {
            Message::ChainFinalized(tag) if tag.number.0 == number => Some(()),
            _ => None,
        };
        self.until("the chain is final there", reached).await;
    }

    /// Waits until the connector has said that the chain forked below finality, and has ended.
    pub(crate) async fn until_forked(&self) -> ChainFork {
        let forked = |message| if let Message::ChainFork(fork) = message { Some(fork) } else { None };
        self.until("the fork is found", forked).await
    }

    /// Does what `streambook chain rebuild` does, and starts a connector on the same log.
    pub(crate) async fn rebuilt_on(self, token: &str, number: u64, hash: &str, nodes: &[&LyingNode]) -> Self {
        self.feed.await.unwrap();
        let now = clock::system()();
        let meta = Meta {
            source: None,
            id: "rebuild".into(),
            occurred_at: now,
            recorded_at: now,
            cause: None,
            trace: None,
        };
        let (chain, hash) = (ChainId(CHAIN), hash.parse().unwrap());
        let rebuild = ChainRebuild { meta, chain, number: BlockNumber(number), hash };
        let shared: Arc<dyn Log> = self.log.clone();
        Publisher::new(shared).publish(CHAIN_INBOX, chain.to_string().as_bytes(), rebuild).await.unwrap();
        Self::on(self.log, self.directory, token, nodes).await
    }

    async fn records(&self, topic: TopicDef) -> Vec<Message> {
        let partition = partition_of(CHAIN.to_string().as_bytes(), topic.partitions);
        let from = TopicPartition::new(topic.topic(), partition);
        let end = self.log.bounds(&from, Visibility::Written).await.unwrap().end.0;
        let (mut next, mut messages) = (0, Vec::new());
        while next < end {
            let records =
                self.log.read(&from, Offset(next), ReadLimit::default(), Visibility::Written).await.unwrap();
            let Some(last) = records.last() else { break };
            next = last.offset.0 + 1;
            messages.extend(records.iter().map(|record| codec::decode(&record.value).unwrap()));
        }
        messages
    }

    /// Waits until the log's head is the real node's, then stops the connector.
    pub(crate) async fn until_complete(self, truth: &Truth) -> Held {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let held = Held::of(self.records(CHAIN_INBOX).await);
            if held.head.as_ref() == truth.canonical.last() {
                break;
            }
            let status = self.status.borrow().clone();
            assert!(tokio::time::Instant::now() < deadline, "the log is at {:?}: {status:?}", held.head);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.stop.cancel();
        self.feed.await.unwrap();
        let held = Held::of(read_all(&self.log, CHAIN_INBOX).await);
        assert_eq!(read_all(&self.log, DEAD_LETTERS).await.len(), 0, "something was put aside");
        held
    }
}

async fn read_all(log: &Arc<EmbeddedLog>, topic: TopicDef) -> Vec<Message> {
    let mut messages = Vec::new();
    for partition in 0..topic.partitions {
        let from = TopicPartition::new(topic.topic(), streambook_model::position::Partition(partition));
        let end = log.bounds(&from, Visibility::Written).await.unwrap().end.0;
        let mut next = 0;
        while next < end {
            let records =
                log.read(&from, Offset(next), ReadLimit::default(), Visibility::Written).await.unwrap();
            let Some(last) = records.last() else { break };
            next = last.offset.0 + 1;
            messages.extend(records.iter().map(|record| codec::decode(&record.value).unwrap()));
        }
    }
    messages
}

/// What a log holds of the chain.
pub(crate) struct Held {
    blocks: BTreeMap<String, ChainBlock>,
    heads: Vec<String>,
    head: Option<String>,
}

impl Held {
    fn of(messages: Vec<Message>) -> Self {
        let (mut blocks, mut heads) = (BTreeMap::new(), Vec::new());
        for message in messages {
            match message {
                Message::ChainBlock(block) => drop(blocks.insert(block.hash.to_string(), block)),
                Message::ChainHead(head) => heads.push(head.hash.to_string()),
                Message::ChainFinalized(_) | Message::ChainFork(_) => {}
                // What was before it is over; blocks that are still right are observed again.
                Message::ChainRebuild(_) => {}
                other => panic!("the log holds {other:?}"),
            }
        }
        let head = heads.last().cloned();
        Self { blocks, heads, head }
    }

    /// Every block of the log is one that the real node had, with exactly its transfers; the branch of the last head is the
    /// real node's from its first block on; no head was ever handed on that the real node never had.
    pub(crate) fn assert_true(&self, truth: &Truth) {
        for (hash, block) in &self.blocks {
            let expected = truth.known.get(hash).unwrap_or_else(|| panic!("{hash} is an invented block"));
            assert_eq!(&transfers(block), expected, "block {} ({hash})", block.number);
        }
        for head in &self.heads {
            assert!(truth.known.contains_key(head), "{head} is an invented head");
        }
        let mut branch = Vec::new();
        let mut at = self.head.clone();
        while let Some(block) = at.and_then(|hash| self.blocks.get(&hash)) {
            branch.push(block.hash.to_string());
            at = Some(block.parent_hash.to_string());
        }
        branch.reverse();
        assert_eq!(branch, truth.canonical);
    }
}

fn transfers(block: &ChainBlock) -> Transfers {
    let text = |transfer: &streambook_model::records::chain::TokenTransfer| {
        let value: String = transfer.value.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        (transfer.to.to_string().to_lowercase(), format!("0x{value}"))
    };
    block.transfers.iter().map(text).collect()
}

/// Waits until the connector has asked so many questions more.
pub(crate) async fn until_asked(nodes: &[&LyingNode], more: u64) {
    let asked = || nodes.iter().map(|node| node.asked()).sum::<u64>();
    let until = asked() + more;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while asked() < until {
        assert!(tokio::time::Instant::now() < deadline, "the connector asks nothing any more");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Three proxies before one node: two that lie, the second in other places, and one that cannot be reached at first. Only
/// one of them hurries finality on: what all nodes say alike that can be reached is believed.
pub(crate) async fn proxies(url: &str, seed: u64, mix: &Mix) -> [LyingNode; 3] {
    let unreachable = Mix::of(&[streambook_lying_node::Lie::BadGateway], 1_000);
    let start = async |seed, mix| LyingNode::start(url, seed, mix).await.unwrap();
    let second = mix.clone().without(streambook_lying_node::Lie::HurryFinality);
    [start(seed, mix.clone()).await, start(seed + 1_000, second).await, start(0, unreachable).await]
}
