//! The ledger: balanced transactions, each extending its book's hash chain.

use std::{borrow::Cow, collections::HashSet, fmt, sync::Arc};

use apache_avro::{
    AvroSchema, AvroSchemaComponent, Schema,
    schema::{Name, NamespaceRef},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    asset::AssetId,
    bytes::ContentHash,
    id::{MerchantId, PaymentId, RefundId, TransactionId},
    meta::Meta,
    money::Amount,
    time::Timestamp,
};

/// A ledger account's name, for example `live/merchant/mer_…/available` or `test/platform/fees/3`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(Arc<str>);

impl AccountId {
    /// Wraps a name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for AccountId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for AccountId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer).map(|name| Self(name.as_ref().into()))
    }
}

impl AvroSchemaComponent for AccountId {
    fn get_schema_in_ctxt(_: &mut HashSet<Name>, _: NamespaceRef) -> Schema {
        Schema::String
    }
}

/// One line of a transaction: a change of one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct Entry {
    /// The account.
    pub account: AccountId,
    /// The asset.
    pub asset: AssetId,
    /// The change in the smallest unit: positive is a debit, negative a credit. A transaction's entries sum to zero
    /// for each asset.
    pub amount: Amount,
    /// The account's balance in this asset after it.
    pub balance: Amount,
    /// How many entries the account has had in this asset, this one included; no gaps.
    #[serde(with = "crate::avro::long")]
    #[avro(with)]
    pub version: u64,
}

/// A balanced transaction. Public on `ledger.transactions`, keyed by merchant; never changed, only reversed by a
/// later one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct LedgerTransaction {
    /// About the record.
    pub meta: Meta,
    /// Its id.
    pub transaction: TransactionId,
    /// The merchant whose book it is in.
    pub merchant: MerchantId,
    /// Which of the merchant's two books: live or test.
    pub livemode: bool,
    /// Its number in the book, from 1; no gaps.
    #[serde(with = "crate::avro::long")]
    #[avro(with)]
    pub sequence: u64,
    /// The posting template that made it, for example `transfer.received`; of a reversal, the reversed one's.
    pub template: String,
    /// That template's version.
    pub template_version: u32,
    /// The payment it is about.
    pub payment: Option<PaymentId>,
    /// The refund it is about.
    pub refund: Option<RefundId>,
    /// The natural id of the money event that it books.
    pub event: String,
    /// The transaction it takes back, for a reversal.
    pub reverses: Option<TransactionId>,
    /// When the money moved, by its source's clock.
    pub occurred_at: Timestamp,
    /// Its lines.
    pub entries: Vec<Entry>,
    /// The hash of the book's transaction before it; zero for the first.
    pub previous_hash: ContentHash,
    /// SHA-256 over `previous_hash` and the canonical business fields.
    pub hash: ContentHash,
}
