//! After every fact: what should be applied is compared with what is, the books are settled by the difference, and the
//! public is told.

use streambook_model::{
    id::{EventId, RefundId, TransactionId},
    money::Amount,
    records::payment::{PaymentEvent, PaymentEventType, PaymentMethod, PaymentStatus, Refund},
    time::Timestamp,
    topics,
};
use streambook_runtime::processor::{Context, Fault};

use super::{
    confirmations::{Application, PaymentState, evaluate},
    ledger::{self, Amounts, Book, Posting, TemplateName},
    notifications, tables,
};
use crate::invariants::{Invariant, at_run_time, pending_is_never_negative};

/// What the public is told of, beside a change of status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tell {
    /// Nothing else.
    Changes,
    /// The amounts have changed: the event of the current status is said again.
    Amounts,
    /// A refund was recorded.
    Refunded(Box<Refund>),
    /// A refund failed.
    RefundFailed(Box<Refund>),
}

/// The book a payment belongs to.
pub(super) fn book_of(payment: &PaymentState) -> Book {
    Book { merchant: payment.intent.merchant, livemode: payment.intent.livemode }
}

/// Settles the books, tells the public and keeps the payment.
pub(super) fn settle(
    context: &mut Context<'_>,
    payment: &mut PaymentState,
    occurred_at: Timestamp,
    tell: Tell,
) -> Result<(), Fault> {
    let (received, confirmed) = (payment.tally.received()?, payment.tally.confirmed()?);
    let pending = pending_is_never_negative(payment.intent.id, received, confirmed);
    at_run_time(context, Invariant::PendingIsNeverNegative, pending)?;
    let evaluation = evaluate(payment)?;
    apply(context, payment, evaluation.target, occurred_at)?;
    seal_card(context, payment)?;
    let changed = turn(payment, evaluation.status, context.now());
    if changed || tell == Tell::Amounts {
        announce(context, payment, event_type(payment.status), None, occurred_at)?;
    }
    match tell {
        Tell::Changes | Tell::Amounts => {}
        Tell::Refunded(refund) => {
            announce(context, payment, PaymentEventType::Refunded, Some(*refund), occurred_at)?;
        }
        Tell::RefundFailed(refund) => {
            announce(context, payment, PaymentEventType::RefundFailed, Some(*refund), occurred_at)?;
        }
    }
    Ok(tables::put_payment(&mut context.state, payment)?)
}

/// Says that something happened to a payment.
pub(super) fn announce(
    context: &mut Context<'_>,
    payment: &mut PaymentState,
    event_type: PaymentEventType,
    refund: Option<Refund>,
    occurred_at: Timestamp,
) -> Result<(), Fault> {
    payment.version = payment.version.saturating_add(1);
    let event = EventId::derive_beside(payment.intent.id.bits(), &[&payment.version.to_be_bytes()]);
    let meta = context.meta(occurred_at);
    let event = PaymentEvent { meta, event, event_type, payment: payment.snapshot()?, refund };
    context.emit(topics::PAYMENTS_EVENTS, payment.intent.merchant.to_string(), event.clone());
    notifications::notify(context, &event)
}

/// Posts to the payment's book; a repeat cannot come here, so every posting has a natural id of its own.
pub(super) fn post(
    context: &mut Context<'_>,
    payment: &PaymentState,
    template: TemplateName,
    event: String,
    amounts: Amounts,
    refund: Option<RefundId>,
    occurred_at: Timestamp,
) -> Result<Option<TransactionId>, Fault> {
    let intent = &payment.intent;
    let posting = Posting {
        set: &intent.settlement,
        template,
        payment: Some(intent.id),
        refund,
        event,
        occurred_at,
        asset: intent.asset.clone(),
        amounts,
    };
    ledger::post(context, book_of(payment), posting)
}

/// The amounts of a posting without a fee.
pub(super) fn whole(amount: Amount) -> Result<Amounts, Fault> {
    Amounts::of(amount)
        .ok_or_else(|| Fault::dead_letter("negative_amount", "money that moves is never negative"))
}

/// Brings what is applied to the target: takes back the latest applications where it is too much, and applies what is
/// missing. The fee is that of the whole, so it does not depend on the steps.
fn apply(
    context: &mut Context<'_>,
    payment: &mut PaymentState,
    target: Amount,
    occurred_at: Timestamp,
) -> Result<(), Fault> {
    while payment.applied.gross > target {
        let last = payment.applied.open.pop().ok_or_else(|| {
            Fault::Stop(format!("{}: money that is sealed would have to be taken back", payment.intent.id))
        })?;
        let event = format!("{}:reversed:{}", payment.intent.id, last.transaction);
        ledger::reverse(context, book_of(payment), last.transaction, event, occurred_at)?;
        payment.applied.gross = payment.applied.gross.minus(last.gross)?;
        payment.applied.fee = payment.applied.fee.minus(last.fee)?;
    }
    if payment.applied.gross < target { apply_more(context, payment, target, occurred_at) } else { Ok(()) }
}

fn apply_more(
    context: &mut Context<'_>,
    payment: &mut PaymentState,
    target: Amount,
    occurred_at: Timestamp,
) -> Result<(), Fault> {
    let gross = target.minus(payment.applied.gross)?;
    let fee = ledger::fee(target, payment.intent.fee)?.minus(payment.applied.fee)?;
    let amounts = Amounts::with_fee(gross, fee)
        .ok_or_else(|| Fault::Stop(format!("{}: a fee of {fee} on {gross}", payment.intent.id)))?;
    payment.applied.count = payment.applied.count.saturating_add(1);
    let event = format!("{}:applied:{}", payment.intent.id, payment.applied.count);
    let posted = post(context, payment, TemplateName::PaymentApplied, event, amounts, None, occurred_at)?;
    payment.applied.gross = target;
    payment.applied.fee = payment.applied.fee.plus(fee)?;
    payment.applied.open.extend(posted.map(|transaction| Application { transaction, gross, fee }));
    Ok(())
}

/// A card's money comes back by facts of its own and never by a reversal, so what a reversal or an earlier acceptance would
/// need is not kept. A chain payment keeps it: an operator may rebuild a chain below what was final.
fn seal_card(context: &mut Context<'_>, payment: &mut PaymentState) -> Result<(), Fault> {
    if payment.intent.method != PaymentMethod::Card {
        return Ok(());
    }
    for application in std::mem::take(&mut payment.applied.open) {
        ledger::seal(context, book_of(payment), application.transaction);
    }
    let confirmed = payment.tally.confirmed()?;
    let in_force = payment.acceptance(confirmed).map(|accepted| accepted.confirmed);
    payment.accepted.retain(|accepted| Some(accepted.confirmed) >= in_force);
    Ok(())
}

/// Sets the status; says whether it is another one.
fn turn(payment: &mut PaymentState, status: PaymentStatus, now: Timestamp) -> bool {
    let changed = payment.status != status;
    payment.status = status;
    match status {
        PaymentStatus::Completed | PaymentStatus::Overpaid => {
            payment.once_completed = true;
            payment.completed_at = payment.completed_at.or(Some(now));
        }
        // A dispute does not undo that the payment was made.
        PaymentStatus::Disputed => {}
        _ => payment.completed_at = None,
    }
    changed
}

const fn event_type(status: PaymentStatus) -> PaymentEventType {
    match status {
        PaymentStatus::Pending => PaymentEventType::Pending,
        PaymentStatus::Confirming => PaymentEventType::Confirming,
        PaymentStatus::Completed => PaymentEventType::Completed,
        PaymentStatus::Expired => PaymentEventType::Expired,
        PaymentStatus::Failed => PaymentEventType::Failed,
        PaymentStatus::Canceled => PaymentEventType::Canceled,
        PaymentStatus::Underpaid => PaymentEventType::Underpaid,
        PaymentStatus::Overpaid => PaymentEventType::Overpaid,
        PaymentStatus::PaidLate => PaymentEventType::PaidLate,
        PaymentStatus::Reversed => PaymentEventType::Reversed,
        PaymentStatus::Disputed => PaymentEventType::Disputed,
    }
}
