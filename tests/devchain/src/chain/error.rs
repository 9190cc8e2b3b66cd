//! Why the chain refused something. A refused call leaves the canonical branch as it was.

use alloy_primitives::B256;

/// A request the chain cannot carry out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// No block with this hash is kept.
    #[error("block {0} is not known, or was pruned")]
    UnknownBlock(B256),
    /// No canonical block with this number is kept.
    #[error("canonical block {0} does not exist, or was pruned")]
    UnknownNumber(u64),
    /// No transaction with this hash is pending or in a kept block.
    #[error("transaction {0} is not known, or was pruned")]
    UnknownTransaction(B256),
    /// The transaction is already part of the branch the block would extend.
    #[error("transaction {0} is already on this branch")]
    AlreadyIncluded(B256),
    /// A block may not be older than its parent.
    #[error("timestamp {timestamp} is before the parent's {parent}")]
    TimestampBackwards {
        /// The time asked for, in Unix seconds.
        timestamp: u64,
        /// The parent's time, in Unix seconds.
        parent: u64,
    },
    /// The transactions need more gas than a block has.
    #[error("the transactions need {needed} gas and a block has {limit}")]
    BlockFull {
        /// Gas needed by the transactions.
        needed: u64,
        /// Gas of a block.
        limit: u64,
    },
    /// The queue of pending transactions is at its limit.
    #[error("the queue of pending transactions is full ({limit})")]
    PendingFull {
        /// The limit from the settings.
        limit: usize,
    },
    /// A reorganisation of no blocks, or to no blocks.
    #[error("a reorganisation replaces at least one block by at least one block")]
    EmptyReorg,
    /// The reorganisation would replace the genesis block.
    #[error("a reorganisation of {depth} blocks would replace the genesis block (the head is block {head})")]
    BelowGenesis {
        /// Blocks asked to be replaced.
        depth: u64,
        /// Number of the head.
        head: u64,
    },
    /// The reorganisation would replace finalized blocks and was not told to do so.
    #[error("the fork would start after block {ancestor}, below the finalized block {finalized}")]
    BelowFinalized {
        /// The last block both branches share.
        ancestor: u64,
        /// The finalized block.
        finalized: u64,
    },
    /// Finality never moves back, and never passes the head.
    #[error("block {number} cannot be made {tag}: allowed are {lowest} to {highest}")]
    FinalityOutOfRange {
        /// `safe` or `finalized`.
        tag: &'static str,
        /// The number asked for.
        number: u64,
        /// Where the tag is now.
        lowest: u64,
        /// The highest block that may have the tag.
        highest: u64,
    },
}
