//! `payments.events`: each event, and each payment as it last was.

use std::collections::BTreeMap;

use serde::Serialize;
use streambook_model::{
    id::{EventId, MerchantId, PaymentId, RefundId},
    records::payment::{Payment, PaymentEvent},
};

use super::{At, Raw, Text, chain_id};
use crate::clickhouse::words;

/// A row of `payment_events`.
#[derive(Debug, Serialize)]
pub(crate) struct EventRow<'b> {
    log_partition: u16,
    log_offset: u64,
    batch: u64,
    recorded_at: i64,
    occurred_at: i64,
    event: EventId,
    event_type: &'static str,
    payment: PaymentId,
    merchant: MerchantId,
    livemode: bool,
    version: u32,
    status: &'static str,
    method: &'static str,
    chain: u64,
    asset: &'b str,
    scale: u8,
    amount: i128,
    amount_received: i128,
    amount_confirmed: i128,
    amount_refunded: i128,
    fee: i128,
    confirmations: u32,
    refund: Text<RefundId>,
    refund_amount: i128,
    failure: &'b str,
}

impl<'b> EventRow<'b> {
    pub(crate) fn of(at: At, event: &'b PaymentEvent) -> Self {
        let payment = &event.payment;
        Self {
            log_partition: at.log_partition,
            log_offset: at.log_offset,
            batch: at.batch,
            recorded_at: at.recorded_at,
            occurred_at: at.occurred_at,
            event: event.event,
            event_type: event.event_type.name(),
            payment: payment.id,
            merchant: payment.merchant,
            livemode: payment.livemode,
            version: payment.version,
            status: words::status(payment.status),
            method: words::method(payment.method),
            chain: chain_id(payment.chain),
            asset: payment.asset.as_str(),
            scale: payment.scale,
            amount: payment.amount.units(),
            amount_received: payment.amount_received.units(),
            amount_confirmed: payment.amount_confirmed.units(),
            amount_refunded: payment.amount_refunded.units(),
            fee: payment.fee.units(),
            confirmations: payment.confirmations,
            refund: Text(event.refund.as_ref().map(|refund| refund.id)),
            refund_amount: event.refund.as_ref().map_or(0, |refund| refund.amount.units()),
            failure: payment.failure.as_deref().unwrap_or_default(),
        }
    }
}

/// A row of `payments`.
#[derive(Debug, Serialize)]
pub(crate) struct PaymentRow<'b> {
    payment: PaymentId,
    version: u32,
    batch: u64,
    merchant: MerchantId,
    livemode: bool,
    status: &'static str,
    method: &'static str,
    chain: u64,
    asset: &'b str,
    scale: u8,
    amount: i128,
    amount_received: i128,
    amount_confirmed: i128,
    amount_refunded: i128,
    fee: i128,
    token: Raw<20>,
    deposit_address: Raw<20>,
    policy_depth: u32,
    confirmations: u32,
    transfers: u32,
    reference_id: &'b str,
    metadata: &'b BTreeMap<String, String>,
    failure: &'b str,
    created_at: i64,
    expires_at: i64,
    completed_at: Option<i64>,
    updated_at: i64,
}

/// The latest snapshot of each payment in a batch: of several only the last is written.
#[derive(Debug, Default)]
pub(crate) struct Payments<'b>(BTreeMap<PaymentId, (At, &'b Payment)>);

impl<'b> Payments<'b> {
    pub(crate) fn take(&mut self, at: At, event: &'b PaymentEvent) {
        let payment = &event.payment;
        let latest = self.0.entry(payment.id).or_insert((at, payment));
        if latest.1.version < payment.version {
            *latest = (at, payment);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn rows(&self) -> Vec<PaymentRow<'b>> {
        self.0.values().map(|(at, payment)| row(*at, payment)).collect()
    }
}

fn row(at: At, payment: &Payment) -> PaymentRow<'_> {
    PaymentRow {
        payment: payment.id,
        version: payment.version,
        batch: at.batch,
        merchant: payment.merchant,
        livemode: payment.livemode,
        status: words::status(payment.status),
        method: words::method(payment.method),
        chain: chain_id(payment.chain),
        asset: payment.asset.as_str(),
        scale: payment.scale,
        amount: payment.amount.units(),
        amount_received: payment.amount_received.units(),
        amount_confirmed: payment.amount_confirmed.units(),
        amount_refunded: payment.amount_refunded.units(),
        fee: payment.fee.units(),
        token: Raw::maybe(payment.token.as_ref()),
        deposit_address: Raw::maybe(payment.deposit_address.as_ref()),
        policy_depth: payment.policy.and_then(|policy| policy.depth).unwrap_or(0),
        confirmations: payment.confirmations,
        transfers: u32::try_from(payment.transfers.len()).unwrap_or(u32::MAX),
        reference_id: payment.reference_id.as_deref().unwrap_or_default(),
        metadata: &payment.metadata.0,
        failure: payment.failure.as_deref().unwrap_or_default(),
        created_at: payment.created_at.millis(),
        expires_at: payment.expires_at.millis(),
        completed_at: payment.completed_at.map(streambook_model::time::Timestamp::millis),
        updated_at: at.recorded_at,
    }
}
