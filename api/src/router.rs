//! The routes and the layers around them, outermost first: envelope (id, time limit, problem documents), panics, load,
//! each address's rate, and for `/v1` the key and its rate.

use std::sync::Arc;

use axum::{
    Router,
    http::header,
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::get,
};
use streambook_runtime::health::Health;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api_keys, auth, balances, dead_letters, envelope, events, health, ingest_stripe, ledger, limits,
    merchants, openapi, payment_qr, payments, refunds,
    state::{ApiState, MetricsText},
    webhook_endpoints,
};

/// Every route below `/v1`.
fn resources() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .merge(payments::routes())
        .merge(payment_qr::routes())
        .merge(refunds::routes())
        .merge(balances::routes())
        .merge(ledger::routes())
        .merge(events::routes())
        .merge(webhook_endpoints::routes())
        .merge(merchants::routes())
        .merge(api_keys::routes())
        .merge(dead_letters::routes())
}

/// Every route that is described, without its layers.
pub(crate) fn described() -> OpenApiRouter<ApiState> {
    resources().merge(ingest_stripe::routes()).merge(health::routes())
}

/// The surface that this state serves.
pub fn router(state: ApiState) -> Router {
    let surface = state.surface();
    let mut limited = Router::new();
    if surface.api {
        let keyed = Router::from(resources());
        limited = limited.merge(keyed.route_layer(from_fn_with_state(state.clone(), auth::authenticate)));
    }
    if surface.stripe {
        limited = limited.merge(Router::from(ingest_stripe::routes()));
    }
    let limited = limited.route_layer(from_fn_with_state(state.clone(), limits::limit_address));
    let limited = limited.route_layer(from_fn_with_state(state.clone(), limits::shed_load));
    let document: Arc<str> = openapi::document().into();
    limited
        .merge(Router::from(health::routes()))
        .route("/openapi.json", get(move || described_by(Arc::clone(&document))))
        .layer(CatchPanicLayer::custom(envelope::panicked))
        .layer(from_fn_with_state(state.clone(), envelope::envelope))
        .with_state(state)
}

/// Health and metrics alone: of a process that serves nothing else.
pub fn operator_router(health: Health, metrics: MetricsText) -> Router {
    let ready = move || {
        let health = health.clone();
        async move { health::readiness(&health, None) }
    };
    let metrics = move || {
        let metrics = Arc::clone(&metrics);
        async move { health::exposition(metrics()) }
    };
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
}

async fn described_by(document: Arc<str>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document.to_string()).into_response()
}
