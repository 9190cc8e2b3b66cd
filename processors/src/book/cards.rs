//! Card facts: what Stripe says of a payment's money. Each (kind, object) counts once.
//!
//! Stripe's events come in any order and the books end the same. Charges, fees and disputes are sums, so they are booked
//! as they come. A refund is taken from what was applied or from what was not, which is known only once the charge is
//! booked; and a failed refund returns what its refund took. So a refund waits for the charge, and a failed refund for its
//! refund: they are held in the payment and booked when that arrives.

use streambook_model::{
    id::RefundId,
    money::Amount,
    records::{
        payment::{PaymentMethod, PaymentStatus, Refund},
        stripe::{CardFact, CardFactKind},
    },
};
use streambook_runtime::processor::{Context, Fault};

use super::{
    confirmations::{CardMoney, PaymentState, Split},
    deadlines,
    ledger::TemplateName,
    settle::{self, Tell},
    tables::{self, CARD_FACTS, REFUNDS, TakenFact},
};
use crate::invariants::Before;

/// Facts of one payment that can wait: more than Stripe has reason to send before a charge.
const HELD_MAX: usize = 100;

/// Takes a card fact; says whether it was taken before.
///
/// # Errors
/// A dead letter where it fits no payment.
pub(super) fn take(context: &mut Context<'_>, fact: CardFact) -> Result<Before, Fault> {
    let mut payment = tables::payment_of_fact(&context.state, fact.payment, fact.merchant)?;
    check(&payment, &fact)?;
    let occurred_at = fact.meta.occurred_at;
    let CardFact { kind, object, amount, reason, .. } = fact;
    let money = CardMoney { kind, object, amount, reason, occurred_at };
    if CARD_FACTS.get(&context.state, key(&payment, &money))?.is_some() {
        return Ok(Before::Already);
    }
    if must_wait(context, &payment, &money)? {
        hold(context, &mut payment, money)?;
    } else {
        book(context, &mut payment, &money)?;
        release(context, &mut payment)?;
    }
    if matches!(payment.status, PaymentStatus::Completed | PaymentStatus::Overpaid | PaymentStatus::Failed) {
        deadlines::unwatch(&mut context.state, &payment.intent);
    }
    tables::put_payment(&mut context.state, &payment)?;
    Ok(Before::Never)
}

fn check(payment: &PaymentState, fact: &CardFact) -> Result<(), Fault> {
    let intent = &payment.intent;
    if (intent.method, intent.livemode) != (PaymentMethod::Card, fact.livemode) || intent.asset != fact.asset
    {
        let reason = format!("{} is not paid by card in {} in this mode", fact.payment, fact.asset);
        return Err(Fault::dead_letter("asset_mismatch", reason));
    }
    if fact.amount < Amount::ZERO {
        return Err(Fault::dead_letter("negative_amount", "a card fact's amount is never negative"));
    }
    Ok(())
}

/// The key of [`CARD_FACTS`].
type FactKey<'a> = (streambook_model::id::PaymentId, &'static str, &'a str);

fn key<'a>(payment: &PaymentState, money: &'a CardMoney) -> FactKey<'a> {
    (payment.intent.id, name(money.kind), money.object.as_str())
}

/// Marks a Stripe refund as taken, so that Stripe's own report of it books nothing; `false` where it was taken before.
pub(super) fn claim_refund(
    context: &mut Context<'_>,
    payment: &PaymentState,
    object: &str,
    taken: TakenFact,
) -> Result<bool, Fault> {
    let key = (payment.intent.id, name(CardFactKind::Refunded), object);
    if CARD_FACTS.get(&context.state, key)?.is_some() {
        return Ok(false);
    }
    CARD_FACTS.put(&mut context.state, key, &taken)?;
    Ok(true)
}

const fn name(kind: CardFactKind) -> &'static str {
    match kind {
        CardFactKind::Succeeded => "succeeded",
        CardFactKind::FeeKnown => "fee_known",
        CardFactKind::Failed => "failed",
        CardFactKind::Refunded => "refunded",
        CardFactKind::DisputeOpened => "dispute_opened",
        CardFactKind::DisputeFee => "dispute_fee",
        CardFactKind::DisputeWon => "dispute_won",
        CardFactKind::DisputeLost => "dispute_lost",
        CardFactKind::RefundFailed => "refund_failed",
    }
}

/// Whether the fact this one follows from has not arrived.
fn must_wait(context: &Context<'_>, payment: &PaymentState, money: &CardMoney) -> Result<bool, Fault> {
    Ok(match money.kind {
        CardFactKind::Refunded => !payment.tally.confirmed()?.is_positive(),
        CardFactKind::RefundFailed => refund_of(context, payment, &money.object)?.is_none(),
        _ => false,
    })
}

fn hold(context: &mut Context<'_>, payment: &mut PaymentState, money: CardMoney) -> Result<(), Fault> {
    if payment.held.len() >= HELD_MAX {
        let reason = format!("{} has {HELD_MAX} card facts that wait for its charge", payment.intent.id);
        return Err(Fault::dead_letter("too_many_held_facts", reason));
    }
    CARD_FACTS.put(&mut context.state, key(payment, &money), &TakenFact::Held)?;
    payment.held.push(money);
    Ok(())
}

/// Books what waits no more. Refunds come before failed refunds, which wait for them.
fn release(context: &mut Context<'_>, payment: &mut PaymentState) -> Result<(), Fault> {
    let mut held = std::mem::take(&mut payment.held);
    held.sort_by_key(|money| money.kind == CardFactKind::RefundFailed);
    for money in held {
        if must_wait(context, payment, &money)? {
            payment.held.push(money);
        } else {
            book(context, payment, &money)?;
        }
    }
    Ok(())
}

fn book(context: &mut Context<'_>, payment: &mut PaymentState, money: &CardMoney) -> Result<(), Fault> {
    CARD_FACTS.put(&mut context.state, key(payment, money), &TakenFact::Booked)?;
    let tell = match money.kind {
        CardFactKind::Succeeded => return charge(context, payment, money),
        CardFactKind::Refunded => refund(context, payment, money)?,
        CardFactKind::RefundFailed => refund_failed(context, payment, money)?,
        CardFactKind::Failed => {
            payment.failure = Some(money.reason.clone().unwrap_or_else(|| "the card was declined".into()));
            Tell::Changes
        }
        CardFactKind::FeeKnown => move_money(context, payment, TemplateName::CardFee, money)?,
        CardFactKind::DisputeFee => move_money(context, payment, TemplateName::DisputeFee, money)?,
        CardFactKind::DisputeLost => move_money(context, payment, TemplateName::DisputeLost, money)?,
        CardFactKind::DisputeOpened => {
            payment.disputes_opened = payment.disputes_opened.saturating_add(1);
            move_money(context, payment, TemplateName::DisputeOpened, money)?
        }
        CardFactKind::DisputeWon => {
            payment.disputes_won = payment.disputes_won.saturating_add(1);
            move_money(context, payment, TemplateName::DisputeWon, money)?
        }
    };
    settle::settle(context, payment, money.occurred_at, tell)
}

/// Books a fact that moves its whole amount and changes no sum of the payment.
fn move_money(
    context: &mut Context<'_>,
    payment: &PaymentState,
    template: TemplateName,
    money: &CardMoney,
) -> Result<Tell, Fault> {
    let amounts = settle::whole(money.amount)?;
    settle::post(context, payment, template, natural_id(money), amounts, None, money.occurred_at)?;
    Ok(Tell::Changes)
}

/// A charge counts as confirmed money, late where Stripe made it after the deadline.
fn charge(context: &mut Context<'_>, payment: &mut PaymentState, money: &CardMoney) -> Result<(), Fault> {
    let late = money.occurred_at > payment.intent.expires_at;
    let sum = if late { &mut payment.tally.late } else { &mut payment.tally.in_time };
    *sum = sum.plus(money.amount)?;
    move_money(context, payment, TemplateName::CardReceived, money)?;
    settle::settle(context, payment, money.occurred_at, Tell::Amounts)
}

fn refund(context: &mut Context<'_>, payment: &mut PaymentState, money: &CardMoney) -> Result<Tell, Fault> {
    let split = payment.split_refund(money.amount)?;
    let id = RefundId::derive(&[payment.intent.id.bits(), money.object.as_bytes()]);
    let record = Refund {
        id,
        payment: payment.intent.id,
        merchant: payment.intent.merchant,
        livemode: payment.intent.livemode,
        asset: payment.intent.asset.clone(),
        scale: payment.intent.scale,
        amount: money.amount,
        destination: Some(money.object.clone()),
        reference: Some(money.object.clone()),
        reason: money.reason.clone(),
        created_at: context.now(),
    };
    REFUNDS.put(&mut context.state, id, &record)?;
    CARD_FACTS.put(&mut context.state, key(payment, money), &TakenFact::Refunded { refund: id, split })?;
    let templates = [TemplateName::CardRefunded, TemplateName::CardRefundedUnapplied];
    post_split(context, payment, templates, &natural_id(money), split, id, money.occurred_at)?;
    payment.refunds = payment.refunds.plus(&split)?;
    Ok(Tell::Refunded(Box::new(record)))
}

/// Gives back what the refund took, unapplied money first.
fn refund_failed(
    context: &mut Context<'_>,
    payment: &mut PaymentState,
    money: &CardMoney,
) -> Result<Tell, Fault> {
    let Some((id, taken)) = refund_of(context, payment, &money.object)? else { return Ok(Tell::Changes) };
    let unapplied = taken.unapplied.min(money.amount);
    let split = Split { unapplied, applied: money.amount.minus(unapplied)? };
    let templates = [TemplateName::RefundFailed, TemplateName::RefundFailedUnapplied];
    post_split(context, payment, templates, &natural_id(money), split, id, money.occurred_at)?;
    payment.refunds = payment.refunds.minus(&split)?;
    let record = REFUNDS.get(&context.state, id)?;
    Ok(record.map_or(Tell::Changes, |record| Tell::RefundFailed(Box::new(record))))
}

/// The refund that a Stripe refund object was booked as.
fn refund_of(
    context: &Context<'_>,
    payment: &PaymentState,
    object: &str,
) -> Result<Option<(RefundId, Split)>, Fault> {
    let taken = CARD_FACTS.get(&context.state, (payment.intent.id, name(CardFactKind::Refunded), object))?;
    Ok(match taken {
        Some(TakenFact::Refunded { refund, split }) => Some((refund, split)),
        _ => None,
    })
}

/// Posts both parts of a refund, each with its template: first of applied money, then of unapplied.
pub(super) fn post_split(
    context: &mut Context<'_>,
    payment: &PaymentState,
    [applied, unapplied]: [TemplateName; 2],
    event: &str,
    split: Split,
    refund: RefundId,
    occurred_at: streambook_model::time::Timestamp,
) -> Result<(), Fault> {
    let parts = [
        (applied, split.applied, event.to_owned()),
        (unapplied, split.unapplied, format!("{event}:unapplied")),
    ];
    for (template, amount, event) in parts {
        if !amount.is_zero() {
            settle::post(
                context,
                payment,
                template,
                event,
                settle::whole(amount)?,
                Some(refund),
                occurred_at,
            )?;
        }
    }
    Ok(())
}

fn natural_id(money: &CardMoney) -> String {
    format!("stripe:{}:{}", name(money.kind), money.object)
}
