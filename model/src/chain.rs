//! Chains, inclusions and confirmation policies.

use std::{collections::HashSet, fmt};

use apache_avro::{
    AvroSchema, AvroSchemaComponent, Schema,
    schema::{Name, NamespaceRef},
};
use serde::{Deserialize, Serialize};

use crate::bytes::{BlockHash, TxHash};

/// A chain's id (EIP-155).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(#[serde(with = "crate::avro::long")] pub u64);

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl AvroSchemaComponent for ChainId {
    fn get_schema_in_ctxt(_: &mut HashSet<Name>, _: NamespaceRef) -> Schema {
        Schema::Long
    }
}

/// A block's height. Never used to tell whether two blocks are the same: hashes do that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlockNumber(#[serde(with = "crate::avro::long")] pub u64);

impl fmt::Display for BlockNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl AvroSchemaComponent for BlockNumber {
    fn get_schema_in_ctxt(_: &mut HashSet<Name>, _: NamespaceRef) -> Schema {
        Schema::Long
    }
}

/// One occurrence of one transfer in one canonical block.
///
/// A block can leave the canonical chain and return, so the inclusion number tells the occurrences apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct Inclusion {
    /// The block that holds the transfer.
    pub block_hash: BlockHash,
    /// That block's height.
    pub block_number: BlockNumber,
    /// The transaction that made the transfer.
    pub tx_hash: TxHash,
    /// The log's index within the block.
    pub log_index: u32,
    /// How many times this block had become canonical when the transfer was reported, from 1.
    pub number: u32,
}

/// When a transfer counts as confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
#[serde(deny_unknown_fields)]
pub struct ConfirmationPolicy {
    /// Confirmed once this many blocks, its own included, are on top of its parent (1 = as soon as it is in a
    /// canonical block). Absent: confirmed once the chain's `finalized` tag covers the block; there is no silent
    /// fall-back to a depth.
    #[serde(default)]
    pub depth: Option<u32>,
}
