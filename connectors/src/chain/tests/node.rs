//! A node on 127.0.0.1 that answers JSON-RPC from a script: honestly, or with one of the ways in which real nodes are
//! wrong.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::BlockHash;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::blocks::{CHAIN, SimBlock, block};
use crate::chain::types::{BlockId, BlockRef};

/// How a node is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    LogDropped,
    AmountChanged,
    ReceiptsSwapped,
    ReceiptsEmpty,
    ReceiptsNull,
    ReceiptsOfParent,
    BlockNull,
    BlockOfParent,
    HeaderChanged,
    HashChanged,
    TransactionRelabelled,
    Status(u16),
    RateLimitError,
    Silent,
    Garbage,
    Huge,
}

#[derive(Debug, Default)]
struct Script {
    chain_id: u64,
    blocks: HashMap<BlockHash, SimBlock>,
    canonical: Vec<SimBlock>,
    /// From this height on the node tells the lie.
    lie: Option<(u64, Lie)>,
    lacks: BTreeSet<&'static str>,
    finalized: Option<u64>,
    /// This block is not sent before one at this height has been asked for.
    late: Option<(u64, u64)>,
}

/// The node; it ends when dropped.
pub(crate) struct Node {
    script: Arc<Mutex<Script>>,
    lies: watch::Receiver<u64>,
    pub(crate) url: String,
    _server: AbortOnDropHandle<()>,
}

/// The script, how often it has lied, and the highest block that was asked for by number.
type Shared = (Arc<Mutex<Script>>, Arc<watch::Sender<u64>>, Arc<watch::Sender<u64>>);

impl Node {
    pub(crate) async fn start(chain: &[SimBlock]) -> Self {
        let script = Arc::new(Mutex::new(Script { chain_id: CHAIN, ..Script::default() }));
        let (told, lies) = watch::channel(0);
        let state: Shared = (Arc::clone(&script), Arc::new(told), Arc::new(watch::channel(0).0));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/", post(answer)).with_state(state);
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let node = Self { script, lies, url, _server: AbortOnDropHandle::new(server) };
        node.set_chain(chain);
        node
    }

    /// Makes these blocks the canonical branch; blocks of other branches stay known by hash.
    pub(crate) fn set_chain(&self, chain: &[SimBlock]) {
        let mut script = self.script.lock();
        script.blocks.extend(chain.iter().map(|block| (block.id.hash, block.clone())));
        script.canonical = chain.to_vec();
    }

    pub(crate) fn lie_from(&self, number: u64, lie: Lie) {
        self.script.lock().lie = Some((number, lie));
    }

    pub(crate) fn be_honest(&self) {
        self.script.lock().lie = None;
    }

    pub(crate) fn lack(&self, method: &'static str) {
        self.script.lock().lacks.insert(method);
    }

    /// Holds a block back until one at the other height has been asked for.
    pub(crate) fn be_late(&self, block: u64, until: u64) {
        self.script.lock().late = Some((block, until));
    }

    pub(crate) fn finalize(&self, number: u64) {
        self.script.lock().finalized = Some(number);
    }

    pub(crate) fn serve_chain_id(&self, id: u64) {
        self.script.lock().chain_id = id;
    }

    /// Waits until the node has told its lie so many times more.
    pub(crate) async fn has_lied(&mut self, times: u64) {
        let until = *self.lies.borrow() + times;
        self.lies.wait_for(|told| *told >= until).await.unwrap();
    }
}

async fn answer(State((script, told, asked)): State<Shared>, Json(request): Json<Value>) -> Response {
    if let Some(number) = wanted_number(&request) {
        asked.send_modify(|highest| *highest = number.max(*highest));
        let late = script.lock().late.filter(|(block, _)| *block == number);
        if let Some((_, until)) = late {
            asked.subscribe().wait_for(|highest| *highest >= until).await.unwrap();
        }
    }
    let (result, lie) = script.lock().answer(request["method"].as_str().unwrap(), &request["params"]);
    if lie.is_some() {
        told.send_modify(|told| *told += 1);
    }
    let id = &request["id"];
    match (lie, result) {
        (Some(Lie::Status(status)), _) => StatusCode::from_u16(status).unwrap().into_response(),
        (Some(Lie::Silent), _) => {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            StatusCode::OK.into_response()
        }
        (Some(Lie::Garbage), _) => "<html>all is well</html>".into_response(),
        (Some(Lie::Huge), _) => Json(json!({ "id": id, "result": "x".repeat(1 << 20) })).into_response(),
        (_, Ok(result)) => Json(json!({ "jsonrpc": "2.0", "id": id, "result": result })).into_response(),
        (_, Err(code)) => {
            let error = json!({ "code": code, "message": "scripted" });
            Json(json!({ "jsonrpc": "2.0", "id": id, "error": error })).into_response()
        }
    }
}

fn wanted_number(request: &Value) -> Option<u64> {
    let number = request["params"][0].as_str()?.strip_prefix("0x")?;
    (request["method"] == "eth_getBlockByNumber").then(|| u64::from_str_radix(number, 16).ok())?
}

impl Script {
    fn answer(&self, method: &str, params: &Value) -> (Result<Value, i64>, Option<Lie>) {
        if self.lacks.contains(method) {
            return (Err(-32_601), None);
        }
        if method == "eth_chainId" {
            return (Ok(json!(format!("{:#x}", self.chain_id))), None);
        }
        if let Some(tag @ ("latest" | "safe" | "finalized")) = params[0].as_str() {
            return (Ok(self.tagged(tag)), None);
        }
        let Some(block) = self.wanted(method, &params[0]) else { return (Ok(Value::Null), None) };
        let honest = match method {
            "eth_getBlockReceipts" => block.receipts.clone(),
            "eth_getTransactionReceipt" => single(block, &params[0]),
            _ => with_transactions(block, &params[1]),
        };
        match self.lie.filter(|(from, _)| *from <= block.id.number) {
            Some((_, Lie::RateLimitError)) => (Err(-32_005), Some(Lie::RateLimitError)),
            Some((_, lie)) => {
                let told = self.twist(lie, method, block, honest.clone());
                let lied = (told != honest
                    || matches!(lie, Lie::Status(_) | Lie::Silent | Lie::Garbage | Lie::Huge))
                .then_some(lie);
                (Ok(told), lied)
            }
            None => (Ok(honest), None),
        }
    }

    fn tagged(&self, tag: &str) -> Value {
        let head = self.canonical.len() - 1;
        let index = match tag {
            "latest" => Some(head),
            _ => self.finalized.map(|number| usize::try_from(number).unwrap().min(head)),
        };
        index.map_or(Value::Null, |index| with_transactions(&self.canonical[index], &json!(false)))
    }

    fn wanted(&self, method: &str, wanted: &Value) -> Option<&SimBlock> {
        let text = wanted.as_str().unwrap();
        match method {
            "eth_getBlockByNumber" => {
                let number = usize::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
                self.canonical.get(number)
            }
            "eth_getTransactionReceipt" => {
                self.blocks.values().find(|block| !single(block, wanted).is_null())
            }
            _ => self.blocks.get(&text.parse::<BlockHash>().unwrap()),
        }
    }

    fn twist(&self, lie: Lie, method: &str, block: &SimBlock, mut honest: Value) -> Value {
        let parent = self.blocks.get(&block.id.parent);
        if block.transfers.is_empty() {
            return honest;
        }
        if method == "eth_getBlockReceipts" {
            match lie {
                Lie::LogDropped => honest[0]["logs"] = json!([]),
                Lie::AmountChanged => honest[0]["logs"][0]["data"] = json!(BlockHash::with_last_byte(255)),
                Lie::ReceiptsSwapped => honest.as_array_mut().unwrap().swap(0, 1),
                Lie::ReceiptsEmpty => honest = json!([]),
                Lie::ReceiptsNull => honest = Value::Null,
                Lie::ReceiptsOfParent => honest = parent.unwrap().receipts.clone(),
                _ => {}
            }
        } else {
            match lie {
                Lie::BlockNull => honest = Value::Null,
                Lie::BlockOfParent => honest = parent.unwrap().json.clone(),
                Lie::HeaderChanged => honest["timestamp"] = json!("0x1"),
                Lie::HashChanged => honest["hash"] = json!(BlockHash::with_last_byte(1)),
                Lie::TransactionRelabelled => {
                    honest["transactions"][0]["hash"] = json!(BlockHash::with_last_byte(1));
                }
                _ => {}
            }
        }
        honest
    }
}

fn single(block: &SimBlock, hash: &Value) -> Value {
    let receipts = block.receipts.as_array().unwrap();
    receipts.iter().find(|receipt| receipt["transactionHash"] == *hash).cloned().unwrap_or_default()
}

fn with_transactions(block: &SimBlock, full: &Value) -> Value {
    let mut json = block.json.clone();
    if *full == json!(false) {
        let transactions = json["transactions"].as_array().unwrap();
        json["transactions"] = transactions.iter().map(|transaction| transaction["hash"].clone()).collect();
    }
    json
}

/// A chain of `length` blocks with two or three transfers each; every seventh block is empty.
pub(crate) fn chain_of(length: u64, salt: u64) -> Vec<SimBlock> {
    let mut chain = Vec::new();
    extend(&mut chain, length, salt);
    chain
}

pub(crate) fn extend(chain: &mut Vec<SimBlock>, count: u64, salt: u64) {
    for _ in 0..count {
        let number = u64::try_from(chain.len()).unwrap();
        let values = [10 * number, 10 * number + 1, 0];
        let transfers = if number % 7 == 6 { 0 } else { 2 + usize::from(number % 2 == 0) };
        let next = block(chain.last(), salt, &values[..transfers]);
        chain.push(next);
    }
}

pub(crate) fn head(chain: &[SimBlock]) -> BlockId {
    chain.last().unwrap().id
}

pub(crate) fn at(chain: &[SimBlock], number: usize) -> BlockRef {
    chain[number].id.reference()
}
