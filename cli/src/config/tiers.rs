//! `[[tier]]`: another confirmation policy from an amount on; and `[matching]`.

use serde::{Deserialize, Serialize};
use streambook_model::{
    asset::AssetId,
    chain::ConfirmationPolicy,
    money::Amount,
    records::settings::{EXACT_AMOUNT_GRACE_SECONDS, PolicyTier},
};

use super::Config;

/// The longest time an exact amount can be kept for late payments: 90 days.
const GRACE_MAX: u32 = 90 * 24 * 60 * 60;

/// By which tag of the node a transfer is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FinalityTag {
    /// The `finalized` tag.
    Finalized,
}

/// A policy from an amount on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TierConfig {
    pub(crate) asset: String,
    pub(crate) from: String,
    #[serde(default)]
    pub(crate) confirmations: Option<u32>,
    #[serde(default)]
    pub(crate) finality: Option<FinalityTag>,
    #[serde(default)]
    pub(crate) allow_weaker: bool,
}

/// How payments that share an address are told apart.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MatchingConfig {
    pub(crate) exact_amount_grace_seconds: u32,
}

impl Default for MatchingConfig {
    fn default() -> Self {
        Self { exact_amount_grace_seconds: EXACT_AMOUNT_GRACE_SECONDS }
    }
}

impl TierConfig {
    /// The tier as it travels in the log.
    ///
    /// # Errors
    /// What is wrong with it, with its key and the remedy.
    pub(crate) fn read(&self, config: &Config) -> Result<PolicyTier, String> {
        let about = |problem: &str| format!("[[tier]] {} from {}: {problem}", self.asset, self.from);
        let scale = config.tokens().find(|(id, ..)| *id == self.asset).map(|(_, scale, _)| scale);
        let scale =
            scale.ok_or_else(|| about("`asset` is not among the tokens of a [[chain]]: add it there"))?;
        let asset: AssetId = self.asset.parse().map_err(|error| about(&format!("`asset`: {error}")))?;
        let from =
            Amount::parse_decimal(&self.from, scale).map_err(|error| about(&format!("`from`: {error}")))?;
        if !from.is_positive() {
            return Err(about(
                "`from` is 0: below the first tier the chain's own policy is in force; give more",
            ));
        }
        let policy = self.policy().map_err(about)?;
        Ok(PolicyTier { asset, from, policy, allow_weaker: self.allow_weaker })
    }

    fn policy(&self) -> Result<ConfirmationPolicy, &'static str> {
        match (self.confirmations, self.finality) {
            (Some(0), None) => Err("`confirmations` is 0: use 1 or more"),
            (Some(depth), None) => Ok(ConfirmationPolicy { depth: Some(depth) }),
            (None, Some(FinalityTag::Finalized)) => Ok(ConfirmationPolicy { depth: None }),
            (None, None) => Err("it names no policy: set `confirmations` or `finality = \"finalized\"`"),
            (Some(_), Some(_)) => Err("`confirmations` and `finality` are both set: keep one"),
        }
    }
}

impl Config {
    /// The tiers, by asset and rising.
    ///
    /// # Errors
    /// The first that cannot be read.
    pub(crate) fn tiers(&self) -> Result<Vec<PolicyTier>, String> {
        let mut tiers = self.tier.iter().map(|tier| tier.read(self)).collect::<Result<Vec<_>, _>>()?;
        tiers.sort_by(|a, b| (&a.asset, a.from).cmp(&(&b.asset, b.from)));
        Ok(tiers)
    }

    /// Whether some payment of a chain waits for its `finalized` tag: by its own policy, or by a tier's.
    pub(crate) fn needs_finality(&self, chain: u64) -> bool {
        let of_chain = |asset: &str| asset.rsplit_once(':').is_some_and(|(_, id)| id == chain.to_string());
        self.tier.iter().any(|tier| tier.finality.is_some() && of_chain(&tier.asset))
    }
}

/// Everything that is wrong with the tiers and the matching.
pub(super) fn problems(config: &Config) -> Vec<String> {
    let mut problems: Vec<_> = config.tier.iter().filter_map(|tier| tier.read(config).err()).collect();
    if config.matching.exact_amount_grace_seconds > GRACE_MAX {
        problems.push(format!(
            "[matching] exact_amount_grace_seconds is above {GRACE_MAX}, which is 90 days: give less"
        ));
    }
    if problems.is_empty()
        && let Ok(tiers) = config.tiers()
    {
        problems.extend(tiers.chunk_by(|a, b| a.asset == b.asset).flat_map(|of| order(config, of)));
    }
    problems
}

/// More money waits for at least as much, unless the operator says otherwise.
fn order(config: &Config, tiers: &[PolicyTier]) -> Vec<String> {
    let mut problems = Vec::new();
    let chain = tiers.first().and_then(|tier| tier.asset.chain());
    let own = chain.and_then(|id| config.chain.iter().find(|chain| chain.id == id.0));
    // A depth beyond 32 bits is refused elsewhere.
    let depth =
        own.and_then(|chain| chain.confirmations).map(|depth| u32::try_from(depth).unwrap_or(u32::MAX));
    let (mut before, mut last) = (ConfirmationPolicy { depth }, Amount::ZERO);
    for tier in tiers {
        let about =
            |problem: &str| format!("[[tier]] {} from {} smallest units: {problem}", tier.asset, tier.from);
        if tier.from == last {
            problems.push(about("it is there twice: keep one"));
        } else if tier.policy.is_weaker_than(before) && !tier.allow_weaker {
            let remedy = "it waits for less than a smaller amount does: give it at least as much, or set `allow_weaker = true`";
            problems.push(about(remedy));
        }
        (before, last) = (tier.policy, tier.from);
    }
    problems
}
