//! The running connector against scripted nodes: whatever they do, nothing wrong is handed on, and everything is once
//! an honest answer comes.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::blocks::{CHAIN, SimBlock, TOKEN};
use super::consumer::Consumer;
use super::node::{Lie, Node, at, chain_of, extend, head};
use crate::chain::config::ChainConfig;
use crate::chain::connector::{RunError, run};
use crate::chain::follower::Resume;
use crate::chain::status::{ChainState, ChainStatus};
use crate::chain::types::{BlockId, ForkBelowFinality, Observation};

/// No wait in these tests takes anything near this; it ends a test that would hang.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(in crate::chain) fn config(nodes: &[&Node]) -> ChainConfig {
    let rpc: Vec<_> = nodes.iter().map(|node| node.url.as_str()).collect();
    let token = serde_json::json!({ "asset": format!("usdc:{CHAIN}"), "address": TOKEN, "decimals": 6 });
    serde_json::from_value(serde_json::json!({
        "id": CHAIN, "rpc": rpc, "confirmations": 3, "tokens": [token], "poll_interval_ms": 10,
        "request_timeout_ms": 500, "retry_min_ms": 5, "retry_max_ms": 40, "absent_after_ms": 100, "response_limit_bytes": 1 << 19,
    }))
    .unwrap()
}

pub(super) struct Running {
    observations: mpsc::Receiver<Observation>,
    pub(super) consumer: Consumer,
    pub(super) status: watch::Receiver<ChainStatus>,
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<Result<(), RunError>>,
}

impl Running {
    pub(super) fn start(config: &ChainConfig, resume: Resume) -> Self {
        let (out, observations) = mpsc::channel(16);
        let (shown, status) = watch::channel(ChainStatus::starting(config.id));
        let stop = CancellationToken::new();
        let ended = tokio::spawn(run(config.check().unwrap(), resume, out, stop.clone(), shown));
        let consumer = Consumer::starting_at(config.start_block);
        Self { observations, consumer, status, stop, ended }
    }

    pub(super) async fn next(&mut self) -> Option<Observation> {
        timeout(PATIENCE, self.observations.recv()).await.expect("no observation came")
    }

    /// Receives until the block is the head.
    pub(super) async fn until_head(&mut self, head: BlockId) {
        while self.consumer.head() != Some(head.hash) {
            let observation = self.next().await.expect("the connector ended");
            self.consumer.take(observation);
        }
    }

    pub(super) async fn until_status(&mut self, reached: impl FnMut(&ChainStatus) -> bool) -> ChainStatus {
        timeout(PATIENCE, self.status.wait_for(reached))
            .await
            .expect("the status was not reached")
            .unwrap()
            .clone()
    }

    /// What has arrived and was not taken yet.
    pub(super) fn next_or_none(&mut self) -> Option<Observation> {
        self.observations.try_recv().ok()
    }

    /// What arrived so far.
    pub(super) fn drain(&mut self) {
        while let Ok(observation) = self.observations.try_recv() {
            self.consumer.take(observation);
        }
    }

    /// Every observed block holds exactly the transfers of the honest chain, and the branch is that chain.
    pub(super) fn assert_observed(&self, chain: &[SimBlock]) {
        assert_eq!(self.consumer.canonical(), chain.iter().map(|block| block.id).collect::<Vec<_>>());
        for block in chain {
            let observed = &self.consumer.blocks[&block.id.hash];
            let transfers: Vec<_> =
                observed.transfers.iter().map(|transfer| (transfer.to, transfer.value)).collect();
            assert_eq!(transfers, block.transfers, "block {}", block.id.number);
        }
    }

    pub(super) async fn end(self) -> Result<(), RunError> {
        self.stop.cancel();
        timeout(PATIENCE, self.ended).await.expect("the connector did not stop").unwrap()
    }
}

#[tokio::test]
async fn a_block_that_comes_late_does_not_keep_the_next_ones_from_being_asked_for() {
    let chain = chain_of(60, 1);
    let node = Node::start(&chain).await;
    let mut config = config(&[&node]);
    (config.max_in_flight, config.request_timeout_ms) = (4, 60_000);
    // Of four at once it is one; four more than these four are taken meanwhile.
    node.be_late(10, 17);
    let mut running = Running::start(&config, Resume::default());
    running.until_head(head(&chain)).await;
    running.assert_observed(&chain);
    running.end().await.unwrap();
}

#[tokio::test]
async fn a_chain_is_caught_up_with_and_followed() {
    let mut chain = chain_of(230, 1);
    let node = Node::start(&chain).await;
    let mut running = Running::start(&config(&[&node]), Resume::default());
    running.until_head(head(&chain)).await;
    assert!(running.consumer.heads.len() >= 3, "{:?}", running.consumer.heads);
    extend(&mut chain, 3, 1);
    node.set_chain(&chain);
    running.until_head(head(&chain)).await;
    running.assert_observed(&chain);
    let status = running.until_status(|status| status.state == ChainState::Following).await;
    assert_eq!((status.head, status.appended), (Some(232), Some(232)));
    assert!(status.nodes[0].healthy, "{status:?}");
    running.end().await.unwrap();
}

#[tokio::test]
async fn reorganisations_of_any_depth_are_followed() {
    let mut chain = chain_of(80, 1);
    let node = Node::start(&chain).await;
    let mut running = Running::start(&config(&[&node]), Resume::default());
    running.until_head(head(&chain)).await;
    for (salt, depth) in [(2, 1), (3, 3), (4, 64)] {
        let before = running.consumer.heads.len();
        let length = chain.len();
        chain.truncate(length - depth);
        extend(&mut chain, u64::try_from(depth).unwrap(), salt);
        node.set_chain(&chain);
        running.until_head(head(&chain)).await;
        running.assert_observed(&chain);
        assert_eq!(running.consumer.heads.len(), before + 1, "one switch at depth {depth}");
    }
    running.end().await.unwrap();
}

#[tokio::test]
async fn a_lying_node_is_never_believed_and_an_honest_one_in_the_end() {
    use Lie::{
        AmountChanged, BlockNull, BlockOfParent, Garbage, HashChanged, HeaderChanged, Huge, LogDropped,
        RateLimitError, ReceiptsEmpty, ReceiptsNull, ReceiptsOfParent, ReceiptsSwapped, Silent, Status,
        TransactionRelabelled,
    };
    let lies = [
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
        Status(429),
        Status(500),
        Status(401),
        RateLimitError,
        Silent,
        Garbage,
        Huge,
    ];
    let chain = chain_of(12, 1);
    for lie in lies {
        let mut node = Node::start(&chain).await;
        node.lie_from(4, lie);
        let mut running = Running::start(&config(&[&node]), Resume::default());
        timeout(PATIENCE, node.has_lied(3)).await.unwrap_or_else(|_| panic!("{lie:?} was not told"));
        let blamed = |status: &ChainStatus| {
            let shown = status.nodes.first().is_some_and(|node| !node.healthy && node.last_error.is_some());
            shown && matches!(status.state, ChainState::Waiting { .. })
        };
        running.until_status(blamed).await;
        running.drain();
        let wrong = running.consumer.order.iter().find(|block| block.number >= 4);
        assert_eq!(wrong, None, "{lie:?} was believed");
        node.be_honest();
        running.until_head(head(&chain)).await;
        running.assert_observed(&chain);
        running.end().await.unwrap();
    }
}

#[tokio::test]
async fn the_next_node_is_asked_when_the_preferred_one_lies_or_serves_another_chain() {
    let chain = chain_of(40, 1);
    let (mut other, liar, honest) =
        (Node::start(&chain).await, Node::start(&chain).await, Node::start(&chain).await);
    other.serve_chain_id(5);
    other.lie_from(0, Lie::AmountChanged);
    liar.lie_from(2, Lie::LogDropped);
    let mut running = Running::start(&config(&[&other, &liar, &honest]), Resume::default());
    running.until_head(head(&chain)).await;
    running.assert_observed(&chain);
    let status = running.until_status(|status| status.nodes.first().is_some_and(|node| node.refused)).await;
    assert!(status.nodes[0].last_error.as_ref().unwrap().contains("serves chain 5, not 31337"), "{status:?}");
    let lied = timeout(Duration::from_millis(1), other.has_lied(1)).await;
    assert!(lied.is_err(), "a node of another chain was asked for a block");
    running.end().await.unwrap();
}

#[tokio::test]
async fn a_node_without_block_receipts_is_asked_for_them_one_by_one() {
    let chain = chain_of(9, 1);
    let node = Node::start(&chain).await;
    node.lack("eth_getBlockReceipts");
    let mut running = Running::start(&config(&[&node]), Resume::default());
    running.until_head(head(&chain)).await;
    running.assert_observed(&chain);
    running.end().await.unwrap();
}

#[tokio::test]
async fn finality_is_observed_and_a_fork_below_it_stops_the_chain() {
    let mut chain = chain_of(30, 1);
    let node = Node::start(&chain).await;
    node.finalize(20);
    let mut running = Running::start(&config(&[&node]), Resume::default());
    while running.consumer.finalized != Some(at(&chain, 20)) {
        let observation = running.next().await.expect("the connector ended");
        running.consumer.take(observation);
    }
    chain.truncate(15);
    extend(&mut chain, 20, 2);
    node.set_chain(&chain);
    let fork = loop {
        match running.next().await.expect("the connector ended without a word") {
            Observation::ForkBelowFinality(fork) => break fork,
            other => running.consumer.take(other),
        }
    };
    assert_eq!(fork.floor, running.consumer.finalized.unwrap());
    assert_eq!(running.next().await, None, "nothing follows");
    let stopped = timeout(PATIENCE, running.ended).await.unwrap().unwrap();
    assert!(matches!(stopped, Err(RunError::Fork(ForkBelowFinality { .. }))), "{stopped:?}");
    assert!(matches!(running.status.borrow().state, ChainState::Stopped { .. }));
}

#[tokio::test]
async fn one_node_on_a_fork_below_finality_does_not_stop_a_chain_that_another_node_carries_on() {
    let mut chain = chain_of(30, 1);
    let (forking, honest) = (Node::start(&chain).await, Node::start(&chain).await);
    forking.finalize(20);
    honest.finalize(20);
    let mut running = Running::start(&config(&[&forking, &honest]), Resume::default());
    while running.consumer.finalized != Some(at(&chain, 20)) {
        let observation = running.next().await.expect("the connector ended");
        running.consumer.take(observation);
    }
    let mut fork = chain[..15].to_vec();
    extend(&mut fork, 20, 2);
    forking.set_chain(&fork);
    running.until_status(|status| error_of(status).contains("settled up to block 20")).await;
    extend(&mut chain, 4, 1);
    honest.set_chain(&chain);
    running.until_head(head(&chain)).await;
    running.assert_observed(&chain);
    honest.set_chain(&fork);
    let stopped = timeout(PATIENCE, running.ended).await.unwrap().unwrap();
    assert!(matches!(stopped, Err(RunError::Fork(_))), "{stopped:?}");
}

/// What the preferred node did wrong.
fn error_of(status: &ChainStatus) -> &str {
    status.nodes.first().and_then(|node| node.last_error.as_deref()).unwrap_or_default()
}

#[tokio::test]
async fn a_chain_that_needs_the_finalized_tag_says_so_when_the_node_has_none() {
    let chain = chain_of(5, 1);
    let node = Node::start(&chain).await;
    let mut config = config(&[&node]);
    config.confirmations = None;
    config.finality = Some(crate::chain::config::FinalityTag::Finalized);
    let mut running = Running::start(&config, Resume::default());
    running.until_head(head(&chain)).await;
    running.until_status(|status| status.finality_problem.is_some()).await;
    node.finalize(2);
    running.until_status(|status| status.finality_problem.is_none() && status.finalized == Some(2)).await;
    running.end().await.unwrap();
}

#[tokio::test]
async fn a_restarted_connector_goes_on_where_the_log_ends() {
    let mut chain = chain_of(25, 1);
    let node = Node::start(&chain).await;
    let mut running = Running::start(&config(&[&node]), Resume::default());
    running.until_head(head(&chain)).await;
    let consumer = std::mem::take(&mut running.consumer);
    running.end().await.unwrap();

    chain.truncate(22);
    extend(&mut chain, 6, 2);
    node.set_chain(&chain);
    let resume =
        Resume { recent: consumer.order.clone(), head: consumer.heads.last().copied(), finalized: None };
    let mut running = Running::start(&config(&[&node]), resume);
    running.consumer = consumer;
    running.until_head(head(&chain)).await;
    running.assert_observed(&chain);
    running.end().await.unwrap();
}

#[tokio::test]
async fn a_chain_is_followed_through_a_node_that_flaps_between_two_branches() {
    let base = chain_of(20, 1);
    let (mut first, mut second) = (base.clone(), base.clone());
    extend(&mut first, 3, 2);
    extend(&mut second, 3, 3);
    let node = Node::start(&first).await;
    let mut running = Running::start(&config(&[&node]), Resume::default());
    running.until_head(head(&first)).await;
    for branch in [&second, &first, &second, &first] {
        node.set_chain(branch);
        running.until_head(head(branch)).await;
        running.assert_observed(branch);
    }
    assert_eq!(running.consumer.order.len(), 26, "each block is observed once");
    running.end().await.unwrap();
}
