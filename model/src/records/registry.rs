//! Merchants, API keys and webhook endpoints: the commands that change them (`registry.inbox`) and the changes
//! (`registry.events`, and the books' inboxes where they need to know).

use std::collections::HashSet;

use apache_avro::{
    AvroSchema, AvroSchemaComponent, Schema,
    schema::{Name, NamespaceRef},
};
use serde::{Deserialize, Serialize};

use crate::{
    asset::AssetId,
    avro,
    bytes::{Address, ContentHash},
    chain::ChainId,
    id::{ApiKeyId, EndpointId, MerchantId},
    meta::Meta,
    money::Amount,
    records::{
        book::{Idempotency, ReplyTo},
        settings::Settings,
    },
    time::Timestamp,
};

/// A merchant's own address on a chain, which payments matched by their exact amount share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct FixedAddress {
    /// The chain.
    pub chain: ChainId,
    /// The address. It is this merchant's for ever: nobody else can have it, also after it was taken out.
    pub address: Address,
}

/// So much of an asset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct AssetAmount {
    /// The asset.
    pub asset: AssetId,
    /// How much, in its smallest unit.
    pub amount: Amount,
}

/// By how much the money received for a chain payment may differ from its amount, either way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct Tolerance {
    /// Millionths of the amount: 1,000 is 0.1%. Rounded down to the smallest unit.
    pub parts_per_million: u32,
    /// At least so much of these assets, whatever the millionths come to.
    pub amounts: Vec<AssetAmount>,
}

/// A merchant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct Merchant {
    /// Its id.
    pub id: MerchantId,
    /// Its name, for people.
    pub name: String,
    /// The set of posting templates its books use, for example `custodial`.
    pub settlement: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Its own addresses, one for a chain at most.
    #[serde(default)]
    #[avro(default = "[]")]
    pub addresses: Vec<FixedAddress>,
    /// The tolerance of its payments to come; absent: none.
    pub tolerance: Option<Tolerance>,
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Read the merchant's data.
    Read,
    /// Create and cancel payments, manage webhook endpoints.
    Write,
    /// Record refunds.
    Refund,
    /// Everything, for every merchant: the operator's.
    Admin,
}

impl AvroSchemaComponent for Scope {
    fn get_schema_in_ctxt(known: &mut HashSet<Name>, namespace: NamespaceRef) -> Schema {
        avro::enumeration("Scope", &["read", "write", "refund", "admin"], known, namespace)
    }
}

/// An API key. The key itself is shown once and never stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// The merchant it acts for; absent for an operator's key.
    pub merchant: Option<MerchantId>,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Whether it sees live or test data.
    pub livemode: bool,
    /// SHA-256 of the key.
    pub key_hash: ContentHash,
    /// The last four characters, for people.
    pub hint: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

/// A signing secret, encrypted with the operator's key; only the webhook sink opens it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct SealedSecret {
    /// XChaCha20-Poly1305 nonce.
    #[serde(with = "apache_avro::serde::bytes")]
    #[avro(with)]
    pub nonce: Vec<u8>,
    /// Ciphertext and tag.
    #[serde(with = "apache_avro::serde::bytes")]
    #[avro(with)]
    pub ciphertext: Vec<u8>,
}

/// A merchant's webhook endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Whose it is.
    pub merchant: MerchantId,
    /// Whether it receives live or test events.
    pub livemode: bool,
    /// Where messages go.
    pub url: String,
    /// Event types it wants, or `*`.
    pub events: Vec<String>,
    /// Live signing secrets, newest first; two during a rotation.
    pub secrets: Vec<SealedSecret>,
    /// Why it receives nothing, if it is disabled.
    pub disabled: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was deleted, if it was.
    pub deleted_at: Option<Timestamp>,
}

/// Who administers: where the answer goes, and the idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct Administrator {
    /// The key that asks; absent for the operator's own command line.
    pub key: Option<ApiKeyId>,
    /// Where the answer goes; absent where nobody waits.
    pub reply: Option<ReplyTo>,
    /// The caller's idempotency key, if it sent one.
    pub idempotency: Option<Idempotency>,
}

/// Add a merchant, or change its name or settlement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct PutMerchant {
    /// About the record.
    pub meta: Meta,
    /// Who asks.
    pub administrator: Administrator,
    /// The merchant as it shall be.
    pub merchant: Merchant,
}

/// Add or revoke an API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct PutApiKey {
    /// About the record.
    pub meta: Meta,
    /// Who asks.
    pub administrator: Administrator,
    /// The key as it shall be.
    pub api_key: ApiKey,
}

/// Add, change, disable or delete a webhook endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct PutEndpoint {
    /// About the record.
    pub meta: Meta,
    /// Who asks.
    pub administrator: Administrator,
    /// The endpoint as it shall be.
    pub endpoint: Endpoint,
}

/// Put the operator's settings in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct PutSettings {
    /// About the record.
    pub meta: Meta,
    /// The settings as they shall be.
    pub settings: Settings,
}

/// A merchant is as stated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct MerchantChanged {
    /// About the record.
    pub meta: Meta,
    /// The merchant.
    pub merchant: Merchant,
}

/// A key is as stated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct ApiKeyChanged {
    /// About the record.
    pub meta: Meta,
    /// The key.
    pub api_key: ApiKey,
}

/// An endpoint is as stated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct EndpointChanged {
    /// About the record.
    pub meta: Meta,
    /// The endpoint.
    pub endpoint: Endpoint,
}

/// The settings are as stated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct SettingsChanged {
    /// About the record.
    pub meta: Meta,
    /// The settings.
    pub settings: Settings,
}
