//! Turns each public event into one message for every endpoint that wants it: an enabled endpoint of the same merchant and
//! mode whose list names the event or `*`. The event's id is the message's, so every retry and replay carries the same.

use serde::{Deserialize, Serialize};
use streambook_model::{
    id::EndpointId,
    payment_json::{PaymentView, payment_view},
    records::{payment::PaymentEvent, registry::Endpoint, webhook::WebhookMessage},
    topics,
};
use streambook_runtime::{
    processor::{Context, Fault},
    state::State,
};

use super::tables::SUBSCRIPTIONS;

/// Endpoints one merchant can have in one mode: what one event costs must be bounded.
const ENDPOINTS_MAX: usize = 100;

/// An endpoint that wants messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Subscription {
    endpoint: EndpointId,
    events: Vec<String>,
}

/// A webhook's body.
#[derive(Serialize)]
struct Body<'a> {
    id: String,
    #[serde(rename = "type")]
    event_type: &'static str,
    created_at: String,
    data: PaymentView<'a>,
}

/// Adds, changes or removes an endpoint.
///
/// # Errors
/// A dead letter where the merchant would have more endpoints than one event may cost.
pub(super) fn put_endpoint(state: &mut dyn State, endpoint: Endpoint) -> Result<(), Fault> {
    let key = (endpoint.merchant, endpoint.livemode);
    let mut subscriptions = SUBSCRIPTIONS.get(state, key)?.unwrap_or_default();
    let place = subscriptions.binary_search_by_key(&endpoint.id, |known| known.endpoint);
    let enabled = endpoint.disabled.is_none() && endpoint.deleted_at.is_none();
    let subscription = Subscription { endpoint: endpoint.id, events: endpoint.events };
    match (place, enabled) {
        (Ok(place), true) => subscriptions.splice(place..=place, [subscription]).for_each(drop),
        (Ok(place), false) => drop(subscriptions.remove(place)),
        (Err(_), true) if subscriptions.len() >= ENDPOINTS_MAX => {
            let reason = format!(
                "a merchant has at most {ENDPOINTS_MAX} enabled endpoints in a mode; disable one first"
            );
            return Err(Fault::dead_letter("too_many_endpoints", reason));
        }
        (Err(place), true) => subscriptions.insert(place, subscription),
        (Err(_), false) => return Ok(()),
    }
    Ok(SUBSCRIPTIONS.put(state, key, &subscriptions)?)
}

/// Emits the messages of an event.
pub(super) fn notify(context: &mut Context<'_>, event: &PaymentEvent) -> Result<(), Fault> {
    let payment = &event.payment;
    let subscriptions =
        SUBSCRIPTIONS.get(&context.state, (payment.merchant, payment.livemode))?.unwrap_or_default();
    let name = event.event_type.name();
    let wants = |subscription: &&Subscription| {
        subscription.events.iter().any(|wanted| wanted == "*" || wanted == name)
    };
    let wanting: Vec<_> = subscriptions.iter().filter(wants).collect();
    if wanting.is_empty() {
        return Ok(());
    }
    let body = body(event)?;
    for subscription in wanting {
        let message = WebhookMessage {
            meta: context.meta(event.meta.occurred_at),
            event: event.event,
            event_type: name.to_owned(),
            endpoint: subscription.endpoint,
            merchant: payment.merchant,
            body: body.clone(),
        };
        context.emit(topics::WEBHOOKS_OUTBOX, subscription.endpoint.to_string(), message);
    }
    Ok(())
}

fn body(event: &PaymentEvent) -> Result<String, Fault> {
    let body = Body {
        id: event.event.to_string(),
        event_type: event.event_type.name(),
        created_at: event.meta.occurred_at.to_string(),
        data: payment_view(&event.payment),
    };
    serde_json::to_string(&body)
        .map_err(|error| Fault::Stop(format!("a webhook's body cannot be written: {error}")))
}
