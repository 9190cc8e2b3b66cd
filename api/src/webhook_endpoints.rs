//! `/v1/webhook-endpoints`: where a merchant's events go.

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use garde::Validate;
use rand::Rng;
use serde::{Deserialize, Serialize};
use streambook_model::{
    id::{EndpointId, kind},
    records::{
        payment::PaymentEventType,
        registry::{Endpoint, PutEndpoint, SealedSecret},
    },
};
use streambook_sinks::sql::Scope;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    asked::Asked,
    auth::{ForMerchant, Read, Write},
    command::{Answer, Done, no_object, pending},
    context::{RequestContext, mint},
    events,
    merchants::page_of,
    params::{Params, PathId},
    problem::Problem,
    state::ApiState,
    url_rules,
    views::{List, PendingDoc},
};

/// The list's name in cursors.
const LIST: &str = "webhook_endpoints";
/// The reason of an endpoint that its merchant disabled.
const DISABLED: &str = "disabled by the merchant";

/// Create a webhook endpoint.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateWebhookEndpoint)]
struct Create {
    /// Where messages go: https, on the public internet unless the operator allows its network.
    #[garde(skip)]
    #[schema(max_length = 2048, example = "https://example.com/hook")]
    url: String,
    /// Event types it wants; `*` for all of them.
    #[garde(skip)]
    #[schema(example = json!(["*"]), min_items = 1)]
    events: Vec<String>,
}

/// Change a webhook endpoint. What is absent stays.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ChangeWebhookEndpoint)]
struct Change {
    /// Where messages go.
    #[garde(skip)]
    #[schema(max_length = 2048)]
    url: Option<String>,
    /// Event types it wants.
    #[garde(skip)]
    events: Option<Vec<String>>,
    /// Whether it receives nothing.
    #[garde(skip)]
    disabled: Option<bool>,
}

/// A webhook endpoint.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookEndpoint)]
struct View {
    /// `we_` and 32 hex digits.
    id: String,
    /// Always `webhook_endpoint`.
    object: &'static str,
    merchant: String,
    livemode: bool,
    url: String,
    events: Vec<String>,
    /// The signing secret (Standard Webhooks, `whsec_` and base64), in the answer that created it only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    secret: Option<String>,
    /// Why it receives nothing, if it is disabled.
    #[schema(required)]
    disabled: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
}

impl View {
    fn of(endpoint: &Endpoint) -> Self {
        Self {
            id: endpoint.id.to_string(),
            object: "webhook_endpoint",
            merchant: endpoint.merchant.to_string(),
            livemode: endpoint.livemode,
            url: endpoint.url.clone(),
            events: endpoint.events.clone(),
            secret: None,
            disabled: endpoint.disabled.clone(),
            created_at: endpoint.created_at.to_string(),
        }
    }
}

/// The routes of this resource.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, change, delete))
}

/// Create a webhook endpoint
#[utoipa::path(post, path = "/v1/webhook-endpoints", tag = "webhooks", request_body = Create, responses(
    (status = 201, description = "Created; `secret` is shown this once", body = View),
    (status = 202, description = "Recorded; not answered in time", body = PendingDoc),
))]
async fn create(
    State(state): State<ApiState>,
    caller: ForMerchant<Write>,
    context: RequestContext,
    asked: Asked<Create>,
) -> Result<Response, Problem> {
    let id: EndpointId = mint();
    let Asked { body, idempotency } = asked;
    let endpoint = Endpoint {
        id,
        merchant: caller.scope.merchant,
        livemode: caller.scope.livemode,
        url: checked_url(&state, &body.url)?,
        events: checked_events(body.events)?,
        secrets: vec![new_secret(&state, id)?],
        disabled: None,
        created_at: state.now(),
        deleted_at: None,
    };
    let command = PutEndpoint {
        meta: state.meta(&context),
        administrator: state.administrator(caller.key, context.id, idempotency),
        endpoint,
    };
    match state.ask_registry(&id.to_string(), context.id, command).await? {
        Answer::Done(done) => created(&state, &done),
        Answer::Pending(position) => Ok(pending(position, &format!("/v1/webhook-endpoints/{id}"))),
    }
}

/// The answer opens the secret that the registry kept, so a replayed answer is the same as the first.
fn created(state: &ApiState, done: &Done) -> Result<Response, Problem> {
    let endpoint = done.reply.endpoint.as_ref().ok_or_else(no_object)?;
    let sealed = endpoint.secrets.first().ok_or_else(no_object)?;
    let opened = state.secret_key().open(sealed, endpoint.id.to_string().as_bytes()).ok();
    let secret = opened.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(no_object)?;
    let look =
        HeaderValue::from_str(&format!("/v1/webhook-endpoints/{}", endpoint.id)).map_err(|_| no_object())?;
    let view = View { secret: Some(secret), ..View::of(endpoint) };
    Ok(done.respond((StatusCode::CREATED, [(header::LOCATION, look)], Json(view))))
}

/// Draws a signing secret (Standard Webhooks: `whsec_` and base64 of 24 to 64 random bytes) and seals it for its endpoint.
fn new_secret(state: &ApiState, owner: EndpointId) -> Result<SealedSecret, Problem> {
    let (mut bytes, mut nonce) = ([0; 32], [0; 24]);
    rand::rng().fill(&mut bytes);
    rand::rng().fill(&mut nonce);
    let text = format!("whsec_{}", STANDARD.encode(bytes));
    let sealed = state.secret_key().seal(nonce, owner.to_string().as_bytes(), text.as_bytes());
    sealed.map_err(|_| no_object())
}

fn checked_url(state: &ApiState, text: &str) -> Result<String, Problem> {
    let url = url_rules::check(text, state.allowed_networks()).map_err(|why| Problem::field("url", why))?;
    Ok(url.into())
}

fn checked_events(events: Vec<String>) -> Result<Vec<String>, Problem> {
    if events.is_empty() || events.len() > PaymentEventType::ALL.len() + 1 {
        return Err(Problem::field(
            "events",
            "name at least one event type, each once, or `*` for all of them",
        ));
    }
    for (at, name) in events.iter().enumerate().filter(|(_, name)| *name != "*") {
        events::named(&format!("events[{at}]"), name)?;
    }
    Ok(events)
}

/// Read a webhook endpoint
#[utoipa::path(get, path = "/v1/webhook-endpoints/{id}", tag = "webhooks", params(("id" = String, Path)), responses(
    (status = 200, description = "The endpoint, without its secret", body = View),
))]
async fn get(
    State(state): State<ApiState>,
    caller: ForMerchant<Read>,
    PathId(id): PathId<kind::Endpoint>,
    params: Params,
) -> Result<Response, Problem> {
    params.finish()?;
    Ok(Json(View::of(&find(&state, caller.scope, id)?)).into_response())
}

fn find(state: &ApiState, scope: Scope, id: EndpointId) -> Result<Endpoint, Problem> {
    let endpoint = state.registry().endpoint(scope.merchant, scope.livemode, id);
    endpoint.map(|endpoint| (*endpoint).clone()).ok_or_else(|| Problem::not_found("webhook endpoint", id))
}

/// List webhook endpoints, newest first
#[utoipa::path(get, path = "/v1/webhook-endpoints", tag = "webhooks", params(
    ("limit" = Option<u16>, Query, minimum = 1, maximum = 100),
    ("cursor" = Option<String>, Query),
), responses((status = 200, description = "A page", body = List<View>)))]
async fn list(
    State(state): State<ApiState>,
    caller: ForMerchant<Read>,
    mut params: Params,
) -> Result<Response, Problem> {
    let page = params.page::<EndpointId>(LIST)?;
    params.finish()?;
    let Scope { merchant, livemode } = caller.scope;
    let rows = state.registry().endpoints(merchant, livemode, page.after, usize::from(page.limit) + 1);
    Ok(Json(page_of(LIST, &page, &rows, |endpoint| endpoint.id, View::of)).into_response())
}

/// Change a webhook endpoint
#[utoipa::path(patch, path = "/v1/webhook-endpoints/{id}", tag = "webhooks", request_body = Change, params(("id" = String, Path)),
    responses(
        (status = 200, description = "Changed", body = View),
        (status = 202, description = "Recorded; not answered in time", body = PendingDoc),
    ))]
async fn change(
    State(state): State<ApiState>,
    caller: ForMerchant<Write>,
    PathId(id): PathId<kind::Endpoint>,
    context: RequestContext,
    asked: Asked<Change>,
) -> Result<Response, Problem> {
    let mut endpoint = find(&state, caller.scope, id)?;
    let Change { url, events, disabled } = asked.body;
    if let Some(url) = url {
        endpoint.url = checked_url(&state, &url)?;
    }
    if let Some(events) = events {
        endpoint.events = checked_events(events)?;
    }
    match disabled {
        Some(true) if endpoint.disabled.is_none() => endpoint.disabled = Some(DISABLED.to_owned()),
        Some(false) => endpoint.disabled = None,
        _ => {}
    }
    match put(&state, &caller, &context, endpoint).await? {
        Answer::Done(done) => {
            let endpoint = done.reply.endpoint.as_ref().ok_or_else(no_object)?;
            Ok(done.respond(Json(View::of(endpoint))))
        }
        Answer::Pending(position) => Ok(pending(position, &format!("/v1/webhook-endpoints/{id}"))),
    }
}

/// Delete a webhook endpoint
#[utoipa::path(delete, path = "/v1/webhook-endpoints/{id}", tag = "webhooks", params(("id" = String, Path)), responses(
    (status = 204, description = "Deleted"),
    (status = 202, description = "Recorded; not answered in time", body = PendingDoc),
))]
async fn delete(
    State(state): State<ApiState>,
    caller: ForMerchant<Write>,
    PathId(id): PathId<kind::Endpoint>,
    context: RequestContext,
) -> Result<Response, Problem> {
    let mut endpoint = find(&state, caller.scope, id)?;
    endpoint.deleted_at = Some(state.now());
    match put(&state, &caller, &context, endpoint).await? {
        Answer::Done(done) => Ok(done.respond(StatusCode::NO_CONTENT)),
        Answer::Pending(position) => Ok(pending(position, &format!("/v1/webhook-endpoints/{id}"))),
    }
}

async fn put(
    state: &ApiState,
    caller: &ForMerchant<Write>,
    context: &RequestContext,
    endpoint: Endpoint,
) -> Result<Answer, Problem> {
    let key = endpoint.id.to_string();
    let administrator = state.administrator(caller.key, context.id, None);
    state
        .ask_registry(&key, context.id, PutEndpoint { meta: state.meta(context), administrator, endpoint })
        .await
}
