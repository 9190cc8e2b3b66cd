//! Deadlines. A chain payment's passes by its chain's canonical time, so an outage of a node expires nobody; a card
//! payment's passes by a tick.

use streambook_model::{
    records::{book::Tick, chain::DeadlinePassed, payment::PaymentMethod},
    time::Timestamp,
};
use streambook_runtime::{
    processor::{Context, Fault},
    state::{State, StateError},
};

use super::{
    confirmations::Intent,
    settle::{self, Tell},
    tables::{self, CARD_DEADLINES},
};

/// How many deadlines one tick takes; what is left asks for the next tick.
const DUE_MAX: usize = 1_000;

/// The chain's time has passed a payment's deadline.
pub(super) fn passed(context: &mut Context<'_>, event: &DeadlinePassed) -> Result<(), Fault> {
    let mut payment = tables::payment_of_fact(&context.state, event.payment, event.merchant)?;
    if payment.intent.method != PaymentMethod::Chain {
        let reason = format!("{} is not paid on a chain", event.payment);
        return Err(Fault::dead_letter("asset_mismatch", reason));
    }
    if payment.deadline_passed {
        return Ok(());
    }
    payment.deadline_passed = true;
    settle::settle(context, &mut payment, event.meta.occurred_at, Tell::Changes)
}

/// Every card deadline up to the tick's time passes.
pub(super) fn tick(context: &mut Context<'_>, tick: &Tick) -> Result<(), Fault> {
    let after = Timestamp::from_millis(tick.now.millis().saturating_add(1));
    let due = CARD_DEADLINES.scan(&context.state, Timestamp::from_millis(i64::MIN), after, DUE_MAX)?;
    for (deadline, id) in due {
        CARD_DEADLINES.delete(&mut context.state, (deadline, id));
        let Some(mut payment) = tables::payment(&context.state, id)? else { continue };
        payment.deadline_passed = true;
        settle::settle(context, &mut payment, deadline, Tell::Changes)?;
    }
    Ok(())
}

/// Asks for a tick at a card payment's deadline.
pub(super) fn watch(state: &mut dyn State, intent: &Intent) -> Result<(), StateError> {
    CARD_DEADLINES.put(state, (intent.expires_at, intent.id), &(intent.expires_at, intent.id))
}

/// Asks for it no more: the payment has come to its end.
pub(super) fn unwatch(state: &mut dyn State, intent: &Intent) {
    CARD_DEADLINES.delete(state, (intent.expires_at, intent.id));
}

/// The earliest deadline.
pub(super) fn next(state: &dyn State) -> Result<Option<Timestamp>, StateError> {
    Ok(CARD_DEADLINES.scan_prefix(state, (), 1)?.first().map(|(deadline, _)| *deadline))
}
