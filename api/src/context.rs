//! What every request carries: its id, which is also the id of the command it becomes, and its trace.

use std::convert::Infallible;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, request::Parts},
};
use rand::Rng;
use streambook_model::id::{Id, Kind, RequestId};
use uuid::Uuid;

/// A request's id and trace.
#[derive(Debug, Clone)]
pub(crate) struct RequestContext {
    /// Its id, answered in `X-Request-Id`.
    pub(crate) id: RequestId,
    /// Its W3C `traceparent`: the caller's, or a new one.
    pub(crate) trace: String,
}

/// A new id of any kind, with the bits of a UUIDv7: ids sort by the time they were minted.
pub(crate) fn mint<K: Kind>() -> Id<K> {
    Id::from_bits(Uuid::now_v7().into_bytes())
}

impl RequestContext {
    /// The context of a request with these headers.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let given = headers.get("traceparent").and_then(|value| value.to_str().ok());
        let given = given.filter(|text| is_traceparent(text)).map(str::to_owned);
        Self { id: mint(), trace: given.unwrap_or_else(new_traceparent) }
    }

    /// The trace id within the `traceparent`.
    pub(crate) fn trace_id(&self) -> &str {
        self.trace.split('-').nth(1).unwrap_or_default()
    }
}

/// W3C Trace Context, section 3.2: version 00, a trace id and a parent id that are not all zeros, flags.
fn is_traceparent(text: &str) -> bool {
    let hex = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let set =
        |part: &str, length: usize| part.len() == length && hex(part) && part.bytes().any(|b| b != b'0');
    match text.split('-').collect::<Vec<_>>().as_slice() {
        ["00", trace, parent, flags] => set(trace, 32) && set(parent, 16) && flags.len() == 2 && hex(flags),
        _ => false,
    }
}

fn new_traceparent() -> String {
    let parent = rand::rng().random_range(1..=u64::MAX);
    format!("00-{}-{parent:016x}-01", Uuid::new_v4().simple())
}

impl<S: Sync> FromRequestParts<S> for RequestContext {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let context = parts.extensions.get::<Self>().cloned();
        Ok(context.unwrap_or_else(|| Self::of(&parts.headers)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_traceparent_is_kept_and_any_other_replaced() {
        let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(is_traceparent(given) && is_traceparent(&new_traceparent()));
        let zeros = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        for bad in [
            "",
            "00-1-2-01",
            &zeros,
            &given.to_uppercase(),
            &given.replace("00-4", "01-4"),
            &format!("{given}-x"),
        ] {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }
}
