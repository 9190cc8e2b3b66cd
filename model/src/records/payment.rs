//! A payment as the public sees it, and the events of its life.

use std::collections::HashSet;

use apache_avro::{
    AvroSchema, AvroSchemaComponent, Schema,
    schema::{Name, NamespaceRef},
};
use serde::{Deserialize, Serialize};

use crate::{
    asset::AssetId,
    avro,
    bytes::{Address, TxHash},
    chain::{BlockNumber, ChainId, ConfirmationPolicy},
    id::{EventId, MerchantId, PaymentId, RefundId},
    meta::Meta,
    metadata::Metadata,
    money::Amount,
    time::Timestamp,
};

/// How a payment is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentMethod {
    /// A token transfer to a deposit address.
    Chain,
    /// A card, through Stripe.
    Card,
}

impl AvroSchemaComponent for PaymentMethod {
    fn get_schema_in_ctxt(known: &mut HashSet<Name>, namespace: NamespaceRef) -> Schema {
        avro::enumeration("PaymentMethod", &["chain", "card"], known, namespace)
    }
}

/// How transfers are matched to a payment on a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Matching {
    /// By the address they go to: each payment has one of its own.
    #[default]
    DepositAddress,
    /// By their value: payments share the merchant's address, and no two that are open there have the same amount.
    ExactAmount,
}

impl AvroSchemaComponent for Matching {
    fn get_schema_in_ctxt(known: &mut HashSet<Name>, namespace: NamespaceRef) -> Schema {
        avro::enumeration("Matching", &["deposit_address", "exact_amount"], known, namespace)
    }
}

/// Where a payment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    /// Nothing has been received.
    Pending,
    /// Something has been received and is not confirmed, or not enough yet and time is left.
    Confirming,
    /// Paid in full, in time, confirmed.
    Completed,
    /// The deadline passed with nothing received.
    Expired,
    /// The card was declined for good.
    Failed,
    /// The merchant withdrew it before anything was received.
    Canceled,
    /// The deadline passed with less than the amount confirmed. The merchant accepts or refunds.
    Underpaid,
    /// Paid in full and more than that. The amount is credited; the merchant accepts or refunds the rest.
    Overpaid,
    /// Money arrived after the deadline or after the cancellation. The merchant accepts or refunds.
    PaidLate,
    /// A reorganisation took a completed payment's transfer back.
    Reversed,
    /// The card's holder disputes the payment.
    Disputed,
}

impl AvroSchemaComponent for PaymentStatus {
    fn get_schema_in_ctxt(known: &mut HashSet<Name>, namespace: NamespaceRef) -> Schema {
        avro::enumeration(
            "PaymentStatus",
            &[
                "pending",
                "confirming",
                "completed",
                "expired",
                "failed",
                "canceled",
                "underpaid",
                "overpaid",
                "paid_late",
                "reversed",
                "disputed",
            ],
            known,
            namespace,
        )
    }
}

/// What has become of a transfer that counts towards a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentTransferStatus {
    /// In a canonical block, not yet confirmed.
    Seen,
    /// Confirmed, and so in the books.
    Confirmed,
    /// Taken back by a reorganisation.
    Orphaned,
}

impl AvroSchemaComponent for PaymentTransferStatus {
    fn get_schema_in_ctxt(known: &mut HashSet<Name>, namespace: NamespaceRef) -> Schema {
        avro::enumeration("PaymentTransferStatus", &["seen", "confirmed", "orphaned"], known, namespace)
    }
}

/// How a claim of a transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimStatus {
    /// The transaction was not seen yet.
    Waiting,
    /// Transfers of it count for the payment.
    Matched,
    /// It does not count for the payment.
    Refused,
}

impl AvroSchemaComponent for ClaimStatus {
    fn get_schema_in_ctxt(known: &mut HashSet<Name>, namespace: NamespaceRef) -> Schema {
        avro::enumeration("ClaimStatus", &["waiting", "matched", "refused"], known, namespace)
    }
}

/// A transaction that somebody says has paid a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct PaymentClaim {
    /// The transaction.
    pub tx_hash: TxHash,
    /// How it stands.
    pub status: ClaimStatus,
    /// Why, where it is not matched.
    pub reason: Option<String>,
}

/// A transfer that counts, or counted, towards a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct PaymentTransfer {
    /// The transaction.
    pub tx_hash: TxHash,
    /// The block's height.
    pub block_number: BlockNumber,
    /// The log's index within the block.
    pub log_index: u32,
    /// The value in the asset's smallest unit.
    pub amount: Amount,
    /// What has become of it.
    pub status: PaymentTransferStatus,
}

/// A payment, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct Payment {
    /// Its id.
    pub id: PaymentId,
    /// Whose it is.
    pub merchant: MerchantId,
    /// Whether it was made with a live key.
    pub livemode: bool,
    /// How many events it has had, from 1: of two snapshots the higher is the later.
    pub version: u32,
    /// Where it stands.
    pub status: PaymentStatus,
    /// How it is paid.
    pub method: PaymentMethod,
    /// The asset it is paid in.
    pub asset: AssetId,
    /// The asset's decimal places.
    pub scale: u8,
    /// What is to be paid, in the asset's smallest unit; all amounts here are.
    pub amount: Amount,
    /// What has been received: confirmed, and seen but not yet confirmed.
    pub amount_received: Amount,
    /// What of it is confirmed.
    pub amount_confirmed: Amount,
    /// What has been refunded.
    pub amount_refunded: Amount,
    /// The fee taken so far.
    pub fee: Amount,
    /// The chain, for a chain payment.
    pub chain: Option<ChainId>,
    /// The token contract, for a chain payment.
    pub token: Option<Address>,
    /// Where to pay, for a chain payment.
    pub deposit_address: Option<Address>,
    /// The deposit address's path below the operator's extended public key, for example `3/17`.
    pub derivation_path: Option<String>,
    /// When a transfer counts as confirmed; frozen at creation.
    pub policy: Option<ConfirmationPolicy>,
    /// Confirmations of the least confirmed transfer when this was said.
    pub confirmations: u32,
    /// The merchant's own reference.
    pub reference_id: Option<String>,
    /// The merchant's text.
    pub description: Option<String>,
    /// The merchant's own pairs.
    pub metadata: Metadata,
    /// Transfers, in the order they were first seen.
    pub transfers: Vec<PaymentTransfer>,
    /// Why it failed, for a failed card payment.
    pub failure: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Its deadline.
    pub expires_at: Timestamp,
    /// When it was last completed; absent while it is not.
    pub completed_at: Option<Timestamp>,
    /// What the merchant asked for, where that is not the amount to be paid: an exact amount is a little more, so that no
    /// other payment has it.
    pub price: Option<Amount>,
    /// By how much the money received may differ from the amount, either way, for the payment to be complete; absent: not
    /// at all. Frozen at creation.
    pub tolerance: Option<Amount>,
    /// How transfers are matched; absent for a card, and where each payment has an address of its own.
    pub matching: Option<Matching>,
    /// Until when, by block time, a transfer of the exact amount is matched; after it the amount may be another payment's.
    pub reserved_until: Option<Timestamp>,
    /// Whose transactions can be claimed for it: transfers sent by this address.
    pub payer: Option<Address>,
    /// Claimed transactions, in the order in which they were claimed.
    #[serde(default)]
    #[avro(default = "[]")]
    pub claims: Vec<PaymentClaim>,
}

/// A refund as the public sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct Refund {
    /// Its id.
    pub id: RefundId,
    /// The payment it returns money of.
    pub payment: PaymentId,
    /// Whose it is.
    pub merchant: MerchantId,
    /// Whether it was made with a live key.
    pub livemode: bool,
    /// The asset.
    pub asset: AssetId,
    /// The asset's decimal places.
    pub scale: u8,
    /// What is returned, in the smallest unit.
    pub amount: Amount,
    /// Where it went: an address, or Stripe's refund id.
    pub destination: Option<String>,
    /// The transaction or Stripe object that carried it out, where the merchant or Stripe named it.
    pub reference: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// When it was recorded.
    pub created_at: Timestamp,
}

/// What happened to a payment. Its name for webhooks is [`PaymentEventType::name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentEventType {
    /// It was created.
    Created,
    /// Its only transfers were taken back before it was complete, and it waits again.
    Pending,
    /// Something has been received.
    Confirming,
    /// It is paid.
    Completed,
    /// Its deadline passed with nothing received.
    Expired,
    /// The card was declined for good.
    Failed,
    /// The merchant withdrew it.
    Canceled,
    /// Its deadline passed with less than the amount.
    Underpaid,
    /// More than the amount was received.
    Overpaid,
    /// It was paid after its end.
    PaidLate,
    /// A completed payment was taken back by a reorganisation.
    Reversed,
    /// A refund was recorded.
    Refunded,
    /// A card refund failed and its money is back.
    RefundFailed,
    /// Its card holder disputes it.
    Disputed,
}

impl AvroSchemaComponent for PaymentEventType {
    fn get_schema_in_ctxt(known: &mut HashSet<Name>, namespace: NamespaceRef) -> Schema {
        avro::enumeration(
            "PaymentEventType",
            &[
                "created",
                "pending",
                "confirming",
                "completed",
                "expired",
                "failed",
                "canceled",
                "underpaid",
                "overpaid",
                "paid_late",
                "reversed",
                "refunded",
                "refund_failed",
                "disputed",
            ],
            known,
            namespace,
        )
    }
}

impl PaymentEventType {
    /// Every type, in the order of a payment's life.
    pub const ALL: [Self; 14] = [
        Self::Created,
        Self::Pending,
        Self::Confirming,
        Self::Completed,
        Self::Expired,
        Self::Failed,
        Self::Canceled,
        Self::Underpaid,
        Self::Overpaid,
        Self::PaidLate,
        Self::Reversed,
        Self::Refunded,
        Self::RefundFailed,
        Self::Disputed,
    ];

    /// The name webhooks and the API use, for example `payment.completed`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "payment.created",
            Self::Pending => "payment.pending",
            Self::Confirming => "payment.confirming",
            Self::Completed => "payment.completed",
            Self::Expired => "payment.expired",
            Self::Failed => "payment.failed",
            Self::Canceled => "payment.canceled",
            Self::Underpaid => "payment.underpaid",
            Self::Overpaid => "payment.overpaid",
            Self::PaidLate => "payment.paid_late",
            Self::Reversed => "payment.reversed",
            Self::Refunded => "payment.refunded",
            Self::RefundFailed => "payment.refund_failed",
            Self::Disputed => "payment.disputed",
        }
    }
}

/// One step of a payment's life, with the payment as it is after it. Public on `payments.events`, keyed by merchant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct PaymentEvent {
    /// About the record.
    pub meta: Meta,
    /// The event's id, also the `webhook-id` of its deliveries.
    pub event: EventId,
    /// What happened.
    pub event_type: PaymentEventType,
    /// The payment after it.
    pub payment: Payment,
    /// The refund, for a refund recorded or failed.
    pub refund: Option<Refund>,
}
