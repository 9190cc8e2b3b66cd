//! Polygon's state-sync transaction, which hands over deposits from Ethereum. Before the Madhugiri hard fork Bor appends one to
//! a block's transactions and receipts outside both roots and the bloom; it is known by its hash, which follows from the
//! block. From Madhugiri on it is a transaction of the block like any other, of type 0x7f, and covered (PIP-74). Guarantee:
//! events outside the roots are set apart as unproven and never count as covered by them; where the roots cover the
//! transaction, a second one of the old kind is an answer that does not fit, never money.
//! Sources: Bor `core/types/bor_receipt.go`, `consensus/bor/bor.go`, `params/config.go`; PIP-74.

use alloy_primitives::{BlockHash, TxHash, keccak256};

use super::answer::{ReceiptAnswer, TransactionAnswer};

const PREFIX: &[u8] = b"matic-bor-receipt-";

/// The hash of the state-sync transaction that the block would have outside its roots.
pub(crate) fn state_sync_hash(number: u64, block: BlockHash) -> TxHash {
    keccak256([PREFIX, number.to_be_bytes().as_slice(), block.as_slice()].concat())
}

/// Polygon's main and test network (Amoy), each with the first block of Madhugiri.
const MADHUGIRI: [(u64, u64); 2] = [(137, 80_084_800), (80_002, 28_899_616)];
/// State sync happens in the first block of a sprint, which is so many blocks long (Bor's genesis, `sprint`).
const SPRINT: u64 = 16;

fn madhugiri(chain: u64) -> Option<u64> {
    MADHUGIRI.iter().find(|(id, _)| *id == chain).map(|(_, first)| *first)
}

/// True when the block may have a state-sync receipt that its roots do not cover, whether or not a node sends it.
pub(crate) fn may_be_in(chain: u64, number: u64) -> bool {
    madhugiri(chain).is_some_and(|first| number < first) && number.is_multiple_of(SPRINT)
}

/// True when the block's roots cover its state-sync transaction.
fn is_covered(chain: u64, number: u64) -> bool {
    madhugiri(chain).is_some_and(|first| number >= first)
}

/// What belongs to the roots, and the state-sync receipt where the node sent one outside them.
pub(crate) struct Split<'a> {
    pub(crate) transactions: Vec<&'a TransactionAnswer>,
    pub(crate) receipts: Vec<&'a ReceiptAnswer>,
    pub(crate) state_sync: Option<&'a ReceiptAnswer>,
}

/// Takes the state-sync transaction and receipt that the roots do not cover out of a block's answers.
pub(crate) fn split<'a>(
    (chain, number, block): (u64, u64, BlockHash),
    transactions: &'a [TransactionAnswer],
    receipts: &'a [ReceiptAnswer],
) -> Split<'a> {
    let outside = (!is_covered(chain, number)).then(|| state_sync_hash(number, block));
    let belongs = |hash: TxHash| Some(hash) != outside;
    Split {
        transactions: transactions.iter().filter(|transaction| belongs(transaction.hash())).collect(),
        receipts: receipts.iter().filter(|receipt| belongs(receipt.transaction_hash)).collect(),
        state_sync: receipts.iter().find(|receipt| !belongs(receipt.transaction_hash)),
    }
}
