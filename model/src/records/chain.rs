//! What the chain connector appends to `chain.inbox`, what the books ask of it there, and what the reorg
//! processor says of transfers.

use std::collections::HashSet;

use apache_avro::{
    AvroSchema, AvroSchemaComponent, Schema,
    schema::{Name, NamespaceRef},
};
use serde::{Deserialize, Serialize};

use crate::{
    asset::AssetId,
    avro,
    bytes::{Address, BlockHash, TokenValue, TxHash},
    chain::{BlockNumber, ChainId, ConfirmationPolicy, Inclusion},
    id::{MerchantId, PaymentId},
    meta::Meta,
    money::Amount,
    time::Timestamp,
};

/// A block the connector has verified (header hash, bloom and receipts root recompute). It says nothing about being
/// canonical; [`ChainHead`] does. A block is appended after its parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct ChainBlock {
    /// About the record; its id is the chain and block hash.
    pub meta: Meta,
    /// The chain.
    pub chain: ChainId,
    /// The block's height.
    pub number: BlockNumber,
    /// The block's hash.
    pub hash: BlockHash,
    /// Its parent's hash.
    pub parent_hash: BlockHash,
    /// The header's timestamp.
    pub timestamp: Timestamp,
    /// Transfers of the configured tokens, in log order. Zero-value transfers are included.
    pub transfers: Vec<TokenTransfer>,
}

/// One ERC-20 `Transfer` log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct TokenTransfer {
    /// The contract that logged it.
    pub token: Address,
    /// The sender.
    pub from: Address,
    /// The receiver.
    pub to: Address,
    /// The value, in the token's smallest unit.
    pub value: TokenValue,
    /// The transaction.
    pub tx_hash: TxHash,
    /// The log's index within the block.
    pub log_index: u32,
}

/// The node's canonical head is this block, which was appended before. One such record moves the whole branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct ChainHead {
    /// About the record.
    pub meta: Meta,
    /// The chain.
    pub chain: ChainId,
    /// The head's height.
    pub number: BlockNumber,
    /// The head's hash.
    pub hash: BlockHash,
}

/// The chain's `finalized` tag has reached this block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct ChainFinalized {
    /// About the record.
    pub meta: Meta,
    /// The chain.
    pub chain: ChainId,
    /// The finalized block's height.
    pub number: BlockNumber,
    /// The finalized block's hash.
    pub hash: BlockHash,
}

/// Every node's chain has left a block that cannot be taken back any more: the chain halts until an operator acts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct ChainFork {
    /// About the record.
    pub meta: Meta,
    /// The chain.
    pub chain: ChainId,
    /// The height of the final block that was left.
    pub floor_number: BlockNumber,
    /// Its hash.
    pub floor_hash: BlockHash,
    /// The height of the block found instead.
    pub found_number: BlockNumber,
    /// Its hash.
    pub found_hash: BlockHash,
}

/// An operator names the block on which a halted chain goes on. What was canonical above it is taken back first, and comes
/// again where it still is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct ChainRebuild {
    /// About the record.
    pub meta: Meta,
    /// The chain.
    pub chain: ChainId,
    /// The height of the last block that is right.
    pub number: BlockNumber,
    /// Its hash.
    pub hash: BlockHash,
}

/// Which transfers to a shared address belong to a payment: those of exactly this value in blocks of this time. The books
/// see to it that no other watch of the address and token has the value at any of these times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct ExactAmount {
    /// The value in the asset's smallest unit.
    pub amount: Amount,
    /// The earliest block time. A little before the payment was created, since a chain's clock may be behind.
    pub from: Timestamp,
    /// The latest block time: the deadline and the time for late payments.
    pub until: Timestamp,
}

/// A book asks to be told of transfers of one token to one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct WatchAddress {
    /// About the record.
    pub meta: Meta,
    /// The chain to watch.
    pub chain: ChainId,
    /// Whose payment it is.
    pub merchant: MerchantId,
    /// The payment.
    pub payment: PaymentId,
    /// The deposit address.
    pub address: Address,
    /// The asset expected, and so the token contract.
    pub asset: AssetId,
    /// The token contract.
    pub token: Address,
    /// The payment's deadline, judged by the chain's canonical time.
    pub deadline: Timestamp,
    /// When a transfer counts as confirmed; frozen in the payment's intent.
    pub policy: ConfirmationPolicy,
    /// Which transfers belong to the payment, where others share the address; absent: all.
    pub exact: Option<ExactAmount>,
}

/// A book asks to be told of what one transaction sends to an address that payments share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct WatchTransaction {
    /// About the record.
    pub meta: Meta,
    /// The chain.
    pub chain: ChainId,
    /// Whose payment it is.
    pub merchant: MerchantId,
    /// The payment.
    pub payment: PaymentId,
    /// The shared address.
    pub address: Address,
    /// The asset expected, and so the token contract.
    pub asset: AssetId,
    /// The token contract.
    pub token: Address,
    /// The transaction.
    pub tx_hash: TxHash,
    /// Only what this address has sent counts.
    pub payer: Address,
    /// The payment's deadline.
    pub deadline: Timestamp,
    /// The earliest block time.
    pub from: Timestamp,
    /// The latest block time.
    pub until: Timestamp,
    /// When a transfer counts as confirmed; frozen in the payment's intent.
    pub policy: ConfirmationPolicy,
}

/// A claimed transaction does not count for the payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct ClaimRefused {
    /// About the record.
    pub meta: Meta,
    /// The chain.
    pub chain: ChainId,
    /// Whose payment it is.
    pub merchant: MerchantId,
    /// The payment.
    pub payment: PaymentId,
    /// The transaction.
    pub tx_hash: TxHash,
    /// Why, and what to do about it.
    pub reason: String,
}

/// What has become of one transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferStatus {
    /// It is in a canonical block.
    Seen,
    /// The policy's depth, or finality, is reached.
    Confirmed,
    /// A reorganisation took its block from the canonical chain.
    Orphaned,
    /// The chain's finality covers it.
    Finalized,
}

impl AvroSchemaComponent for TransferStatus {
    fn get_schema_in_ctxt(known: &mut HashSet<Name>, namespace: NamespaceRef) -> Schema {
        avro::enumeration("TransferStatus", &["seen", "confirmed", "orphaned", "finalized"], known, namespace)
    }
}

/// A change of a watched transfer: to its book's inbox, and public on `chain.transfers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct TransferEvent {
    /// About the record.
    pub meta: Meta,
    /// What has become of it.
    pub status: TransferStatus,
    /// The chain.
    pub chain: ChainId,
    /// Whose payment it belongs to.
    pub merchant: MerchantId,
    /// The payment whose address it went to.
    pub payment: PaymentId,
    /// Which occurrence of which transfer.
    pub inclusion: Inclusion,
    /// The asset.
    pub asset: AssetId,
    /// The token contract.
    pub token: Address,
    /// The sender, as the log states it.
    pub from: Address,
    /// The receiver, the watched address.
    pub to: Address,
    /// The value in the asset's smallest unit.
    pub amount: Amount,
    /// The block's timestamp.
    pub block_time: Timestamp,
    /// Blocks on top of the transfer's parent block when this was said, its own included.
    pub confirmations: u32,
}

/// The chain's canonical time has passed a watch's deadline: every transfer with a block time up to the deadline
/// has been reported before this record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct DeadlinePassed {
    /// About the record.
    pub meta: Meta,
    /// The chain.
    pub chain: ChainId,
    /// Whose payment it is.
    pub merchant: MerchantId,
    /// The payment.
    pub payment: PaymentId,
    /// The canonical head's time that passed the deadline.
    pub block_time: Timestamp,
}

/// The canonical head as the reorg processor sees it, public on `chain.transfers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct ChainStatus {
    /// About the record.
    pub meta: Meta,
    /// The chain.
    pub chain: ChainId,
    /// The head's height.
    pub head_number: BlockNumber,
    /// The head's hash.
    pub head_hash: BlockHash,
    /// The head's time.
    pub head_time: Timestamp,
    /// The finalized height, once known.
    pub finalized_number: Option<BlockNumber>,
    /// Blocks taken back by this move of the head; 0 unless it was a reorganisation.
    pub reorg_depth: u32,
    /// Why the chain has stopped, if it has: its blocks are kept and change nothing until an operator acts.
    pub halted: Option<String>,
}
