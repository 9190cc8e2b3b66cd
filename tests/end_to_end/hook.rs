//! A receiver in this process, for loads: it checks each signature itself, refuses some deliveries, and counts by id.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use parking_lot::Mutex;
use sha2::Sha256;
use tokio::{net::TcpListener, task::JoinHandle};

/// One in so many deliveries is refused.
const REFUSED_ONE_IN: u64 = 7;

#[derive(Default)]
struct Received {
    secret: Vec<u8>,
    requests: u64,
    /// How many times each id was accepted.
    accepted: BTreeMap<String, u64>,
    /// Deliveries whose signature was wrong.
    forged: u64,
}

/// A running receiver. Dropping it closes it.
pub(crate) struct Hook {
    url: String,
    received: Arc<Mutex<Received>>,
    task: JoinHandle<()>,
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hook {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        let received = Arc::<Mutex<Received>>::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let router = Router::new().route("/hook", post(receive)).with_state(Arc::clone(&received));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, received, task }
    }

    /// Where deliveries go.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The endpoint's secret, `whsec_…`.
    pub(crate) fn trust(&self, secret: &str) {
        self.received.lock().secret = STANDARD.decode(secret.trim_start_matches("whsec_")).unwrap();
    }

    /// How many ids were accepted, without a copy of them.
    pub(crate) fn count(&self) -> usize {
        self.received.lock().accepted.len()
    }

    /// How many times each id was accepted.
    pub(crate) fn accepted(&self) -> BTreeMap<String, u64> {
        let received = self.received.lock();
        assert_eq!(received.forged, 0, "deliveries with a wrong signature");
        received.accepted.clone()
    }
}

async fn receive(
    State(received): State<Arc<Mutex<Received>>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let mut received = received.lock();
    let Some(id) = verified(&received.secret, &headers, &body) else {
        received.forged += 1;
        return StatusCode::UNAUTHORIZED;
    };
    received.requests += 1;
    if received.requests % REFUSED_ONE_IN == 0 {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    *received.accepted.entry(id).or_default() += 1;
    StatusCode::OK
}

/// The delivery's id, if the signature fits (Standard Webhooks: HMAC-SHA256 of `id.timestamp.body`).
fn verified(secret: &[u8], headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let header = |name: &str| headers.get(name)?.to_str().ok();
    let (id, timestamp) = (header("webhook-id")?, header("webhook-timestamp")?);
    let mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    let mac = mac.chain_update(format!("{id}.{timestamp}.")).chain_update(body);
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    header("webhook-signature")?.split(' ').any(|given| given == expected).then(|| id.to_owned())
}
