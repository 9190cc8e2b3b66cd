//! Payments and refunds as JSON, the one representation that the API answers with and webhooks carry.
//!
//! The fields stand in a fixed order and every value is made here from text, numbers and lists, so the same record always
//! gives the same bytes: a webhook's body is signed, and a replay must give it again.

use serde::Serialize;
use serde_json::Value;

use crate::{
    chain::ConfirmationPolicy,
    metadata::Metadata,
    money::Amount,
    records::payment::{
        ClaimStatus, Matching, Payment, PaymentClaim, PaymentMethod, PaymentStatus, PaymentTransfer,
        PaymentTransferStatus, Refund,
    },
};

/// A payment's JSON object, ready to be serialized.
#[derive(Debug, Clone, Serialize)]
pub struct PaymentView<'a> {
    id: String,
    object: &'static str,
    merchant: String,
    livemode: bool,
    status: PaymentStatus,
    method: PaymentMethod,
    amount: String,
    price: String,
    tolerance: String,
    asset: &'a str,
    amount_received: String,
    amount_refunded: String,
    fee: String,
    matching: Option<Matching>,
    deposit_address: Option<String>,
    payment_uri: Option<String>,
    confirmed_by: Option<ConfirmedBy>,
    confirmations: u32,
    confirmations_required: Option<u32>,
    transactions: Vec<TransferView>,
    payer_address: Option<String>,
    claims: Vec<ClaimView<'a>>,
    reference_id: Option<&'a str>,
    description: Option<&'a str>,
    metadata: &'a Metadata,
    failure: Option<&'a str>,
    created_at: String,
    expires_at: String,
    reserved_until: Option<String>,
    completed_at: Option<String>,
}

/// What makes a chain payment's transfers count.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum ConfirmedBy {
    /// So many blocks: `confirmations_required`.
    Confirmations,
    /// The chain's `finalized` tag; there is no number to wait for.
    Finalized,
}

#[derive(Debug, Clone, Serialize)]
struct ClaimView<'a> {
    transaction_hash: String,
    status: ClaimStatus,
    reason: Option<&'a str>,
}

#[derive(Debug, Clone, Serialize)]
struct TransferView {
    tx_hash: String,
    block_number: u64,
    log_index: u32,
    amount: String,
    status: PaymentTransferStatus,
}

#[derive(Debug, Clone, Serialize)]
struct RefundView<'a> {
    id: String,
    object: &'static str,
    payment: String,
    merchant: String,
    livemode: bool,
    amount: String,
    asset: &'a str,
    destination: Option<&'a str>,
    reference: Option<&'a str>,
    reason: Option<&'a str>,
    created_at: String,
}

/// A payment as the API and webhooks show it. `confirmations_required` is null where finality is required instead, which
/// `confirmed_by` says.
pub fn payment_view(payment: &Payment) -> PaymentView<'_> {
    let amount = |amount| amount_text(amount, payment.scale);
    PaymentView {
        id: payment.id.to_string(),
        object: "payment",
        merchant: payment.merchant.to_string(),
        livemode: payment.livemode,
        status: payment.status,
        method: payment.method,
        amount: amount(payment.amount),
        price: amount(payment.price.unwrap_or(payment.amount)),
        tolerance: amount(payment.tolerance.unwrap_or_default()),
        asset: payment.asset.as_str(),
        amount_received: amount(payment.amount_received),
        amount_refunded: amount(payment.amount_refunded),
        fee: amount(payment.fee),
        matching: payment.chain.map(|_| payment.matching.unwrap_or_default()),
        deposit_address: payment.deposit_address.map(|address| address.to_checksum()),
        payment_uri: payment_uri(payment),
        confirmed_by: payment.policy.map(confirmed_by),
        confirmations: payment.confirmations,
        confirmations_required: payment.policy.and_then(|policy| policy.depth),
        transactions: payment
            .transfers
            .iter()
            .map(|transfer| transfer_view(transfer, payment.scale))
            .collect(),
        payer_address: payment.payer.map(|address| address.to_checksum()),
        claims: payment.claims.iter().map(claim_view).collect(),
        reference_id: payment.reference_id.as_deref(),
        description: payment.description.as_deref(),
        metadata: &payment.metadata,
        failure: payment.failure.as_deref(),
        created_at: payment.created_at.to_string(),
        expires_at: payment.expires_at.to_string(),
        reserved_until: payment.reserved_until.map(|time| time.to_string()),
        completed_at: payment.completed_at.map(|time| time.to_string()),
    }
}

const fn confirmed_by(policy: ConfirmationPolicy) -> ConfirmedBy {
    match policy.depth {
        Some(_) => ConfirmedBy::Confirmations,
        None => ConfirmedBy::Finalized,
    }
}

fn claim_view(claim: &PaymentClaim) -> ClaimView<'_> {
    let (transaction_hash, reason) = (claim.tx_hash.to_string(), claim.reason.as_deref());
    ClaimView { transaction_hash, status: claim.status, reason }
}

fn transfer_view(transfer: &PaymentTransfer, scale: u8) -> TransferView {
    TransferView {
        tx_hash: transfer.tx_hash.to_string(),
        block_number: transfer.block_number.0,
        log_index: transfer.log_index,
        amount: amount_text(transfer.amount, scale),
        status: transfer.status,
    }
}

/// [`payment_view`] as a value.
pub fn payment_json(payment: &Payment) -> Value {
    // Text, numbers, lists and maps with text keys: there is nothing in it that JSON cannot state.
    serde_json::to_value(payment_view(payment)).unwrap_or_default()
}

/// A refund as the API shows it.
pub fn refund_json(refund: &Refund) -> Value {
    let view = RefundView {
        id: refund.id.to_string(),
        object: "refund",
        payment: refund.payment.to_string(),
        merchant: refund.merchant.to_string(),
        livemode: refund.livemode,
        amount: amount_text(refund.amount, refund.scale),
        asset: refund.asset.as_str(),
        destination: refund.destination.as_deref(),
        reference: refund.reference.as_deref(),
        reason: refund.reason.as_deref(),
        created_at: refund.created_at.to_string(),
    };
    // As in `payment_json`.
    serde_json::to_value(view).unwrap_or_default()
}

/// What a wallet opens to pay, by ERC-681 (<https://eips.ethereum.org/EIPS/eip-681>): `ethereum:` token `@` chain id
/// `/transfer?address=` receiver `&uint256=` the amount in the token's smallest unit, all its digits. The parameters'
/// names are their Solidity types in the order of `transfer(address,uint256)`; the chain id is always said, since without
/// one a wallet takes the network it happens to be on; addresses have their ERC-55 checksum, as the ERC recommends.
/// `None` for a payment that is not made on a chain.
pub fn payment_uri(payment: &Payment) -> Option<String> {
    let (chain, token, deposit) = (payment.chain?, payment.token?, payment.deposit_address?);
    let (token, deposit) = (token.to_checksum(), deposit.to_checksum());
    Some(format!("ethereum:{token}@{chain}/transfer?address={deposit}&uint256={}", payment.amount))
}

/// An amount as people write it: at least two digits after the point where the asset has them, no further zeros
/// (`12.50`, `0.000001`, `7`). Exact: it never rounds.
pub fn amount_text(amount: Amount, scale: u8) -> String {
    let exact = amount.to_decimal(scale);
    let Some((whole, fraction)) = exact.split_once('.') else { return exact };
    let needed = fraction.trim_end_matches('0').len().max(fraction.len().min(2));
    let fraction: String = fraction.chars().take(needed).collect();
    format!("{whole}.{fraction}")
}

#[cfg(test)]
mod tests;
