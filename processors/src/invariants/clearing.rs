//! Received money waits in clearing until it is applied; at rest nothing is left there.

use std::collections::BTreeMap;

use streambook_model::{
    id::PaymentId,
    records::{
        ledger::LedgerTransaction,
        payment::{Payment, PaymentStatus},
    },
};

use super::{Check, Invariant, ensure, fee::name};

/// What waits in clearing, of each payment of which something does: no more payments than are in flight or wait for their
/// merchant's decision.
#[derive(Debug, Clone, Default)]
pub struct Waiting(BTreeMap<PaymentId, Left>);

#[derive(Debug, Clone, Copy, Default)]
struct Left {
    units: i128,
    /// A refund has moved some of it; what is left is then a matter of what the refund was taken from.
    refunded: bool,
}

impl Waiting {
    /// Takes a transaction.
    pub fn observe(&mut self, transaction: &LedgerTransaction) {
        let Some(payment) = transaction.payment else { return };
        let entries = transaction.entries.iter().filter(|entry| name(&entry.account) == Some("clearing"));
        let units = entries.fold(0_i128, |sum, entry| sum.saturating_add(entry.amount.units()));
        if units == 0 && transaction.refund.is_none() {
            return;
        }
        let left = self.0.entry(payment).or_default();
        left.units = left.units.saturating_add(units);
        left.refunded |= transaction.refund.is_some();
        if left.units == 0 {
            self.0.remove(&payment);
        }
    }

    fn left(&self, payment: PaymentId) -> Left {
        self.0.get(&payment).copied().unwrap_or_default()
    }
}

/// [`Invariant::ClearingIsZeroAtRest`], of a payment as an event leaves it: once it is completed and nothing of it was
/// refunded, all that was received is applied.
pub fn clearing_is_zero_at_rest(payment: &Payment, waiting: &Waiting) -> Check {
    let left = waiting.left(payment.id);
    let at_rest = payment.status == PaymentStatus::Completed
        && payment.amount_refunded.is_zero()
        && payment.amount_received == payment.amount_confirmed
        && !left.refunded;
    ensure(!at_rest || left.units == 0, Invariant::ClearingIsZeroAtRest, || {
        format!("{} is completed and leaves {} in clearing", payment.id, left.units)
    })
}
