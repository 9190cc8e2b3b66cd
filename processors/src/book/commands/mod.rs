//! The merchants' commands. Each is decided once, here, in log order, and answered exactly once; one that breaks a rule
//! changes nothing in the state.
//!
//! The API checks shape and authority before it appends a command. It may append one twice when it cannot tell whether the
//! first attempt arrived: an id that is known already gives the same object again.

mod accept;
mod cancel;
mod claim;
mod create;
mod refund;
mod terms;

use streambook_model::{
    id::PaymentId,
    records::{
        book::{AcceptPayment, Caller, CancelPayment, ClaimPayment, CreatePayment, CreateRefund},
        reply::{CommandOutcome, Problem},
    },
};
use streambook_runtime::processor::{Context, Fault};

use super::{
    confirmations::PaymentState,
    idempotency::{self, Known},
    reply::{self, Answer, Denied},
    tables,
};
use crate::invariants::{
    Invariant, KeySeen, at_run_time, key_gives_the_same, rejected_command_changes_nothing,
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

/// Claims a transaction for a payment.
pub(super) fn claim_payment(context: &mut Context<'_>, command: &ClaimPayment) -> Result<(), Fault> {
    answer(context, &command.caller, |context| claim::decide(context, command))
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
    let known = idempotency::look_up(&context.state, caller, now)?;
    let seen = match &known {
        Known::New => KeySeen::Never,
        Known::Same(_) => KeySeen::Same { is_result_the_same: true },
        Known::Other => KeySeen::Other,
    };
    let decided = match known {
        Known::Same(answer) => Ok(Done::before(answer)),
        Known::Other => Err(reply::key_reused()),
        Known::New => match decide(context) {
            Ok(done) => Ok(done),
            Err(Denied::Problem(problem)) => Err(problem),
            Err(Denied::Fault(fault)) => return Err(fault),
        },
    };
    check(context, caller, seen, &decided)?;
    match decided {
        Ok(done) => {
            if done.outcome == CommandOutcome::Accepted {
                idempotency::remember(&mut context.state, caller, now, &done.answer)?;
            }
            reply::give(context, caller, done.outcome, done.answer);
        }
        Err(problem) => reply::refuse(context, caller, problem),
    }
    Ok(())
}

/// What must hold of a decided command. That the same key gives the same result is seen by a replay, which knows the first.
fn check(
    context: &mut Context<'_>,
    caller: &Caller,
    seen: KeySeen,
    decided: &Result<Done, Problem>,
) -> Result<(), Fault> {
    let (outcome, code) = match decided {
        Ok(done) => (done.outcome, None),
        Err(problem) => (CommandOutcome::Rejected, Some(problem.code.as_str())),
    };
    if let Some(asked) = &caller.idempotency {
        let holds = key_gives_the_same(&asked.key, seen, outcome, code);
        at_run_time(context, Invariant::KeyGivesTheSame, holds)?;
    }
    // What the runtime itself notes of a record is below key 0.
    let changed = context.state.changes().keys().find(|key| key.first() != Some(&0)).cloned();
    let holds = rejected_command_changes_nothing(outcome, changed.as_deref());
    at_run_time(context, Invariant::RejectedCommandChangesNothing, holds)
}

/// The caller's payment.
fn load(context: &Context<'_>, caller: &Caller, id: PaymentId) -> Result<PaymentState, Denied> {
    let payment = tables::payment(&context.state, id)?;
    payment.filter(|payment| is_callers(payment, caller)).ok_or_else(|| reply::not_found("payment"))
}

fn is_callers(payment: &PaymentState, caller: &Caller) -> bool {
    (payment.intent.merchant, payment.intent.livemode) == (caller.merchant, caller.livemode)
}
