//! What the registry tells every book: the operator's settings and the merchants. A payment freezes what it needs of them
//! when it is created, so a change never alters a payment that exists.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use streambook_model::{
    asset::{Asset, AssetId},
    bytes::Address,
    chain::{ChainId, ConfirmationPolicy},
    money::{Amount, AmountError},
    records::{
        registry::{FixedAddress, Merchant, Tolerance},
        settings::{ChainSettings, FeeSchedule, PolicyTier, Settings},
    },
};
use streambook_runtime::{
    processor::{Context, Fault},
    state::{State, StateError},
};

use super::{
    address,
    ledger::{self, Account, Template, TemplateName, Templates},
    tables::{MERCHANTS, SETTINGS},
};

/// Where the money of a refund comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum RefundSource {
    /// What the platform owes the merchant, so no more than that can be refunded.
    Available,
    /// The merchant's own hands.
    Merchant,
}

/// What can be paid, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Accepting {
    assets: Vec<Asset>,
    chains: Vec<ChainSettings>,
    pub(super) fee: FeeSchedule,
    /// The sets of posting templates, and in which of them a refund comes out of what the platform owes the merchant.
    sets: BTreeMap<String, RefundSource>,
    /// Policies by amount, by asset and rising.
    tiers: Vec<PolicyTier>,
    /// Seconds after its deadline in which an exact amount is still its payment's.
    pub(super) grace_seconds: u32,
}

impl Accepting {
    /// The policy of a payment of this amount: that of the highest tier it reaches, else the chain's own.
    pub(super) fn policy(
        &self,
        chain: &ChainSettings,
        asset: &AssetId,
        amount: Amount,
    ) -> ConfirmationPolicy {
        let reached = self.tiers.iter().rfind(|tier| tier.asset == *asset && tier.from <= amount);
        reached.map_or(chain.policy, |tier| tier.policy)
    }

    pub(super) fn asset(&self, id: &AssetId) -> Option<&Asset> {
        self.assets.iter().find(|asset| asset.id == *id)
    }

    pub(super) fn chain(&self, id: ChainId) -> Option<&ChainSettings> {
        self.chains.iter().find(|chain| chain.id == id)
    }

    /// Whether refunds under this set are limited by the available balance.
    pub(super) fn limits_refunds(&self, set: &str) -> bool {
        self.sets.get(set) == Some(&RefundSource::Available)
    }

    /// Whether there are posting templates for this settlement.
    pub(super) fn has_set(&self, set: &str) -> bool {
        self.sets.contains_key(set)
    }
}

/// A merchant, as far as its book needs to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MerchantState {
    /// The set of posting templates of payments to come.
    pub(super) settlement: String,
    /// Its own addresses.
    addresses: Vec<FixedAddress>,
    /// The tolerance of payments to come.
    tolerance: Tolerance,
}

/// Parts of a whole in [`Tolerance::parts_per_million`].
const MILLION: i128 = 1_000_000;
/// The share of an amount that its tolerance can be.
const TENTH: i128 = 10;

impl MerchantState {
    /// Its own address on a chain.
    pub(super) fn address(&self, chain: ChainId) -> Option<Address> {
        self.addresses.iter().find(|fixed| fixed.chain == chain).map(|fixed| fixed.address)
    }

    /// The tolerance of a payment: the millionths of its amount, rounded down, or what the asset has at least, whichever is
    /// more; never more than a tenth of the amount, and so always less than it.
    pub(super) fn tolerance(&self, asset: &AssetId, amount: Amount) -> Result<Amount, AmountError> {
        let parts = i128::from(self.tolerance.parts_per_million).min(MILLION);
        // Split at the million, so that no product exceeds the amount.
        let (millions, rest) = (amount.units() / MILLION, amount.units() % MILLION);
        let relative = Amount::new(millions * parts + rest * parts / MILLION)?;
        let least = self.tolerance.amounts.iter().find(|least| least.asset == *asset);
        let least = least.map_or(Amount::ZERO, |least| least.amount);
        Ok(relative.max(least).min(Amount::new(amount.units() / TENTH)?))
    }
}

/// Adds or changes a merchant.
pub(super) fn put_merchant(state: &mut dyn State, merchant: Merchant) -> Result<(), StateError> {
    let Merchant { id, settlement, addresses, tolerance, .. } = merchant;
    MERCHANTS.put(
        state,
        id,
        &MerchantState { settlement, addresses, tolerance: tolerance.unwrap_or_default() },
    )
}

/// Puts the operator's settings in force.
///
/// # Errors
/// A dead letter where the templates or the extended public key cannot be used; the settings before stay in force.
pub(super) fn put(context: &mut Context<'_>, settings: Settings) -> Result<(), Fault> {
    let unusable = |error: &dyn std::error::Error| Fault::dead_letter("invalid_postings", error.to_string());
    let templates = Templates::parse(&settings.postings).map_err(|error| unusable(&error))?;
    let stated: toml::Table = settings.postings.parse().map_err(|error: toml::de::Error| unusable(&error))?;
    // A set that is no longer stated stays in force in the ledger for the payments that froze it.
    let mut sets = SETTINGS.get(&context.state, ())?.map(|before| before.sets).unwrap_or_default();
    sets.extend(stated.keys().map(|set| (set.clone(), refund_source(&templates, set))));
    address::install(context, settings.xpub.as_deref())?;
    ledger::install(&mut context.state, &templates)?;
    let Settings { assets, chains, fee, tiers, exact_amount_grace_seconds: grace_seconds, .. } = settings;
    Ok(SETTINGS.put(
        &mut context.state,
        (),
        &Accepting { assets, chains, fee, sets, tiers, grace_seconds },
    )?)
}

fn refund_source(templates: &Templates, set: &str) -> RefundSource {
    let refund = templates.get(set, TemplateName::RefundRecorded);
    let from_available =
        |refund: &Template| refund.lines.iter().any(|line| line.account == Account::Available);
    if refund.is_some_and(from_available) { RefundSource::Available } else { RefundSource::Merchant }
}

#[cfg(test)]
mod tests {
    use streambook_model::records::registry::AssetAmount;

    use super::*;

    fn check(parts_per_million: u32, least: i128, amount: i128, expect: i128) {
        let asset: AssetId = "usdc:1".parse().unwrap();
        let amounts = vec![AssetAmount { asset: asset.clone(), amount: Amount::new(least).unwrap() }];
        let tolerance = Tolerance { parts_per_million, amounts };
        let merchant = MerchantState { settlement: String::new(), addresses: Vec::new(), tolerance };
        let of = |asset: &AssetId| merchant.tolerance(asset, Amount::new(amount).unwrap()).unwrap().units();
        assert_eq!(of(&asset), expect, "{parts_per_million} millionths of {amount}, at least {least}");
        let other = "usdc:56".parse().unwrap();
        assert!(
            of(&other) <= amount * i128::from(parts_per_million) / 1_000_000,
            "the least is of its asset alone"
        );
    }

    #[test]
    fn a_tolerance_is_the_larger_of_the_two_rounded_down_and_at_most_a_tenth() {
        check(0, 0, 1_000, 0);
        check(1_000, 0, 1_000, 1);
        check(1_000, 0, 999, 0);
        check(1_000, 0, 1_999, 1);
        check(1_000, 7, 1_000, 7);
        check(10_000, 7, 1_000, 10);
        check(0, 5, 50, 5);
        check(0, 5, 49, 4);
        check(0, 5, 9, 0);
        check(1_000_000, 0, 1_000, 100);
        check(1_000, 0, 10_i128.pow(34) + 999, 10_i128.pow(31));
    }
}
