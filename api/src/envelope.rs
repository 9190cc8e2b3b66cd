//! The outermost layer: gives a request its id, trace and time limit, counts it, and turns whatever went wrong below into
//! a problem document. Nothing leaves without an `X-Request-Id`, and no error without a document.

use std::{
    any::Any,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, HttpBody},
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use streambook_runtime::metrics::Metric;
use tracing::Instrument;

use crate::{context::RequestContext, problem::Problem, state::ApiState};

/// The header with the request's id.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Bytes of a body that may be unread when its request is refused. The server closes such a connection; an answer that
/// does not say so would have the caller's next request fail on it.
const LARGE_BODY: u64 = 4 << 10;

/// Wraps every request.
pub(crate) async fn envelope(State(state): State<ApiState>, mut request: Request, next: Next) -> Response {
    let context = RequestContext::of(request.headers());
    let path = request.uri().path().to_owned();
    let method = method_name(request.method());
    let route = request.extensions().get::<MatchedPath>().map(|route| route.as_str().to_owned());
    request.extensions_mut().insert(context.clone());
    let is_large = request.body().size_hint().upper().is_none_or(|bytes| bytes > LARGE_BODY);
    let span =
        tracing::info_span!("request", request_id = %context.id, trace_id = context.trace_id(), method, path);
    let began = Instant::now();
    let limit = Duration::from_millis(state.config().request_timeout_ms);
    let answered = tokio::time::timeout(limit, next.run(request)).instrument(span.clone()).await;
    let response = answered.unwrap_or_else(|_| timed_out().into_response());
    let mut response = finish(response, &context, &path);
    if is_large && (response.status().is_client_error() || response.status().is_server_error()) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    span.in_scope(|| account(method, route, response.status(), began.elapsed()));
    response
}

fn timed_out() -> Problem {
    let detail = "the request took too long: send it again, with the same Idempotency-Key if it was a POST";
    Problem::unavailable("request_timeout", detail)
}

/// The answer to a request whose handler panicked.
#[expect(clippy::needless_pass_by_value, reason = "the signature that the layer asks for")]
pub(crate) fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let text = cause.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| cause.downcast_ref::<String>().cloned()).unwrap_or_default();
    tracing::error!(cause = text, "a handler panicked");
    let detail = "the server made a mistake; its log has the request's id";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", detail).into_response()
}

/// Writes the body of a problem and the headers of every answer.
fn finish(response: Response, context: &RequestContext, path: &str) -> Response {
    let failed = response.status().is_client_error() || response.status().is_server_error();
    let made_elsewhere = failed && !response.headers().contains_key(header::CONTENT_TYPE);
    let problem = response.extensions().get::<Problem>().cloned();
    let problem = problem.or_else(|| made_elsewhere.then(|| Problem::of_status(response.status())));
    let mut response = match problem {
        Some(problem) => with_document(response, &problem, context, path),
        None => response,
    };
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&context.id.to_string()) {
        headers.insert(REQUEST_ID, id);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn with_document(response: Response, problem: &Problem, context: &RequestContext, path: &str) -> Response {
    let (mut parts, _) = response.into_parts();
    parts.status = problem.status();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    tracing::debug!(request_id = %context.id, code = problem.code(), "refused");
    Response::from_parts(parts, Body::from(problem.document(context.id, path)))
}

fn account(method: &'static str, route: Option<String>, status: StatusCode, took: Duration) {
    let route = route.unwrap_or_else(|| "unknown".to_owned());
    // Who asks for it is told, and so is the log when it changes.
    let is_readiness = route == "/readyz";
    let labels = [("method", method.to_owned()), ("route", route)];
    Metric::HttpSeconds.observe(took, &labels);
    let [method_label, route_label] = labels;
    Metric::HttpRequests.count(1, &[method_label, route_label, ("status", status.as_str().to_owned())]);
    let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    if status.is_server_error() && !is_readiness {
        tracing::warn!(status = status.as_u16(), took_us, "answered");
    } else {
        tracing::debug!(status = status.as_u16(), took_us, "answered");
    }
}

/// The method as a label: callers may invent methods, metrics must not grow with them.
fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "OTHER",
    }
}
