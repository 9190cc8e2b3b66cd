//! Reports of transfers: each inclusion is booked once when it is confirmed, reversed when it is taken back, and its
//! payment evaluated again.

use streambook_model::records::{
    chain::TransferEvent,
    payment::{PaymentMethod, PaymentStatus},
};
use streambook_runtime::processor::{Context, Fault};

use super::{
    confirmations::{PaymentState, Step, TRANSFERS_KEPT, Tally, Transfer, observe},
    ledger::{self, TemplateName},
    settle::{self, Tell, book_of},
    tables,
};
use crate::invariants::{Before, Invariant, at_run_time, pending_is_resolved_once};

/// Where a payment keeps a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In its own value.
    Kept(usize),
    /// In the table beside it.
    Overflow,
    /// Nowhere yet.
    New,
}

/// Takes a report of a transfer; says whether it was taken before.
///
/// # Errors
/// A dead letter where it fits no payment, or contradicts what is known of it.
pub(super) fn take(context: &mut Context<'_>, event: &TransferEvent) -> Result<Before, Fault> {
    let mut payment = tables::payment_of_fact(&context.state, event.payment, event.merchant)?;
    check(&payment, event)?;
    let (place, known) = find(context, &payment, event)?;
    let (mut transfer, step) = observe(known.as_ref(), event)?;
    if step == Step::Repeat {
        return Ok(Before::Already);
    }
    let before = payment.tally;
    payment.recount(known.as_ref(), &transfer)?;
    book(context, &payment, &mut transfer, step, event)?;
    keep(context, &mut payment, place, transfer)?;
    let tell = news(&payment, &before)?;
    settle::settle(context, &mut payment, event.meta.occurred_at, tell)?;
    Ok(Before::Never)
}

fn check(payment: &PaymentState, event: &TransferEvent) -> Result<(), Fault> {
    let chain = payment.intent.chain.as_ref();
    let fits = payment.intent.method == PaymentMethod::Chain
        && payment.intent.asset == event.asset
        && chain.is_some_and(|chain| (chain.chain, chain.token) == (event.chain, event.token));
    if !fits {
        let reason = format!("{} is not paid in {} on chain {}", event.payment, event.asset, event.chain);
        return Err(Fault::dead_letter("asset_mismatch", reason));
    }
    if !event.amount.is_positive() {
        return Err(Fault::dead_letter("zero_transfer", "a transfer of nothing pays nothing"));
    }
    Ok(())
}

fn find(
    context: &Context<'_>,
    payment: &PaymentState,
    event: &TransferEvent,
) -> Result<(Place, Option<Transfer>), Fault> {
    let kept =
        payment.transfers.iter().enumerate().find(|(_, transfer)| transfer.inclusion == event.inclusion);
    if let Some((index, transfer)) = kept {
        return Ok((Place::Kept(index), Some(transfer.clone())));
    }
    if payment.overflow == 0 {
        return Ok((Place::New, None));
    }
    let known = tables::overflow_transfer(&context.state, payment.intent.id, &event.inclusion)?;
    Ok((known.as_ref().map_or(Place::New, |_| Place::Overflow), known))
}

fn book(
    context: &mut Context<'_>,
    payment: &PaymentState,
    transfer: &mut Transfer,
    step: Step,
    event: &TransferEvent,
) -> Result<(), Fault> {
    let (book, at) = (book_of(payment), event.meta.occurred_at);
    match step {
        Step::Repeat | Step::Seen => {}
        Step::Confirmed => {
            let amounts = settle::whole(transfer.amount)?;
            let name = natural_id(event);
            let once = pending_is_resolved_once(&name, Before::of(transfer.received.as_ref()));
            at_run_time(context, Invariant::PendingIsResolvedOnce, once)?;
            transfer.received =
                settle::post(context, payment, TemplateName::TransferReceived, name, amounts, None, at)?;
        }
        Step::Orphaned => {
            if let Some(received) = transfer.received.take() {
                ledger::reverse(context, book, received, format!("{}:orphaned", natural_id(event)), at)?;
            }
        }
        Step::Finalized => {}
    }
    Ok(())
}

/// What names an inclusion everywhere and for ever.
fn natural_id(event: &TransferEvent) -> String {
    let of = &event.inclusion;
    format!("{}:{}:{}:{}:{}", event.chain, of.block_hash, of.tx_hash, of.log_index, of.number)
}

fn keep(
    context: &mut Context<'_>,
    payment: &mut PaymentState,
    place: Place,
    transfer: Transfer,
) -> Result<(), Fault> {
    match place {
        Place::Kept(index) => {
            if let Some(slot) = payment.transfers.get_mut(index) {
                *slot = transfer;
            }
        }
        Place::New if payment.transfers.len() < TRANSFERS_KEPT => payment.transfers.push(transfer),
        Place::New | Place::Overflow => {
            payment.overflow = payment.overflow.saturating_add(u32::from(place == Place::New));
            tables::put_overflow_transfer(&mut context.state, payment.intent.id, &transfer)?;
        }
    }
    Ok(())
}

/// Confirmed money is always news. Money that is only seen is news while the payment waits for it; afterwards it would
/// only repeat, for example, that the payment is completed. Money that is taken back is always news: an event in between
/// may have shown it as received, and nothing later would correct that.
fn news(payment: &PaymentState, before: &Tally) -> Result<Tell, Fault> {
    let confirmed = payment.tally.confirmed()? != before.confirmed()?;
    let (received_before, received) = (before.received()?, payment.tally.received()?);
    let waiting = payment.status == PaymentStatus::Confirming;
    let news = confirmed || received < received_before || (received != received_before && waiting);
    Ok(if news { Tell::Amounts } else { Tell::Changes })
}
