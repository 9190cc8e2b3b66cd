//! What the API appends to `book.inbox`: the merchants' commands. And the clock's own record there.

use apache_avro::AvroSchema;
use serde::{Deserialize, Serialize};

use crate::{
    asset::AssetId,
    bytes::{Address, ContentHash, TxHash},
    id::{MerchantId, PaymentId, RefundId, RequestId},
    meta::Meta,
    metadata::Metadata,
    money::Amount,
    records::payment::{Matching, PaymentMethod},
    time::Timestamp,
};

/// Where the answer to a command goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct ReplyTo {
    /// The partition of `api.replies` of the API instance that waits.
    pub partition: u16,
    /// The request it waits for.
    pub request: RequestId,
}

/// A caller's idempotency key, with a hash of what it asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct Idempotency {
    /// The `Idempotency-Key` header.
    pub key: String,
    /// SHA-256 over method, path and canonical body: the same key with another hash is a conflict.
    pub request_hash: ContentHash,
}

/// Who asks: the merchant, the mode of its key, where the answer goes, and the idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct Caller {
    /// The merchant of the key.
    pub merchant: MerchantId,
    /// Whether it is a live key. Test and live data never meet.
    pub livemode: bool,
    /// Where the answer goes.
    pub reply: ReplyTo,
    /// The caller's idempotency key, if it sent one.
    pub idempotency: Option<Idempotency>,
}

/// Create a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct CreatePayment {
    /// About the record.
    pub meta: Meta,
    /// Who asks.
    pub caller: Caller,
    /// The id the payment will have, minted by the API.
    pub payment: PaymentId,
    /// What is to be paid, in the smallest unit.
    pub amount: Amount,
    /// In which asset.
    pub asset: AssetId,
    /// How.
    pub method: PaymentMethod,
    /// The merchant's own reference.
    pub reference_id: Option<String>,
    /// The merchant's text.
    pub description: Option<String>,
    /// The merchant's own pairs.
    pub metadata: Metadata,
    /// Seconds from creation to the deadline.
    pub expires_in_seconds: u32,
    /// How transfers are to be matched; absent: by an address of the payment's own.
    pub matching: Option<Matching>,
    /// Whose transactions can be claimed for it; absent: nobody's.
    pub payer: Option<Address>,
}

/// Say that a transaction has paid a payment whose transfers share an address with others'.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct ClaimPayment {
    /// About the record.
    pub meta: Meta,
    /// Who asks.
    pub caller: Caller,
    /// The payment.
    pub payment: PaymentId,
    /// The transaction.
    pub tx_hash: TxHash,
}

/// Withdraw a payment that nothing has been received for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct CancelPayment {
    /// About the record.
    pub meta: Meta,
    /// Who asks.
    pub caller: Caller,
    /// The payment.
    pub payment: PaymentId,
}

/// Take an underpaid, overpaid or late payment's money as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct AcceptPayment {
    /// About the record.
    pub meta: Meta,
    /// Who asks.
    pub caller: Caller,
    /// The payment.
    pub payment: PaymentId,
}

/// Record a refund that the merchant has made or will make outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct CreateRefund {
    /// About the record.
    pub meta: Meta,
    /// Who asks.
    pub caller: Caller,
    /// The id the refund will have, minted by the API.
    pub refund: RefundId,
    /// The payment.
    pub payment: PaymentId,
    /// What is returned, in the smallest unit; absent: all that is left.
    pub amount: Option<Amount>,
    /// Where it goes; given, never guessed from the sender.
    pub destination: Option<String>,
    /// The transaction that carries it out, where it is known.
    pub reference: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// The clock's record: appended by the task's owner when the state's earliest deadline is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema)]
#[avro(namespace = "streambook")]
pub struct Tick {
    /// About the record.
    pub meta: Meta,
    /// Every deadline up to this time is due.
    pub now: Timestamp,
}
