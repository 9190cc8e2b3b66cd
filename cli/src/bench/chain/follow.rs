//! At the head: from a block's being mined to its being handed on, verified, and what many chains at once cost.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use parking_lot::Mutex;
use serde_json::{Value, json};
use streambook_connectors::chain::{self, BlockId, BlockRef, ChainStatus, Observation, Resume};
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    Latency, Many, figures,
    node::{CHAIN, Node},
    usage,
};

/// Between two blocks.
pub(super) const BLOCK_TIME: Duration = Duration::from_secs(1);
/// How long the last block is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How heads are learned of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Polling,
    WebSocket,
}

impl By {
    /// The connector's settings: polling is so rare beside a WebSocket that it cannot help.
    pub(super) fn settings(self, node: &Node) -> Value {
        match self {
            Self::Polling => json!({ "poll_interval_ms": 100 }),
            Self::WebSocket => json!({ "poll_interval_ms": 10_000, "ws": [node.web_socket()] }),
        }
    }
}

/// When each block was handed on, by each connector.
type Seen = Arc<Mutex<BTreeMap<String, Vec<Instant>>>>;

struct Following {
    _task: AbortOnDropHandle<()>,
    _feed: AbortOnDropHandle<()>,
    stop: CancellationToken,
}

/// Starts a connector at the node's head.
async fn follow(node: &Node, settings: Value, seen: &Seen) -> anyhow::Result<Following> {
    let config = node.config(settings)?;
    let settings = config.check().map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let (out, mut observations) = mpsc::channel(256);
    let (status, _shown) = watch::channel(ChainStatus::starting(CHAIN));
    let (stop, seen) = (CancellationToken::new(), Arc::clone(seen));
    let resume = at_head(node).await?;
    let stopped = stop.clone();
    let task = tokio::spawn(async move {
        // Why it ended shows in the blocks that do not come.
        let _ = chain::run(settings, resume, out, stopped, status).await;
    });
    let feed = tokio::spawn(async move {
        while let Some(observation) = observations.recv().await {
            // Not the head: of two blocks that come between two looks only the last is one.
            if let Observation::Block(block) = observation {
                seen.lock().entry(block.hash.to_string()).or_default().push(Instant::now());
            }
        }
    });
    Ok(Following { _task: AbortOnDropHandle::new(task), _feed: AbortOnDropHandle::new(feed), stop })
}

async fn at_head(node: &Node) -> anyhow::Result<Resume> {
    let block = node.call("eth_getBlockByNumber", json!(["latest", false])).await?;
    let hash = |field: &str| {
        block[field].as_str().context("a block without hashes")?.parse().map_err(anyhow::Error::new)
    };
    let number =
        block["number"].as_str().and_then(|text| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok());
    let id = BlockId {
        number: number.context("a block without height")?,
        hash: hash("hash")?,
        parent: hash("parentHash")?,
    };
    let head = BlockRef { number: id.number, hash: id.hash };
    Ok(Resume { recent: vec![id], head: Some(head), finalized: None })
}

/// Mines a block a second; gives the time from there until each connector has handed it on.
async fn mined(node: &Node, seconds: u64, connectors: usize, seen: &Seen) -> anyhow::Result<Latency> {
    let mut mined = Vec::new();
    for _ in 0..seconds {
        let begun = Instant::now();
        node.call("evm_mine", json!([])).await?;
        let at = Instant::now();
        let block = node.call("eth_getBlockByNumber", json!(["latest", false])).await?;
        mined.push((block["hash"].as_str().context("a block without hash")?.to_owned(), at));
        sleep(BLOCK_TIME.saturating_sub(begun.elapsed())).await;
    }
    let all_seen = async {
        while !mined
            .iter()
            .all(|(hash, _)| seen.lock().get(hash).is_some_and(|seen| seen.len() >= connectors))
        {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, all_seen).await.context("a block was not handed on")?;
    let seen = seen.lock();
    let samples = mined.iter().flat_map(|(hash, at)| {
        seen.get(hash).into_iter().flatten().map(|seen| seen.saturating_duration_since(*at))
    });
    Ok(Latency::of(samples.collect()))
}

pub(super) async fn latency(node: &Node, by: By, seconds: u64) -> anyhow::Result<Latency> {
    let seen = Seen::default();
    let following = follow(node, by.settings(node), &seen).await?;
    // The first block shows that it has begun; it is not counted.
    mined(node, 1, 1, &seen).await?;
    let latency = mined(node, seconds, 1, &seen).await?;
    following.stop.cancel();
    Ok(latency)
}

pub(super) async fn many(node: &Node, chains: usize, seconds: u64) -> anyhow::Result<Many> {
    let seen = Seen::default();
    let mut following = Vec::new();
    for _ in 0..chains {
        following.push(follow(node, json!({}), &seen).await?);
    }
    mined(node, 1, chains, &seen).await?;
    let (begun, cpu) = (Instant::now(), usage::cpu());
    let latency = mined(node, seconds, chains, &seen).await?;
    let (took, cpu) = (begun.elapsed(), usage::cpu().saturating_sub(cpu));
    following.iter().for_each(|following| following.stop.cancel());
    Ok(Many {
        chains,
        cpu_of_a_core: figures::ratio(figures::seconds(cpu), figures::seconds(took)),
        resident_mib: usage::resident_bytes() >> 20,
        latency,
    })
}
