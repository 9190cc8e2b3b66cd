//! Facts that have been said. A fact is its family, kind and object; it is emitted once, however many events say it.

use serde::{Deserialize, Serialize};
use streambook_model::{
    asset::AssetId,
    money::Amount,
    records::stripe::{CardFact, CardFactKind, StripeEvent},
    topics,
};
use streambook_runtime::{
    processor::{Context, Fault},
    state::State,
    table::Table,
};

use super::{
    claims::{Claim, Fact},
    family::Family,
    letter,
    owner::Owner,
};

const BOOKED: Table<Booked> = Table::new(6);
/// Failures of refunds whose success has not been heard of, by family and refund.
const FAILED_REFUNDS: Table<Fact> = Table::new(7);
/// Reasons that have been stored, by family, code and object.
const PUT_ASIDE: Table<()> = Table::new(8);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Booked {
    asset: AssetId,
    amount: Amount,
}

/// The event that says something, and where in the inbox it stands.
#[derive(Clone, Copy)]
pub(super) struct Origin<'e> {
    pub(super) offset: u64,
    pub(super) event: &'e StripeEvent,
}

/// Books what an event says. A contradiction is found before anything is written.
pub(super) fn book(
    context: &mut Context<'_>,
    family: &mut Family,
    owner: Owner,
    origin: &Origin<'_>,
    claims: &[Claim],
) -> Result<(), Fault> {
    check_mode(owner, origin.event)?;
    for claim in claims {
        check(&context.state, origin, claim)?;
    }
    for claim in claims {
        match claim {
            Claim::Book(fact) => say(context, family, owner, origin, fact)?,
            Claim::RefundFailed(fact) => refund_failed(context, family, owner, origin, fact)?,
            Claim::Aside { code, object, reason } => put_aside(context, origin, code, object, reason)?,
        }
    }
    Ok(())
}

fn check_mode(owner: Owner, event: &StripeEvent) -> Result<(), Fault> {
    if owner.livemode == event.livemode {
        return Ok(());
    }
    let reason =
        format!("{} and its family disagree on livemode: test and live data never meet", event.event);
    Err(Fault::dead_letter("conflicting_livemode", reason))
}

/// The same fact must always have the same amount.
fn check(state: &dyn State, origin: &Origin<'_>, claim: &Claim) -> Result<(), Fault> {
    let Claim::Book(fact) = claim else { return Ok(()) };
    match BOOKED.get(state, key(origin, fact.kind, &fact.object))? {
        Some(said) if said.asset != fact.asset || said.amount != fact.amount => Err(Fault::dead_letter(
            "conflicting_amount",
            format!(
                "{} says {} {}, booked is {} {}: correct the books by hand",
                fact.object, fact.amount, fact.asset, said.amount, said.asset
            ),
        )),
        _ => Ok(()),
    }
}

fn key<'k>(origin: &Origin<'k>, kind: CardFactKind, object: &'k str) -> (&'k str, u16, &'k str) {
    (&origin.event.family, kind as u16, object)
}

fn say(
    context: &mut Context<'_>,
    family: &mut Family,
    owner: Owner,
    origin: &Origin<'_>,
    fact: &Fact,
) -> Result<(), Fault> {
    if BOOKED.get(&context.state, key(origin, fact.kind, &fact.object))?.is_some() {
        return Ok(());
    }
    emit(context, owner, origin, fact)?;
    family.paid |= fact.kind == CardFactKind::Succeeded;
    if fact.kind == CardFactKind::Refunded {
        let failed = FAILED_REFUNDS.get(&context.state, (&origin.event.family, &fact.object))?;
        if let Some(failed) = failed {
            emit(context, owner, origin, &failed)?;
        }
    }
    Ok(())
}

fn refund_failed(
    context: &mut Context<'_>,
    family: &mut Family,
    owner: Owner,
    origin: &Origin<'_>,
    fact: &Fact,
) -> Result<(), Fault> {
    let succeeded = BOOKED.get(&context.state, key(origin, CardFactKind::Refunded, &fact.object))?;
    if succeeded.is_some() {
        return say(context, family, owner, origin, fact);
    }
    Ok(FAILED_REFUNDS.put(&mut context.state, (&origin.event.family, &fact.object), fact)?)
}

fn emit(context: &mut Context<'_>, owner: Owner, origin: &Origin<'_>, fact: &Fact) -> Result<(), Fault> {
    let booked = Booked { asset: fact.asset.clone(), amount: fact.amount };
    BOOKED.put(&mut context.state, key(origin, fact.kind, &fact.object), &booked)?;
    let record = CardFact {
        meta: context.meta(fact.created.unwrap_or(origin.event.created)),
        kind: fact.kind,
        merchant: owner.merchant,
        payment: owner.payment,
        livemode: owner.livemode,
        object: fact.object.clone(),
        asset: fact.asset.clone(),
        amount: fact.amount,
        reason: fact.reason.clone(),
    };
    context.emit(topics::BOOK_INBOX, owner.merchant.to_string(), record);
    Ok(())
}

fn put_aside(
    context: &mut Context<'_>,
    origin: &Origin<'_>,
    code: &'static str,
    object: &str,
    reason: &str,
) -> Result<(), Fault> {
    let key = (&origin.event.family, code, object);
    if PUT_ASIDE.get(&context.state, key)?.is_some() {
        return Ok(());
    }
    PUT_ASIDE.put(&mut context.state, key, &())?;
    letter::write(context, origin, code, reason.to_owned(), object)
}
