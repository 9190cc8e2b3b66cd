//! `/healthz`, `/readyz`, `/metrics`: for orchestrators and monitoring. None needs a key, and none is limited.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use streambook_runtime::health::{Condition, Health};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::state::ApiState;

/// The process answers.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Alive)]
struct Alive {
    /// Always `ok`.
    status: &'static str,
}

/// Whether everything works, and what does not.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Readiness)]
struct Readiness {
    /// `ready` or `not_ready`.
    status: &'static str,
    /// The parts that are not running, with their reasons.
    not_ready: BTreeMap<String, String>,
}

/// The routes of this resource.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz)).routes(routes!(metrics))
}

/// Whether the process answers
#[utoipa::path(get, path = "/healthz", tag = "operation", security(()), responses(
    (status = 200, description = "It does", body = Alive),
))]
pub(crate) async fn healthz() -> Response {
    Json(Alive { status: "ok" }).into_response()
}

/// Whether everything works
#[utoipa::path(get, path = "/readyz", tag = "operation", security(()), responses(
    (status = 200, description = "It does", body = Readiness),
    (status = 503, description = "Parts do not, with their reasons", body = Readiness),
))]
async fn readyz(State(state): State<ApiState>) -> Response {
    let is_reading = !state.registry().is_caught_up();
    readiness(state.health(), is_reading.then_some(("api/registry", "reading the registry")))
}

/// The answer for these conditions; `besides` is a part that cannot say so itself.
pub(crate) fn readiness(health: &Health, besides: Option<(&str, &str)>) -> Response {
    let conditions = health.conditions().into_iter();
    let mut not_ready: BTreeMap<_, _> =
        conditions.filter_map(|(part, condition)| Some((part, reason(condition)?))).collect();
    if let Some((part, reason)) = besides {
        not_ready.entry(part.to_owned()).or_insert_with(|| reason.to_owned());
    }
    let (code, status) = match not_ready.is_empty() {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
    };
    (code, Json(Readiness { status, not_ready })).into_response()
}

fn reason(condition: Condition) -> Option<String> {
    match condition {
        Condition::Running => None,
        Condition::Troubled { reason } => Some(format!("troubled: {reason}")),
        Condition::Stopped { reason } => Some(format!("stopped: {reason}")),
    }
}

/// Metrics, in the Prometheus text format
#[utoipa::path(get, path = "/metrics", tag = "operation", security(()), responses(
    (status = 200, description = "The metrics", body = String, content_type = "text/plain"),
))]
async fn metrics(State(state): State<ApiState>) -> Response {
    exposition(state.metrics_text())
}

/// The metrics as Prometheus reads them.
pub(crate) fn exposition(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
