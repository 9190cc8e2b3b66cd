//! What the registry tells every book: the operator's settings and the merchants. A payment freezes what it needs of them
//! when it is created, so a change never alters a payment that exists.

use std::collections::BTreeMap;

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
    let stated: toml::Table = settings.postings.parse().map_err(|error: toml::de::Error| unusable(&error))?;
    // A set that is no longer stated stays in force in the ledger for the payments that froze it.
    let mut sets = SETTINGS.get(&context.state, ())?.map(|before| before.sets).unwrap_or_default();
    sets.extend(stated.keys().map(|set| (set.clone(), refund_source(&templates, set))));
    address::install(context, settings.xpub.as_deref())?;
    ledger::install(&mut context.state, &templates)?;
    let Settings { assets, chains, fee, .. } = settings;
    Ok(SETTINGS.put(&mut context.state, (), &Accepting { assets, chains, fee, sets })?)
}

fn refund_source(templates: &Templates, set: &str) -> RefundSource {
    let refund = templates.get(set, TemplateName::RefundRecorded);
    let from_available =
        |refund: &Template| refund.lines.iter().any(|line| line.account == Account::Available);
    if refund.is_some_and(from_available) { RefundSource::Available } else { RefundSource::Merchant }
}
