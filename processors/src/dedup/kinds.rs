//! Which event types are read, and for what. An event type that is in no list is a dead letter: it may speak of money
//! in a way this version does not know.

use streambook_runtime::processor::Fault;

/// What an event type is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// What its object's state says about money, and whose it is.
    Money,
    /// Only whose it is: the object is not in a final state, or another event says the same.
    Owner,
    /// Nothing: it is not about a card payment.
    Nothing,
}

const MONEY: [&str; 15] = [
    "charge.succeeded",
    "charge.captured",
    "charge.updated",
    "charge.refunded",
    "charge.refund.updated",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "charge.dispute.closed",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "payment_intent.succeeded",
    "payment_intent.canceled",
];

/// A declined charge (`charge.failed`, `payment_intent.payment_failed`) is not the end of a payment: the payer may try
/// another card until the intent is canceled, so only `payment_intent.canceled` fails it.
const OWNER: [&str; 9] = [
    "charge.failed",
    "charge.pending",
    "charge.expired",
    "payment_intent.created",
    "payment_intent.processing",
    "payment_intent.requires_action",
    "payment_intent.payment_failed",
    "payment_intent.amount_capturable_updated",
    "payment_intent.partially_funded",
];

/// Groups of event types that are not about a card payment, by what their names begin with.
const NOTHING: [&str; 21] = [
    "account.",
    "balance.",
    "billing_portal.",
    "capability.",
    "cash_balance.",
    "checkout.",
    "coupon.",
    "credit_note.",
    "customer.",
    "file.",
    "invoice.",
    "invoiceitem.",
    "payment_link.",
    "payment_method.",
    "payout.",
    "plan.",
    "price.",
    "product.",
    "setup_intent.",
    "subscription_schedule.",
    "tax.",
];

/// What an event of this type is read for.
pub(super) fn reading(event_type: &str) -> Result<Reading, Fault> {
    if MONEY.contains(&event_type) {
        Ok(Reading::Money)
    } else if OWNER.contains(&event_type) {
        Ok(Reading::Owner)
    } else if NOTHING.iter().any(|group| event_type.starts_with(group)) {
        Ok(Reading::Nothing)
    } else {
        let reason =
            format!("`{event_type}` is not known: take it off the Stripe endpoint, or upgrade and retry");
        Err(Fault::dead_letter("unknown_event_type", reason))
    }
}
