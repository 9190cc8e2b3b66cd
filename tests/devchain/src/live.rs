//! The chain with a wall clock: what a node does on top of the pure core is to say what time it is.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use alloy_primitives::{B256, TxHash};
use parking_lot::Mutex;

use crate::block::BlockRef;
use crate::chain::{BlockSpec, ChainError, Content, DevChain, ReorgOptions, Reorged};
use crate::transfer::TransferRequest;

/// A chain shared between a server, a miner and a test. The lock is held for single operations on memory
/// only, never across an await, hence the plain mutex.
#[derive(Clone, Debug)]
pub struct LiveChain {
    chain: Arc<Mutex<DevChain>>,
}

/// A block to be made now, or at a given time.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LiveBlock {
    /// Unix seconds; left out, the wall clock's time, or the parent's where that is later.
    #[serde(default, with = "alloy_serde::quantity::opt", skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<u64>,
    /// The transactions in order.
    #[serde(default)]
    pub contents: Vec<Content>,
}

impl LiveChain {
    /// Shares a chain.
    #[must_use]
    pub fn new(chain: DevChain) -> Self {
        Self { chain: Arc::new(Mutex::new(chain)) }
    }

    /// The chain itself.
    #[must_use]
    pub const fn chain(&self) -> &Arc<Mutex<DevChain>> {
        &self.chain
    }

    /// Queues a transaction for the next block and returns its hash.
    ///
    /// # Errors
    /// [`ChainError::PendingFull`].
    pub fn transfer(&self, request: &TransferRequest) -> Result<TxHash, ChainError> {
        self.chain.lock().submit(request)
    }

    /// Makes a block of the queued transactions.
    ///
    /// # Errors
    /// As [`DevChain::mine_pending`].
    pub fn mine(&self) -> Result<BlockRef, ChainError> {
        let mut chain = self.chain.lock();
        let timestamp = now_after(chain.head().header().timestamp);
        chain.mine_pending(timestamp)
    }

    /// Makes a block of the queued transactions at a time of the caller's choice, in Unix seconds.
    ///
    /// # Errors
    /// As [`DevChain::mine_pending`].
    pub fn mine_at(&self, timestamp: u64) -> Result<BlockRef, ChainError> {
        self.chain.lock().mine_pending(timestamp)
    }

    /// Replaces the last `depth` blocks.
    ///
    /// # Errors
    /// As [`DevChain::reorg`].
    pub fn reorg(
        &self,
        depth: u64,
        replacement: Vec<LiveBlock>,
        options: ReorgOptions,
    ) -> Result<Reorged, ChainError> {
        let mut chain = self.chain.lock();
        let fork = chain.head().reference().number.saturating_sub(depth);
        let mut parent_time = chain.canonical_block(fork).map_or(0, |block| block.header().timestamp);
        let specs: Vec<_> = replacement
            .into_iter()
            .map(|block| {
                parent_time = block.timestamp.unwrap_or_else(|| now_after(parent_time));
                BlockSpec { timestamp: parent_time, contents: block.contents }
            })
            .collect();
        chain.reorg(depth, &specs, options)
    }

    /// Makes another kept branch canonical.
    ///
    /// # Errors
    /// As [`DevChain::switch_to`].
    pub fn switch_to(&self, hash: B256, options: ReorgOptions) -> Result<Reorged, ChainError> {
        self.chain.lock().switch_to(hash, options)
    }
}

/// The wall clock in Unix seconds, but not before `earliest`: blocks never go back in time, clocks do.
fn now_after(earliest: u64) -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.map_or(earliest, |elapsed| elapsed.as_secs().max(earliest))
}
