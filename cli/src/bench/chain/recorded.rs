//! Recorded blocks of real chains, served from memory on the loopback address: what reading and verifying the blocks of
//! Ethereum, Polygon and Arbitrum costs. They are not one chain, so they are asked for by hash, each again and again, as the
//! connector asks a node, without what links blocks. The server's work is in all figures alike.

use std::{collections::HashMap, io::Read, path::Path, sync::Arc, time::Instant};

use anyhow::Context;
use axum::{Json, Router, extract::State, routing::post};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde_json::{Value, json};
use streambook_connectors::chain::{
    Transactions,
    http::Endpoint,
    rpc::{NodeRpc, Wanted, http_client},
};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Reading,
    bare::{self, Work},
    figures, usage,
};

/// Chain, and the files of a block and of its receipts.
const FILES: [(u64, &str, &str); 5] = [
    (
        1,
        "ethereum/eth_getBlockByNumber_15753009_full.json.gz",
        "ethereum/eth_getBlockReceipts_15753009.json.gz",
    ),
    (
        1,
        "ethereum/eth_getBlockByNumber_17053184_full.json.gz",
        "ethereum/eth_getBlockReceipts_17053184.json.gz",
    ),
    (1, "ethereum/18000000/block.json.gz", "ethereum/18000000/receipts.json.gz"),
    (137, "polygon/50000000/block.json.gz", "polygon/50000000/receipts.json.gz"),
    (42_161, "arbitrum/150000000/block.json", "arbitrum/150000000/receipts.json.gz"),
];
/// Longer than any answer takes.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);
/// Larger than any answer.
const LARGEST: usize = 1 << 28;

/// The figures.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Recorded {
    /// How many different blocks.
    pub(crate) different: usize,
    /// Their answers together, in bytes.
    pub(crate) bytes: usize,
    /// The requests with nothing done.
    pub(crate) bare: Reading,
    /// The answers read, nothing recomputed.
    pub(crate) unverified: Reading,
    /// Everything recomputed.
    pub(crate) verified: Reading,
    /// The verified rate by the bare one.
    pub(crate) ratio: f64,
}

/// A block's answers by the hash they are asked for with.
struct Block {
    chain: u64,
    hash: String,
    block: String,
    receipts: String,
}

type Blocks = Arc<HashMap<String, Block>>;

/// Asks for so many blocks, whole transactions; nothing where the recorded data is not there.
pub(super) async fn measure(
    folder: &Path,
    blocks: u64,
    in_flight: usize,
) -> anyhow::Result<Option<Recorded>> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let recorded = FILES.iter().map(|(chain, block, receipts)| {
        let (block, receipts) = (load(&folder.join(block))?, load(&folder.join(receipts))?);
        let hash = block["hash"].as_str().context("a recorded block without hash")?.to_owned();
        anyhow::Ok(Block { chain: *chain, hash, block: block.to_string(), receipts: receipts.to_string() })
    });
    let recorded: Vec<Block> = recorded.collect::<anyhow::Result<_>>()?;
    let (different, bytes) =
        (recorded.len(), recorded.iter().map(|block| block.block.len() + block.receipts.len()).sum());
    let hashes: Vec<_> = recorded.iter().map(|block| (block.chain, block.hash.clone())).collect();
    let wanted: Vec<_> = hashes.iter().cycle().take(usize::try_from(blocks)?).cloned().collect();
    let server = Server::start(recorded).await?;
    let bare = server.asked(&wanted, in_flight, Work::Nothing).await?;
    let unverified = server.asked(&wanted, in_flight, Work::Reading).await?;
    let verified = server.verified(&wanted, in_flight).await?;
    let ratio = figures::ratio(verified.blocks_per_second, bare.blocks_per_second);
    Ok(Some(Recorded { different, bytes, bare, unverified, verified, ratio }))
}

fn load(path: &Path) -> anyhow::Result<Value> {
    let read = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut text = String::new();
    if path.extension().is_some_and(|end| end == "gz") {
        flate2::read::GzDecoder::new(read.as_slice()).read_to_string(&mut text)?;
    } else {
        text = String::from_utf8(read)?;
    }
    let mut json: Value = serde_json::from_str(&text)?;
    Ok(if json["result"].is_null() { json } else { json["result"].take() })
}

/// The server; it ends when dropped.
struct Server {
    url: String,
    client: reqwest::Client,
    _serving: AbortOnDropHandle<()>,
}

impl Server {
    async fn start(recorded: Vec<Block>) -> anyhow::Result<Self> {
        let blocks: Blocks =
            Arc::new(recorded.into_iter().map(|block| (block.hash.clone(), block)).collect());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new().route("/", post(answer)).with_state(blocks);
        let serving = tokio::spawn(async move {
            // Why it ended shows in the requests that fail.
            let _ = axum::serve(listener, router).await;
        });
        let client = http_client(LIMIT, &url.parse()?)?;
        Ok(Self { url, client, _serving: AbortOnDropHandle::new(serving) })
    }

    async fn asked(&self, wanted: &[(u64, String)], in_flight: usize, work: Work) -> anyhow::Result<Reading> {
        let blocks = wanted.iter().map(|(_, hash)| bare::Wanted {
            method: "eth_getBlockByHash",
            block: json!([hash, true]),
            receipts: json!([hash]),
        });
        let (begun, cpu) = (Instant::now(), usage::cpu());
        let blocks = bare::ask_all(&self.client, &self.url, blocks, in_flight, work).await?;
        Ok(Reading::of(blocks, 0, begun.elapsed(), usage::cpu().saturating_sub(cpu)))
    }

    async fn verified(&self, wanted: &[(u64, String)], in_flight: usize) -> anyhow::Result<Reading> {
        let node = |chain| {
            let endpoint = Endpoint::new(self.client.clone(), self.url.parse()?, LIMIT, LARGEST);
            anyhow::Ok((chain, Arc::new(NodeRpc::new(endpoint, chain, Transactions::Full))))
        };
        let nodes: HashMap<u64, _> =
            FILES.iter().map(|(chain, ..)| node(*chain)).collect::<Result<_, _>>()?;
        let (begun, cpu) = (Instant::now(), usage::cpu());
        let tasks = stream::iter(wanted).map(|(chain, hash)| {
            let (node, hash) = (nodes.get(chain).cloned(), hash.clone());
            let task = tokio::spawn(async move {
                let node = node.context("a chain without node")?;
                let block = node.block(Wanted::Hash(hash.parse()?)).await?;
                anyhow::Ok(u64::try_from(block.transfers.len())?)
            });
            async move { anyhow::Ok(task.await??) }
        });
        let counted = tasks.buffered(in_flight).try_fold((0_u64, 0_u64), async |(blocks, all), transfers| {
            anyhow::Ok((blocks.saturating_add(1), all.saturating_add(transfers)))
        });
        let (blocks, transfers) = counted.await?;
        Ok(Reading::of(blocks, transfers, begun.elapsed(), usage::cpu().saturating_sub(cpu)))
    }
}

async fn answer(State(blocks): State<Blocks>, Json(request): Json<Value>) -> String {
    let found = request["params"][0].as_str().and_then(|hash| blocks.get(hash));
    let result = match (request["method"].as_str(), found) {
        (Some("eth_getBlockByHash"), Some(block)) => block.block.as_str(),
        (Some("eth_getBlockReceipts"), Some(block)) => block.receipts.as_str(),
        _ => "null",
    };
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{result}}}", request["id"])
}
