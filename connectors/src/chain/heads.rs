//! New heads over WebSocket (`eth_subscribe` with `newHeads`), as a reason to look and as nothing else: what is announced
//! is not read, since the look over HTTP finds everything that came in between. Guarantee: a connection that breaks, and
//! one that is open and silent (a provider that stopped sending, a proxy that lost its peer), is left and made anew with
//! growing pauses; while there is none, the polling over HTTP goes on as if there were no WebSocket at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::config::NodeUrl;

/// The subscription of the execution API's pub/sub extension.
const SUBSCRIBE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}"#;
/// A header is a few hundred bytes to a few kilobytes.
const LARGEST_MESSAGE: usize = 1 << 20;
/// How often a silent connection is asked whether it is alive.
const PING: Duration = Duration::from_secs(10);
/// How often the heads that were found over HTTP are compared with what was announced.
const CHECK: Duration = Duration::from_secs(1);
/// So many heads may be found over HTTP without a word from the WebSocket before it is left.
const MISSED_HEADS: u64 = 3;
/// First and longest pause before a new connection.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// What the connector and the subscriptions share.
#[derive(Debug, Default)]
pub struct HeadSignal {
    woken: Notify,
    /// Heads that were found over HTTP.
    found: AtomicU64,
    /// Announcements received, and connections that are open.
    announced: AtomicU64,
    open: AtomicU64,
}

impl HeadSignal {
    /// Waits for an announcement, at most so long.
    pub async fn wait(&self, longest: Duration) {
        // An announcement and the end of the pause are the same to the caller: it looks.
        let _ = timeout(longest, self.woken.notified()).await;
    }

    /// A head was found over HTTP.
    pub fn found(&self) {
        self.found.fetch_add(1, Ordering::Relaxed);
    }

    /// How many subscriptions are open.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// How many announcements have come.
    pub fn announced(&self) -> u64 {
        self.announced.load(Ordering::Relaxed)
    }
}

/// Why a connection was left.
#[derive(Debug, thiserror::Error)]
enum Left {
    #[error("the WebSocket failed")]
    Failed(#[source] Box<tungstenite::Error>),
    #[error("no connection within {} ms", limit.as_millis())]
    NoConnection { limit: Duration },
    #[error("the node closed the WebSocket")]
    Closed,
    #[error("the node refuses the subscription: {0}")]
    Refused(String),
    #[error("nothing came for {} s, not even an answer to a ping", waited.as_secs())]
    Silent { waited: Duration },
    #[error("{MISSED_HEADS} heads were found over HTTP and none was announced")]
    Stalled,
}

impl From<tungstenite::Error> for Left {
    fn from(error: tungstenite::Error) -> Self {
        Self::Failed(Box::new(error))
    }
}

/// Keeps one subscription open for ever.
pub async fn subscribe(url: NodeUrl, limit: Duration, signal: Arc<HeadSignal>) {
    let mut pause = PAUSES.0;
    loop {
        let before = signal.announced();
        let Err(left) = listen(&url, limit, &signal).await;
        let reason = super::pool::error_chain(&left);
        tracing::warn!(node = %url, reason, "the subscription to heads is made anew; polling goes on");
        pause = if signal.announced() > before { PAUSES.0 } else { (pause * 2).min(PAUSES.1) };
        tokio::time::sleep(pause).await;
    }
}

/// Ends only when the connection is left.
async fn listen(
    url: &NodeUrl,
    limit: Duration,
    signal: &HeadSignal,
) -> Result<std::convert::Infallible, Left> {
    let mut socket = connect(url, limit).await?;
    socket.send(Message::text(SUBSCRIBE)).await?;
    let _open = Open::new(signal);
    // What was announced while there was no connection is found by a look.
    signal.woken.notify_one();
    let mut heard = Heard { at: Instant::now(), found: signal.found.load(Ordering::Relaxed) };
    let mut pinged = Instant::now();
    loop {
        match timeout(CHECK, socket.next()).await {
            Ok(Some(message)) => take(&message?, signal, &mut heard)?,
            Ok(None) => return Err(Left::Closed),
            Err(_) if pinged.elapsed() >= PING => {
                pinged = Instant::now();
                socket.send(Message::Ping(Vec::new().into())).await?;
            }
            Err(_) => {}
        }
        heard.check(signal)?;
    }
}

async fn connect(url: &NodeUrl, limit: Duration) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, Left> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(LARGEST_MESSAGE))
        .max_frame_size(Some(LARGEST_MESSAGE));
    let connecting = connect_async_with_config(url.expose().as_str(), Some(config), true);
    let connected = timeout(limit, connecting).await.map_err(|_| Left::NoConnection { limit })?;
    Ok(connected?.0)
}

fn take(message: &Message, signal: &HeadSignal, heard: &mut Heard) -> Result<(), Left> {
    heard.at = Instant::now();
    let Message::Text(text) = message else { return Ok(()) };
    if text.contains("\"eth_subscription\"") {
        heard.found = signal.found.load(Ordering::Relaxed);
        signal.announced.fetch_add(1, Ordering::Relaxed);
        signal.woken.notify_one();
    } else if text.contains("\"error\"") {
        return Err(Left::Refused(text.chars().take(200).collect()));
    }
    Ok(())
}

/// What the connection last gave.
struct Heard {
    at: Instant,
    /// The heads found over HTTP by then.
    found: u64,
}

impl Heard {
    fn check(&self, signal: &HeadSignal) -> Result<(), Left> {
        let waited = self.at.elapsed();
        if waited > PING * 3 {
            return Err(Left::Silent { waited });
        }
        if signal.found.load(Ordering::Relaxed).saturating_sub(self.found) > MISSED_HEADS {
            return Err(Left::Stalled);
        }
        Ok(())
    }
}

/// Counts a connection while it is open.
struct Open<'a>(&'a HeadSignal);

impl<'a> Open<'a> {
    fn new(signal: &'a HeadSignal) -> Self {
        signal.open.fetch_add(1, Ordering::Relaxed);
        Self(signal)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
