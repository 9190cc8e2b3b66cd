//! Taking an underpaid, overpaid, late or partly reversed payment's money as it is.

use streambook_model::{
    money::Amount,
    records::{book::AcceptPayment, payment::PaymentStatus},
};
use streambook_runtime::processor::Context;

use super::{
    super::{
        reply::{self, Answer, Denied},
        settle::{self, Tell},
    },
    Done, load,
};

/// Acceptances of one payment that a reorganisation could still undo.
const ACCEPTED_MAX: usize = 100;

pub(super) fn decide(context: &mut Context<'_>, command: &AcceptPayment) -> Result<Done, Denied> {
    let mut payment = load(context, &command.caller, command.payment)?;
    let confirmed = payment.tally.confirmed()?;
    if payment.acceptance(confirmed).is_some_and(|accepted| accepted.confirmed == confirmed) {
        return Ok(Done::before(Answer::Payment(payment.snapshot()?)));
    }
    let open = matches!(
        payment.status,
        PaymentStatus::Underpaid
            | PaymentStatus::Overpaid
            | PaymentStatus::PaidLate
            | PaymentStatus::Reversed
    );
    if !open || payment.unapplied()? <= Amount::ZERO {
        let detail = "there is no confirmed money that waits for a decision; \
                      an underpaid, overpaid or late payment can be accepted";
        return Err(reply::conflict("payment_not_acceptable", detail));
    }
    if payment.accepted.len() >= ACCEPTED_MAX {
        let detail =
            "too many acceptances of this payment wait for finality; accept the rest once it is final";
        return Err(reply::conflict("too_many_acceptances", detail));
    }
    payment.accept()?;
    let now = context.now();
    settle::settle(context, &mut payment, now, Tell::Changes)?;
    Ok(Done::now(Answer::Payment(payment.snapshot()?)))
}
