//! Merchants, endpoints, assets: of each the last that was said; and the audit log, a row for each change.
//!
//! Secrets, sealed ones and hashes of keys included, stay out of SQL.

use std::collections::BTreeMap;

use serde_json::json;
use streambook_model::{
    asset::AssetId,
    id::{EndpointId, MerchantId},
    meta::Meta,
    records::{
        registry::{ApiKey, Endpoint, Merchant},
        settings::Settings,
    },
};

use crate::sql::{
    cell::Cell,
    error::SqlError,
    table::{Existing, Rows, Table},
};

static MERCHANTS: Table = Table {
    name: "merchants",
    columns: &["id", "name", "settlement", "created_at", "position", "addresses", "tolerance"],
    existing: Existing::Newer {
        key: &["id"],
        version: "position",
        changes: &["name", "settlement", "created_at", "position", "addresses", "tolerance"],
    },
};

static ASSETS: Table = Table {
    name: "assets",
    columns: &["id", "scale", "contract", "position"],
    existing: Existing::Newer {
        key: &["id"],
        version: "position",
        changes: &["scale", "contract", "position"],
    },
};

static ENDPOINTS: Table = Table {
    name: "webhook_endpoints",
    columns: &[
        "id",
        "merchant",
        "livemode",
        "url",
        "events",
        "secrets",
        "disabled",
        "created_at",
        "deleted_at",
        "position",
    ],
    existing: Existing::Newer {
        key: &["id"],
        version: "position",
        changes: &["url", "events", "secrets", "disabled", "deleted_at", "position"],
    },
};

static AUDIT: Table = Table {
    name: "audit_log",
    columns: &[
        "position",
        "command",
        "subject",
        "subject_id",
        "merchant",
        "record",
        "trace",
        "detail",
        "occurred_at",
    ],
    existing: Existing::Refuse,
};

/// The rows of a batch's changes of the registry.
#[derive(Debug)]
pub(super) struct RegistryRows<'b> {
    merchants: BTreeMap<MerchantId, (i64, &'b Merchant)>,
    endpoints: BTreeMap<EndpointId, (i64, &'b Endpoint)>,
    assets: BTreeMap<AssetId, [Cell; 4]>,
    audit: Rows,
}

impl Default for RegistryRows<'_> {
    fn default() -> Self {
        Self {
            merchants: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            assets: BTreeMap::new(),
            audit: Rows::of(&AUDIT),
        }
    }
}

/// What changed.
struct Subject<'s> {
    kind: &'static str,
    id: &'s dyn std::fmt::Display,
    merchant: Option<MerchantId>,
    detail: serde_json::Value,
}

impl<'b> RegistryRows<'b> {
    pub(super) fn merchant(&mut self, at: i64, meta: &Meta, merchant: &'b Merchant) -> Result<(), SqlError> {
        self.merchants.insert(merchant.id, (at, merchant));
        let mut detail = json!({ "name": merchant.name, "settlement": merchant.settlement });
        // What was noted before there were any has no such fields, and a rebuild must come to the same.
        if !merchant.addresses.is_empty() {
            detail["addresses"] = json!(merchant.addresses);
        }
        if let Some(tolerance) = &merchant.tolerance {
            detail["tolerance"] = json!(tolerance);
        }
        self.note(
            at,
            meta,
            &Subject { kind: "merchant", id: &merchant.id, merchant: Some(merchant.id), detail },
        )
    }

    pub(super) fn api_key(&mut self, at: i64, meta: &Meta, key: &ApiKey) -> Result<(), SqlError> {
        let detail = json!({
            "scopes": key.scopes, "livemode": key.livemode, "hint": key.hint, "revoked_at": key.revoked_at,
        });
        self.note(at, meta, &Subject { kind: "api_key", id: &key.id, merchant: key.merchant, detail })
    }

    pub(super) fn endpoint(&mut self, at: i64, meta: &Meta, endpoint: &'b Endpoint) -> Result<(), SqlError> {
        self.endpoints.insert(endpoint.id, (at, endpoint));
        let detail = json!({
            "url": endpoint.url, "events": endpoint.events, "livemode": endpoint.livemode,
            "secrets": endpoint.secrets.len(), "disabled": endpoint.disabled, "deleted_at": endpoint.deleted_at,
        });
        self.note(
            at,
            meta,
            &Subject { kind: "endpoint", id: &endpoint.id, merchant: Some(endpoint.merchant), detail },
        )
    }

    pub(super) fn settings(&mut self, at: i64, meta: &Meta, settings: &Settings) -> Result<(), SqlError> {
        for asset in &settings.assets {
            let row = [
                Cell::text(&asset.id),
                u32::from(asset.scale).into(),
                Cell::maybe_text(asset.contract),
                at.into(),
            ];
            self.assets.insert(asset.id.clone(), row);
        }
        let detail = json!({ "assets": settings.assets, "chains": settings.chains, "fee": settings.fee });
        self.note(at, meta, &Subject { kind: "settings", id: &settings.version, merchant: None, detail })
    }

    fn note(&mut self, at: i64, meta: &Meta, subject: &Subject<'_>) -> Result<(), SqlError> {
        let command = meta.cause.map(|cause| Cell::unsigned(cause.offset)).transpose()?;
        self.audit.push([
            at.into(),
            command.unwrap_or(Cell::Null),
            Cell::text(subject.kind),
            Cell::text(subject.id),
            Cell::maybe_text(subject.merchant),
            Cell::text(&meta.id),
            Cell::maybe_text(meta.trace.as_ref()),
            Cell::text(&subject.detail),
            meta.occurred_at.into(),
        ]);
        Ok(())
    }

    pub(super) fn finish(self, rows: &mut Vec<Rows>) -> Result<(), SqlError> {
        let mut merchants = Rows::of(&MERCHANTS);
        for (at, merchant) in self.merchants.into_values() {
            push_merchant(&mut merchants, at, merchant)?;
        }
        let mut endpoints = Rows::of(&ENDPOINTS);
        for (at, endpoint) in self.endpoints.into_values() {
            push_endpoint(&mut endpoints, at, endpoint)?;
        }
        let mut assets = Rows::of(&ASSETS);
        for asset in self.assets.into_values() {
            assets.push(asset);
        }
        rows.extend([merchants, endpoints, assets, self.audit]);
        Ok(())
    }
}

fn push_merchant(rows: &mut Rows, at: i64, merchant: &Merchant) -> Result<(), SqlError> {
    rows.push([
        Cell::text(merchant.id),
        Cell::text(&merchant.name),
        Cell::text(&merchant.settlement),
        merchant.created_at.into(),
        at.into(),
        Cell::json(&merchant.addresses)?,
        Cell::json(&merchant.tolerance)?,
    ]);
    Ok(())
}

fn push_endpoint(rows: &mut Rows, at: i64, endpoint: &Endpoint) -> Result<(), SqlError> {
    let secrets = u32::try_from(endpoint.secrets.len()).unwrap_or(u32::MAX);
    rows.push([
        Cell::text(endpoint.id),
        Cell::text(endpoint.merchant),
        endpoint.livemode.into(),
        Cell::text(&endpoint.url),
        Cell::json(&endpoint.events)?,
        secrets.into(),
        Cell::maybe_text(endpoint.disabled.as_ref()),
        endpoint.created_at.into(),
        Cell::maybe_time(endpoint.deleted_at),
        at.into(),
    ]);
    Ok(())
}
