//! What a command's caller asks: the body, read within a size and a time and checked field by field, and its idempotency
//! key. Whatever is wrong is said with the field's name and a remedy.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use garde::Validate;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use streambook_model::records::book::Idempotency;

use crate::{idempotency, problem::Problem, state::ApiState};

/// A checked body and the request's idempotency key.
#[derive(Debug)]
pub(crate) struct Asked<T> {
    /// The body.
    pub(crate) body: T,
    /// The idempotency key, if one was sent.
    pub(crate) idempotency: Option<Idempotency>,
}

/// The body of a command that needs none.
#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

impl<T: DeserializeOwned + Validate<Context = ()>> FromRequest<ApiState> for Asked<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let limits = state.config();
        let bytes = read(&parts.headers, body, limits.body_limit_bytes, limits.body_timeout_ms).await?;
        // A body that is absent asks what an empty object asks: commands without fields need none.
        let bytes = if bytes.is_empty() { Bytes::from_static(b"{}") } else { json(&parts.headers, bytes)? };
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| malformed(&error))?;
        if !value.is_object() {
            // A list would be taken for the fields in their order.
            let detail = "the body is no JSON object: send `{…}` with the fields by name";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "not_an_object", detail));
        }
        let body: T = parse(&bytes)?;
        check(&body)?;
        let idempotency = idempotency::of(&parts.headers, &parts.method, parts.uri.path(), Some(&value))?;
        Ok(Self { body, idempotency })
    }
}

/// Reads a body of at most `limit` bytes within a time.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    timeout_ms: u64,
) -> Result<Bytes, Problem> {
    let too_large = || {
        let detail = format!("the body is larger than {limit} bytes: send less");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
    };
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > limit)) {
        return Err(too_large());
    }
    let mut stream = body.into_data_stream();
    let mut bytes = BytesMut::new();
    let collect = async {
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|_| cut_off())?;
            if bytes.len() + chunk.len() > limit {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(())
    };
    let collected = tokio::time::timeout(Duration::from_millis(timeout_ms), collect).await;
    collected.unwrap_or_else(|_| Err(too_slow(timeout_ms)))?;
    Ok(bytes.freeze())
}

fn cut_off() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "body_incomplete", "the body ended early: send it again")
}

fn too_slow(timeout_ms: u64) -> Problem {
    let detail = format!("the body did not arrive within {timeout_ms} ms: send it again, faster");
    Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", detail)
}

/// Passes a body that says it is JSON.
fn json(headers: &HeaderMap, body: Bytes) -> Result<Bytes, Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(body);
    }
    let detail = "Content-Type: send `application/json`";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
        .about("Content-Type"))
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed_json", format!("the body is not JSON: {error}"))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let text = error.into_inner().to_string();
        Problem::field(field_of(&path, &text), text)
    })
}

/// The field an error is about: serde names a missing, unknown or repeated one only in its text.
fn field_of(path: &str, text: &str) -> String {
    let prefix = if path == "." { "" } else { path };
    let named = ["missing field `", "unknown field `", "duplicate field `"]
        .iter()
        .find_map(|start| text.strip_prefix(start));
    match named.and_then(|rest| rest.split('`').next()) {
        Some(name) if prefix.is_empty() || prefix == name => name.to_owned(),
        Some(name) if prefix.ends_with(&format!(".{name}")) => prefix.to_owned(),
        Some(name) => format!("{prefix}.{name}"),
        None => prefix.to_owned(),
    }
}

/// The first rule that the body breaks.
fn check<T: Validate<Context = ()>>(body: &T) -> Result<(), Problem> {
    let Err(report) = body.validate() else { return Ok(()) };
    let first = report.iter().next().map(|(path, error)| Problem::field(path.to_string(), error.message()));
    first.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serde_errors_name_their_field() {
        assert_eq!(field_of(".", "missing field `amount` at line 1 column 2"), "amount");
        assert_eq!(field_of("amount", "invalid type: integer"), "amount");
        assert_eq!(field_of("foo", "unknown field `foo`, expected one of"), "foo");
        assert_eq!(field_of("items[0]", "unknown field `foo`, expected"), "items[0].foo");
        assert_eq!(field_of("a.foo", "unknown field `foo`, expected"), "a.foo");
    }
}
