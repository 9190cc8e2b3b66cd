//! The JSON-RPC answers about a block as Rust values (Ethereum execution API, `eth_getBlockBy…` and
//! `eth_getBlockReceipts`). Nothing in here is believed: `verify` decides. Guarantee: fields that a chain adds
//! are ignored, fields that the hashes cover must be there, and reading never panics.

use alloy_consensus::Header;
use alloy_primitives::{Address, B256, BlockHash, Bloom, Bytes, TxHash, U64};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::value::RawValue;

use super::block_json::BlockJson;
use super::types::BlockId;

/// A node's answer that is not of the shape the execution API gives it.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot be read")]
pub struct Unreadable {
    /// Which part of which answer.
    pub what: &'static str,
    /// Why not.
    #[source]
    pub source: serde_json::Error,
}

/// One entry of a block's `transactions`: its hash, or the transaction as JSON.
#[derive(Debug, Clone)]
pub enum TransactionAnswer {
    /// The node sent the hash only.
    Hash(TxHash),
    /// The node sent the whole transaction.
    Full(FullTransaction),
}

impl TransactionAnswer {
    /// The whole transaction, where the node sent it.
    pub fn full(&self) -> Option<&FullTransaction> {
        match self {
            Self::Hash(_) => None,
            Self::Full(transaction) => Some(transaction),
        }
    }

    /// The hash that the node claims.
    pub fn hash(&self) -> TxHash {
        match self {
            Self::Hash(hash) => *hash,
            Self::Full(transaction) => transaction.hash,
        }
    }
}

/// A transaction as the node sent it, with the two fields that decide how it is checked.
#[derive(Debug, Clone)]
pub struct FullTransaction {
    /// The hash that the node claims.
    pub hash: TxHash,
    /// EIP-2718 type; 0 for a legacy transaction.
    pub kind: u64,
    /// Whom it calls; covered by the hash.
    pub to: Option<Address>,
    /// The JSON object.
    pub json: Box<RawValue>,
}

/// A block as a node sent it.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "BlockJson")]
pub struct BlockAnswer {
    /// The hash that the node claims.
    pub hash: BlockHash,
    /// The header's fields.
    pub header: Header,
    /// The transactions in block order.
    pub transactions: Vec<TransactionAnswer>,
}

#[derive(Deserialize)]
struct TransactionProbe {
    hash: TxHash,
    #[serde(rename = "type")]
    kind: Option<U64>,
    to: Option<Address>,
}

impl BlockAnswer {
    /// Reads a block object.
    ///
    /// # Errors
    /// [`Unreadable`] when a header field, the hash or a transaction is missing or of another type.
    pub fn read(json: &RawValue) -> Result<Self, Unreadable> {
        serde_json::from_str(json.get()).map_err(|source| Unreadable { what: "the block", source })
    }

    /// The block's place in the chain, as the node claims it.
    pub fn id(&self) -> BlockId {
        BlockId { number: self.header.number, hash: self.hash, parent: self.header.parent_hash }
    }
}

impl<'de> Deserialize<'de> for TransactionAnswer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&'de RawValue>::deserialize(deserializer)?;
        if json.get().starts_with('"') {
            return serde_json::from_str(json.get()).map(Self::Hash).map_err(D::Error::custom);
        }
        let probe: TransactionProbe = serde_json::from_str(json.get()).map_err(D::Error::custom)?;
        let kind = probe.kind.unwrap_or_default().to::<u64>();
        Ok(Self::Full(FullTransaction { hash: probe.hash, kind, to: probe.to, json: json.to_owned() }))
    }
}

/// A transaction receipt as a node sent it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceiptAnswer {
    /// The block it claims to be of.
    pub block_hash: BlockHash,
    /// That block's height.
    pub block_number: U64,
    /// The transaction it claims to be of.
    pub transaction_hash: TxHash,
    /// That transaction's position.
    pub transaction_index: U64,
    /// Whom the transaction called; not covered by the receipts root.
    #[serde(default)]
    pub to: Option<Address>,
    /// Gas used in the block up to and with this transaction.
    pub cumulative_gas_used: U64,
    /// The events.
    pub logs: Vec<LogAnswer>,
    /// Bloom filter of the events; some nodes leave it out.
    #[serde(default)]
    pub logs_bloom: Option<Bloom>,
    /// 1 success, 0 failure (EIP-658); absent before Byzantium.
    #[serde(default)]
    pub status: Option<U64>,
    /// State root after the transaction; present before Byzantium only.
    #[serde(default)]
    pub root: Option<Bytes>,
    /// EIP-2718 type; absent for a legacy transaction on older nodes.
    #[serde(rename = "type", default)]
    pub kind: Option<U64>,
    /// Nonce of an OP-stack deposit, from Regolith on.
    #[serde(default)]
    pub deposit_nonce: Option<U64>,
    /// Version of an OP-stack deposit receipt, from Canyon on.
    #[serde(default)]
    pub deposit_receipt_version: Option<U64>,
}

/// An event as a node sent it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogAnswer {
    /// The contract.
    pub address: Address,
    /// Up to four topics.
    pub topics: Vec<B256>,
    /// The data.
    pub data: Bytes,
    /// The block it claims to be of.
    pub block_hash: BlockHash,
    /// That block's height.
    pub block_number: U64,
    /// The transaction it claims to be of.
    pub transaction_hash: TxHash,
    /// That transaction's position.
    pub transaction_index: U64,
    /// Its position among the events of the block.
    pub log_index: U64,
    /// True when a reorganisation took it back.
    #[serde(default)]
    pub removed: bool,
}
