//! A block: a post-Cancun header whose roots, bloom and hash follow from its transactions.
//!
//! A block never changes after it is made, so it is shared by reference between the chain and its readers.

use std::sync::Arc;

use alloy_consensus::{
    EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH, Header, Receipt, ReceiptEnvelope, ReceiptWithBloom,
    proofs::{calculate_receipt_root, ordered_trie_root_with_encoder},
};
use alloy_eips::Encodable2718;
use alloy_primitives::{Address, B64, B256, Bloom, Bytes, U256, keccak256, logs_bloom};
use serde::{Deserialize, Serialize};

use crate::transaction::{DevTransaction, Outcome};

/// The base fee of every block, in wei per gas. It is held constant: nothing in a payment depends on it,
/// and a fee that rises under a benchmark's load would end the benchmark.
pub const BASE_FEE_WEI: u64 = 1_000_000_000;
/// The most gas a block may use; room for about 19,000 direct transfers.
pub const BLOCK_GAS_LIMIT: u64 = 1_000_000_000;

/// Names one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BlockRef {
    /// The height; the genesis block has 0.
    #[serde(with = "alloy_serde::quantity")]
    pub number: u64,
    /// The hash of the header.
    pub hash: B256,
}

/// A block that was made, canonical or not.
#[derive(Clone, Debug)]
pub struct DevBlock {
    hash: B256,
    header: Header,
    transactions: Vec<Arc<DevTransaction>>,
}

/// What a new block is made of besides its parent.
pub(crate) struct BlockParts {
    pub(crate) timestamp: u64,
    pub(crate) transactions: Vec<Arc<DevTransaction>>,
    /// Goes into `extraData`; two blocks with different salts have different hashes.
    pub(crate) salt: u64,
}

impl DevBlock {
    /// The block without a parent.
    pub(crate) fn genesis(chain_id: u64, timestamp: u64) -> Self {
        let parts = BlockParts { timestamp, transactions: Vec::new(), salt: chain_id };
        Self::new(B256::ZERO, 0, parts)
    }

    /// The block after `parent`.
    pub(crate) fn child_of(parent: &Self, parts: BlockParts) -> Self {
        Self::new(parent.hash, parent.header.number.saturating_add(1), parts)
    }

    fn new(parent_hash: B256, number: u64, parts: BlockParts) -> Self {
        let BlockParts { timestamp, transactions, salt } = parts;
        let receipts = receipts_of(&transactions);
        let header = Header {
            parent_hash,
            number,
            timestamp,
            transactions_root: transactions_root(&transactions),
            receipts_root: calculate_receipt_root(&receipts),
            logs_bloom: bloom_of(&receipts),
            gas_used: receipts.last().map_or(0, ReceiptEnvelope::cumulative_gas_used),
            extra_data: extra_data(salt),
            ..header_template()
        };
        Self { hash: header.hash_slow(), header, transactions }
    }

    /// Height and hash.
    #[must_use]
    pub const fn reference(&self) -> BlockRef {
        BlockRef { number: self.header.number, hash: self.hash }
    }

    /// The hash of the header.
    #[must_use]
    pub const fn hash(&self) -> B256 {
        self.hash
    }

    /// The header; its `hash_slow` is [`Self::hash`].
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The transactions in the order of execution.
    #[must_use]
    pub fn transactions(&self) -> &[Arc<DevTransaction>] {
        &self.transactions
    }

    /// The receipts, one per transaction. They follow from the transactions, so they are made when asked
    /// for; a block in memory is a third of the size it would have with them.
    #[must_use]
    pub fn receipts(&self) -> Vec<ReceiptEnvelope> {
        receipts_of(&self.transactions)
    }
}

/// The fields that are the same in every block.
fn header_template() -> Header {
    Header {
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        beneficiary: Address::ZERO,
        // The state is not a trie here, so its root is a constant that no real state has.
        state_root: keccak256("streambook-devchain state"),
        difficulty: U256::ZERO,
        gas_limit: BLOCK_GAS_LIMIT,
        mix_hash: B256::ZERO,
        nonce: B64::ZERO,
        base_fee_per_gas: Some(BASE_FEE_WEI),
        withdrawals_root: Some(EMPTY_ROOT_HASH),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        ..Header::default()
    }
}

fn extra_data(salt: u64) -> Bytes {
    let mut data = b"streambook".to_vec();
    data.extend(salt.to_be_bytes());
    data.into()
}

fn receipts_of(transactions: &[Arc<DevTransaction>]) -> Vec<ReceiptEnvelope> {
    let mut cumulative_gas_used = 0_u64;
    transactions
        .iter()
        .map(|transaction| {
            cumulative_gas_used = cumulative_gas_used.saturating_add(transaction.gas_used);
            receipt_of(transaction, cumulative_gas_used)
        })
        .collect()
}

fn receipt_of(transaction: &DevTransaction, cumulative_gas_used: u64) -> ReceiptEnvelope {
    let status = (transaction.outcome == Outcome::Succeeded).into();
    let logs_bloom = logs_bloom(&transaction.logs);
    let receipt = Receipt { status, cumulative_gas_used, logs: transaction.logs.clone() };
    ReceiptEnvelope::Eip1559(ReceiptWithBloom { receipt, logs_bloom })
}

fn transactions_root(transactions: &[Arc<DevTransaction>]) -> B256 {
    ordered_trie_root_with_encoder(transactions, |transaction, buffer| {
        transaction.envelope.encode_2718(buffer);
    })
}

fn bloom_of(receipts: &[ReceiptEnvelope]) -> Bloom {
    let mut bloom = Bloom::ZERO;
    for receipt in receipts {
        bloom.accrue_bloom(receipt.logs_bloom());
    }
    bloom
}
