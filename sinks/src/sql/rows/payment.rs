//! Payments, their events, their refunds.
//!
//! A payment's row holds its last snapshot whole. An event's row holds only what events can change, a third of a snapshot,
//! and the payment as it was is put together again by [`Moment::onto`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use streambook_model::{
    id::{PaymentId, RefundId},
    money::Amount,
    records::payment::{Payment, PaymentClaim, PaymentEvent, PaymentStatus, PaymentTransfer, Refund},
    time::Timestamp,
};

use crate::sql::{
    cell::Cell,
    error::SqlError,
    table::{Existing, Rows, Table},
};

static PAYMENTS: Table = Table {
    name: "payments",
    columns: &[
        "id",
        "merchant",
        "livemode",
        "version",
        "status",
        "method",
        "asset",
        "scale",
        "amount",
        "amount_received",
        "amount_confirmed",
        "amount_refunded",
        "fee",
        "reference_id",
        "created_at",
        "expires_at",
        "completed_at",
        "snapshot",
    ],
    existing: Existing::Newer {
        key: &["id"],
        version: "version",
        changes: &[
            "version",
            "status",
            "amount_received",
            "amount_confirmed",
            "amount_refunded",
            "fee",
            "completed_at",
            "snapshot",
        ],
    },
};

static EVENTS: Table = Table {
    name: "payment_events",
    columns: &[
        "position",
        "id",
        "event_type",
        "payment",
        "merchant",
        "livemode",
        "refund",
        "occurred_at",
        "moment",
    ],
    existing: Existing::Refuse,
};

static REFUNDS: Table = Table {
    name: "refunds",
    columns: &[
        "id",
        "payment",
        "merchant",
        "livemode",
        "asset",
        "scale",
        "amount",
        "destination",
        "reference",
        "reason",
        "created_at",
        "position",
    ],
    existing: Existing::Newer {
        key: &["id"],
        version: "position",
        changes: &["amount", "destination", "reference", "reason", "position"],
    },
};

/// What an event can change of a payment. The field names are short, since there is one of these for each event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moment {
    #[serde(rename = "v")]
    version: u32,
    #[serde(rename = "s")]
    status: PaymentStatus,
    #[serde(rename = "r")]
    amount_received: Amount,
    #[serde(rename = "c")]
    amount_confirmed: Amount,
    #[serde(rename = "b")]
    amount_refunded: Amount,
    #[serde(rename = "f")]
    fee: Amount,
    #[serde(rename = "n")]
    confirmations: u32,
    #[serde(rename = "t", default, skip_serializing_if = "Vec::is_empty")]
    transfers: Vec<PaymentTransfer>,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    completed_at: Option<Timestamp>,
    #[serde(rename = "k", default, skip_serializing_if = "Vec::is_empty")]
    claims: Vec<PaymentClaim>,
}

impl Moment {
    /// What can change, as it is in this snapshot. Every field is named, so that whoever adds one to a payment decides
    /// here whether events can change it.
    fn of(payment: &Payment) -> Self {
        let Payment {
            version,
            status,
            amount_received,
            amount_confirmed,
            amount_refunded,
            fee,
            confirmations,
            transfers,
            failure,
            completed_at,
            claims,
            // Fixed at creation:
            id: _,
            merchant: _,
            livemode: _,
            method: _,
            asset: _,
            scale: _,
            amount: _,
            chain: _,
            token: _,
            deposit_address: _,
            derivation_path: _,
            policy: _,
            reference_id: _,
            description: _,
            metadata: _,
            created_at: _,
            expires_at: _,
            price: _,
            tolerance: _,
            matching: _,
            reserved_until: _,
            payer: _,
        } = payment;
        Self {
            version: *version,
            status: *status,
            amount_received: *amount_received,
            amount_confirmed: *amount_confirmed,
            amount_refunded: *amount_refunded,
            fee: *fee,
            confirmations: *confirmations,
            transfers: transfers.clone(),
            failure: failure.clone(),
            completed_at: *completed_at,
            claims: claims.clone(),
        }
    }

    /// The payment as it was at this moment, given any snapshot of it.
    pub(crate) fn onto(self, payment: Payment) -> Payment {
        Payment {
            version: self.version,
            status: self.status,
            amount_received: self.amount_received,
            amount_confirmed: self.amount_confirmed,
            amount_refunded: self.amount_refunded,
            fee: self.fee,
            confirmations: self.confirmations,
            transfers: self.transfers,
            failure: self.failure,
            completed_at: self.completed_at,
            claims: self.claims,
            ..payment
        }
    }
}

/// The rows of a batch's payment events.
#[derive(Debug)]
pub(super) struct PaymentRows<'b> {
    last: BTreeMap<PaymentId, &'b Payment>,
    refunds: BTreeMap<RefundId, (i64, &'b Refund)>,
    events: Rows,
}

impl Default for PaymentRows<'_> {
    fn default() -> Self {
        Self { last: BTreeMap::new(), refunds: BTreeMap::new(), events: Rows::of(&EVENTS) }
    }
}

impl<'b> PaymentRows<'b> {
    pub(super) fn take(&mut self, at: i64, event: &'b PaymentEvent) -> Result<(), SqlError> {
        let payment = &event.payment;
        let last = self.last.entry(payment.id).or_insert(payment);
        if payment.version > last.version {
            *last = payment;
        }
        if let Some(refund) = &event.refund {
            self.refunds.insert(refund.id, (at, refund));
        }
        self.events.push([
            at.into(),
            Cell::text(event.event),
            Cell::text(event.event_type.name()),
            Cell::text(payment.id),
            Cell::text(payment.merchant),
            payment.livemode.into(),
            Cell::maybe_text(event.refund.as_ref().map(|refund| refund.id)),
            event.meta.occurred_at.into(),
            Cell::json(&Moment::of(payment))?,
        ]);
        Ok(())
    }

    pub(super) fn finish(self, rows: &mut Vec<Rows>) -> Result<(), SqlError> {
        let mut payments = Rows::of(&PAYMENTS);
        for payment in self.last.into_values() {
            push_payment(&mut payments, payment)?;
        }
        let mut refunds = Rows::of(&REFUNDS);
        for (at, refund) in self.refunds.into_values() {
            push_refund(&mut refunds, at, refund);
        }
        rows.extend([payments, refunds, self.events]);
        Ok(())
    }
}

fn push_payment(rows: &mut Rows, payment: &Payment) -> Result<(), SqlError> {
    rows.push([
        Cell::text(payment.id),
        Cell::text(payment.merchant),
        payment.livemode.into(),
        payment.version.into(),
        Cell::word(&payment.status)?,
        Cell::word(&payment.method)?,
        Cell::text(&payment.asset),
        u32::from(payment.scale).into(),
        payment.amount.into(),
        payment.amount_received.into(),
        payment.amount_confirmed.into(),
        payment.amount_refunded.into(),
        payment.fee.into(),
        Cell::maybe_text(payment.reference_id.as_ref()),
        payment.created_at.into(),
        payment.expires_at.into(),
        Cell::maybe_time(payment.completed_at),
        Cell::json(payment)?,
    ]);
    Ok(())
}

fn push_refund(rows: &mut Rows, at: i64, refund: &Refund) {
    rows.push([
        Cell::text(refund.id),
        Cell::text(refund.payment),
        Cell::text(refund.merchant),
        refund.livemode.into(),
        Cell::text(&refund.asset),
        u32::from(refund.scale).into(),
        refund.amount.into(),
        Cell::maybe_text(refund.destination.as_ref()),
        Cell::maybe_text(refund.reference.as_ref()),
        Cell::maybe_text(refund.reason.as_ref()),
        refund.created_at.into(),
        at.into(),
    ]);
}
