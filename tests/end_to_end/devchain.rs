//! The development chain, in this process: correct headers, blooms and receipts, no EVM.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use alloy_primitives::{Address, TxHash, U256};
use streambook_devchain::{
    self as devchain, Content, DevChain, DevNode, LiveBlock, ReorgOptions, TransferRequest,
};

use crate::chain::{TestChain, Tokens, Transfer};

/// The chain's id.
const CHAIN_ID: u64 = 31_337;

/// A node of the development chain.
pub(crate) struct Development {
    node: DevNode,
    tokens: Tokens,
    /// Seconds that the chain's clock is ahead of the wall's.
    ahead: AtomicU64,
}

/// The wall clock in Unix seconds.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// An address that is a number.
fn account(number: u8) -> Address {
    Address::with_last_byte(number)
}

const PAYER: u8 = 3;
const ROUTER: u8 = 4;

impl Development {
    /// A chain with this id.
    pub(crate) async fn with_id(id: u64) -> Self {
        let node = DevNode::start(DevChain::new(id, now() - 60), 0).await.unwrap();
        let tokens = Tokens { accepted: account(1).to_string(), unlisted: account(2).to_string() };
        Self { node, tokens, ahead: AtomicU64::new(0) }
    }

    /// The node itself, for what the trait has no word for.
    pub(crate) const fn node(&self) -> &DevNode {
        &self.node
    }

    fn send(&self, request: &TransferRequest) -> String {
        self.node.transfer(request).unwrap().to_string()
    }
}

/// Who sends everything.
pub(crate) fn payer() -> String {
    account(PAYER).to_string()
}

fn parsed(transfer: &Transfer) -> devchain::Transfer {
    devchain::Transfer {
        token: transfer.token.parse().unwrap(),
        from: account(PAYER),
        to: transfer.to.parse().unwrap(),
        value: U256::from(transfer.units),
    }
}

fn routed(transfers: &[Transfer]) -> TransferRequest {
    TransferRequest::routed(account(PAYER), account(ROUTER), transfers.iter().map(parsed).collect())
}

/// A transfer to the token itself, by the payer.
pub(crate) fn direct(transfer: &Transfer) -> TransferRequest {
    let devchain::Transfer { token, from, to, value } = parsed(transfer);
    TransferRequest::direct(token, from, to, value)
}

/// Waits in the queue of the node, and is in its next block.
pub(crate) fn pay(node: &DevNode, transfer: &Transfer) -> TxHash {
    node.transfer(&direct(transfer)).unwrap()
}

impl TestChain for Development {
    async fn start() -> Option<Self> {
        Some(Self::with_id(CHAIN_ID).await)
    }

    fn url(&self) -> String {
        self.node.url()
    }

    fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    async fn transfer(&self, transfer: &Transfer) -> String {
        self.send(&direct(transfer))
    }

    async fn together(&self, transfers: &[Transfer]) -> String {
        self.send(&routed(transfers))
    }

    async fn undone(&self, transfer: &Transfer) -> String {
        let devchain::Transfer { token, from, to, value } = parsed(transfer);
        self.send(&TransferRequest::failed(token, from, to, value))
    }

    async fn after_lost_call(&self, _lost: &Transfer, kept: &Transfer) -> String {
        // A call that reverts leaves no logs, and there is nothing else of it in a block.
        self.send(&routed(std::slice::from_ref(kept)))
    }

    async fn mine(&self, blocks: u64) {
        for _ in 0..blocks {
            let head = self.node.chain().lock().head().header().timestamp;
            let time = (now() + self.ahead.load(Ordering::Relaxed)).max(head);
            self.node.live().mine_at(time).unwrap();
        }
    }

    async fn advance(&self, seconds: u64) {
        self.ahead.fetch_add(seconds, Ordering::Relaxed);
    }

    async fn reorg(&self, depth: u64) {
        let empty = (0..depth).map(|_| LiveBlock::default()).collect();
        self.node.reorg(depth, empty, ReorgOptions::default()).unwrap();
    }

    async fn reorg_with(&self, depth: u64, transaction: &str) {
        let mut blocks = vec![LiveBlock::default(); usize::try_from(depth).unwrap()];
        blocks.last_mut().unwrap().contents = vec![Content::Known(transaction.parse().unwrap())];
        self.node.reorg(depth, blocks, ReorgOptions::default()).unwrap();
    }

    async fn head(&self) -> u64 {
        self.node.chain().lock().head().reference().number
    }
}
