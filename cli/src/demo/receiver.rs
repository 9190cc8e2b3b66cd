//! The merchant's webhook receiver: a server on the loopback interface that verifies each message by itself, as the
//! Standard Webhooks specification says (<https://www.standardwebhooks.com>), and counts what came by event.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// How far a message's time may be from ours, in seconds.
const TOLERANCE: u64 = 300;
/// Events that are remembered; a demo that runs for days needs no more.
const EVENTS_MAX: usize = 100_000;

/// What came.
#[derive(Default)]
struct Seen {
    /// Deliveries by event.
    events: BTreeMap<String, u32>,
    /// Why messages were refused, the last one of each event or empty id.
    refused: Vec<String>,
}

#[derive(Default)]
struct Inbox {
    key: OnceLock<Vec<u8>>,
    seen: Mutex<Seen>,
}

/// A running receiver.
pub(super) struct Receiver {
    /// Where messages go.
    pub(super) url: String,
    inbox: Arc<Inbox>,
    stop: CancellationToken,
    server: JoinHandle<std::io::Result<()>>,
}

/// What has arrived so far.
pub(super) struct Arrived {
    /// Deliveries by event.
    pub(super) events: BTreeMap<String, u32>,
    /// Why messages were refused.
    pub(super) refused: Vec<String>,
}

impl Receiver {
    /// Starts to listen.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("the webhook receiver cannot listen")?;
        let url = format!("http://{}/hook", listener.local_addr()?);
        let (inbox, stop) = (Arc::new(Inbox::default()), CancellationToken::new());
        let router = Router::new().route("/hook", post(receive)).with_state(Arc::clone(&inbox));
        let serve = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        let server = tokio::spawn(async move { serve.await });
        Ok(Self { url, inbox, stop, server })
    }

    /// Takes the endpoint's secret (`whsec_` and base64). Messages that come before are refused, and come again.
    pub(super) fn trust(&self, secret: &str) -> anyhow::Result<()> {
        let encoded =
            secret.strip_prefix("whsec_").context("the endpoint's secret does not begin with whsec_")?;
        let key = STANDARD.decode(encoded).context("the endpoint's secret is not base64")?;
        self.inbox.key.set(key).ok().context("the receiver has a secret already")
    }

    /// What has arrived so far.
    pub(super) fn arrived(&self) -> Arrived {
        let seen = self.inbox.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Arrived { events: seen.events.clone(), refused: seen.refused.clone() }
    }

    /// Ends it.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.server
            .await
            .context("the webhook receiver was aborted")?
            .context("the webhook receiver has failed")
    }
}

async fn receive(State(inbox): State<Arc<Inbox>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let verified = inbox.key.get().ok_or("no secret yet").and_then(|key| verify(key, &headers, &body));
    let mut seen = inbox.seen.lock().unwrap_or_else(PoisonError::into_inner);
    match verified {
        Ok(event) => {
            if seen.events.len() < EVENTS_MAX || seen.events.contains_key(&event) {
                *seen.events.entry(event).or_default() += 1;
            }
            StatusCode::NO_CONTENT
        }
        Err(reason) => {
            if seen.refused.len() < EVENTS_MAX {
                seen.refused.push(reason.to_owned());
            }
            StatusCode::UNAUTHORIZED
        }
    }
}

/// Checks a message; gives its event's id.
fn verify(key: &[u8], headers: &HeaderMap, body: &[u8]) -> Result<String, &'static str> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let id = header("webhook-id").ok_or("no webhook-id")?;
    let sent = header("webhook-timestamp").ok_or("no webhook-timestamp")?;
    let signatures = header("webhook-signature").ok_or("no webhook-signature")?;
    let seconds: u64 = sent.parse().map_err(|_| "webhook-timestamp is not a number")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    if now.abs_diff(seconds) > TOLERANCE {
        return Err("webhook-timestamp is too far away");
    }
    if !signatures.split(' ').any(|signature| is_signed(key, &format!("{id}.{sent}."), body, signature)) {
        return Err("webhook-signature is not ours");
    }
    let message: Value = serde_json::from_slice(body).map_err(|_| "the body is not JSON")?;
    if message["id"].as_str() != Some(id)
        || !message["type"].is_string()
        || !message["data"]["id"].is_string()
    {
        return Err("the body is not a message about a payment with the header's id");
    }
    Ok(id.to_owned())
}

fn is_signed(key: &[u8], before: &str, body: &[u8], signature: &str) -> bool {
    let Some(given) = signature.strip_prefix("v1,").and_then(|text| STANDARD.decode(text).ok()) else {
        return false;
    };
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(key) else { return false };
    mac.chain_update(before).chain_update(body).verify_slice(&given).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &str, signed: &str) -> Result<String, &'static str> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mac =
            Hmac::<Sha256>::new_from_slice(b"key").unwrap().chain_update(format!("evt_1.{now}.{signed}"));
        let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", "evt_1".parse().unwrap());
        headers.insert("webhook-timestamp", now.to_string().parse().unwrap());
        headers.insert("webhook-signature", format!("v1,AAAA {signature}").parse().unwrap());
        verify(b"key", &headers, body.as_bytes())
    }

    #[test]
    fn a_message_is_believed_only_if_these_bytes_were_signed() {
        let body = r#"{"id":"evt_1","type":"payment.completed","data":{"id":"pay_1"}}"#;
        assert_eq!(message(body, body), Ok("evt_1".to_owned()));
        assert_eq!(message(body, &body.replace("pay_1", "pay_2")), Err("webhook-signature is not ours"));
        assert!(message(&body.replace("evt_1", "evt_2"), &body.replace("evt_1", "evt_2")).is_err());
    }
}
