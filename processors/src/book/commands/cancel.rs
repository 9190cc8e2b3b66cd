//! Withdrawing a payment that nothing has been received for.

use streambook_model::{
    money::Amount,
    records::{
        book::CancelPayment,
        payment::{PaymentMethod, PaymentStatus},
    },
};
use streambook_runtime::processor::Context;

use super::{
    super::{
        deadlines,
        reply::{self, Answer, Denied},
        settle::{self, Tell},
    },
    Done, load,
};

pub(super) fn decide(context: &mut Context<'_>, command: &CancelPayment) -> Result<Done, Denied> {
    let mut payment = load(context, &command.caller, command.payment)?;
    if payment.status == PaymentStatus::Canceled {
        return Ok(Done::before(Answer::Payment(payment.snapshot()?)));
    }
    if payment.status != PaymentStatus::Pending || payment.tally.received()? != Amount::ZERO {
        let detail = "only a pending payment that nothing has been received for can be canceled; \
                      accept or refund what was received";
        return Err(reply::conflict("payment_not_cancelable", detail));
    }
    payment.canceled = true;
    if payment.intent.method == PaymentMethod::Card {
        deadlines::unwatch(&mut context.state, &payment.intent);
    }
    let now = context.now();
    settle::settle(context, &mut payment, now, Tell::Changes)?;
    Ok(Done::now(Answer::Payment(payment.snapshot()?)))
}
