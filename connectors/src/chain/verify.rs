//! Decides whether a node's answer about one block is believed. Everything that the header commits to is recomputed:
//! the header's hash, the transactions root (when the node sent whole transactions), the logs bloom and the receipts
//! root; and every receipt and event must say that it belongs where it stands. Guarantee: a log that was left out,
//! added, changed or swapped is refused with the reason, and so is an empty answer for a block with transactions.
//! Not promised: that the header is the chain's. That follows from linking blocks, and from asking several nodes.

use alloy_primitives::Bloom;
use serde_json::value::RawValue;

use super::answer::{BlockAnswer, LogAnswer, ReceiptAnswer, TransactionAnswer, Unreadable};
use super::bloom::Blooms;
use super::receipt_root::{DEPOSIT, Outcome, RootedReceipt, receipts_root};
use super::refusal::{Disagreement, Refusal};
use super::state_sync;
use super::transactions;
use super::transfers::transfers_of;
use super::types::{Erc20Transfer, VerifiedBlock};

/// Why JSON answers did not become a verified block.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// An answer is not of the shape that the execution API gives it.
    #[error("the node's answer is not a block with receipts")]
    Unreadable(#[from] Unreadable),
    /// The answers contradict each other.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Reads and verifies the results of `eth_getBlockBy…` and `eth_getBlockReceipts`.
///
/// # Errors
/// [`VerifyError`]; nothing of a refused answer may be used.
pub fn verify_json(chain_id: u64, block: &str, receipts: &str) -> Result<VerifiedBlock, VerifyError> {
    let unreadable = |what| move |source| Unreadable { what, source };
    let block: &RawValue = serde_json::from_str(block).map_err(unreadable("the block"))?;
    let block = BlockAnswer::read(block)?;
    let receipts: Vec<ReceiptAnswer> = serde_json::from_str(receipts).map_err(unreadable("the receipts"))?;
    Ok(verify(chain_id, &block, &receipts)?)
}

/// Verifies a block with its receipts.
///
/// # Errors
/// [`Refusal`] with everything that disagrees.
pub fn verify(
    chain_id: u64,
    block: &BlockAnswer,
    receipts: &[ReceiptAnswer],
) -> Result<VerifiedBlock, Refusal> {
    let mut found = Vec::new();
    check_header(block, &mut found);
    let place = (chain_id, block.header.number, block.hash);
    let parts = state_sync::split(place, &block.transactions, receipts);
    let proof = transactions::check(&parts.transactions, block.header.transactions_root, &mut found);
    if parts.receipts.len() != parts.transactions.len() {
        let (transactions, receipts) = (parts.transactions.len(), parts.receipts.len());
        found.push(Disagreement::ReceiptCount { transactions, receipts });
    }
    let rooted = check_receipts(block, &parts, &mut found);
    check_roots(block, &rooted, &mut found);
    if !found.is_empty() {
        return Err(refusal(block, found));
    }
    Ok(VerifiedBlock {
        chain_id,
        number: block.header.number,
        hash: block.hash,
        parent_hash: block.header.parent_hash,
        timestamp: block.header.timestamp,
        transfers: proven(&parts),
        unproven: unproven(&parts),
        transactions: proof,
    })
}

/// Checks that the header's fields hash to the hash the node claims: enough to know a head's number and parent.
///
/// # Errors
/// [`Refusal`] when they do not.
pub fn verify_header(block: &BlockAnswer) -> Result<(), Refusal> {
    let mut found = Vec::new();
    check_header(block, &mut found);
    if found.is_empty() { Ok(()) } else { Err(refusal(block, found)) }
}

fn refusal(block: &BlockAnswer, found: Vec<Disagreement>) -> Refusal {
    Refusal::new(block.header.number, block.hash, found)
}

fn check_header(block: &BlockAnswer, found: &mut Vec<Disagreement>) {
    let computed = block.header.hash_slow();
    if computed != block.hash {
        found.push(Disagreement::HeaderHash { claimed: block.hash, computed });
    }
}

fn check_roots(block: &BlockAnswer, rooted: &[RootedReceipt<'_>], found: &mut Vec<Disagreement>) {
    let bloom = rooted.iter().fold(Bloom::ZERO, |all, receipt| all | receipt.bloom);
    if bloom != block.header.logs_bloom {
        found.push(Disagreement::LogsBloom);
    }
    let computed = receipts_root(rooted);
    if computed != block.header.receipts_root {
        found.push(Disagreement::ReceiptsRoot { claimed: block.header.receipts_root, computed });
    }
}

fn check_receipts<'a>(
    block: &BlockAnswer,
    parts: &state_sync::Split<'a>,
    found: &mut Vec<Disagreement>,
) -> Vec<RootedReceipt<'a>> {
    let (mut next_log, mut blooms) = (0, Blooms::default());
    let mut rooted = Vec::with_capacity(parts.receipts.len());
    for (index, receipt) in parts.receipts.iter().enumerate() {
        if let Some(transaction) = parts.transactions.get(index) {
            check_pair(index, transaction, receipt, found);
        }
        check_place(block, index, receipt, found);
        check_logs(block, receipt, &mut next_log, found);
        rooted.extend(root_receipt(index, receipt, &mut blooms, found));
    }
    rooted
}

fn check_pair(
    index: usize,
    transaction: &TransactionAnswer,
    receipt: &ReceiptAnswer,
    found: &mut Vec<Disagreement>,
) {
    let (expected, claimed) = (transaction.hash(), receipt.transaction_hash);
    if expected != claimed {
        found.push(Disagreement::ReceiptOfOtherTransaction { index, expected, found: claimed });
    }
    let of_receipt = receipt.kind.unwrap_or_default().to();
    if let Some(full) = transaction.full().filter(|full| full.kind != of_receipt) {
        found.push(Disagreement::ReceiptType { index, transaction: full.kind, receipt: of_receipt });
    }
}

fn check_place(block: &BlockAnswer, index: usize, receipt: &ReceiptAnswer, found: &mut Vec<Disagreement>) {
    if receipt.block_hash != block.hash || receipt.block_number.to::<u64>() != block.header.number {
        found.push(Disagreement::ReceiptOfOtherBlock { index, found: receipt.block_hash });
    }
    let claimed: u64 = receipt.transaction_index.to();
    if usize::try_from(claimed) != Ok(index) {
        found.push(Disagreement::ReceiptIndex { index, claimed });
    }
}

fn check_logs(
    block: &BlockAnswer,
    receipt: &ReceiptAnswer,
    next_log: &mut u64,
    found: &mut Vec<Disagreement>,
) {
    for log in &receipt.logs {
        let log_index: u64 = log.log_index.to();
        if log_index != *next_log {
            found.push(Disagreement::LogIndex { expected: *next_log, found: log_index });
        }
        check_log(block, receipt, log, found);
        *next_log = next_log.saturating_add(1);
    }
}

fn check_log(block: &BlockAnswer, receipt: &ReceiptAnswer, log: &LogAnswer, found: &mut Vec<Disagreement>) {
    let log_index: u64 = log.log_index.to();
    if log.removed {
        found.push(Disagreement::LogRemoved { log_index });
    }
    if log.block_hash != block.hash || log.block_number.to::<u64>() != block.header.number {
        found.push(Disagreement::LogOfOtherBlock { log_index, found: log.block_hash });
    }
    let (expected, claimed) = (receipt.transaction_hash, log.transaction_hash);
    if claimed != expected || log.transaction_index != receipt.transaction_index {
        found.push(Disagreement::LogOfOtherTransaction { log_index, expected, found: claimed });
    }
    if log.topics.len() > 4 {
        found.push(Disagreement::LogTopics { log_index, topics: log.topics.len() });
    }
}

/// The part of a receipt that the root covers; `None` when it cannot be told.
fn root_receipt<'a>(
    index: usize,
    receipt: &'a ReceiptAnswer,
    blooms: &mut Blooms<'a>,
    found: &mut Vec<Disagreement>,
) -> Option<RootedReceipt<'a>> {
    let Some(outcome) = Outcome::of(receipt) else {
        found.push(Disagreement::ReceiptOutcome { index });
        return None;
    };
    let kind = receipt.kind.unwrap_or_default().to();
    let version = receipt.deposit_receipt_version.filter(|_| kind == DEPOSIT);
    let rooted = RootedReceipt {
        kind,
        outcome,
        cumulative_gas: receipt.cumulative_gas_used.to(),
        bloom: blooms.of(&receipt.logs),
        logs: &receipt.logs,
        deposit: version.map(|version| (receipt.deposit_nonce.unwrap_or_default().to(), version.to())),
    };
    if receipt.logs_bloom.is_some_and(|claimed| claimed != rooted.bloom) {
        found.push(Disagreement::ReceiptBloom { index });
    }
    Some(rooted)
}

/// The transfers that the receipts root covers. Whom a transaction called is taken from the transaction, where it is
/// there to be taken: the receipt's word for it is not covered.
fn proven(parts: &state_sync::Split<'_>) -> Vec<Erc20Transfer> {
    let mut transfers = Vec::new();
    for ((index, receipt), transaction) in (0..).zip(&parts.receipts).zip(&parts.transactions) {
        let tx_to = transaction.full().map_or(receipt.to, |transaction| transaction.to);
        transfers.extend(transfers_of(receipt, index, tx_to));
    }
    transfers
}

/// The transfers of a state-sync receipt outside the roots, which stands after the block's transactions.
fn unproven(parts: &state_sync::Split<'_>) -> Vec<Erc20Transfer> {
    let position = u64::try_from(parts.transactions.len()).unwrap_or(u64::MAX);
    parts.state_sync.into_iter().flat_map(|receipt| transfers_of(receipt, position, receipt.to)).collect()
}
