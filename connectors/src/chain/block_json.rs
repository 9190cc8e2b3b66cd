//! A block object as it is read, in one pass: the header's fields, the hash and the transactions side by side. Guarantee: every
//! field that the header's hash covers is taken over; a field that alloy's header gets later breaks the build here.

use alloy_consensus::Header;
use alloy_primitives::{Address, B64, B256, BlockHash, Bloom, Bytes, U64, U256};
use serde::Deserialize;

use super::answer::{BlockAnswer, TransactionAnswer};

/// Names and what may be absent are those of alloy's header.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BlockJson {
    hash: BlockHash,
    transactions: Vec<TransactionAnswer>,
    parent_hash: B256,
    #[serde(rename = "sha3Uncles", alias = "ommersHash")]
    ommers_hash: B256,
    #[serde(rename = "miner", alias = "beneficiary")]
    beneficiary: Address,
    state_root: B256,
    transactions_root: B256,
    receipts_root: B256,
    logs_bloom: Bloom,
    difficulty: U256,
    number: U64,
    gas_limit: U64,
    gas_used: U64,
    timestamp: U64,
    extra_data: Bytes,
    mix_hash: B256,
    nonce: B64,
    base_fee_per_gas: Option<U64>,
    withdrawals_root: Option<B256>,
    blob_gas_used: Option<U64>,
    excess_blob_gas: Option<U64>,
    parent_beacon_block_root: Option<B256>,
    requests_hash: Option<B256>,
    block_access_list_hash: Option<B256>,
    slot_number: Option<U64>,
}

impl From<BlockJson> for BlockAnswer {
    fn from(json: BlockJson) -> Self {
        let number = |quantity: U64| quantity.to::<u64>();
        let header = Header {
            parent_hash: json.parent_hash,
            ommers_hash: json.ommers_hash,
            beneficiary: json.beneficiary,
            state_root: json.state_root,
            transactions_root: json.transactions_root,
            receipts_root: json.receipts_root,
            logs_bloom: json.logs_bloom,
            difficulty: json.difficulty,
            number: number(json.number),
            gas_limit: number(json.gas_limit),
            gas_used: number(json.gas_used),
            timestamp: number(json.timestamp),
            extra_data: json.extra_data,
            mix_hash: json.mix_hash,
            nonce: json.nonce,
            base_fee_per_gas: json.base_fee_per_gas.map(number),
            withdrawals_root: json.withdrawals_root,
            blob_gas_used: json.blob_gas_used.map(number),
            excess_blob_gas: json.excess_blob_gas.map(number),
            parent_beacon_block_root: json.parent_beacon_block_root,
            requests_hash: json.requests_hash,
            block_access_list_hash: json.block_access_list_hash,
            slot_number: json.slot_number.map(number),
        };
        Self { hash: json.hash, header, transactions: json.transactions }
    }
}
