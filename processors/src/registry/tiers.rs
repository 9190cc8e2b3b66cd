//! Confirmation policies by amount: what an operator can put in force.

use streambook_model::{
    asset::AssetId,
    chain::ConfirmationPolicy,
    records::settings::{PolicyTier, Settings},
};

/// Tiers there can be.
const TIERS_MAX: usize = 1_000;

/// Checks the tiers, which are sorted by asset and amount.
///
/// # Errors
/// What is wrong, with the remedy. More money never waits for less without the operator's word.
pub(super) fn check(settings: &Settings) -> Result<(), String> {
    if settings.tiers.len() > TIERS_MAX {
        return Err(format!("tiers: there are {}, at most {TIERS_MAX} are possible", settings.tiers.len()));
    }
    for of_asset in settings.tiers.chunk_by(|a, b| a.asset == b.asset) {
        let Some(first) = of_asset.first() else { continue };
        let mut before = chains_own(settings, &first.asset)?;
        for tier in of_asset {
            check_one(tier, before)?;
            before = tier.policy;
        }
        if let Some(pair) = of_asset.windows(2).find(|pair| pair[0].from == pair[1].from) {
            return Err(format!("tiers: {} from {} is there twice: keep one", pair[0].asset, pair[0].from));
        }
    }
    Ok(())
}

fn chains_own(settings: &Settings, asset: &AssetId) -> Result<ConfirmationPolicy, String> {
    let is_listed = settings.assets.iter().any(|listed| listed.id == *asset);
    let chain = asset.chain().and_then(|id| settings.chains.iter().find(|chain| chain.id == id));
    match chain.filter(|_| is_listed) {
        Some(chain) => Ok(chain.policy),
        None => Err(format!("tiers: {asset} is not a token of a chain here: name one that is")),
    }
}

fn check_one(tier: &PolicyTier, before: ConfirmationPolicy) -> Result<(), String> {
    let PolicyTier { asset, from, policy, allow_weaker } = tier;
    if !from.is_positive() {
        return Err(format!("tiers: {asset} from {from}: give an amount of more than zero"));
    }
    if policy.depth == Some(0) {
        return Err(format!(
            "tiers: {asset} from {from} has depth 0: use 1 or more, or leave it out for `finalized`"
        ));
    }
    if policy.is_weaker_than(before) && !allow_weaker {
        return Err(format!(
            "tiers: {asset} from {from} waits for {}, less than the {} before it: give more money at least as much, or say \
             `allow_weaker`",
            shown(*policy),
            shown(before)
        ));
    }
    Ok(())
}

fn shown(policy: ConfirmationPolicy) -> String {
    policy.depth.map_or_else(|| "`finalized`".to_owned(), |depth| format!("{depth} confirmations"))
}
