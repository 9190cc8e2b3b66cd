//! Webhook endpoints. Whose it is and whether it is live are fixed; a deleted endpoint stays deleted.

use streambook_model::{
    records::{
        payment::PaymentEventType,
        registry::{Endpoint, EndpointChanged},
    },
    topics,
};
use streambook_runtime::{processor::Context, table::Table};

use super::{
    counts::{self, Change, Counted, Life},
    merchants,
    verdict::{No, Refused, Stored},
};

/// Signing secrets at once: the new one and, during a rotation, the old one.
const SECRETS_MAX: usize = 2;

const ENDPOINTS: Table<Endpoint> = Table::new(6);

/// Adds, changes, disables or deletes an endpoint.
pub(super) fn put(context: &mut Context<'_>, wanted: &Endpoint) -> Result<Stored, No> {
    merchants::require(&context.state, wanted.merchant)?;
    let known = ENDPOINTS.get(&context.state, wanted.id)?;
    let endpoint = match &known {
        Some(known) => changed(known, wanted)?,
        None if life(wanted) == Life::Over => return Err(unknown(wanted).into()),
        None => wanted.clone(),
    };
    if known.as_ref() != Some(&endpoint) {
        check(&endpoint)?;
        limit(context, known.as_ref(), &endpoint)?;
        ENDPOINTS.put(&mut context.state, endpoint.id, &endpoint)?;
        say(context, &endpoint);
    }
    Ok(Stored::Endpoint(endpoint))
}

fn changed(known: &Endpoint, wanted: &Endpoint) -> Result<Endpoint, Refused> {
    if known.merchant != wanted.merchant || known.livemode != wanted.livemode {
        return Err(unknown(wanted));
    }
    match (life(known), life(wanted)) {
        (Life::Over, Life::Over) => Ok(known.clone()),
        (Life::Over, Life::Live) => Err(deleted(wanted)),
        (Life::Live, _) => Ok(Endpoint { created_at: known.created_at, ..wanted.clone() }),
    }
}

/// Another merchant's endpoint is answered as if it did not exist.
fn unknown(endpoint: &Endpoint) -> Refused {
    let detail = format!("this merchant has no endpoint {} in this mode", endpoint.id);
    Refused::unknown("unknown_endpoint", "id", detail)
}

fn deleted(endpoint: &Endpoint) -> Refused {
    let detail = format!("{} was deleted and stays so: create another", endpoint.id);
    Refused::conflict("endpoint_deleted", Some("id"), detail)
}

fn check(endpoint: &Endpoint) -> Result<(), Refused> {
    let known = |name: &str| name == "*" || PaymentEventType::ALL.iter().any(|kind| kind.name() == name);
    if let Some(name) = endpoint.events.iter().find(|name| !known(name)) {
        return Err(Refused::invalid(
            "unknown_event",
            "events",
            format!("`{name}` is no event: {}", allowed()),
        ));
    }
    if endpoint.events.is_empty() {
        return Err(Refused::invalid(
            "events_missing",
            "events",
            format!("name at least one: {}", allowed()),
        ));
    }
    if !(1..=SECRETS_MAX).contains(&endpoint.secrets.len()) {
        let detail = "an endpoint has one signing secret, and two during a rotation: drop the oldest";
        return Err(Refused::invalid("secrets_out_of_range", "secrets", detail));
    }
    Ok(())
}

fn allowed() -> String {
    let names: Vec<_> = PaymentEventType::ALL.iter().map(|kind| kind.name()).collect();
    format!("use `*` or any of {}", names.join(", "))
}

fn limit(context: &mut Context<'_>, known: Option<&Endpoint>, endpoint: &Endpoint) -> Result<(), No> {
    let change = Change::between(known.map(life), life(endpoint));
    if counts::allow(context, Counted::Endpoints, &endpoint.merchant.to_string(), change)? {
        return Ok(());
    }
    let detail = format!("a merchant has at most {} endpoints: delete one first", Counted::Endpoints.limit());
    Err(Refused::conflict("too_many_endpoints", Some("merchant"), detail).into())
}

const fn life(endpoint: &Endpoint) -> Life {
    if endpoint.deleted_at.is_none() { Life::Live } else { Life::Over }
}

fn say(context: &mut Context<'_>, endpoint: &Endpoint) {
    let about = |context: &Context<'_>| EndpointChanged {
        meta: context.meta(context.now()),
        endpoint: endpoint.clone(),
    };
    let changed = about(context);
    context.emit(topics::REGISTRY_EVENTS, endpoint.id.to_string(), changed);
    let changed = about(context);
    context.emit(topics::BOOK_INBOX, endpoint.merchant.to_string(), changed);
}
