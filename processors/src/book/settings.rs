//! What the registry tells every book: the operator's settings and the merchants. A payment freezes what it needs of them
//! when it is created, so a change never alters a payment that exists.

use serde::{Deserialize, Serialize};
use streambook_model::{
    asset::{Asset, AssetId},
    chain::ChainId,
    records::{
        registry::Merchant,
        settings::{ChainSettings, FeeSchedule, Settings},
    },
};
use streambook_runtime::{
    processor::{Context, Fault},
    state::{State, StateError},
};

use super::{
    address,
    ledger::{self, Account, TemplateName, Templates},
    tables::{MERCHANTS, SETTINGS},
};

/// What can be paid, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Accepting {
    assets: Vec<Asset>,
    chains: Vec<ChainSettings>,
    pub(super) fee: FeeSchedule,
    /// Sets of posting templates in which a refund comes out of what the platform owes the merchant.
    custodial_sets: Vec<String>,
}

impl Accepting {
    pub(super) fn asset(&self, id: &AssetId) -> Option<&Asset> {
        self.assets.iter().find(|asset| asset.id == *id)
    }

    pub(super) fn chain(&self, id: ChainId) -> Option<&ChainSettings> {
        self.chains.iter().find(|chain| chain.id == id)
    }

    /// Whether refunds under this set are limited by the available balance.
    pub(super) fn limits_refunds(&self, set: &str) -> bool {
        self.custodial_sets.iter().any(|custodial| custodial == set)
    }
}

/// A merchant, as far as its book needs to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MerchantState {
    /// The set of posting templates of payments to come.
    pub(super) settlement: String,
}

/// Adds or changes a merchant.
pub(super) fn put_merchant(state: &mut dyn State, merchant: Merchant) -> Result<(), StateError> {
    MERCHANTS.put(state, merchant.id, &MerchantState { settlement: merchant.settlement })
}

/// Puts the operator's settings in force.
///
/// # Errors
/// A dead letter where the templates or the extended public key cannot be used; the settings before stay in force.
pub(super) fn put(context: &mut Context<'_>, settings: Settings) -> Result<(), Fault> {
    let unusable = |error: &dyn std::error::Error| Fault::dead_letter("invalid_postings", error.to_string());
    let templates = Templates::parse(&settings.postings).map_err(|error| unusable(&error))?;
    let sets: toml::Table = settings.postings.parse().map_err(|error: toml::de::Error| unusable(&error))?;
    let mut custodial_sets: Vec<_> =
        sets.keys().filter(|set| is_custodial(&templates, set)).cloned().collect();
    // A set that is no longer stated stays in force in the ledger for the payments that froze it.
    let before = SETTINGS.get(&context.state, ())?.map(|before| before.custodial_sets).unwrap_or_default();
    custodial_sets.extend(before.into_iter().filter(|set| !sets.contains_key(set)));
    address::install(context, settings.xpub.as_deref())?;
    ledger::install(&mut context.state, &templates)?;
    let Settings { assets, chains, fee, .. } = settings;
    Ok(SETTINGS.put(&mut context.state, (), &Accepting { assets, chains, fee, custodial_sets })?)
}

fn is_custodial(templates: &Templates, set: &str) -> bool {
    let refund = templates.get(set, TemplateName::RefundRecorded);
    refund.is_some_and(|refund| refund.lines.iter().any(|line| line.account == Account::Available))
}
