//! What `/readyz` and the metrics show of a chain. Guarantee: it never holds a node's credentials, and a chain that
//! waits or has stopped says why.

use serde::Serialize;

use super::health::{Breaker, Marks};
use super::progress::Speed;
use super::stall::Stall;
use super::types::BlockRef;

/// One node of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeStatus {
    /// Scheme, host and port.
    pub url: String,
    /// True when the node answered last and may be asked.
    pub healthy: bool,
    /// Why it is not healthy.
    pub last_error: Option<String>,
    /// The height it last reported as head.
    pub head: Option<u64>,
    /// Failures in a row, wrong answers included.
    pub failures: u32,
    /// True when the node serves another chain and is not asked any more.
    pub refused: bool,
    /// 100 for a node that did nothing wrong of late; lies, lags, contradictions and errors take from it.
    pub score: u32,
    /// Whether it is asked.
    pub breaker: Breaker,
    /// How long it takes to answer, as a moving average, in milliseconds.
    pub latency_ms: Option<u64>,
    /// The rate it is held to since it refused for the rate.
    pub requests_per_second: Option<u32>,
    /// What it did wrong since the start.
    pub marks: Marks,
}

/// What the connector of a chain is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ChainState {
    /// Nothing was learned yet.
    Starting,
    /// Catching up with the head.
    Backfilling {
        /// The block that is observed next.
        next: u64,
        /// The head that the node reports.
        to: u64,
    },
    /// At the head.
    Following,
    /// No progress for now; it is tried again.
    Waiting {
        /// Why.
        reason: String,
    },
    /// Ended, by request or because going on would be a guess.
    Stopped {
        /// Why.
        reason: String,
    },
}

/// The state of one chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChainStatus {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The height that a node last reported as head.
    pub head: Option<u64>,
    /// The height of the head that was last observed, this is, handed on.
    pub appended: Option<u64>,
    /// The height of the finalized block that was last observed.
    pub finalized: Option<u64>,
    /// Set when the chain is to be final by the node's tag and the node has none.
    pub finality_problem: Option<String>,
    /// What has stood still for longer than is allowed.
    pub stalls: Vec<Stall>,
    /// While catching up: how fast, and how long still.
    pub speed: Option<Speed>,
    /// Subscriptions to heads that are open, where any are configured.
    pub subscriptions: u64,
    /// The nodes in order of preference.
    pub nodes: Vec<NodeStatus>,
    /// What the connector is doing.
    #[serde(flatten)]
    pub state: ChainState,
}

impl ChainStatus {
    /// The status before anything happened.
    pub fn starting(chain_id: u64) -> Self {
        Self {
            chain_id,
            head: None,
            appended: None,
            finalized: None,
            finality_problem: None,
            stalls: Vec::new(),
            speed: None,
            subscriptions: 0,
            nodes: Vec::new(),
            state: ChainState::Starting,
        }
    }
}

/// The height of a block that may not be known yet.
pub(crate) fn height(block: Option<BlockRef>) -> Option<u64> {
    block.map(|block| block.number)
}
