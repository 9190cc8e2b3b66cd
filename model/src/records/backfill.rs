//! Transfers from before a watch looked back: who asks for them, what the reorg processor asks of the chain's connector on
//! `chain.requests`, and what the connector answers in `chain.inbox`.

use apache_avro::AvroSchema;
use serde::{Deserialize, Serialize};

use super::chain::{ExactAmount, TokenTransfer};
use crate::{
    bytes::{Address, BlockHash, TxHash},
    chain::{BlockNumber, ChainId},
    id::{MerchantId, PaymentId},
    meta::Meta,
    time::Timestamp,
};

/// An operator asks for older transfers to an address that is watched. With neither a time nor a height the search goes down
/// to the block the chain is read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct RequestBackfill {
    /// About the record.
    pub meta: Meta,
    /// The chain.
    pub chain: ChainId,
    /// The payment whose watch it is.
    pub payment: PaymentId,
    /// The watched address.
    pub address: Address,
    /// The watched token contract.
    pub token: Address,
    /// Blocks of an earlier time are not searched.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// Blocks of a lower height are not searched.
    #[serde(default)]
    pub from_number: Option<BlockNumber>,
    /// Only this transaction is looked up, wherever it is; time and height say nothing then.
    #[serde(default)]
    pub tx_hash: Option<TxHash>,
    /// Only transfers from this sender count.
    #[serde(default)]
    pub payer: Option<Address>,
    /// The payment's exact amount, where payments share the address: whatever is found there is matched as when it came.
    #[serde(default)]
    pub exact: Option<ExactAmount>,
}

/// The reorg processor asks the chain's connector to search blocks that it keeps no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct BackfillRequested {
    /// About the record.
    pub meta: Meta,
    /// The chain.
    pub chain: ChainId,
    /// The request's number, from 1 for each chain.
    #[serde(with = "crate::avro::long")]
    #[avro(with)]
    pub request: u64,
    /// Whose payment it is.
    pub merchant: MerchantId,
    /// The payment.
    pub payment: PaymentId,
    /// The receiver of the transfers that are wanted.
    pub address: Address,
    /// The height of the highest block that is searched. It is final.
    pub top_number: BlockNumber,
    /// Its hash: every block that is searched is this one or an ancestor of it.
    pub top_hash: BlockHash,
    /// Blocks of an earlier time are not searched.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// Blocks of a lower height are not searched.
    #[serde(default)]
    pub from_number: Option<BlockNumber>,
    /// Only this transaction is looked up.
    #[serde(default)]
    pub tx_hash: Option<TxHash>,
}

/// The connector's answer to a [`BackfillRequested`]. It may come twice; the first one counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct ChainBackfill {
    /// About the record; its id is the chain and the request's number.
    pub meta: Meta,
    /// The chain.
    pub chain: ChainId,
    /// The number of the request.
    #[serde(with = "crate::avro::long")]
    #[avro(with)]
    pub request: u64,
    /// The lowest block that was searched; none where none was.
    #[serde(default)]
    pub from_number: Option<BlockNumber>,
    /// The blocks that hold transfers to the address, lowest first; of a transaction that was looked up its block, also where
    /// it holds none.
    pub blocks: Vec<BackfilledBlock>,
    /// Why not all was searched that was asked for, where that is so.
    #[serde(default)]
    pub problem: Option<String>,
    /// The transaction that was looked up is in none of the blocks that were asked for: no node knows it, or it is in a later
    /// one, of which the watch is told by itself.
    #[serde(default)]
    pub not_found: bool,
    /// Where the search goes on below this answer, which is full. It is asked for as a request of its own.
    #[serde(default)]
    pub rest: Option<BackfillRest>,
}

/// The highest block that is still to be searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct BackfillRest {
    /// Its height.
    pub number: BlockNumber,
    /// Its hash.
    pub hash: BlockHash,
}

/// A verified, final block with what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct BackfilledBlock {
    /// Its height.
    pub number: BlockNumber,
    /// Its hash.
    pub hash: BlockHash,
    /// Its parent's hash.
    pub parent_hash: BlockHash,
    /// The header's timestamp.
    pub timestamp: Timestamp,
    /// The transfers of the configured tokens to the address, in log order.
    pub transfers: Vec<TokenTransfer>,
}

/// A [`BackfillRequested`] is answered, and its transfers are reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct BackfillClosed {
    /// About the record.
    pub meta: Meta,
    /// The chain.
    pub chain: ChainId,
    /// The number of the request.
    #[serde(with = "crate::avro::long")]
    #[avro(with)]
    pub request: u64,
    /// The payment.
    pub payment: PaymentId,
    /// The lowest block that was searched; none where none was.
    #[serde(default)]
    pub from_number: Option<BlockNumber>,
    /// Transfers that were reported and had not been before.
    pub reported: u32,
    /// Why not all was searched that was asked for, where that is so.
    #[serde(default)]
    pub problem: Option<String>,
}
