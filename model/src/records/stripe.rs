//! What Stripe said (`stripe.inbox`), and the money facts dedup makes of it (`book.inbox`).

use std::collections::HashSet;

use apache_avro::{
    AvroSchema, AvroSchemaComponent, Schema,
    schema::{Name, NamespaceRef},
};
use serde::{Deserialize, Serialize};

use crate::{
    asset::AssetId,
    avro,
    bytes::ContentHash,
    id::{MerchantId, PaymentId},
    meta::Meta,
    money::Amount,
    time::Timestamp,
};

/// A Stripe event whose signature was checked, as received. Keyed by the payment intent (or charge) it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct StripeEvent {
    /// About the record; its id is Stripe's event id.
    pub meta: Meta,
    /// Stripe's event id, `evt_…`.
    pub event: String,
    /// Its type, for example `charge.succeeded`.
    pub event_type: String,
    /// The object family's key: the payment intent's id, or the charge's where there is no intent.
    pub family: String,
    /// Whether it is live data.
    pub livemode: bool,
    /// When Stripe made the event.
    pub created: Timestamp,
    /// SHA-256 over the event's `data.object`: the same event id with another hash is a conflict.
    pub content_hash: ContentHash,
    /// The body as received.
    pub payload: String,
}

/// What happened to a card payment's money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CardFactKind {
    /// The charge succeeded: `amount` is the gross.
    Succeeded,
    /// Stripe's fee for the charge is known: `amount` is the fee.
    FeeKnown,
    /// The payment failed for good.
    Failed,
    /// A refund succeeded: `amount` is what was returned.
    Refunded,
    /// The holder disputes the charge and Stripe has withdrawn `amount`.
    DisputeOpened,
    /// A dispute's fee: `amount` is the fee.
    DisputeFee,
    /// The dispute was won and Stripe has returned `amount`.
    DisputeWon,
    /// The dispute was lost; nothing moves any more.
    DisputeLost,
    /// A refund failed and Stripe has returned `amount` to the balance.
    RefundFailed,
}

impl AvroSchemaComponent for CardFactKind {
    fn get_schema_in_ctxt(known: &mut HashSet<Name>, namespace: NamespaceRef) -> Schema {
        avro::enumeration(
            "CardFactKind",
            &[
                "succeeded",
                "fee_known",
                "failed",
                "refunded",
                "dispute_opened",
                "dispute_fee",
                "dispute_won",
                "dispute_lost",
                "refund_failed",
            ],
            known,
            namespace,
        )
    }
}

/// One money fact of a card payment, in its book's inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct CardFact {
    /// About the record.
    pub meta: Meta,
    /// What happened.
    pub kind: CardFactKind,
    /// Whose payment it is.
    pub merchant: MerchantId,
    /// The payment.
    pub payment: PaymentId,
    /// Whether it is live data.
    pub livemode: bool,
    /// The Stripe object that says so: a charge, refund, dispute or balance transaction. The same kind and object
    /// books once.
    pub object: String,
    /// The currency.
    pub asset: AssetId,
    /// The amount in the smallest unit, never negative.
    pub amount: Amount,
    /// Stripe's reason, for a failure, refund or dispute.
    pub reason: Option<String>,
}
