//! Why an answer of a node is refused: one variant for each thing that can disagree. Guarantee: a refusal names
//! the block and what disagrees with what, so that an operator can show it to the node's provider.

use std::mem::discriminant;

use alloy_primitives::{B256, BlockHash, TxHash};

/// An answer about a block that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the node's answer for block {number} ({hash}) is refused: {}", describe(disagreements))]
pub struct Refusal {
    /// The height that the node claims.
    pub number: u64,
    /// The hash that the node claims.
    pub hash: BlockHash,
    /// What disagrees, first found first, and one of each kind: a wrong answer may be wrong in each of its events.
    pub disagreements: Vec<Disagreement>,
}

impl Refusal {
    /// A refusal of the block, with the first disagreement of each kind.
    pub fn new(number: u64, hash: BlockHash, found: Vec<Disagreement>) -> Self {
        let mut disagreements: Vec<Disagreement> = Vec::new();
        for disagreement in found {
            let kind = discriminant(&disagreement);
            if disagreements.iter().all(|listed| discriminant(listed) != kind) {
                disagreements.push(disagreement);
            }
        }
        Self { number, hash, disagreements }
    }
}

fn describe(disagreements: &[Disagreement]) -> String {
    disagreements.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// One thing that disagrees in a node's answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Disagreement {
    /// The header's fields hash to something else.
    #[error("the header hashes to {computed}")]
    HeaderHash {
        /// What the node says.
        claimed: BlockHash,
        /// What its fields give.
        computed: BlockHash,
    },
    /// A transaction hashes to something else.
    #[error("transaction {index} claims hash {claimed} and hashes to {computed}")]
    TransactionHash {
        /// Position in the block.
        index: usize,
        /// What the node says.
        claimed: TxHash,
        /// What its fields give.
        computed: TxHash,
    },
    /// A transaction lacks what its type needs.
    #[error("transaction {index} cannot be read as type {kind}: {reason}")]
    TransactionUnreadable {
        /// Position in the block.
        index: usize,
        /// EIP-2718 type.
        kind: u64,
        /// What is missing or wrong.
        reason: String,
    },
    /// The transactions are not those of the header.
    #[error("the transactions root is {computed} where the header has {claimed}")]
    TransactionsRoot {
        /// The header's.
        claimed: B256,
        /// The transactions'.
        computed: B256,
    },
    /// There must be one receipt for each transaction.
    #[error("{transactions} transactions have {receipts} receipts")]
    ReceiptCount {
        /// In the block.
        transactions: usize,
        /// Sent by the node.
        receipts: usize,
    },
    /// A receipt names another block.
    #[error("receipt {index} is of block {found}")]
    ReceiptOfOtherBlock {
        /// Position in the answer.
        index: usize,
        /// The block it names.
        found: BlockHash,
    },
    /// A receipt names another transaction than the one at its position.
    #[error("receipt {index} is of transaction {found} where the block has {expected}")]
    ReceiptOfOtherTransaction {
        /// Position in the answer.
        index: usize,
        /// The block's.
        expected: TxHash,
        /// The receipt's.
        found: TxHash,
    },
    /// A receipt, whose type the receipts root covers, has another type than its transaction. Without this a node could
    /// hide a transaction from being checked behind a type that is not known.
    #[error("receipt {index} is of type {receipt} and its transaction of type {transaction}")]
    ReceiptType {
        /// Position in the answer.
        index: usize,
        /// The transaction's EIP-2718 type.
        transaction: u64,
        /// The receipt's.
        receipt: u64,
    },
    /// A receipt claims another position.
    #[error("receipt {index} claims to be number {claimed}")]
    ReceiptIndex {
        /// Position in the answer.
        index: usize,
        /// What it claims.
        claimed: u64,
    },
    /// A receipt has neither a status of 0 or 1 (EIP-658) nor a state root (before Byzantium).
    #[error("receipt {index} says neither success nor failure nor a state root")]
    ReceiptOutcome {
        /// Position in the answer.
        index: usize,
    },
    /// A receipt's bloom is not that of its events.
    #[error("receipt {index} has a bloom that is not that of its events")]
    ReceiptBloom {
        /// Position in the answer.
        index: usize,
    },
    /// An event names another block.
    #[error("event {log_index} is of block {found}")]
    LogOfOtherBlock {
        /// The index it claims.
        log_index: u64,
        /// The block it names.
        found: BlockHash,
    },
    /// An event names another transaction than its receipt.
    #[error("event {log_index} is of transaction {found} and stands in the receipt of {expected}")]
    LogOfOtherTransaction {
        /// The index it claims.
        log_index: u64,
        /// The receipt's transaction.
        expected: TxHash,
        /// The event's.
        found: TxHash,
    },
    /// Events are numbered through the block without a gap.
    #[error("event {expected} claims to be number {found}")]
    LogIndex {
        /// By position.
        expected: u64,
        /// By its own word.
        found: u64,
    },
    /// An event is marked as taken back.
    #[error("event {log_index} is marked as removed")]
    LogRemoved {
        /// The index it claims.
        log_index: u64,
    },
    /// An event has more than four topics.
    #[error("event {log_index} has {topics} topics")]
    LogTopics {
        /// The index it claims.
        log_index: u64,
        /// How many.
        topics: usize,
    },
    /// The header's bloom is not that of the events.
    #[error("the header's logs bloom is not that of the events")]
    LogsBloom,
    /// The receipts are not those of the header.
    #[error("the receipts root is {computed} where the header has {claimed}")]
    ReceiptsRoot {
        /// The header's.
        claimed: B256,
        /// The receipts'.
        computed: B256,
    },
}
