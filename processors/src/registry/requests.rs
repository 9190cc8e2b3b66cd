//! Requests that were carried out, for 24 hours of record time, as Stripe keeps idempotency keys
//! (<https://docs.stripe.com/api/idempotent_requests>). A request is known by its record's id and by the caller's
//! idempotency key; each with a hash of what it asked, so that the same name for something else is told apart. A
//! refused request is not remembered: it may be corrected and sent again under the same key.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use streambook_model::{bytes::ContentHash, records::registry::Administrator, time::Timestamp};
use streambook_runtime::{
    processor::{Context, Fault},
    state::StateError,
    table::Table,
};

use super::verdict::{Refused, Stored};

const KEPT_MS: i64 = 24 * 60 * 60 * 1_000;
/// Requests forgotten while taking one record: more than one record adds.
const PRUNED_MAX: usize = 8;

/// By (who asks, the name it gives the request).
const REQUESTS: Table<Request> = Table::new(1);
const BY_TIME: Table<Named> = Table::new(2);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Request {
    hash: ContentHash,
    at: Timestamp,
    stored: Stored,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Named {
    at: Timestamp,
    who: String,
    name: String,
}

/// What became of a request before.
pub(super) enum Earlier {
    /// It is new.
    Never,
    /// The same was carried out; this was its result.
    Same(Stored),
    /// Its name was used for something else.
    Other(Refused),
}

/// SHA-256 over what a command states, whatever its names and times.
pub(super) fn hash(content: &impl Serialize) -> Result<ContentHash, Fault> {
    let bytes = serde_json::to_vec(content).map_err(|error| {
        Fault::dead_letter("unreadable_command", format!("it cannot be stated as JSON: {error}"))
    })?;
    Ok(ContentHash::new(Sha256::digest(bytes).into()))
}

/// The names of the request that is being taken: its record's id, and the caller's key.
fn names(
    context: &Context<'_>,
    administrator: &Administrator,
    content: ContentHash,
) -> Vec<(Named, ContentHash)> {
    let at = context.now();
    let record = Named { at, who: "record".into(), name: context.input().id.clone() };
    let mut names = vec![(record, content)];
    if let Some(idempotency) = &administrator.idempotency {
        let who = administrator.key.map_or_else(|| "operator".to_owned(), |key| key.to_string());
        names.push((Named { at, who, name: idempotency.key.clone() }, idempotency.request_hash));
    }
    names
}

pub(super) fn earlier(
    context: &Context<'_>,
    administrator: &Administrator,
    content: ContentHash,
) -> Result<Earlier, StateError> {
    for (named, hash) in names(context, administrator, content) {
        match REQUESTS.get(&context.state, (&named.who, &named.name))? {
            Some(request) if expired(request.at, named.at) => {}
            Some(request) if request.hash == hash => return Ok(Earlier::Same(request.stored)),
            Some(_) => return Ok(Earlier::Other(reused(&named))),
            None => {}
        }
    }
    Ok(Earlier::Never)
}

fn expired(at: Timestamp, now: Timestamp) -> bool {
    now.millis().saturating_sub(at.millis()) >= KEPT_MS
}

fn reused(named: &Named) -> Refused {
    if named.who == "record" {
        let detail = format!("request {} was something else before: send a new request", named.name);
        return Refused::conflict("request_id_reused", None, detail);
    }
    Refused::conflict(
        "idempotency_key_reused",
        Some("Idempotency-Key"),
        "the key was used with another request in the last 24 hours: send the same request, or another key",
    )
}

pub(super) fn remember(
    context: &mut Context<'_>,
    administrator: &Administrator,
    content: ContentHash,
    stored: &Stored,
) -> Result<(), StateError> {
    for (named, hash) in names(context, administrator, content) {
        let request = Request { hash, at: named.at, stored: stored.clone() };
        REQUESTS.put(&mut context.state, (&named.who, &named.name), &request)?;
        BY_TIME.put(&mut context.state, (named.at, &named.who, &named.name), &named)?;
    }
    Ok(())
}

/// Forgets what is too old, a bounded number at a time.
pub(super) fn prune(context: &mut Context<'_>) -> Result<(), StateError> {
    let horizon = Timestamp::from_millis(context.now().millis().saturating_sub(KEPT_MS).saturating_add(1));
    for old in BY_TIME.scan(&context.state, Timestamp::from_millis(i64::MIN), horizon, PRUNED_MAX)? {
        // The name may have been used again since.
        if REQUESTS.get(&context.state, (&old.who, &old.name))?.is_some_and(|request| request.at == old.at) {
            REQUESTS.delete(&mut context.state, (&old.who, &old.name));
        }
        BY_TIME.delete(&mut context.state, (old.at, &old.who, &old.name));
    }
    Ok(())
}

/// How many requests are remembered, for tests.
#[cfg(test)]
pub(super) fn remembered(state: &dyn streambook_runtime::state::State) -> usize {
    REQUESTS.scan_prefix(state, (), usize::MAX / 2).unwrap().len()
}
