//! The JSON-RPC 2.0 envelope: requests in, answers out, alone or in batches.
//!
//! Every request with an id gets exactly one answer; one without (a notification) is carried out and gets
//! none. Answers are written as they come, since a block's receipts can be a megabyte.

use serde::Serialize;
use serde_json::Value;

use super::error::RpcError;

/// The most requests in one batch.
pub(crate) const BATCH_LIMIT: usize = 1_000;

/// The body of a request.
pub(crate) enum Incoming {
    Single(Value),
    Batch(Vec<Value>),
}

/// One request.
pub(crate) struct Request {
    /// `None` in a notification.
    pub(crate) id: Option<Value>,
    pub(crate) method: String,
    pub(crate) params: Option<Value>,
}

/// A result that is already JSON, or an error.
pub(crate) type Answer = Result<String, RpcError>;

pub(crate) fn parse(body: &[u8]) -> Result<Incoming, RpcError> {
    match serde_json::from_slice(body).map_err(|cause| RpcError::parse(&cause))? {
        Value::Array(batch) if batch.is_empty() => Err(RpcError::invalid_request("the batch is empty")),
        Value::Array(batch) if batch.len() > BATCH_LIMIT => {
            Err(RpcError::invalid_request(&format!("a batch has at most {BATCH_LIMIT} requests")))
        }
        Value::Array(batch) => Ok(Incoming::Batch(batch)),
        single => Ok(Incoming::Single(single)),
    }
}

impl Request {
    /// Reads one request; a failure comes with the id to answer it under.
    pub(crate) fn from_value(value: Value) -> Result<Self, (Value, RpcError)> {
        let Value::Object(mut fields) = value else {
            return Err((Value::Null, RpcError::invalid_request("a request is an object")));
        };
        let id = fields.remove("id");
        let fail = |what| Err((id.clone().unwrap_or(Value::Null), RpcError::invalid_request(what)));
        if fields.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return fail("jsonrpc must be \"2.0\"");
        }
        if matches!(id, Some(Value::Object(_) | Value::Array(_) | Value::Bool(_))) {
            return fail("id must be a string, a number or null");
        }
        let Some(Value::String(method)) = fields.remove("method") else {
            return fail("method must be a string");
        };
        Ok(Self { id, method, params: fields.remove("params") })
    }
}

/// Writes one response object.
pub(crate) fn write_response(out: &mut String, id: &Value, answer: &Answer) {
    out.push_str("{\"jsonrpc\":\"2.0\",\"id\":");
    out.push_str(&id.to_string());
    match answer {
        Ok(result) => {
            out.push_str(",\"result\":");
            out.push_str(result);
        }
        Err(error) => {
            out.push_str(",\"error\":");
            out.push_str(&error_json(error));
        }
    }
    out.push('}');
}

/// A result as JSON text.
pub(crate) fn json<T: Serialize>(value: &T) -> Answer {
    serde_json::to_string(value).map_err(|cause| RpcError::internal(&cause))
}

/// The error as JSON text; its fields are a number and strings, so only the fallback's brevity is lost.
fn error_json(error: &RpcError) -> String {
    serde_json::to_string(error)
        .unwrap_or_else(|_| format!("{{\"code\":{},\"message\":\"internal error\"}}", error.code))
}
