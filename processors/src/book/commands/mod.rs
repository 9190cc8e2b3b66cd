//! The merchants' commands. Each is decided once, here, in log order, and answered exactly once; one that breaks a rule
//! changes nothing in the state.
//!
//! The API checks shape and authority before it appends a command. It may append one twice when it cannot tell whether the
//! first attempt arrived: an id that is known already gives the same object again.

mod accept;
mod cancel;
mod create;
mod refund;

use streambook_model::{
    id::PaymentId,
    records::{
        book::{AcceptPayment, Caller, CancelPayment, CreatePayment, CreateRefund},
        reply::CommandOutcome,
    },
};
use streambook_runtime::processor::{Context, Fault};

use super::{
    confirmations::PaymentState,
    idempotency::{self, Known},
    reply::{self, Answer, Denied},
    tables,
};

/// How a command was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Done {
    outcome: CommandOutcome,
    answer: Answer,
}

impl Done {
    const fn now(answer: Answer) -> Self {
        Self { outcome: CommandOutcome::Accepted, answer }
    }

    const fn before(answer: Answer) -> Self {
        Self { outcome: CommandOutcome::Replayed, answer }
    }
}

/// Creates a payment.
pub(super) fn create_payment(context: &mut Context<'_>, command: CreatePayment) -> Result<(), Fault> {
    let caller = command.caller.clone();
    answer(context, &caller, |context| create::decide(context, command))
}

/// Cancels a payment.
pub(super) fn cancel_payment(context: &mut Context<'_>, command: &CancelPayment) -> Result<(), Fault> {
    answer(context, &command.caller, |context| cancel::decide(context, command))
}

/// Accepts what was paid.
pub(super) fn accept_payment(context: &mut Context<'_>, command: &AcceptPayment) -> Result<(), Fault> {
    answer(context, &command.caller, |context| accept::decide(context, command))
}

/// Records a refund.
pub(super) fn create_refund(context: &mut Context<'_>, command: CreateRefund) -> Result<(), Fault> {
    let caller = command.caller.clone();
    answer(context, &caller, |context| refund::decide(context, command))
}

/// Looks up the idempotency key, else decides; answers.
fn answer(
    context: &mut Context<'_>,
    caller: &Caller,
    decide: impl FnOnce(&mut Context<'_>) -> Result<Done, Denied>,
) -> Result<(), Fault> {
    let now = context.now();
    match idempotency::look_up(&context.state, caller, now)? {
        Known::Same(answer) => reply::give(context, caller, CommandOutcome::Replayed, answer),
        Known::Other => reply::refuse(context, caller, reply::key_reused()),
        Known::New => match decide(context) {
            Ok(done) => {
                if done.outcome == CommandOutcome::Accepted {
                    idempotency::remember(&mut context.state, caller, now, &done.answer)?;
                }
                reply::give(context, caller, done.outcome, done.answer);
            }
            Err(Denied::Problem(problem)) => reply::refuse(context, caller, problem),
            Err(Denied::Fault(fault)) => return Err(fault),
        },
    }
    Ok(())
}

/// The caller's payment.
fn load(context: &Context<'_>, caller: &Caller, id: PaymentId) -> Result<PaymentState, Denied> {
    let payment = tables::payment(&context.state, id)?;
    payment.filter(|payment| is_callers(payment, caller)).ok_or_else(|| reply::not_found("payment"))
}

fn is_callers(payment: &PaymentState, caller: &Caller) -> bool {
    (payment.intent.merchant, payment.intent.livemode) == (caller.merchant, caller.livemode)
}
