//! How the API shows things, beside the JSON of payments and refunds, which the model makes because webhooks share it.
//!
//! The types that end in `Doc` describe that JSON for `/openapi.json`; a test holds the two together.

use std::{collections::BTreeMap, fmt};

use axum::{
    Json,
    http::HeaderValue,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Deserializer, Serialize, de};
use streambook_model::bytes::Address;
use utoipa::ToSchema;

use crate::position::STALE;

/// One page of a list, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct List<T> {
    /// The rows.
    pub(crate) data: Vec<T>,
    /// Send it as `cursor` for the next page; absent on the last.
    pub(crate) next_cursor: Option<String>,
}

/// The answer to a read, saying so when it may be older than what the caller wrote.
pub(crate) fn read_answer(stale: bool, body: impl Serialize) -> Response {
    let mut response = Json(body).into_response();
    if stale {
        response.headers_mut().insert(STALE, HeaderValue::from_static("true"));
    }
    response
}

/// An amount in a request: a decimal number as text. JSON numbers are refused, since many programs keep them as floats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DecimalText(pub(crate) String);

impl<'de> Deserialize<'de> for DecimalText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DecimalVisitor)
    }
}

struct DecimalVisitor;

impl de::Visitor<'_> for DecimalVisitor {
    type Value = DecimalText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a decimal number as a string, for example \"12.50\" with its quotes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<DecimalText, E> {
        Ok(DecimalText(text.to_owned()))
    }
}

/// An address: `0x` and 40 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct AddressText(pub(crate) Address);

impl TryFrom<String> for AddressText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let address: Option<Address> = text.parse().ok();
        // Mixed case is a checksum (ERC-55), and a wrong one is a mistyped address.
        let digits = text.strip_prefix("0x").unwrap_or_default();
        let has = |is: fn(&char) -> bool| digits.chars().any(|c| is(&c));
        let is_mixed = has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase);
        let address = address.filter(|address| !is_mixed || address.to_checksum() == text);
        let remedy = "is not an address: `0x` and 40 hex digits, mixed case being its checksum";
        address.map(Self).ok_or_else(|| format!("`{text}` {remedy}"))
    }
}

/// The rule for a text: so many characters, none of them NUL, which databases do not keep.
pub(crate) fn text(least: usize, most: usize) -> impl FnOnce(&str) -> garde::Result {
    move |text: &str| {
        let length = text.chars().count();
        if !(least..=most).contains(&length) {
            return Err(garde::Error::new(format!("has {length} characters: use {least} to {most}")));
        }
        if text.contains('\0') {
            return Err(garde::Error::new("has a NUL character: leave it out"));
        }
        Ok(())
    }
}

/// The rule for a text that may be absent.
pub(crate) fn optional_text(most: usize) -> impl FnOnce(&Option<String>, &()) -> garde::Result {
    move |given, ()| given.as_deref().map_or(Ok(()), text(0, most))
}

/// Where a payment stands.
#[derive(Debug, ToSchema)]
#[schema(as = PaymentStatus, rename_all = "snake_case")]
#[expect(dead_code, reason = "describes the model's type")]
pub(crate) enum StatusDoc {
    Pending,
    Confirming,
    Completed,
    Expired,
    Failed,
    Canceled,
    Underpaid,
    Overpaid,
    PaidLate,
    Reversed,
    Disputed,
}

/// How a payment is paid: a token transfer, or a card.
#[derive(Debug, ToSchema)]
#[schema(as = PaymentMethod, rename_all = "snake_case")]
#[expect(dead_code, reason = "describes the model's type")]
pub(crate) enum MethodDoc {
    Chain,
    Card,
}

/// How transfers are matched: by an address of the payment's own, or by an exact amount at the merchant's address.
#[derive(Debug, ToSchema)]
#[schema(as = Matching, rename_all = "snake_case")]
#[expect(dead_code, reason = "describes the model's type")]
pub(crate) enum MatchingDoc {
    DepositAddress,
    ExactAmount,
}

/// What makes a transfer count: so many confirmations, or the chain's `finalized` tag.
#[derive(Debug, ToSchema)]
#[schema(as = ConfirmedBy, rename_all = "snake_case")]
#[expect(dead_code, reason = "describes the model's type")]
pub(crate) enum ConfirmedByDoc {
    Confirmations,
    Finalized,
}

/// What has become of a transfer.
#[derive(Debug, ToSchema)]
#[schema(as = TransferStatus, rename_all = "snake_case")]
#[expect(dead_code, reason = "describes the model's type")]
pub(crate) enum TransferStatusDoc {
    Seen,
    Confirmed,
    Orphaned,
}

/// A payment. Amounts are decimal numbers as text.
#[derive(Debug, ToSchema)]
#[schema(as = Payment)]
#[expect(dead_code, reason = "describes the model's JSON")]
pub(crate) struct PaymentDoc {
    /// `pay_` and 32 hex digits.
    id: String,
    /// Always `payment`.
    object: String,
    merchant: String,
    livemode: bool,
    status: StatusDoc,
    #[schema(inline)]
    method: MethodDoc,
    /// What is to be paid.
    #[schema(example = "12.50")]
    amount: String,
    /// What was asked for: the amount, but for an exact amount, which is a little more.
    #[schema(example = "12.50")]
    price: String,
    /// By how much what is received may differ from the amount, either way.
    #[schema(example = "0.00")]
    tolerance: String,
    #[schema(example = "usdc:31337")]
    asset: String,
    /// Confirmed, and seen but not yet confirmed.
    amount_received: String,
    amount_refunded: String,
    /// The fee taken so far.
    fee: String,
    /// For a chain payment.
    #[schema(required, inline)]
    matching: Option<MatchingDoc>,
    /// Where to pay, for a chain payment.
    #[schema(required)]
    deposit_address: Option<String>,
    /// What a wallet opens (EIP-681), for a chain payment.
    #[schema(required)]
    payment_uri: Option<String>,
    /// What makes its transfers count, for a chain payment; fixed at creation by the amount.
    #[schema(required, inline)]
    confirmed_by: Option<ConfirmedByDoc>,
    /// Of the least confirmed transfer; counts up on reads while the payment is confirming.
    confirmations: u32,
    /// How many are needed; null where the chain's `finalized` tag decides instead.
    #[schema(required)]
    confirmations_required: Option<u32>,
    transactions: Vec<TransferDoc>,
    /// Whose transactions can be claimed for it.
    #[schema(required)]
    payer_address: Option<String>,
    claims: Vec<ClaimDoc>,
    #[schema(required)]
    reference_id: Option<String>,
    #[schema(required)]
    description: Option<String>,
    metadata: BTreeMap<String, String>,
    /// Why a card payment failed.
    #[schema(required)]
    failure: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    expires_at: String,
    /// Until when a late transfer of the exact amount is still this payment's.
    #[schema(required, format = DateTime)]
    reserved_until: Option<String>,
    #[schema(required, format = DateTime)]
    completed_at: Option<String>,
}

/// How a claim stands: the transaction was not seen yet, its transfers count, or it does not count.
#[derive(Debug, ToSchema)]
#[schema(as = ClaimStatus, rename_all = "snake_case")]
#[expect(dead_code, reason = "describes the model's type")]
pub(crate) enum ClaimStatusDoc {
    Waiting,
    Matched,
    Refused,
}

/// A transaction that was claimed for a payment.
#[derive(Debug, ToSchema)]
#[schema(as = Claim)]
#[expect(dead_code, reason = "describes the model's JSON")]
pub(crate) struct ClaimDoc {
    transaction_hash: String,
    #[schema(inline)]
    status: ClaimStatusDoc,
    /// Why it is not matched.
    #[schema(required)]
    reason: Option<String>,
}

/// A transfer that counts, or counted, towards a payment.
#[derive(Debug, ToSchema)]
#[schema(as = Transfer)]
#[expect(dead_code, reason = "describes the model's JSON")]
pub(crate) struct TransferDoc {
    tx_hash: String,
    block_number: u64,
    log_index: u32,
    amount: String,
    #[schema(inline)]
    status: TransferStatusDoc,
}

/// A refund.
#[derive(Debug, ToSchema)]
#[schema(as = Refund)]
#[expect(dead_code, reason = "describes the model's JSON")]
pub(crate) struct RefundDoc {
    /// `ref_` and 32 hex digits.
    id: String,
    /// Always `refund`.
    object: String,
    payment: String,
    merchant: String,
    livemode: bool,
    amount: String,
    asset: String,
    #[schema(required)]
    destination: Option<String>,
    #[schema(required)]
    reference: Option<String>,
    #[schema(required)]
    reason: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
}

/// A command that is recorded and whose answer has not come in time.
#[derive(Debug, ToSchema)]
#[schema(as = AcceptedCommand)]
#[expect(dead_code, reason = "describes what `command::pending` writes")]
pub(crate) struct PendingDoc {
    /// Always `accepted_command`.
    object: String,
    /// Always `accepted`.
    status: String,
    /// The path where the result will be; also in `Location`.
    location: String,
    detail: String,
}
