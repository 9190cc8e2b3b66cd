//! Where a payment stands, and how much of its money is the merchant's: both follow from the facts alone.

use streambook_model::{
    money::{Amount, AmountError},
    records::payment::PaymentStatus,
};

use super::state::PaymentState;

/// What follows from the facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Evaluation {
    /// Where the payment stands.
    pub(crate) status: PaymentStatus,
    /// How much should be applied: what came, up to the amount and its tolerance, once enough is confirmed in time; or what
    /// the merchant accepted.
    pub(crate) target: Amount,
}

/// Derives status and target.
///
/// Lateness is judged by block time alone, also after a reorganisation, so the books end as the canonical chain alone
/// would have made them. A payment that was completed and lost its money is `reversed` until it is paid again in time.
pub(crate) fn evaluate(payment: &PaymentState) -> Result<Evaluation, AmountError> {
    Ok(Evaluation { status: status(payment)?, target: target(payment)? })
}

/// What is confirmed in time. After a cancellation nothing is.
fn in_time(payment: &PaymentState) -> Amount {
    if payment.canceled { Amount::ZERO } else { payment.tally.in_time }
}

/// What the payment is paid with, if it is paid: all that is confirmed, up to the amount and its tolerance, once the amount
/// less its tolerance is confirmed in time. So it only ever grows with what comes, and with no tolerance it is the amount.
fn paid(payment: &PaymentState, confirmed: Amount) -> Result<Option<Amount>, AmountError> {
    let (amount, tolerance) = (payment.intent.amount, payment.terms.tolerance);
    let (least, most) = (amount.minus(tolerance)?, amount.plus(tolerance)?);
    Ok((in_time(payment) >= least).then(|| confirmed.min(most)))
}

fn status(payment: &PaymentState) -> Result<PaymentStatus, AmountError> {
    let confirmed = payment.tally.confirmed()?;
    let paid = paid(payment, confirmed)?;
    let credited = payment.acceptance(confirmed).map(|accepted| accepted.confirmed).max(paid);
    Ok(match credited {
        _ if payment.disputes_opened > payment.disputes_won => PaymentStatus::Disputed,
        Some(credited) if confirmed > credited => PaymentStatus::Overpaid,
        Some(_) => PaymentStatus::Completed,
        None => unpaid_status(payment, confirmed),
    })
}

fn unpaid_status(payment: &PaymentState, confirmed: Amount) -> PaymentStatus {
    let (in_time, received) = (in_time(payment).is_positive(), confirmed.is_positive());
    let seen = payment.tally.seen_in_time.is_positive() && !payment.canceled;
    match () {
        // What is on its way may still complete it, so it keeps the payment open across the deadline.
        () if seen && !payment.once_completed => PaymentStatus::Confirming,
        () if confirmed > self::in_time(payment) => PaymentStatus::PaidLate,
        () if payment.once_completed => PaymentStatus::Reversed,
        () if payment.canceled => PaymentStatus::Canceled,
        () if payment.failure.is_some() && !received => PaymentStatus::Failed,
        () if payment.deadline_passed && in_time => PaymentStatus::Underpaid,
        () if payment.deadline_passed => PaymentStatus::Expired,
        () if in_time => PaymentStatus::Confirming,
        () => PaymentStatus::Pending,
    }
}

fn target(payment: &PaymentState) -> Result<Amount, AmountError> {
    let confirmed = payment.tally.confirmed()?;
    let nominal = paid(payment, confirmed)?.unwrap_or(Amount::ZERO);
    let accepted = payment.acceptance(confirmed).map_or(Amount::ZERO, |accepted| accepted.net);
    // What went back to the payer before it was applied is not there to apply; what is sealed stays applied.
    let there = confirmed.minus(payment.refunds.unapplied)?;
    Ok(nominal.max(accepted).min(there).max(payment.sealed()?))
}
