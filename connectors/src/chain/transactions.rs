//! Recomputes the hashes of a block's transactions and their root. Guarantee: `Proven` is said only when every
//! transaction was encoded anew from its fields and the root of the encodings is the header's. Source: EIP-2718 and
//! the EIPs of types 1 to 4 (by alloy), OP-stack specification "Deposits" for type 0x7e.

use alloy_consensus::TxEnvelope;
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, U64, U256, keccak256};
use alloy_rlp::{BufMut, Encodable, Header};
use alloy_trie::root::ordered_trie_root_encoded;
use serde::Deserialize;

use super::answer::{FullTransaction, TransactionAnswer};
use super::receipt_root::DEPOSIT;
use super::refusal::Disagreement;
use super::types::TransactionsProof;

/// Checks the transactions against the header's root; what disagrees is added to `found`.
pub(crate) fn check(
    transactions: &[&TransactionAnswer],
    root: B256,
    found: &mut Vec<Disagreement>,
) -> TransactionsProof {
    let mut encoded = Vec::with_capacity(transactions.len());
    let mut proof = TransactionsProof::Proven;
    for (index, transaction) in transactions.iter().enumerate() {
        match transaction {
            TransactionAnswer::Hash(_) => return TransactionsProof::HashesOnly,
            TransactionAnswer::Full(full) => match check_one(index, full) {
                Ok(Some(bytes)) => encoded.push(bytes),
                Ok(None) => proof = TransactionsProof::UnknownType(full.kind),
                Err(disagreement) => found.push(disagreement),
            },
        }
    }
    if proof == TransactionsProof::Proven && encoded.len() == transactions.len() {
        let computed = ordered_trie_root_encoded(&encoded);
        if computed != root {
            found.push(Disagreement::TransactionsRoot { claimed: root, computed });
        }
    }
    proof
}

/// The transaction's encoding once its hash agrees; `None` when its type is not known.
fn check_one(index: usize, transaction: &FullTransaction) -> Result<Option<Vec<u8>>, Disagreement> {
    let encoded = match transaction.kind {
        0..=4 => encode_ethereum(transaction),
        DEPOSIT => encode_deposit(transaction),
        _ => return Ok(None),
    };
    let encoded = encoded.map_err(|error| Disagreement::TransactionUnreadable {
        index,
        kind: transaction.kind,
        reason: error.to_string(),
    })?;
    let computed = keccak256(&encoded);
    if computed != transaction.hash {
        return Err(Disagreement::TransactionHash { index, claimed: transaction.hash, computed });
    }
    Ok(Some(encoded))
}

fn encode_ethereum(transaction: &FullTransaction) -> Result<Vec<u8>, serde_json::Error> {
    let envelope: TxEnvelope = serde_json::from_str(transaction.json.get())?;
    Ok(envelope.encoded_2718())
}

#[cfg(test)]
mod tests;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Deposit {
    source_hash: B256,
    from: Address,
    to: Option<Address>,
    #[serde(default)]
    mint: Option<U256>,
    value: U256,
    gas: U64,
    #[serde(default)]
    is_system_tx: bool,
    input: Bytes,
}

fn encode_deposit(transaction: &FullTransaction) -> Result<Vec<u8>, serde_json::Error> {
    let deposit: Deposit = serde_json::from_str(transaction.json.get())?;
    let mut fields = Vec::with_capacity(256);
    deposit.source_hash.encode(&mut fields);
    deposit.from.encode(&mut fields);
    match deposit.to {
        Some(to) => to.encode(&mut fields),
        None => Bytes::new().encode(&mut fields),
    }
    deposit.mint.unwrap_or_default().encode(&mut fields);
    deposit.value.encode(&mut fields);
    deposit.gas.encode(&mut fields);
    deposit.is_system_tx.encode(&mut fields);
    deposit.input.encode(&mut fields);
    let mut out = vec![0x7e];
    Header { list: true, payload_length: fields.len() }.encode(&mut out);
    out.put_slice(&fields);
    Ok(out)
}
