//! What an object's state says about money. A pure function of the object: the same state says the same whichever event
//! carries it and whenever it comes.
//!
//! - A captured charge that succeeded: its gross. An authorization alone moves nothing.
//! - A refund that succeeded and moved the balance; a refund whose `balance_transaction` is explicitly null moved
//!   nothing (the release of an uncaptured amount). A refund that failed gives back only what had been booked.
//! - A dispute once Stripe has withdrawn money: a withdrawal among its balance transactions, a `funds_withdrawn` event,
//!   or a state that presupposes it (won, lost). An inquiry (`warning_…`) moves nothing.
//! - A canceled intent: the payment failed for good.
//!
//! Amounts are the object's, and where its balance transaction is expanded they must agree with it; fees come from
//! balance transactions alone (<https://docs.stripe.com/api/balance_transactions/object>), never from a constant. A
//! charge settled in another currency is put aside (`currency_conversion`): its books would need a rate we do not have.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use streambook_model::{asset::AssetId, money::Amount, records::stripe::CardFactKind, time::Timestamp};
use streambook_runtime::processor::Fault;

use super::object::Object;

/// One money fact, before it is known whose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fact {
    pub(super) kind: CardFactKind,
    pub(super) object: String,
    pub(super) asset: AssetId,
    pub(super) amount: Amount,
    pub(super) reason: Option<String>,
    /// When Stripe made the object, where that decides something: a charge after the deadline is late, whichever event
    /// is heard of first.
    pub(super) created: Option<Timestamp>,
}

/// What an object's state says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Claim {
    /// A fact, to be booked once.
    Book(Fact),
    /// A refund failed: a fact only if the refund had succeeded, whichever of the two is heard of first.
    RefundFailed(Fact),
    /// Money moved in a way the books have no fact for: stored as a reason, once.
    Aside {
        /// A stable code.
        code: &'static str,
        /// The object that says so.
        object: String,
        /// What moved.
        reason: String,
    },
}

impl Claim {
    /// Whether it says how the payment itself ended, rather than what came after.
    pub(super) fn is_about_the_payment_itself(&self) -> bool {
        matches!(self, Self::Book(fact) if matches!(fact.kind, CardFactKind::Succeeded | CardFactKind::Failed))
    }

    fn book(kind: CardFactKind, object: &str, asset: &AssetId, amount: Amount, reason: Option<&str>) -> Self {
        Self::Book(fact(kind, object, asset, amount, reason))
    }
}

fn fact(kind: CardFactKind, object: &str, asset: &AssetId, amount: Amount, reason: Option<&str>) -> Fact {
    let reason = reason.map(str::to_owned);
    Fact { kind, object: object.to_owned(), asset: asset.clone(), amount, reason, created: None }
}

/// What the object of an event says.
pub(super) fn read(event_type: &str, object: &Object<'_>) -> Result<Vec<Claim>, Fault> {
    match object.text("object")? {
        "charge" => charge(object),
        "refund" => refund(object),
        "dispute" => dispute(event_type, object),
        "payment_intent" => intent(object),
        _ => {
            Err(object
                .malformed("object", "charge, refund, dispute or payment_intent for this type of event"))
        }
    }
}

fn charge(charge: &Object<'_>) -> Result<Vec<Claim>, Fault> {
    if charge.text("status")? != "succeeded" || !charge.flag("captured")? {
        return Ok(Vec::new());
    }
    let (id, asset, asked) = (charge.text("id")?, charge.asset()?, charge.amount("amount")?);
    if asked.is_zero() {
        return Ok(Vec::new());
    }
    let gross = charge.optional_amount("amount_captured")?.unwrap_or(asked);
    if gross.is_zero() {
        return Err(charge.malformed("amount_captured", "more than zero for a captured charge"));
    }
    let created = charge.optional_time("created")?;
    let succeeded = Fact { created, ..fact(CardFactKind::Succeeded, id, &asset, gross, None) };
    let mut claims = vec![Claim::Book(succeeded)];
    if let Some(transaction) = charge.expanded("balance_transaction")? {
        claims.extend(settled(&transaction, gross, &asset, CardFactKind::FeeKnown)?);
    }
    for item in charge.list("refunds")? {
        claims.extend(refund(&item)?);
    }
    Ok(claims)
}

fn refund(refund: &Object<'_>) -> Result<Vec<Claim>, Fault> {
    let (id, asset, amount) = (refund.text("id")?, refund.asset()?, refund.amount("amount")?);
    let status = refund.text("status")?;
    if amount.is_zero() {
        return Ok(Vec::new());
    }
    if status == "failed" {
        let reason = refund.optional_text("failure_reason");
        return Ok(vec![Claim::RefundFailed(fact(CardFactKind::RefundFailed, id, &asset, amount, reason))]);
    }
    // Stripe keeps the balance transaction null where a refund has no effect on the balance.
    if status != "succeeded" || refund.is_null("balance_transaction") {
        return Ok(Vec::new());
    }
    let reason = refund.optional_text("reason");
    let mut claims = vec![Claim::book(CardFactKind::Refunded, id, &asset, amount, reason)];
    if let Some(transaction) = refund.expanded("balance_transaction")? {
        claims.extend(settled(&transaction, amount.negated(), &asset, CardFactKind::FeeKnown)?);
    }
    Ok(claims)
}

fn dispute(event_type: &str, dispute: &Object<'_>) -> Result<Vec<Claim>, Fault> {
    let (id, asset, amount) = (dispute.text("id")?, dispute.asset()?, dispute.amount("amount")?);
    let (status, reason) = (dispute.text("status")?, dispute.optional_text("reason"));
    let transactions = dispute.list("balance_transactions")?;
    let mut fees = Vec::new();
    let (mut withdrawn, mut returned) = (false, false);
    for transaction in &transactions {
        let moved = transaction.signed("amount")?;
        withdrawn |= moved < Amount::ZERO;
        returned |= moved > Amount::ZERO;
        let expected = match moved.cmp(&Amount::ZERO) {
            Ordering::Less => amount.negated(),
            Ordering::Equal => Amount::ZERO,
            Ordering::Greater => amount,
        };
        fees.extend(settled(transaction, expected, &asset, CardFactKind::DisputeFee)?);
    }
    let inquiry = status.starts_with("warning_");
    withdrawn |= event_type == "charge.dispute.funds_withdrawn" && !inquiry;
    returned |= event_type == "charge.dispute.funds_reinstated" && !inquiry;
    let won = returned || status == "won";
    let lost = status == "lost";
    let opened = withdrawn || won || lost;
    let kinds = [
        (CardFactKind::DisputeOpened, opened),
        (CardFactKind::DisputeWon, won),
        (CardFactKind::DisputeLost, lost),
    ];
    let booked = kinds.into_iter().filter(|(_, holds)| *holds && !amount.is_zero());
    let mut claims: Vec<_> = booked.map(|(kind, _)| Claim::book(kind, id, &asset, amount, reason)).collect();
    claims.extend(fees);
    Ok(claims)
}

fn intent(intent: &Object<'_>) -> Result<Vec<Claim>, Fault> {
    match intent.text("status")? {
        "succeeded" => paid_intent(intent),
        "canceled" => {
            let error = intent.expanded("last_payment_error")?;
            let reason = error.and_then(|error| error.optional_text("code"));
            let reason = reason.or_else(|| intent.optional_text("cancellation_reason"));
            let (id, asset, amount) = (intent.text("id")?, intent.asset()?, intent.amount("amount")?);
            Ok(vec![Claim::book(CardFactKind::Failed, id, &asset, amount, reason)])
        }
        _ => Ok(Vec::new()),
    }
}

/// The charge is what is booked, so that the intent's and the charge's own events say the same fact: the latest charge,
/// or with API versions before 2022-11-15 the list of charges.
fn paid_intent(intent: &Object<'_>) -> Result<Vec<Claim>, Fault> {
    if let Some(latest) = intent.expanded("latest_charge")? {
        return charge(&latest);
    }
    let charges = intent.list("charges")?;
    if !charges.is_empty() {
        let claims: Result<Vec<_>, _> = charges.iter().map(charge).collect();
        return Ok(claims?.into_iter().flatten().collect());
    }
    let received = intent.amount("amount_received")?;
    if received.is_zero() {
        return Ok(Vec::new());
    }
    let latest = intent.reference("latest_charge");
    let latest =
        latest.ok_or_else(|| intent.malformed("latest_charge", "the id of the charge that paid it"))?;
    Ok(vec![Claim::book(CardFactKind::Succeeded, latest, &intent.asset()?, received, None)])
}

/// What a balance transaction adds to the object it settles: its fee. Refuses one that contradicts the object.
fn settled(
    transaction: &Object<'_>,
    expected: Amount,
    asset: &AssetId,
    fee_kind: CardFactKind,
) -> Result<Option<Claim>, Fault> {
    let (id, settlement) = (transaction.text("id")?, transaction.asset()?);
    if settlement != *asset {
        let reason = format!("{id} settles {asset} in {settlement}; book it by hand, or settle in {asset}");
        return Err(Fault::dead_letter("currency_conversion", reason));
    }
    let (amount, fee, net) =
        (transaction.signed("amount")?, transaction.signed("fee")?, transaction.signed("net")?);
    if amount != expected || amount.minus(fee)? != net {
        let reason = format!("{id} has amount {amount}, fee {fee}, net {net}; its object says {expected}");
        return Err(Fault::dead_letter("balance_transaction_mismatch", reason));
    }
    if fee < Amount::ZERO {
        let reason =
            format!("Stripe has returned a fee of {} {asset} in {id}: book it by hand", fee.negated());
        return Ok(Some(Claim::Aside { code: "fee_returned", object: id.to_owned(), reason }));
    }
    Ok(fee.is_positive().then(|| Claim::book(fee_kind, id, asset, fee, None)))
}
