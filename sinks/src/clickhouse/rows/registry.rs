//! Of `registry.events`: merchants' names and the assets' scales, of each the last in a batch. No key and no secret is taken.

use std::collections::BTreeMap;

use serde::Serialize;
use streambook_model::{
    asset::Asset,
    bytes::Address,
    id::MerchantId,
    records::registry::{Merchant, MerchantChanged, SettingsChanged},
};

use super::{At, Text, chain_id};

/// A row of `merchants`.
#[derive(Debug, Serialize)]
pub(crate) struct MerchantRow<'b> {
    merchant: MerchantId,
    version: u64,
    batch: u64,
    name: &'b str,
    settlement: &'b str,
    created_at: i64,
}

/// The merchants of a batch.
#[derive(Debug, Default)]
pub(crate) struct Merchants<'b>(BTreeMap<MerchantId, (At, &'b Merchant)>);

impl<'b> Merchants<'b> {
    pub(crate) fn take(&mut self, at: At, changed: &'b MerchantChanged) {
        self.0.insert(changed.merchant.id, (at, &changed.merchant));
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn rows(&self) -> Vec<MerchantRow<'b>> {
        let row = |(at, merchant): &(At, &'b Merchant)| MerchantRow {
            merchant: merchant.id,
            version: at.log_offset,
            batch: at.batch,
            name: &merchant.name,
            settlement: &merchant.settlement,
            created_at: merchant.created_at.millis(),
        };
        self.0.values().map(row).collect()
    }
}

/// A row of `assets`.
#[derive(Debug, Serialize)]
pub(crate) struct AssetRow<'b> {
    asset: &'b str,
    version: u64,
    batch: u64,
    scale: u8,
    chain: u64,
    contract: Text<Address>,
}

/// The assets of a batch's settings. One that is left out later stays: there may be amounts of it.
#[derive(Debug, Default)]
pub(crate) struct Assets<'b>(BTreeMap<&'b str, (At, &'b Asset)>);

impl<'b> Assets<'b> {
    pub(crate) fn take(&mut self, at: At, changed: &'b SettingsChanged) {
        self.0.extend(changed.settings.assets.iter().map(|asset| (asset.id.as_str(), (at, asset))));
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn rows(&self) -> Vec<AssetRow<'b>> {
        let row = |(at, asset): &(At, &'b Asset)| AssetRow {
            asset: asset.id.as_str(),
            version: at.log_offset,
            batch: at.batch,
            scale: asset.scale,
            chain: chain_id(asset.id.chain()),
            contract: Text(asset.contract),
        };
        self.0.values().map(row).collect()
    }
}
