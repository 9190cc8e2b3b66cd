//! Stripe's event ids, remembered for 35 days of record time; Stripe sends an event again for three days, and its list
//! of events, which a backfill reads, goes back 30. After that the facts themselves still book once.

use serde::{Deserialize, Serialize};
use streambook_model::{bytes::ContentHash, records::stripe::StripeEvent, time::Timestamp};
use streambook_runtime::{
    processor::{Context, Fault},
    state::{State, StateError},
    table::Table,
};

const DAYS_KEPT: i64 = 35;
const KEPT_MS: i64 = DAYS_KEPT * 24 * 60 * 60 * 1_000;
/// How much older than that the oldest id must be before pruning starts, so that it is not a matter of every record.
const SLACK_MS: i64 = 60 * 60 * 1_000;
/// Ids forgotten while taking one record.
const PRUNED_MAX: usize = 64;

const SEEN: Table<Seen> = Table::new(3);
const BY_TIME: Table<(Timestamp, String)> = Table::new(4);
/// Everything before this time has been forgotten.
const FORGOTTEN: Table<Timestamp> = Table::new(5);

/// One event id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    content_hash: ContentHash,
    at: Timestamp,
}

/// Whether an event was taken before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    First,
    Repeat,
}

/// Whether the event was taken before; the same id with other content is a contradiction.
pub(super) fn arrival(state: &dyn State, event: &StripeEvent) -> Result<Arrival, Fault> {
    match SEEN.get(state, &event.event)? {
        None => Ok(Arrival::First),
        Some(seen) if seen.content_hash == event.content_hash => Ok(Arrival::Repeat),
        Some(seen) => Err(Fault::dead_letter(
            "conflicting_event",
            format!("{} came at {} with another content; compare it with Stripe's", event.event, seen.at),
        )),
    }
}

pub(super) fn remember(context: &mut Context<'_>, event: &StripeEvent) -> Result<(), StateError> {
    let at = context.now();
    let seen = Seen { content_hash: event.content_hash, at };
    SEEN.put(&mut context.state, &event.event, &seen)?;
    BY_TIME.put(&mut context.state, (at, &event.event), &(at, event.event.clone()))
}

/// Forgets an event that became a dead letter after all, so that it can be retried.
pub(super) fn forget(context: &mut Context<'_>, event: &str, at: Timestamp) {
    SEEN.delete(&mut context.state, event);
    BY_TIME.delete(&mut context.state, (at, event));
}

/// Forgets what is too old, a bounded number at a time.
pub(super) fn prune(context: &mut Context<'_>) -> Result<(), StateError> {
    let horizon = Timestamp::from_millis(context.now().millis().saturating_sub(KEPT_MS));
    let from = FORGOTTEN.get(&context.state, ())?;
    if from.is_some_and(|from| horizon.millis().saturating_sub(from.millis()) < SLACK_MS) {
        return Ok(());
    }
    let from = from.unwrap_or(horizon);
    let old = BY_TIME.scan(&context.state, from, horizon, PRUNED_MAX)?;
    let reached = old.get(PRUNED_MAX - 1).map_or(horizon, |(at, _)| *at);
    for (at, event) in &old {
        forget(context, event, *at);
    }
    FORGOTTEN.put(&mut context.state, (), &reached)
}
