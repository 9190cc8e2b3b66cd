//! The operator's settings that change results. They travel in the log, versioned, so that a replay uses the ones
//! that were in force.

use apache_avro::AvroSchema;
use serde::{Deserialize, Serialize};

use crate::{
    asset::{Asset, AssetId},
    chain::{ChainId, ConfirmationPolicy},
    money::Amount,
};

/// For how many seconds after a payment's deadline its exact amount stays its own, unless the settings say otherwise.
pub const EXACT_AMOUNT_GRACE_SECONDS: u32 = 24 * 60 * 60;

fn exact_amount_grace_seconds() -> u32 {
    EXACT_AMOUNT_GRACE_SECONDS
}

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

/// Another policy for payments of so much of an asset and more, up to the next tier of that asset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct PolicyTier {
    /// The asset, and so the chain.
    pub asset: AssetId,
    /// The least amount it is for, in the smallest unit.
    pub from: Amount,
    /// When a transfer counts as confirmed.
    pub policy: ConfirmationPolicy,
    /// The operator wants it although it is weaker than the policy for less money.
    pub allow_weaker: bool,
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
    /// Policies by amount, sorted by asset and amount. Below an asset's first tier its chain's own policy is in force.
    #[serde(default)]
    #[avro(default = "[]")]
    pub tiers: Vec<PolicyTier>,
    /// Seconds after its deadline in which a payment's exact amount is still its own.
    #[serde(default = "exact_amount_grace_seconds")]
    #[avro(default = "86400")]
    pub exact_amount_grace_seconds: u32,
}

impl ConfirmationPolicy {
    /// Whether it waits for less than another: the `finalized` tag is more than any depth.
    pub const fn is_weaker_than(self, other: Self) -> bool {
        match (self.depth, other.depth) {
            (Some(depth), Some(other)) => depth < other,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }
}
