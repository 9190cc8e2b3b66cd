//! `/ingest/stripe`: Stripe's deliveries. The signature is checked over the raw body before anything else is looked at, and
//! the answer comes when the event is on disk; until then Stripe keeps it and sends it again.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use streambook_model::{records::stripe::StripeEvent, time::Timestamp, topics::STRIPE_INBOX};
use streambook_runtime::{metrics::Metric, step::chain_of};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{asked, context::RequestContext, problem::Problem, state::ApiState};

/// Checks a delivery: the `Stripe-Signature` header (empty if there is none), the raw body, and the time. Gives the record
/// with its key, nothing for an event that needs no processing, or why the delivery is refused.
pub type StripeIngest = Arc<
    dyn Fn(&str, &[u8], Timestamp) -> Result<Option<(Vec<u8>, StripeEvent)>, IngestRefusal> + Send + Sync,
>;

/// Why a delivery is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct IngestRefusal {
    /// The HTTP status, 400 to 499.
    pub status: u16,
    /// A stable code.
    pub code: &'static str,
    /// What is wrong and what to do about it.
    pub detail: String,
}

/// The event is kept, or needs no processing.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Received)]
struct Received {
    /// Always true.
    received: bool,
}

/// The routes of this resource.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(ingest))
}

/// Receive an event from Stripe
///
/// Authenticated by its signature, not by a key.
#[utoipa::path(post, path = "/ingest/stripe", tag = "ingest", security(()),
    request_body(content = String, content_type = "application/json", description = "Stripe's event, as signed"),
    params(("Stripe-Signature" = String, Header)),
    responses((status = 200, description = "The event is on disk", body = Received)))]
async fn ingest(
    State(state): State<ApiState>,
    context: RequestContext,
    request: Request,
) -> Result<Response, Problem> {
    let outcome = take(&state, &context, request).await;
    let result = match &outcome {
        Ok(()) => "received",
        Err(problem) if problem.status().is_server_error() => "failed",
        Err(_) => "refused",
    };
    Metric::StripeDeliveries.count(1, &[("result", result.to_owned())]);
    outcome.map(|()| Json(Received { received: true }).into_response())
}

async fn take(state: &ApiState, context: &RequestContext, request: Request) -> Result<(), Problem> {
    let check = state.stripe().ok_or_else(|| {
        let detail = "Stripe is not configured here: set its webhook signing secret";
        Problem::new(StatusCode::NOT_FOUND, "stripe_not_configured", detail)
    })?;
    let (parts, body) = request.into_parts();
    let limits = state.config();
    let body =
        asked::read(&parts.headers, body, limits.stripe_body_limit_bytes, limits.body_timeout_ms).await?;
    let signature =
        parts.headers.get("stripe-signature").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Some((key, mut event)) = check(signature, &body, state.now()).map_err(refused)? else {
        return Ok(());
    };
    event.meta.trace = Some(context.trace.clone());
    append(state, &key, event).await
}

async fn append(state: &ApiState, key: &[u8], event: StripeEvent) -> Result<(), Problem> {
    let unavailable = |error| {
        tracing::error!(error = chain_of(&error), "a Stripe event was not appended");
        Problem::unavailable("log_unavailable", "the log does not take events: Stripe will send it again")
    };
    let published = state.publisher().publish(STRIPE_INBOX, key, event).await.map_err(unavailable)?;
    state.publisher().synced(&published, STRIPE_INBOX).await.map_err(unavailable)
}

fn refused(refusal: IngestRefusal) -> Problem {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
    Problem::new(status, refusal.code, refusal.detail)
}
