//! The JSON-RPC server: one route that takes a POST and answers it from the chain in memory.
//!
//! Bodies, batches and answers have limits. Requests must say that they are JSON, so that no page in a
//! browser can reach the chain with a form. A request is answered on the thread that received it; a batch
//! lets other requests run between two of its own.

mod call;
mod dev;
mod envelope;
mod error;
mod eth;
mod logs;
mod params;

#[cfg(test)]
mod tests;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::Value;

use self::envelope::{Answer, Incoming, Request, parse, write_response};
use self::error::RpcError;
use crate::live::LiveChain;

/// The largest request body, in bytes.
const BODY_LIMIT_BYTES: usize = 10 * 1024 * 1024;
/// When an answer to a batch has this many bytes, the rest of the batch is refused.
const RESPONSE_LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// The service that answers JSON-RPC from `live`.
pub(crate) fn router(live: LiveChain) -> Router {
    Router::new()
        .route("/", post(answer_body))
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .with_state(live)
}

async fn answer_body(
    State(live): State<LiveChain>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    if !is_json(&headers) {
        let error = RpcError::invalid_request("the content type must be application/json");
        return respond(StatusCode::UNSUPPORTED_MEDIA_TYPE, response_to(&Value::Null, &Err(error)));
    }
    let body = match body {
        Ok(body) => body,
        Err(rejection) => {
            let error = RpcError::invalid_request(&rejection.body_text());
            return respond(rejection.status(), response_to(&Value::Null, &Err(error)));
        }
    };
    match parse(&body) {
        Err(error) => respond(StatusCode::OK, response_to(&Value::Null, &Err(error))),
        Ok(Incoming::Single(request)) => respond(StatusCode::OK, answer_single(&live, request)),
        Ok(Incoming::Batch(requests)) => respond(StatusCode::OK, answer_batch(&live, requests).await),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

fn respond(status: StatusCode, body: String) -> Response {
    if body.is_empty() {
        return StatusCode::NO_CONTENT.into_response();
    }
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn response_to(id: &Value, answer: &Answer) -> String {
    let mut out = String::new();
    write_response(&mut out, id, answer);
    out
}

/// The response, empty for a notification.
fn answer_single(live: &LiveChain, value: Value) -> String {
    match Request::from_value(value) {
        Err((id, error)) => response_to(&id, &Err(error)),
        Ok(request) => {
            let answer = dispatch(live, &request.method, request.params);
            request.id.map_or_else(String::new, |id| response_to(&id, &answer))
        }
    }
}

async fn answer_batch(live: &LiveChain, requests: Vec<Value>) -> String {
    let mut out = String::new();
    for value in requests {
        let response =
            if out.len() > RESPONSE_LIMIT_BYTES { refuse_rest(value) } else { answer_single(live, value) };
        if !response.is_empty() {
            out.push(if out.is_empty() { '[' } else { ',' });
            out.push_str(&response);
        }
        tokio::task::yield_now().await;
    }
    if !out.is_empty() {
        out.push(']');
    }
    out
}

fn refuse_rest(value: Value) -> String {
    let id = match Request::from_value(value) {
        Err((id, _)) => Some(id),
        Ok(request) => request.id,
    };
    let error = RpcError::limit_exceeded(format!("the batch's answer is over {RESPONSE_LIMIT_BYTES} bytes"));
    id.map_or_else(String::new, |id| response_to(&id, &Err(error)))
}

/// Carries out one method.
fn dispatch(live: &LiveChain, method: &str, params: Option<Value>) -> Answer {
    match method {
        "eth_chainId" => eth::chain_id(live, params),
        "net_version" => eth::net_version(live, params),
        "web3_clientVersion" => eth::client_version(params),
        "eth_syncing" => eth::syncing(params),
        "eth_blockNumber" => eth::block_number(live, params),
        "eth_getBlockByNumber" => eth::block_by_number(live, params),
        "eth_getBlockByHash" => eth::block_by_hash(live, params),
        "eth_getBlockReceipts" => eth::block_receipts(live, params),
        "eth_getTransactionReceipt" => eth::transaction_receipt(live, params),
        "eth_getTransactionByHash" => eth::transaction_by_hash(live, params),
        "eth_getLogs" => logs::get_logs(live, params),
        "eth_call" => call::call(live, params),
        "dev_transfer" => dev::transfer(live, params),
        "dev_mine" => dev::mine(live, params),
        "dev_reorg" => dev::reorg(live, params),
        "dev_switchTo" => dev::switch_to(live, params),
        "dev_finalize" => dev::finalize(live, params),
        "dev_declareToken" => dev::declare_token(live, params),
        unknown => Err(RpcError::method_not_found(unknown)),
    }
}
