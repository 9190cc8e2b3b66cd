//! The words of the chain connector: blocks as they were verified, and the observations it makes of a chain.
//! Guarantee: a [`VerifiedBlock`] is made by `verify` alone, so holding one means that its header hash, logs
//! bloom and receipts root were recomputed from what the node sent.

use alloy_primitives::{Address, BlockHash, TxHash, U256};

/// A block's height and hash. Two blocks are the same when their hashes are; heights are never compared alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockRef {
    /// Height.
    pub number: u64,
    /// Hash of the header.
    pub hash: BlockHash,
}

/// A block with the hash of its parent: what is needed to link it to a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockId {
    /// Height.
    pub number: u64,
    /// Hash of the header.
    pub hash: BlockHash,
    /// Hash of the parent's header.
    pub parent: BlockHash,
}

impl BlockId {
    /// The block without its parent.
    pub fn reference(&self) -> BlockRef {
        BlockRef { number: self.number, hash: self.hash }
    }
}

/// One ERC-20 `Transfer(address,address,uint256)` event (EIP-20) of a successful transaction.
/// A transfer of value zero is kept: whoever credits money decides to ignore it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erc20Transfer {
    /// The contract that emitted the event.
    pub token: Address,
    /// Whose balance went down, as the token says; not necessarily the transaction's sender.
    pub from: Address,
    /// Whose balance went up.
    pub to: Address,
    /// In the token's smallest unit.
    pub value: U256,
    /// The transaction. Covered by the block hash when [`VerifiedBlock::transactions`] is `Proven`.
    pub tx_hash: TxHash,
    /// Its position in the block.
    pub tx_index: u64,
    /// The event's position among all events of the block.
    pub log_index: u64,
    /// Whom the transaction called; `None` for a contract creation. Differs from `token` when a contract paid.
    pub tx_to: Option<Address>,
}

/// How far the hashes of the transactions themselves were recomputed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionsProof {
    /// Every transaction's hash and the transactions root recompute.
    Proven,
    /// The node was asked for hashes only: the transactions' hashes are its word.
    HashesOnly,
    /// A transaction has a type (EIP-2718) whose encoding is not known here: the hashes of the others
    /// recompute, the root cannot be.
    UnknownType(u64),
}

/// A block whose header hash, logs bloom and receipts root recompute from what a node sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedBlock {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Height.
    pub number: u64,
    /// Hash of the header, recomputed.
    pub hash: BlockHash,
    /// Hash of the parent's header.
    pub parent_hash: BlockHash,
    /// Seconds since 1970, as the header says.
    pub timestamp: u64,
    /// Token transfers in the order of their log index, each covered by the receipts root.
    pub transfers: Vec<Erc20Transfer>,
    /// Token transfers that the receipts root does not cover (Polygon's state-sync receipts before Madhugiri).
    /// One node's word is not enough for these; they must not be credited from here.
    pub unproven: Vec<Erc20Transfer>,
    /// How far the transactions' hashes were recomputed.
    pub transactions: TransactionsProof,
}

impl VerifiedBlock {
    /// The block's place in the chain.
    pub fn id(&self) -> BlockId {
        BlockId { number: self.number, hash: self.hash, parent: self.parent_hash }
    }
}

/// What the connector learned of a chain, in the order in which it must be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// A block seen for the first time. Its parent was observed before, or it stands at the start block.
    Block(Box<VerifiedBlock>),
    /// The node regards this block, observed before, as the head of the canonical chain. Everything between
    /// it and the fork point became canonical at once.
    Head(BlockRef),
    /// The node's `safe` block moved. It is an ancestor of the latest head, or the head.
    Safe(BlockRef),
    /// The node's `finalized` block moved up. It is an ancestor of the latest head, or the head.
    Finalized(BlockRef),
    /// The node's chain does not go through a block that cannot be taken back any more. Nothing follows.
    ForkBelowFinality(ForkBelowFinality),
}

/// A fork that starts below the point up to which blocks can be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the node's chain has block {} ({}) where the chain is settled up to block {} ({})",
    found.number, found.hash, floor.number, floor.hash
)]
pub struct ForkBelowFinality {
    /// The finalized block, or the oldest block that is still remembered where a chain has no finality tag.
    pub floor: BlockRef,
    /// The block of the other branch, at the floor's height or below.
    pub found: BlockRef,
}
