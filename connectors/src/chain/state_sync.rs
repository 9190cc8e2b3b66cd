//! Polygon's state-sync transaction: Bor appends one to a block's transactions and receipts, outside both roots and the
//! bloom, to hand over deposits from Ethereum. It is known by its hash, which follows from the block. Guarantee:
//! its events are set apart as unproven and never count as covered by the receipts root.
//! Source: Bor `core/types/bor_receipt.go`.

use alloy_primitives::{BlockHash, TxHash, keccak256};

use super::answer::{ReceiptAnswer, TransactionAnswer};

const PREFIX: &[u8] = b"matic-bor-receipt-";

/// The hash of the state-sync transaction that the block would have.
pub(crate) fn state_sync_hash(number: u64, block: BlockHash) -> TxHash {
    keccak256([PREFIX, number.to_be_bytes().as_slice(), block.as_slice()].concat())
}

/// Polygon's main and test network.
const CHAINS: [u64; 2] = [137, 80_002];
/// State sync happens in the first block of a sprint, which is so many blocks long (Bor's genesis, `sprint`).
const SPRINT: u64 = 16;

/// True when the block may have a state-sync receipt, whether or not a node sends it.
pub(crate) fn may_be_in(chain: u64, number: u64) -> bool {
    CHAINS.contains(&chain) && number.is_multiple_of(SPRINT)
}

/// What belongs to the roots, and the state-sync receipt where the node sent one.
pub(crate) struct Split<'a> {
    pub(crate) transactions: Vec<&'a TransactionAnswer>,
    pub(crate) receipts: Vec<&'a ReceiptAnswer>,
    pub(crate) state_sync: Option<&'a ReceiptAnswer>,
}

/// Takes the state-sync transaction and receipt out of a block's answers.
pub(crate) fn split<'a>(
    number: u64,
    block: BlockHash,
    transactions: &'a [TransactionAnswer],
    receipts: &'a [ReceiptAnswer],
) -> Split<'a> {
    let hash = state_sync_hash(number, block);
    Split {
        transactions: transactions.iter().filter(|transaction| transaction.hash() != hash).collect(),
        receipts: receipts.iter().filter(|receipt| receipt.transaction_hash != hash).collect(),
        state_sync: receipts.iter().find(|receipt| receipt.transaction_hash == hash),
    }
}
