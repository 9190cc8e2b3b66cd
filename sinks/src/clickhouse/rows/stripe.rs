//! `stripe.inbox` without the bodies, and the money facts of `book.inbox`.

use serde::Serialize;
use streambook_model::{
    id::{MerchantId, PaymentId},
    records::stripe::{CardFact, StripeEvent},
};

use super::At;
use crate::clickhouse::words;

/// A row of `stripe_events`.
#[derive(Debug, Serialize)]
pub(crate) struct StripeEventRow<'b> {
    log_partition: u16,
    log_offset: u64,
    batch: u64,
    recorded_at: i64,
    created: i64,
    event: &'b str,
    event_type: &'b str,
    family: &'b str,
    livemode: bool,
}

impl<'b> StripeEventRow<'b> {
    pub(crate) fn of(at: At, event: &'b StripeEvent) -> Self {
        Self {
            log_partition: at.log_partition,
            log_offset: at.log_offset,
            batch: at.batch,
            recorded_at: at.recorded_at,
            created: event.created.millis(),
            event: &event.event,
            event_type: &event.event_type,
            family: &event.family,
            livemode: event.livemode,
        }
    }
}

/// A row of `stripe_facts`.
#[derive(Debug, Serialize)]
pub(crate) struct FactRow<'b> {
    log_partition: u16,
    log_offset: u64,
    batch: u64,
    recorded_at: i64,
    occurred_at: i64,
    kind: &'static str,
    merchant: MerchantId,
    payment: PaymentId,
    livemode: bool,
    object: &'b str,
    asset: &'b str,
    amount: i128,
    reason: &'b str,
}

impl<'b> FactRow<'b> {
    pub(crate) fn of(at: At, fact: &'b CardFact) -> Self {
        Self {
            log_partition: at.log_partition,
            log_offset: at.log_offset,
            batch: at.batch,
            recorded_at: at.recorded_at,
            occurred_at: at.occurred_at,
            kind: words::fact(fact.kind),
            merchant: fact.merchant,
            payment: fact.payment,
            livemode: fact.livemode,
            object: &fact.object,
            asset: fact.asset.as_str(),
            amount: fact.amount.units(),
            reason: fact.reason.as_deref().unwrap_or_default(),
        }
    }
}
