//! Blocks with correct headers, blooms and roots, made with alloy's own types and not with the code under test.

use alloy_consensus::proofs::{calculate_receipt_root, calculate_transaction_root};
use alloy_consensus::{
    Header, Receipt, ReceiptEnvelope, ReceiptWithBloom, SignableTransaction, TxEip1559, TxEnvelope, TxLegacy,
    Typed2718,
};
use alloy_primitives::{
    Address, B256, BlockHash, Bloom, Bytes, Log, LogData, Signature, TxKind, U256, address,
};
use serde_json::{Value, json};

use crate::chain::transfers::TRANSFER_TOPIC;
use crate::chain::types::BlockId;

pub(crate) const CHAIN: u64 = 31_337;
pub(crate) const TOKEN: Address = address!("5fbdb2315678afecb367f032d93f642f64180aa3");
const PAYER: Address = address!("00000000000000000000000000000000000000aa");

/// A block as an honest node would send it.
#[derive(Debug, Clone)]
pub(crate) struct SimBlock {
    pub(crate) id: BlockId,
    pub(crate) json: Value,
    pub(crate) receipts: Value,
    /// (receiver, value) of each transfer, in order.
    pub(crate) transfers: Vec<(Address, U256)>,
}

/// A block on `parent` with one transaction for each value; `salt` tells siblings apart.
pub(crate) fn block(parent: Option<&SimBlock>, salt: u64, values: &[u64]) -> SimBlock {
    let number = parent.map_or(0, |parent| parent.id.number + 1);
    let transfers: Vec<_> =
        values.iter().enumerate().map(|(index, value)| (receiver(index), U256::from(*value))).collect();
    let transactions: Vec<_> =
        (0..).zip(values).map(|(index, value)| transaction(index, number, *value, salt)).collect();
    let envelopes: Vec<_> = (0..).zip(&transfers).map(|(index, transfer)| receipt(index, transfer)).collect();
    let header = Header {
        parent_hash: parent.map_or(BlockHash::ZERO, |parent| parent.id.hash),
        number,
        timestamp: 1_700_000_000 + number,
        transactions_root: calculate_transaction_root(&transactions),
        receipts_root: calculate_receipt_root(&envelopes),
        logs_bloom: envelopes.iter().fold(Bloom::ZERO, |all, receipt| all | *receipt.logs_bloom()),
        extra_data: Bytes::copy_from_slice(&salt.to_be_bytes()),
        base_fee_per_gas: Some(7),
        ..Header::default()
    };
    let id = BlockId { number, hash: header.hash_slow(), parent: header.parent_hash };
    let mut json = serde_json::to_value(&header).unwrap();
    json["hash"] = json!(id.hash);
    json["transactions"] =
        transactions.iter().map(|transaction| serde_json::to_value(transaction).unwrap()).collect();
    let receipts = envelopes.iter().zip(&transactions).enumerate();
    let receipts = receipts
        .map(|(index, (receipt, transaction))| receipt_json(index, id, receipt, *transaction.tx_hash()));
    SimBlock { id, json, receipts: receipts.collect(), transfers }
}

fn receiver(index: usize) -> Address {
    Address::with_last_byte(u8::try_from(index).unwrap() + 1)
}

fn transaction(index: u64, number: u64, value: u64, salt: u64) -> TxEnvelope {
    let signature = Signature::new(U256::from(salt + 1), U256::from(value + 1), false);
    let nonce = number * 1_000 + index;
    let (to, gas_limit) = (TxKind::Call(TOKEN), 60_000);
    if index.is_multiple_of(2) {
        let legacy =
            TxLegacy { chain_id: Some(CHAIN), nonce, gas_price: 9, gas_limit, to, ..TxLegacy::default() };
        legacy.into_signed(signature).into()
    } else {
        let dynamic =
            TxEip1559 { chain_id: CHAIN, nonce, max_fee_per_gas: 9, gas_limit, to, ..TxEip1559::default() };
        dynamic.into_signed(signature).into()
    }
}

fn receipt(index: u64, (to, value): &(Address, U256)) -> ReceiptEnvelope {
    let topics = vec![TRANSFER_TOPIC, PAYER.into_word(), to.into_word()];
    let log = Log { address: TOKEN, data: LogData::new_unchecked(topics, B256::from(*value).into()) };
    let receipt = Receipt { status: true.into(), cumulative_gas_used: 50_000 * (index + 1), logs: vec![log] };
    let with_bloom = ReceiptWithBloom::from(receipt);
    if index.is_multiple_of(2) {
        ReceiptEnvelope::Legacy(with_bloom)
    } else {
        ReceiptEnvelope::Eip1559(with_bloom)
    }
}

fn receipt_json(index: usize, block: BlockId, receipt: &ReceiptEnvelope, transaction: B256) -> Value {
    let quantity = |number: u64| format!("{number:#x}");
    let position = quantity(u64::try_from(index).unwrap());
    let logs: Value = receipt
        .logs()
        .iter()
        .map(|log| {
            json!({
                "address": log.address, "topics": log.topics(), "data": log.data.data, "logIndex": position,
                "blockHash": block.hash, "blockNumber": quantity(block.number),
                "transactionHash": transaction, "transactionIndex": position, "removed": false,
            })
        })
        .collect();
    json!({
        "type": quantity(u64::from(receipt.is_eip1559()) * 2), "status": "0x1", "to": TOKEN, "logs": logs,
        "cumulativeGasUsed": quantity(receipt.cumulative_gas_used()), "logsBloom": receipt.logs_bloom(),
        "blockHash": block.hash, "blockNumber": quantity(block.number),
        "transactionHash": transaction, "transactionIndex": position,
    })
}
