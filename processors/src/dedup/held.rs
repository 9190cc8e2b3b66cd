//! Events on hold: they say something about a family whose owner is unknown, or about a payment that has not been seen
//! to succeed. They are read again when that changes, and after 24 hours of record time become dead letters.

use serde::{Deserialize, Serialize};
use streambook_model::{records::stripe::StripeEvent, time::Timestamp};
use streambook_runtime::{
    processor::{Context, Fault},
    state::{State, StateError},
    table::Table,
};

use super::{
    Said,
    booked::{self, Origin},
    family::{self, Family},
    letter, seen,
};

/// Events on hold for one family.
pub(super) const HELD_MAX: u16 = 100;
/// How long an event may be on hold, in seconds of record time.
pub(super) const HELD_SECONDS: u32 = 24 * 60 * 60;
/// Events that one tick gives up; those left are due still, and the next tick takes them.
pub(super) const EXPIRED_MAX: usize = 64;

/// By family and offset.
const HELD: Table<Held> = Table::new(9);
/// By deadline and offset.
const DUE: Table<Due> = Table::new(10);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    offset: u64,
    at: Timestamp,
    event: StripeEvent,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Due {
    at: Timestamp,
    family: String,
    offset: u64,
}

/// Puts an event on hold.
pub(super) fn hold(context: &mut Context<'_>, family: &mut Family, event: &StripeEvent) -> Result<(), Fault> {
    if family.held >= HELD_MAX {
        let reason =
            format!("{HELD_MAX} events of {} wait already; retry once the payment is known", event.family);
        return Err(Fault::dead_letter("too_many_held", reason));
    }
    let (offset, at) = (letter::offset(context), context.now());
    let due = Due { at: at.plus_seconds(HELD_SECONDS), family: event.family.clone(), offset };
    DUE.put(&mut context.state, (due.at, offset), &due)?;
    HELD.put(&mut context.state, (&event.family, offset), &Held { offset, at, event: event.clone() })?;
    family.held += 1;
    Ok(())
}

/// Books what can be booked now: first what says how the payment ended, then what came after, each in the order of
/// arrival.
pub(super) fn release(context: &mut Context<'_>, key: &str, family: &mut Family) -> Result<(), Fault> {
    if family.held == 0 {
        return Ok(());
    }
    let held = HELD.scan_prefix(&context.state, key, usize::from(HELD_MAX))?;
    let mut waiting = held
        .into_iter()
        .map(|held| Ok((Said::read(&held.event)?, held)))
        .collect::<Result<Vec<_>, Fault>>()?;
    waiting.sort_by_key(|(said, _)| !said.claims.iter().any(super::Claim::is_about_the_payment_itself));
    for (said, held) in waiting {
        let Some(owner) = family.ready(&said.claims) else { continue };
        let origin = Origin { offset: held.offset, event: &held.event };
        match booked::book(context, family, owner, &origin, &said.claims) {
            Ok(()) => {}
            // A contradiction in an event that waited is not the fault of the one that released it.
            Err(Fault::DeadLetter { code, reason }) => give_up(context, &held, code, reason)?,
            Err(fault) => return Err(fault),
        }
        remove(context, family, &held);
    }
    Ok(())
}

fn remove(context: &mut Context<'_>, family: &mut Family, held: &Held) {
    HELD.delete(&mut context.state, (&held.event.family, held.offset));
    DUE.delete(&mut context.state, (held.at.plus_seconds(HELD_SECONDS), held.offset));
    family.held = family.held.saturating_sub(1);
}

fn give_up(context: &mut Context<'_>, held: &Held, code: &'static str, reason: String) -> Result<(), Fault> {
    seen::forget(context, &held.event.event, held.at);
    letter::write(context, &Origin { offset: held.offset, event: &held.event }, code, reason, "")
}

/// Gives up what has waited too long by this time.
pub(super) fn expire(now: Timestamp, context: &mut Context<'_>) -> Result<(), Fault> {
    let end = Timestamp::from_millis(now.millis().saturating_add(1));
    for due in DUE.scan(&context.state, Timestamp::from_millis(i64::MIN), end, EXPIRED_MAX)? {
        let Some(held) = HELD.get(&context.state, (&due.family, due.offset))? else {
            return Err(Fault::Stop(format!("a deadline of {} names no event on hold", due.family)));
        };
        let mut family = family::load(&context.state, &due.family)?;
        let (code, reason) = why(&family, &due.family);
        give_up(context, &held, code, reason)?;
        remove(context, &mut family, &held);
        family::store(context, &due.family, &family)?;
    }
    Ok(())
}

fn why(family: &Family, key: &str) -> (&'static str, String) {
    match family.owner {
        None => (
            "unknown_owner",
            format!(
                "no event of {key} named `streambook_merchant` and `streambook_payment` in its metadata within 24 hours; not Streambook's, or retry once it is named"
            ),
        ),
        Some(owner) => (
            "unpaid_payment",
            format!(
                "{key}, {}, was not seen to succeed within 24 hours; resend its charge.succeeded, then retry",
                owner.payment
            ),
        ),
    }
}

/// When the first event on hold is due.
pub(super) fn next_deadline(state: &dyn State) -> Result<Option<Timestamp>, StateError> {
    Ok(DUE.scan_prefix(state, (), 1)?.first().map(|due| due.at))
}
