//! Recording a refund that the merchant has made, or will make, outside.
//!
//! It is limited by what was confirmed and not refunded yet, and by the merchant's available balance; such limits bind
//! commands only, a fact always posts. Money that was never applied goes first. A card refund names Stripe's refund, so
//! that Stripe's own report of it books nothing more.

use streambook_model::{
    bytes::Address,
    money::Amount,
    records::{
        book::CreateRefund,
        payment::{PaymentMethod, PaymentStatus, Refund},
    },
};
use streambook_runtime::processor::Context;

use super::{
    super::{
        cards,
        confirmations::{PaymentState, Split},
        ledger::{self, TemplateName},
        reply::{self, Answer, Denied},
        settle::{self, Tell, book_of},
        tables::{REFUNDS, SETTINGS, TakenFact},
    },
    Done, load,
};

pub(super) fn decide(context: &mut Context<'_>, command: CreateRefund) -> Result<Done, Denied> {
    let mut payment = load(context, &command.caller, command.payment)?;
    if let Some(known) = REFUNDS.get(&context.state, command.refund)? {
        let same = known.payment == command.payment;
        let taken = || reply::conflict("refund_id_taken", "this refund id is in use; send the request again");
        return same.then_some(Done::before(Answer::Refund(known))).ok_or_else(taken);
    }
    let amount = amount(&payment, command.amount)?;
    check_destination(&payment, &command)?;
    let split = payment.split_refund(amount)?;
    check_balance(context, &payment, split)?;
    claim(context, &payment, &command, split)?;
    let refund = record(context, &payment, command, amount);
    REFUNDS.put(&mut context.state, refund.id, &refund)?;
    let now = context.now();
    cards::post_split(context, &payment, templates(&payment), &refund.id.to_string(), split, refund.id, now)?;
    payment.refunds = payment.refunds.plus(&split)?;
    settle::settle(context, &mut payment, now, Tell::Refunded(Box::new(refund.clone())))?;
    Ok(Done::now(Answer::Refund(refund)))
}

/// What is asked for, or all that is left.
fn amount(payment: &PaymentState, asked: Option<Amount>) -> Result<Amount, Denied> {
    if matches!(payment.status, PaymentStatus::Pending | PaymentStatus::Confirming) {
        let detail = "what was received is not settled yet; refund it once the payment is no longer pending or confirming";
        return Err(reply::conflict("payment_not_refundable", detail));
    }
    let left = payment.tally.confirmed()?.minus(payment.refunds.total()?)?;
    let amount = asked.unwrap_or(left);
    if asked.is_some() && !amount.is_positive() {
        return Err(reply::invalid("invalid_amount", "amount", "the amount must be more than zero"));
    }
    if amount > left || !amount.is_positive() {
        let left = left.max(Amount::ZERO).to_decimal(payment.intent.scale);
        let detail = format!("{left} {} of this payment can be refunded", payment.intent.asset);
        return Err(reply::invalid("refund_exceeds_payment", "amount", detail));
    }
    Ok(amount)
}

fn check_destination(payment: &PaymentState, command: &CreateRefund) -> Result<(), Denied> {
    match (payment.intent.method, &command.destination, &command.reference) {
        (PaymentMethod::Chain, None, _) => {
            let detail = "name the address the money goes to; it is never guessed from the sender";
            Err(reply::invalid("destination_required", "destination", detail))
        }
        (PaymentMethod::Chain, Some(address), _) if address.parse::<Address>().is_err() => Err(
            reply::invalid("invalid_destination", "destination", "give an address: `0x` and 40 hex digits"),
        ),
        (PaymentMethod::Card, _, None) => {
            let detail =
                "name Stripe's refund (`re_…`), so that it is not booked again when Stripe reports it";
            Err(reply::invalid("reference_required", "reference", detail))
        }
        _ => Ok(()),
    }
}

/// The part that comes out of what the platform owes the merchant must be there.
fn check_balance(context: &Context<'_>, payment: &PaymentState, split: Split) -> Result<(), Denied> {
    let settings = SETTINGS.get(&context.state, ())?;
    if !settings.is_some_and(|settings| settings.limits_refunds(&payment.intent.settlement)) {
        return Ok(());
    }
    let available = ledger::available(&context.state, book_of(payment), &payment.intent.asset)?;
    if split.applied.is_positive() && available < split.applied {
        let available = available.to_decimal(payment.intent.scale);
        let detail = format!("the available balance is {available} {}", payment.intent.asset);
        return Err(reply::conflict("insufficient_balance", detail));
    }
    Ok(())
}

fn claim(
    context: &mut Context<'_>,
    payment: &PaymentState,
    command: &CreateRefund,
    split: Split,
) -> Result<(), Denied> {
    let (PaymentMethod::Card, Some(object)) = (payment.intent.method, &command.reference) else {
        return Ok(());
    };
    let taken = TakenFact::Refunded { refund: command.refund, split };
    if cards::claim_refund(context, payment, object, taken)? {
        return Ok(());
    }
    Err(reply::conflict("refund_already_recorded", format!("Stripe's refund `{object}` is recorded already")))
}

const fn templates(payment: &PaymentState) -> [TemplateName; 2] {
    match payment.intent.method {
        PaymentMethod::Chain => [TemplateName::RefundRecorded, TemplateName::RefundUnapplied],
        PaymentMethod::Card => [TemplateName::CardRefunded, TemplateName::CardRefundedUnapplied],
    }
}

fn record(context: &Context<'_>, payment: &PaymentState, command: CreateRefund, amount: Amount) -> Refund {
    Refund {
        id: command.refund,
        payment: payment.intent.id,
        merchant: payment.intent.merchant,
        livemode: payment.intent.livemode,
        asset: payment.intent.asset.clone(),
        scale: payment.intent.scale,
        amount,
        destination: command.destination,
        reference: command.reference,
        reason: command.reason,
        created_at: context.now(),
    }
}
