//! The proxy: takes a question, asks the node behind it, and answers as the mix says.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use futures::stream;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::lie::Lie;
use crate::mix::Mix;
use crate::twist::twist;

/// How late a slow answer is, at most.
const SLOWEST_MS: u64 = 150;
/// How far behind a stale head is, at most.
const STALEST: u64 = 12;
/// Questions and blocks that are remembered; beyond it the memory is begun anew.
const REMEMBERED: usize = 200_000;

/// The proxy could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No port of 127.0.0.1 can be listened on.
    #[error("cannot listen on 127.0.0.1")]
    Listen(#[source] std::io::Error),
    /// The HTTP client could not be set up.
    #[error("the client for the node behind the proxy cannot be set up")]
    Client(#[source] reqwest::Error),
}

#[derive(Default)]
struct Memory {
    /// How often each question was asked.
    asked: HashMap<String, u64>,
    total: u64,
    /// Answers about blocks, by height: what a fork leaves behind.
    blocks: BTreeMap<u64, Vec<Value>>,
    /// The last receipts that were asked for.
    receipts: Option<Value>,
    told: BTreeMap<Lie, u64>,
}

struct Shared {
    upstream: String,
    client: reqwest::Client,
    seed: u64,
    mix: Mutex<Mix>,
    memory: Mutex<Memory>,
}

/// A running proxy; it ends when dropped.
pub struct LyingNode {
    shared: Arc<Shared>,
    address: SocketAddr,
    _server: AbortOnDropHandle<()>,
}

impl LyingNode {
    /// Starts a proxy before the node at `upstream`, on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(upstream: &str, seed: u64, mix: Mix) -> Result<Self, StartError> {
        let client = reqwest::Client::builder().no_proxy().build().map_err(StartError::Client)?;
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            client,
            seed,
            mix: Mutex::new(mix),
            memory: Mutex::default(),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(StartError::Listen)?;
        let address = listener.local_addr().map_err(StartError::Listen)?;
        let router = Router::new().route("/", post(answer)).with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            // It serves until it is aborted; an error of a single connection does not end it.
            let _ended = axum::serve(listener, router).await;
        });
        Ok(Self { shared, address, _server: AbortOnDropHandle::new(server) })
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lies in another way from now on.
    pub fn set_mix(&self, mix: Mix) {
        *self.shared.mix.lock() = mix;
    }

    /// How many questions were asked.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.shared.memory.lock().total
    }

    /// How often each lie was told.
    #[must_use]
    pub fn told(&self) -> BTreeMap<Lie, u64> {
        self.shared.memory.lock().told.clone()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let Ok(request) = serde_json::from_slice::<Value>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let method = request["method"].as_str().unwrap_or_default().to_owned();
    let params = request["params"].clone();
    let (lie, nth) = shared.pick(&method, &params);
    match lie {
        Some(Lie::TooManyRequests) => return StatusCode::TOO_MANY_REQUESTS.into_response(),
        Some(Lie::BadGateway) => return StatusCode::BAD_GATEWAY.into_response(),
        Some(Lie::Garbage) => return "<html>all is well</html>".into_response(),
        Some(Lie::RateError) => return error(&request["id"], -32_005, "limit exceeded"),
        Some(Lie::TooLarge) => return error(&request["id"], -32_008, "response is too big"),
        Some(Lie::Slow) => {
            tokio::time::sleep(Duration::from_millis(nth.wrapping_mul(37) % SLOWEST_MS + 20)).await;
        }
        _ => {}
    }
    let Some(mut answer) = shared.ask(&request).await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let other = match lie {
        Some(lie) => shared.other(lie, &method, &params, nth).await,
        None => None,
    };
    shared.remember(&method, &answer["result"]);
    if let (Some(lie), Some(result)) = (lie, answer.get_mut("result")) {
        twist(lie, result, other.as_ref());
    }
    send(lie, &answer)
}

fn error(id: &Value, code: i64, message: &str) -> Response {
    let error = json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } });
    ([("content-type", "application/json")], error.to_string()).into_response()
}

fn send(lie: Option<Lie>, answer: &Value) -> Response {
    let text = answer.to_string();
    if lie != Some(Lie::CutConnection) {
        return ([("content-type", "application/json")], text).into_response();
    }
    let half = Bytes::from(text.into_bytes()).slice(..10);
    let cut = std::io::Error::new(std::io::ErrorKind::ConnectionReset, "cut");
    Body::from_stream(stream::iter([Ok(half), Err(cut)])).into_response()
}

impl Shared {
    /// The lie about a question, which is counted, and how often the question was asked before.
    fn pick(&self, method: &str, params: &Value) -> (Option<Lie>, u64) {
        let mut memory = self.memory.lock();
        memory.total = memory.total.saturating_add(1);
        if memory.asked.len() > REMEMBERED {
            memory.asked.clear();
        }
        let params = params.to_string();
        let asked = memory.asked.entry(format!("{method}{params}")).or_default();
        let nth = *asked;
        *asked = nth.saturating_add(1);
        let lie = self.mix.lock().pick(self.seed, method, &params, nth);
        if let Some(lie) = lie {
            *memory.told.entry(lie).or_default() += 1;
        }
        (lie, nth)
    }

    async fn ask(&self, request: &Value) -> Option<Value> {
        let response = self.client.post(&self.upstream).json(request).send().await.ok()?;
        response.json().await.ok()
    }

    async fn call(&self, method: &str, params: Value) -> Option<Value> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        self.ask(&request).await.map(|mut answer| answer["result"].take())
    }

    /// The answer that is given in place of the right one.
    async fn other(&self, lie: Lie, method: &str, params: &Value, nth: u64) -> Option<Value> {
        match lie {
            Lie::StaleHead => {
                let head = number(&self.call("eth_blockNumber", json!([])).await?)?;
                let stale = head.saturating_sub(nth % STALEST + 1);
                self.call(method, json!([format!("{stale:#x}"), params[1]])).await
            }
            Lie::HurryFinality => self.call(method, json!(["latest", params[1]])).await,
            Lie::OtherReceipts => self.memory.lock().receipts.clone(),
            Lie::MixForks => {
                let wanted = number(&params[0])?;
                let left = self.left_behind(wanted, &self.call(method, params.clone()).await?["hash"]);
                match left {
                    Some(block) => Some(block),
                    None => {
                        let below = format!("{:#x}", wanted.saturating_sub(1));
                        self.call(method, json!([below, params[1]])).await
                    }
                }
            }
            _ => None,
        }
    }

    /// A block of the height that is canonical no more.
    fn left_behind(&self, height: u64, canonical: &Value) -> Option<Value> {
        let memory = self.memory.lock();
        memory.blocks.get(&height)?.iter().find(|block| block["hash"] != *canonical).cloned()
    }

    fn remember(&self, method: &str, result: &Value) {
        let mut memory = self.memory.lock();
        if method == "eth_getBlockReceipts" && !result.is_null() {
            memory.receipts = Some(result.clone());
        }
        // Whole blocks only: one that was asked for without its transactions would be noticed by its shape.
        let whole = result["transactions"].as_array().is_some_and(|all| all.iter().all(Value::is_object));
        let Some(height) = number(&result["number"]).filter(|_| whole) else { return };
        if memory.blocks.len() > REMEMBERED {
            memory.blocks.clear();
        }
        let known = memory.blocks.entry(height).or_default();
        if !known.iter().any(|block| block["hash"] == result["hash"]) {
            known.push(result.clone());
        }
    }
}

fn number(quantity: &Value) -> Option<u64> {
    u64::from_str_radix(quantity.as_str()?.strip_prefix("0x")?, 16).ok()
}
