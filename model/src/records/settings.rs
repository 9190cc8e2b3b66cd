//! The operator's settings that change results. They travel in the log, versioned, so that a replay uses the ones
//! that were in force.

use apache_avro::AvroSchema;
use serde::{Deserialize, Serialize};

use crate::{
    asset::Asset,
    chain::{ChainId, ConfirmationPolicy},
};

/// A chain payments can be made on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct ChainSettings {
    /// Its id.
    pub id: ChainId,
    /// When a transfer counts as confirmed.
    pub policy: ConfirmationPolicy,
    /// How far back, in seconds of chain time, transfers are kept for watches that come late.
    pub look_back_seconds: u32,
}

/// What Streambook charges for a completed payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct FeeSchedule {
    /// Millionths of the amount: 5,000 is 0.5%. Rounded half up to the smallest unit.
    pub parts_per_million: u32,
}

/// Everything that changes results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct Settings {
    /// Counts changes, from 1.
    pub version: u32,
    /// Accepted assets, sorted by id.
    pub assets: Vec<Asset>,
    /// Chains, sorted by id.
    pub chains: Vec<ChainSettings>,
    /// The fee of a completed payment.
    pub fee: FeeSchedule,
    /// The extended public key (BIP-32) below which deposit addresses are derived.
    pub xpub: Option<String>,
    /// The posting templates, as TOML text.
    pub postings: String,
}
