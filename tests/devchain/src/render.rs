//! Blocks, transactions, receipts and logs in the shape of the JSON-RPC interface (the Ethereum execution
//! API), through the types that alloy's clients decode into.

use std::sync::Arc;

use alloy_consensus::transaction::{Recovered, TransactionInfo};
use alloy_consensus::{BlockBody, Receipt, ReceiptEnvelope, ReceiptWithBloom, Sealed, TxEnvelope};
use alloy_primitives::{B256, U256, logs_bloom};
use alloy_rpc_types_eth::{Block, BlockTransactions, Header, Log, Transaction, TransactionReceipt};

use crate::block::{BASE_FEE_WEI, DevBlock};
use crate::transaction::{DevTransaction, Outcome};

/// How a block shows its transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// By hash.
    Hashes,
    /// In full.
    Full,
}

/// A transaction's place in its block.
#[derive(Clone, Copy, Default)]
struct Place {
    index: u64,
    gas_used_before: u64,
    logs_before: u64,
}

/// The block as `eth_getBlockByHash` answers it.
#[must_use]
pub fn rpc_block(block: &DevBlock, detail: Detail) -> Block {
    let sealed = Sealed::new_unchecked(block.header().clone(), block.hash());
    let header = Header::from_consensus(sealed, None, Some(size_of(block)));
    let transactions = match detail {
        Detail::Hashes => BlockTransactions::Hashes(hashes_of(block)),
        Detail::Full => BlockTransactions::Full(transactions_of(block)),
    };
    Block::new(header, transactions).with_withdrawals(Some(Default::default()))
}

/// The transaction at `index` as `eth_getTransactionByHash` answers it.
#[must_use]
pub fn rpc_transaction(block: &DevBlock, index: usize) -> Option<Transaction> {
    places(block).nth(index).map(|(place, transaction)| mined(block, place, transaction))
}

/// A transaction that waits for a block, as `eth_getTransactionByHash` answers it.
#[must_use]
pub fn rpc_pending_transaction(transaction: &DevTransaction) -> Transaction {
    Transaction::from_transaction(recovered(transaction), TransactionInfo::default())
}

/// The receipts as `eth_getBlockReceipts` answers them.
#[must_use]
pub fn rpc_receipts(block: &DevBlock) -> Vec<TransactionReceipt> {
    places(block).map(|(place, transaction)| receipt(block, place, transaction)).collect()
}

/// The receipt at `index` as `eth_getTransactionReceipt` answers it.
#[must_use]
pub fn rpc_receipt(block: &DevBlock, index: usize) -> Option<TransactionReceipt> {
    places(block).nth(index).map(|(place, transaction)| receipt(block, place, transaction))
}

/// The logs as `eth_getLogs` answers them, in order.
pub fn rpc_logs(block: &DevBlock) -> impl Iterator<Item = Log> {
    places(block).flat_map(|(place, transaction)| logs(block, place, transaction))
}

/// The transactions with their places, in order.
fn places(block: &DevBlock) -> impl Iterator<Item = (Place, &Arc<DevTransaction>)> {
    block.transactions().iter().scan(Place::default(), |next, transaction| {
        let place = *next;
        let logs = transaction.logs.iter().fold(next.logs_before, |count, _| count.saturating_add(1));
        *next = Place {
            index: place.index.saturating_add(1),
            gas_used_before: place.gas_used_before.saturating_add(transaction.gas_used),
            logs_before: logs,
        };
        Some((place, transaction))
    })
}

fn recovered(transaction: &DevTransaction) -> Recovered<TxEnvelope> {
    Recovered::new_unchecked(transaction.envelope.clone(), transaction.sender)
}

fn mined(block: &DevBlock, place: Place, transaction: &DevTransaction) -> Transaction {
    let info = TransactionInfo {
        hash: Some(transaction.hash()),
        index: Some(place.index),
        block_hash: Some(block.hash()),
        block_number: Some(block.header().number),
        base_fee: Some(BASE_FEE_WEI),
        block_timestamp: Some(block.header().timestamp),
    };
    Transaction::from_transaction(recovered(transaction), info)
}

fn receipt(block: &DevBlock, place: Place, transaction: &DevTransaction) -> TransactionReceipt {
    let inner = Receipt {
        status: (transaction.outcome == Outcome::Succeeded).into(),
        cumulative_gas_used: place.gas_used_before.saturating_add(transaction.gas_used),
        logs: logs(block, place, transaction).collect(),
    };
    let logs_bloom = logs_bloom(&transaction.logs);
    TransactionReceipt {
        inner: ReceiptEnvelope::Eip1559(ReceiptWithBloom { receipt: inner, logs_bloom }),
        transaction_hash: transaction.hash(),
        transaction_index: Some(place.index),
        block_hash: Some(block.hash()),
        block_number: Some(block.header().number),
        gas_used: transaction.gas_used,
        effective_gas_price: effective_gas_price(transaction),
        blob_gas_used: None,
        blob_gas_price: None,
        from: transaction.sender,
        to: Some(transaction.receiver),
        contract_address: None,
    }
}

fn logs(block: &DevBlock, place: Place, transaction: &DevTransaction) -> impl Iterator<Item = Log> {
    let transaction_hash = transaction.hash();
    (place.logs_before..).zip(&transaction.logs).map(move |(log_index, log)| Log {
        inner: log.clone(),
        block_hash: Some(block.hash()),
        block_number: Some(block.header().number),
        block_timestamp: Some(block.header().timestamp),
        transaction_hash: Some(transaction_hash),
        transaction_index: Some(place.index),
        log_index: Some(log_index),
        removed: false,
    })
}

/// What the sender pays per gas, in wei (EIP-1559).
fn effective_gas_price(transaction: &DevTransaction) -> u128 {
    alloy_consensus::Transaction::effective_gas_price(&transaction.envelope, Some(BASE_FEE_WEI))
}

fn hashes_of(block: &DevBlock) -> Vec<B256> {
    block.transactions().iter().map(|transaction| transaction.hash()).collect()
}

fn transactions_of(block: &DevBlock) -> Vec<Transaction> {
    places(block).map(|(place, transaction)| mined(block, place, transaction)).collect()
}

/// The length of the encoded block in bytes.
fn size_of(block: &DevBlock) -> U256 {
    let transactions: Vec<_> = block.transactions().iter().map(|made| made.envelope.clone()).collect();
    let body = BlockBody { transactions, ommers: Vec::new(), withdrawals: Some(Default::default()) };
    U256::from(alloy_consensus::Block::rlp_length_for(block.header(), &body))
}
