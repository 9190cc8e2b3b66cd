//! The nodes of one chain in order of preference. Guarantee: each question goes to the first node that is fit to be
//! asked and on to the next when that one fails; an answer is returned only from a node that said it serves the
//! configured chain; a node that fails, lags or lies is left alone for a while, and all of it shows in the status.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;
use std::time::Instant;

use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::config::{ChainSettings, NodeUrl};
use super::follower::FollowError;
use super::health::{Asked, Failure, Health, Schedule};
use super::http::Endpoint;
use super::rpc::{Fault, NodeError, NodeRpc, Tag, TagAnswer, Wanted, http_client};
use super::status::NodeStatus;
use super::types::{BlockId, VerifiedBlock};

/// No node gave an answer that is believed.
#[derive(Debug, thiserror::Error)]
#[error("no node answered: {reason}")]
pub struct NoAnswer {
    /// What each node that was asked, or rests, did wrong.
    pub reason: String,
    /// When the first of the nodes may be asked again; `None` when all are refused for good.
    pub retry_at: Option<Instant>,
}

#[derive(Debug)]
struct Node {
    url: NodeUrl,
    rpc: NodeRpc,
    health: Mutex<Health>,
}

/// Which node sent an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sender(usize);

/// The nodes of one chain.
#[derive(Debug)]
pub struct Pool {
    nodes: Vec<Node>,
    schedule: Schedule,
}

impl Pool {
    /// Prepares the nodes; none is asked yet.
    ///
    /// # Errors
    /// The TLS set-up failed.
    pub fn new(settings: &ChainSettings) -> Result<Self, reqwest::Error> {
        let node = |url: &NodeUrl| {
            let (timeout, limit) = (settings.request_timeout, settings.response_limit);
            let client = http_client(timeout, url.expose())?;
            let endpoint = Endpoint::new(client, url.expose().clone(), timeout, limit);
            let rpc = NodeRpc::new(endpoint, settings.chain_id, settings.transactions);
            Ok(Node { url: url.clone(), rpc, health: Mutex::default() })
        };
        let (first, longest) = settings.retry;
        let nodes = settings.nodes.iter().map(node).collect::<Result<_, _>>()?;
        Ok(Self { nodes, schedule: Schedule { first, longest } })
    }

    /// The head that the preferred node reports.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn head(&self) -> Result<(Sender, BlockId), NoAnswer> {
        let (index, head) = self.ask(Asked::Other, |rpc| Box::pin(rpc.head())).await?;
        if let Some(node) = self.nodes.get(index) {
            node.health.lock().head = Some(head.number);
        }
        Ok((Sender(index), head))
    }

    /// The block behind a tag.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn tag(&self, tag: Tag) -> Result<(Sender, TagAnswer), NoAnswer> {
        let (index, answer) = self.ask(Asked::Other, |rpc| Box::pin(rpc.tag(tag))).await?;
        Ok((Sender(index), answer))
    }

    /// A verified block.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn block(&self, wanted: Wanted) -> Result<(Sender, VerifiedBlock), NoAnswer> {
        let (index, block) = self.ask(Asked::Block, |rpc| Box::pin(rpc.block(wanted))).await?;
        if let Some(node) = self.nodes.get(index) {
            node.health.lock().verified(Instant::now());
        }
        Ok((Sender(index), block))
    }

    /// Takes note that a block, right in itself, does not fit where it was said to belong.
    pub fn does_not_fit(&self, sender: Sender, error: &FollowError) {
        if let Some(node) = self.nodes.get(sender.0) {
            let fault = if matches!(error, FollowError::Fork(_)) { Fault::Forked } else { Fault::Lying };
            self.note(node, Failure { asked: Asked::Block, fault, error: error_chain(error) });
        }
    }

    /// True when a node of the chain that is not among the given ones may still be asked, now or later.
    pub fn has_others(&self, than: &BTreeSet<Sender>) -> bool {
        let mut nodes = self.nodes.iter().enumerate();
        nodes.any(|(index, node)| !than.contains(&Sender(index)) && node.health.lock().refused.is_none())
    }

    /// The nodes as `/readyz` and the metrics show them.
    pub fn status(&self) -> Vec<NodeStatus> {
        let now = Instant::now();
        self.nodes.iter().map(|node| node_status(node, now)).collect()
    }

    async fn ask<T>(
        &self,
        asked: Asked,
        question: impl for<'a> Fn(&'a NodeRpc) -> BoxFuture<'a, Result<T, NodeError>> + Send + Sync,
    ) -> Result<(usize, T), NoAnswer> {
        for (index, node) in self.nodes.iter().enumerate() {
            if !node.health.lock().is_usable(Instant::now()) {
                continue;
            }
            match answer(node, &question).await {
                Ok(value) => {
                    node.health.lock().succeeded(Instant::now());
                    return Ok((index, value));
                }
                Err(error) => {
                    self.note(node, Failure { asked, fault: error.fault(), error: error_chain(&error) });
                }
            }
        }
        Err(self.no_answer())
    }

    fn note(&self, node: &Node, failure: Failure) {
        tracing::warn!(node = %node.url, error = %failure.error, "a node's answer is not used");
        let jitter = rand::random::<u64>();
        node.health.lock().failed(Instant::now(), failure, &self.schedule, jitter);
    }

    fn no_answer(&self) -> NoAnswer {
        let mut reason = String::new();
        for node in &self.nodes {
            let health = node.health.lock();
            let error = health.refused.as_ref().or(health.last_error.as_ref());
            let separator = if reason.is_empty() { "" } else { "; " };
            let error = error.map_or("rests after a failure", String::as_str);
            // Writing to a string cannot fail.
            let _infallible = write!(reason, "{separator}{}: {error}", node.url);
        }
        let retry_at = self.nodes.iter().filter_map(|node| node.health.lock().retry_at()).min();
        NoAnswer { reason, retry_at }
    }
}

async fn answer<T>(
    node: &Node,
    question: &(impl for<'a> Fn(&'a NodeRpc) -> BoxFuture<'a, Result<T, NodeError>> + Send + Sync),
) -> Result<T, NodeError> {
    let identified = node.health.lock().identified;
    if !identified {
        node.rpc.check_chain().await?;
        node.health.lock().identified = true;
    }
    question(&node.rpc).await
}

fn node_status(node: &Node, now: Instant) -> NodeStatus {
    let health = node.health.lock();
    NodeStatus {
        url: node.url.to_string(),
        healthy: health.is_usable(now) && health.is_spotless(),
        last_error: health.refused.clone().or_else(|| health.last_error.clone()),
        head: health.head,
        failures: health.failures.max(health.block_failures),
        refused: health.refused.is_some(),
    }
}

/// An error with its causes in one line.
pub(crate) fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string cannot fail.
        let _infallible = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
