//! Posting templates: which accounts a money event debits and credits. They are data, in `postings.toml` or in the
//! operator's settings; here is their checked form. Whatever the amounts, what a [`Template`] posts sums to zero.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::account::Account;

/// A money event the books know how to post. Every set of templates has exactly these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TemplateName {
    /// `transfer.received`: a chain transfer is confirmed and not yet applied to its payment. Reversible.
    TransferReceived,
    /// `payment.applied`: received money becomes the merchant's, less the fee (gross, fee, net). Reversible.
    PaymentApplied,
    /// `card.received`: a card payment arrived in the Stripe balance and is not yet applied.
    CardReceived,
    /// `card.fee`: Stripe's fee of a card payment, borne by the merchant; its amount is the gross.
    CardFee,
    /// `refund.recorded`: tokens were sent back, of money that was applied.
    RefundRecorded,
    /// `refund.unapplied`: tokens were sent back, of money that was never applied.
    RefundUnapplied,
    /// `card.refunded`: Stripe refunded a card payment that was applied.
    CardRefunded,
    /// `card.refunded_unapplied`: Stripe refunded a card payment that was never applied.
    CardRefundedUnapplied,
    /// `refund.failed`: a card refund of applied money failed and the money is back in the Stripe balance.
    RefundFailed,
    /// `refund.failed_unapplied`: the same, of money that was never applied.
    RefundFailedUnapplied,
    /// `dispute.opened`: Stripe withdrew the disputed amount.
    DisputeOpened,
    /// `dispute.fee`: Stripe's fee for a dispute, borne by the merchant; its amount is the gross.
    DisputeFee,
    /// `dispute.fee_returned`: Stripe gave that fee back.
    DisputeFeeReturned,
    /// `dispute.won`: Stripe gave the disputed amount back.
    DisputeWon,
    /// `dispute.lost`: the disputed amount is gone for good. Custodial books have nothing left to post then.
    DisputeLost,
    /// `suspense.transfer`: a chain transfer is confirmed that can be assigned to no payment. Reversible.
    SuspenseTransfer,
    /// `suspense.card`: money arrived in the Stripe balance that can be assigned to no payment.
    SuspenseCard,
    /// `suspense.assigned`: money in suspense was found to belong to a payment, and is now to be applied to it.
    SuspenseAssigned,
}

impl TemplateName {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::TransferReceived,
        Self::PaymentApplied,
        Self::CardReceived,
        Self::CardFee,
        Self::RefundRecorded,
        Self::RefundUnapplied,
        Self::CardRefunded,
        Self::CardRefundedUnapplied,
        Self::RefundFailed,
        Self::RefundFailedUnapplied,
        Self::DisputeOpened,
        Self::DisputeFee,
        Self::DisputeFeeReturned,
        Self::DisputeWon,
        Self::DisputeLost,
        Self::SuspenseTransfer,
        Self::SuspenseCard,
        Self::SuspenseAssigned,
    ];

    /// Its name in the data file and in ledger transactions.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TransferReceived => "transfer.received",
            Self::PaymentApplied => "payment.applied",
            Self::CardReceived => "card.received",
            Self::CardFee => "card.fee",
            Self::RefundRecorded => "refund.recorded",
            Self::RefundUnapplied => "refund.unapplied",
            Self::CardRefunded => "card.refunded",
            Self::CardRefundedUnapplied => "card.refunded_unapplied",
            Self::RefundFailed => "refund.failed",
            Self::RefundFailedUnapplied => "refund.failed_unapplied",
            Self::DisputeOpened => "dispute.opened",
            Self::DisputeFee => "dispute.fee",
            Self::DisputeFeeReturned => "dispute.fee_returned",
            Self::DisputeWon => "dispute.won",
            Self::DisputeLost => "dispute.lost",
            Self::SuspenseTransfer => "suspense.transfer",
            Self::SuspenseCard => "suspense.card",
            Self::SuspenseAssigned => "suspense.assigned",
        }
    }

    /// Whether a reorganisation can take such an event back. Only of these are the entries kept for a reversal.
    pub const fn is_reversible(self) -> bool {
        matches!(self, Self::TransferReceived | Self::PaymentApplied | Self::SuspenseTransfer)
    }

    /// Whether it books money that has arrived, and so may not be without entries.
    pub const fn is_receipt(self) -> bool {
        matches!(
            self,
            Self::TransferReceived | Self::CardReceived | Self::SuspenseTransfer | Self::SuspenseCard
        )
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.as_str() == text)
    }
}

/// One of the amounts of a money event; `gross = net + fee`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Part {
    /// `gross`: the whole.
    Gross,
    /// `fee`: Streambook's share of it.
    Fee,
    /// `net`: the rest.
    Net,
}

/// The side of an account that a line is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Side {
    /// Positive.
    Debit,
    /// Negative.
    Credit,
}

/// One line of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The account it changes.
    pub account: Account,
    /// In which direction.
    pub side: Side,
    /// By which of the event's amounts.
    pub amount: Part,
}

/// A template: balanced, whatever the amounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// Its version, stated in every transaction it makes.
    pub version: u32,
    /// Its lines, in the order of the entries.
    pub lines: Vec<Line>,
}

/// Every set of templates, by name, each complete and balanced. Made by [`Templates::parse`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Templates(pub(super) BTreeMap<String, BTreeMap<TemplateName, Template>>);

impl Templates {
    /// Whether there is such a set, and so whether a merchant's `settlement` may name it.
    pub fn has_set(&self, set: &str) -> bool {
        self.0.contains_key(set)
    }

    /// One template.
    pub fn get(&self, set: &str, name: TemplateName) -> Option<&Template> {
        self.0.get(set)?.get(&name)
    }
}
