//! `/v1/events`: what has happened to payments, as webhooks tell it.

use axum::{extract::State, http::HeaderMap, response::Response};
use serde::Serialize;
use serde_json::Value;
use streambook_model::{
    id::{PaymentId, kind},
    payment_json::payment_json,
    records::payment::PaymentEventType,
};
use streambook_sinks::sql::{EventFilter, PositionKey, StoredEvent};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{ForMerchant, Read},
    cursor,
    params::{Params, PathId},
    problem::Problem,
    state::ApiState,
    views::{List, PaymentDoc, read_answer},
};

/// The list's name in cursors.
const LIST: &str = "events";

/// What happened to a payment.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
struct EventView {
    /// `evt_` and 32 hex digits; also the `webhook-id` of its deliveries.
    id: String,
    /// For example `payment.completed`.
    r#type: &'static str,
    /// When it happened.
    #[schema(format = DateTime)]
    created_at: String,
    /// The payment as it was after it.
    #[schema(value_type = PaymentDoc)]
    data: Value,
}

/// The routes of this resource.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get))
}

/// List events, newest first
#[utoipa::path(get, path = "/v1/events", tag = "events", params(
    ("limit" = Option<u16>, Query, minimum = 1, maximum = 100),
    ("cursor" = Option<String>, Query),
    ("type" = Option<String>, Query, description = "Of this type only, for example `payment.completed`"),
    ("payment" = Option<String>, Query, description = "Of this payment only"),
), responses((status = 200, description = "A page", body = List<EventView>)))]
async fn list(
    State(state): State<ApiState>,
    caller: ForMerchant<Read>,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, Problem> {
    let page = params.page::<PositionKey>(LIST)?;
    let event_type = params.take("type")?.map(|name| named("type", &name)).transpose()?;
    let payment = params.parse::<PaymentId>("payment")?;
    params.finish()?;
    let stale = state.is_stale(caller.scope, &headers).await?;
    let filter = EventFilter { event_type, payment };
    let listed = state.reads()?.events(caller.scope, filter, page).await.map_err(Problem::reading)?;
    let next_cursor = listed.next.map(|key| cursor::write(LIST, &key));
    let data: Vec<_> = listed.rows.iter().map(view).collect();
    Ok(read_answer(stale, List { data, next_cursor }))
}

/// Read an event
#[utoipa::path(get, path = "/v1/events/{id}", tag = "events", params(("id" = String, Path)), responses(
    (status = 200, description = "The event", body = EventView),
))]
async fn get(
    State(state): State<ApiState>,
    caller: ForMerchant<Read>,
    PathId(id): PathId<kind::Event>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Problem> {
    params.finish()?;
    let stale = state.is_stale(caller.scope, &headers).await?;
    let event = state.reads()?.event(caller.scope, id).await.map_err(Problem::reading)?;
    let event = event.ok_or_else(|| Problem::not_found("event", id).where_stale(stale))?;
    Ok(read_answer(stale, view(&event)))
}

/// The event type with a name.
pub(crate) fn named(field: &str, name: &str) -> Result<PaymentEventType, Problem> {
    let known = PaymentEventType::ALL.into_iter().find(|known| known.name() == name);
    known.ok_or_else(|| {
        let names = PaymentEventType::ALL.map(PaymentEventType::name).join(", ");
        Problem::field(field, format!("no such event type; there are {names}"))
    })
}

fn view(event: &StoredEvent) -> EventView {
    EventView {
        id: event.event.to_string(),
        r#type: event.event_type.name(),
        created_at: event.occurred_at.to_string(),
        data: payment_json(&event.payment),
    }
}
