//! Heads over WebSocket: an announcement makes the connector look at once, and a connection that is open and says nothing
//! is found out by the heads that polling brings.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::task::AbortOnDropHandle;

use super::driver::{Running, config};
use super::node::{Node, chain_of, extend, head};
use crate::chain::config::NodeUrl;
use crate::chain::follower::Resume;

const ANNOUNCEMENT: &str =
    r#"{"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":"0x1","result":{}}}"#;

/// A WebSocket that announces when it is told to; it answers pings all the time.
struct Announcer {
    url: NodeUrl,
    announce: broadcast::Sender<()>,
    subscribed: watch::Receiver<u64>,
    _server: AbortOnDropHandle<()>,
}

impl Announcer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = NodeUrl::new(format!("ws://{}", listener.local_addr().unwrap()).parse().unwrap());
        let (announce, _) = broadcast::channel(16);
        let (count, subscribed) = watch::channel(0);
        let (count, sender) = (Arc::new(count), announce.clone());
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, sender.subscribe(), Arc::clone(&count)));
            }
        });
        Self { url, announce, subscribed, _server: AbortOnDropHandle::new(server) }
    }

    async fn is_subscribed(&mut self, times: u64) {
        self.subscribed.wait_for(|count| *count >= times).await.unwrap();
    }
}

async fn serve(
    stream: tokio::net::TcpStream,
    mut announcements: broadcast::Receiver<()>,
    count: Arc<watch::Sender<u64>>,
) {
    let mut socket = accept_async(stream).await.unwrap();
    let request = socket.next().await.unwrap().unwrap();
    assert!(request.to_text().unwrap().contains("newHeads"), "{request:?}");
    socket.send(Message::text(r#"{"jsonrpc":"2.0","id":1,"result":"0x1"}"#)).await.unwrap();
    count.send_modify(|count| *count += 1);
    loop {
        tokio::select! {
            told = announcements.recv() => {
                if told.is_err() || socket.send(Message::text(ANNOUNCEMENT)).await.is_err() {
                    return;
                }
            }
            message = socket.next() => {
                if !matches!(message, Some(Ok(_))) {
                    return;
                }
            }
        }
    }
}

#[tokio::test]
async fn an_announced_head_is_looked_at_at_once() {
    let mut chain = chain_of(5, 1);
    let node = Node::start(&chain).await;
    let mut announcer = Announcer::start().await;
    let mut config = config(&[&node]);
    (config.ws, config.poll_interval_ms) = (vec![announcer.url.clone()], 60_000);
    let mut running = Running::start(&config, Resume::default());
    running.until_head(head(&chain)).await;
    announcer.is_subscribed(1).await;
    running.until_status(|status| status.subscriptions == 1).await;
    for _ in 0..3 {
        extend(&mut chain, 1, 1);
        node.set_chain(&chain);
        let begun = Instant::now();
        announcer.announce.send(()).unwrap();
        running.until_head(head(&chain)).await;
        assert!(begun.elapsed() < Duration::from_secs(30), "the head was found by polling");
    }
    running.assert_observed(&chain);
    running.end().await.unwrap();
}

#[tokio::test]
async fn a_subscription_that_is_open_and_says_nothing_is_made_anew_and_nothing_is_missed() {
    let mut chain = chain_of(5, 1);
    let node = Node::start(&chain).await;
    let mut silent = Announcer::start().await;
    let mut config = config(&[&node]);
    config.ws = vec![silent.url.clone()];
    let mut running = Running::start(&config, Resume::default());
    silent.is_subscribed(1).await;
    let looked = AtomicU64::new(0);
    while *silent.subscribed.borrow() < 2 {
        extend(&mut chain, 1, 1);
        node.set_chain(&chain);
        running.until_head(head(&chain)).await;
        assert!(looked.fetch_add(1, Ordering::Relaxed) < 10_000, "the silence was not noticed");
    }
    running.assert_observed(&chain);
    running.end().await.unwrap();
}
