//! The nodes of one chain in order of preference. Guarantee: each question goes to the best node that is fit to be
//! asked ([`Health::rank`], then the operator's order), on to the next when that one fails, and to the next as well when
//! it takes long; an answer is returned only from a node that said it serves the configured chain; a node that fails,
//! lags or lies is left alone for a while, and all of it shows in the status.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use alloy_primitives::TxHash;
use futures::StreamExt;
use futures::future::{BoxFuture, join_all};
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::time::timeout;

use super::agreement::Opinion;
use super::config::{ChainSettings, NodeUrl};
use super::follower::FollowError;
use super::health::{Asked, Failure, Health, Schedule};
use super::http::Endpoint;
use super::rpc::{Fault, NodeError, NodeRpc, Place, Tag, TagAnswer, Wanted, http_client};
use super::status::NodeStatus;
use super::types::{BlockId, BlockRef, VerifiedBlock};

/// A node that has been behind a head for so long without moving has no say about it.
const STANDS_STILL: Duration = Duration::from_secs(30);

/// A node that was not waited for any longer so often in a row rests.
const SLOW_IN_A_ROW: u32 = 3;

/// The nodes gave no answer that is believed.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct NoAnswer {
    /// What is waited for, and what each node that was asked, or rests, did wrong.
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
    /// How long a question waits for a node before the next one is asked as well, at least.
    hedge_after: Duration,
    timeout: Duration,
    absent_after: Duration,
    since: Instant,
}

/// What nodes are asked, and by whom it is claimed that there is an answer.
#[derive(Debug, Clone, Copy)]
struct Question {
    asked: Asked,
    /// The node that has announced what is asked for.
    claimant: Option<Sender>,
}

impl Question {
    /// What every node can answer by itself.
    const OTHER: Self = Self { asked: Asked::Other, claimant: None };

    /// Not to have what another node announced is no fault.
    fn is_to_blame(&self, sender: Sender, fault: Fault) -> bool {
        fault != Fault::Lagging || self.claimant.is_none_or(|claimant| claimant == sender)
    }
}

/// How a node is asked.
trait Request<T>: for<'a> Fn(&'a NodeRpc) -> BoxFuture<'a, Result<T, NodeError>> + Send + Sync {}

impl<T, F> Request<T> for F where
    F: for<'a> Fn(&'a NodeRpc) -> BoxFuture<'a, Result<T, NodeError>> + Send + Sync
{
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
        Ok(Self {
            nodes,
            schedule: Schedule { first, longest },
            hedge_after: settings.hedge_after,
            timeout: settings.request_timeout,
            absent_after: settings.absent_after,
            since: Instant::now(),
        })
    }

    /// The head that the best node reports; with `turn` 1 the second best, and so on in a circle.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn head(&self, turn: usize) -> Result<(Sender, BlockId), NoAnswer> {
        let mut candidates = self.candidates(None);
        let places = candidates.len().max(1);
        candidates.rotate_left(turn.checked_rem(places).unwrap_or(0));
        let (index, head) =
            self.ask_of(candidates, Question::OTHER, |rpc: &NodeRpc| Box::pin(rpc.head())).await?;
        if let Some(node) = self.nodes.get(index) {
            node.health.lock().reports(head);
        }
        Ok((Sender(index), head))
    }

    /// The block behind a tag.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn tag(&self, tag: Tag) -> Result<(Sender, TagAnswer), NoAnswer> {
        let candidates = self.candidates(None);
        let (index, answer) =
            self.ask_of(candidates, Question::OTHER, |rpc: &NodeRpc| Box::pin(rpc.tag(tag))).await?;
        Ok((Sender(index), answer))
    }

    /// A verified block of the branch that the claimant names. Only the claimant is at fault for not having it: another
    /// node cannot have what one alone has invented.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn block(
        &self,
        wanted: Wanted,
        claimant: Option<Sender>,
    ) -> Result<(Sender, VerifiedBlock), NoAnswer> {
        self.block_of(self.candidates(None), wanted, claimant).await
    }

    /// A verified block of another node than the given one.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn block_of_other(
        &self,
        wanted: Wanted,
        than: Sender,
        claimant: Option<Sender>,
    ) -> Result<(Sender, VerifiedBlock), NoAnswer> {
        self.block_of(self.candidates(Some(than)), wanted, claimant).await
    }

    async fn block_of<'a>(
        &'a self,
        candidates: Vec<(usize, &'a Node)>,
        wanted: Wanted,
        claimant: Option<Sender>,
    ) -> Result<(Sender, VerifiedBlock), NoAnswer> {
        let asked = Question { asked: Asked::Block, claimant };
        let (index, block) =
            self.ask_of(candidates, asked, |rpc: &NodeRpc| Box::pin(rpc.block(wanted))).await?;
        if let Some(node) = self.nodes.get(index) {
            node.health.lock().verified(Instant::now());
        }
        Ok((Sender(index), block))
    }

    /// What every node that is fit to be asked says about a tag, and how many have a say and did not answer.
    pub async fn tags(&self, tag: Tag) -> (Vec<(Sender, TagAnswer)>, usize) {
        let answers = self.everyone(None, self.timeout, move |rpc: &NodeRpc| Box::pin(rpc.tag(tag))).await;
        let heard: BTreeSet<_> = answers.iter().map(|(sender, _)| *sender).collect();
        let silent = self.silent(&heard).count();
        (answers, silent)
    }

    /// The nodes that have a say and are not among those that were heard.
    fn silent<'a>(&'a self, heard: &'a BTreeSet<Sender>) -> impl Iterator<Item = Sender> + 'a {
        let now = Instant::now();
        self.nodes.iter().enumerate().map(|(index, node)| (Sender(index), node)).filter_map(
            move |(sender, node)| {
                let has_a_say = node.health.lock().has_a_say(now, self.since, self.absent_after);
                (has_a_say && !heard.contains(&sender)).then_some(sender)
            },
        )
    }

    /// What the nodes other than the claimant say about a head. One that takes much longer than usual counts as behind.
    pub async fn opinions(&self, claimant: Option<Sender>, head: BlockRef) -> Vec<(Sender, Opinion)> {
        let patience = (self.hedge_after * 2).min(self.timeout);
        let answers =
            self.everyone(claimant, patience, move |rpc: &NodeRpc| Box::pin(rpc.place(head.number))).await;
        let heard: BTreeSet<_> = answers.iter().map(|(sender, _)| *sender).chain(claimant).collect();
        let silent = self.silent(&heard).map(|sender| (sender, Opinion::Behind));
        let said = answers.into_iter().map(|(sender, place)| (sender, self.opinion(sender, head, place)));
        said.chain(silent).collect()
    }

    /// Where the nodes that answer say that a transaction is.
    ///
    /// # Errors
    /// [`NoAnswer`] when none answers.
    pub async fn locate(&self, transaction: TxHash) -> Result<Vec<(Sender, Option<BlockRef>)>, NoAnswer> {
        let answers =
            self.everyone(None, self.timeout, move |rpc: &NodeRpc| Box::pin(rpc.locate(transaction))).await;
        if answers.is_empty() { Err(self.no_answer()) } else { Ok(answers) }
    }

    /// True when every node that answers has the block on its canonical branch.
    ///
    /// # Errors
    /// [`NoAnswer`] when none answers.
    pub async fn all_have(&self, block: BlockRef) -> Result<bool, NoAnswer> {
        let answers =
            self.everyone(None, self.timeout, move |rpc: &NodeRpc| Box::pin(rpc.place(block.number))).await;
        if answers.is_empty() {
            return Err(self.no_answer());
        }
        Ok(answers.iter().all(|(_, place)| matches!(place, Place::At(at) if at.hash == block.hash)))
    }

    fn opinion(&self, sender: Sender, head: BlockRef, place: Place) -> Opinion {
        let Some(node) = self.nodes.get(sender.0) else { return Opinion::Silent };
        match place {
            Place::At(block) => {
                node.health.lock().keeps_up();
                if block.hash == head.hash { Opinion::Agrees } else { Opinion::Contradicts }
            }
            Place::Below(own) => {
                if !node.health.lock().stands_still(own, Instant::now(), STANDS_STILL) {
                    return Opinion::Behind;
                }
                let error = format!("the node stands still at block {} while others go on", own.number);
                self.note(node, Failure { asked: Asked::Other, fault: Fault::Lagging, error });
                Opinion::StandsStill
            }
        }
    }

    /// Takes note that a node is ahead of all others.
    pub fn ahead_alone(&self, sender: Sender) {
        if let Some(node) = self.nodes.get(sender.0) {
            node.health.lock().was_ahead_alone();
        }
    }

    /// Takes note that more nodes say otherwise than agree with this one.
    pub fn outvoted(&self, sender: Sender, head: BlockRef) {
        if let Some(node) = self.nodes.get(sender.0) {
            tracing::warn!(node = %node.url, number = head.number, hash = %head.hash, "outvoted about the head");
            node.health.lock().was_outvoted();
        }
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

    /// Asks the first of these nodes, the next one when it fails, and the next one as well when it is slow.
    async fn ask_of<'a, T: Send>(
        &'a self,
        candidates: Vec<(usize, &'a Node)>,
        question: Question,
        request: impl Request<T>,
    ) -> Result<(usize, T), NoAnswer> {
        let mut candidates = candidates.into_iter();
        let mut waited_for: Vec<&Node> = Vec::new();
        let mut under_way = FuturesUnordered::new();
        let mut hedge_after = Duration::MAX;
        let mut next = candidates.next();
        loop {
            if let Some((index, node)) = next.take() {
                hedge_after = if candidates.len() > 0 { self.patience(node) } else { Duration::MAX };
                waited_for.push(node);
                under_way.push(attempt(index, node, &request));
            }
            match timeout(hedge_after, under_way.next()).await {
                Ok(Some((index, _, Ok(value)))) => return Ok((index, value)),
                Ok(Some((index, node, Err(error)))) => {
                    let fault = error.fault();
                    if question.is_to_blame(Sender(index), fault) {
                        self.note(node, Failure { asked: question.asked, fault, error: error_chain(&error) });
                    }
                    next = candidates.next();
                }
                Ok(None) => return Err(self.no_answer()),
                Err(_) => {
                    waited_for.drain(..).for_each(|node| self.slow(node, hedge_after));
                    next = candidates.next();
                    hedge_after = Duration::MAX;
                }
            }
        }
    }

    /// All nodes but one that may be asked, at once; those that fail are noted and left out.
    async fn everyone<T: Send>(
        &self,
        except: Option<Sender>,
        patience: Duration,
        request: impl Request<T>,
    ) -> Vec<(Sender, T)> {
        let asked = self.candidates(except).into_iter().map(async |(index, node)| {
            match timeout(patience, attempt(index, node, &request)).await {
                Ok((index, _, Ok(value))) => Some((Sender(index), value)),
                Ok((_, node, Err(error))) => {
                    let failure =
                        Failure { asked: Asked::Other, fault: error.fault(), error: error_chain(&error) };
                    self.note(node, failure);
                    None
                }
                Err(_) => {
                    self.slow(node, patience);
                    None
                }
            }
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// The nodes that may be asked now, best first.
    fn candidates(&self, except: Option<Sender>) -> Vec<(usize, &Node)> {
        let now = Instant::now();
        let nodes = self.nodes.iter().enumerate().filter(|(index, _)| Some(Sender(*index)) != except);
        let mut usable: Vec<_> = nodes.filter(|(_, node)| node.health.lock().is_usable(now)).collect();
        usable.sort_by_key(|(_, node)| node.health.lock().rank());
        usable
    }

    /// How long a node is waited for before the next one is asked as well.
    fn patience(&self, node: &Node) -> Duration {
        let usual = node.health.lock().latency().unwrap_or_default();
        self.hedge_after.max(usual * 3).min(self.timeout)
    }

    /// A node was not waited for any longer.
    fn slow(&self, node: &Node, waited: Duration) {
        let in_a_row = node.health.lock().was_slow(waited);
        if in_a_row >= SLOW_IN_A_ROW {
            let error = format!("no answer within {} ms, {in_a_row} times in a row", waited.as_millis());
            self.note(node, Failure { asked: Asked::Other, fault: Fault::Unavailable, error });
        }
    }

    fn note(&self, node: &Node, failure: Failure) {
        tracing::warn!(node = %node.url, error = %failure.error, "a node's answer is not used");
        let jitter = rand::random::<u64>();
        node.health.lock().failed(Instant::now(), failure, &self.schedule, jitter);
    }

    fn no_answer(&self) -> NoAnswer {
        let mut reason = String::from("no node answered");
        for (index, node) in self.nodes.iter().enumerate() {
            let health = node.health.lock();
            let error = health.refused.as_ref().or(health.last_error.as_ref());
            let separator = if index == 0 { ": " } else { "; " };
            let error = error.map_or("does not have what was asked for", String::as_str);
            // Writing to a string cannot fail.
            let _infallible = write!(reason, "{separator}{}: {error}", node.url);
        }
        let retry_at = self.nodes.iter().filter_map(|node| node.health.lock().retry_at()).min();
        NoAnswer { reason, retry_at }
    }
}

/// Asks one node, after it has said which chain it serves.
async fn attempt<'a, T>(
    index: usize,
    node: &'a Node,
    request: &impl Request<T>,
) -> (usize, &'a Node, Result<T, NodeError>) {
    let begun = Instant::now();
    let result = identified(node, request).await;
    if result.is_ok() {
        let mut health = node.health.lock();
        let now = Instant::now();
        health.answered(now, now.saturating_duration_since(begun));
        health.succeeded(now);
    }
    (index, node, result)
}

async fn identified<T>(node: &Node, request: &impl Request<T>) -> Result<T, NodeError> {
    let identified = node.health.lock().identified;
    if !identified {
        node.rpc.check_chain().await?;
        node.health.lock().identified = true;
    }
    request(&node.rpc).await
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
        score: health.score(),
        breaker: health.breaker(now),
        latency_ms: health.latency().and_then(|latency| u64::try_from(latency.as_millis()).ok()),
        requests_per_second: node.rpc.requests_per_second(),
        marks: health.marks,
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
