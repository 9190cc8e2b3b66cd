//! `Idempotency-Key`: read here, decided by the book and the registry, so that one key through two instances meets itself.
//!
//! The request's hash is over method, path and canonical body: member order and white space make no other request.

use axum::http::{HeaderMap, HeaderName, Method};
use serde_json::Value;
use sha2::{Digest, Sha256};
use streambook_model::{bytes::ContentHash, records::book::Idempotency};

use crate::problem::Problem;

/// The header with the caller's key.
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Characters of the longest key.
const MAX_CHARS: usize = 255;

/// The caller's idempotency key, if it sent one, with the hash of what it asks.
pub(crate) fn of(
    headers: &HeaderMap,
    method: &Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Option<Idempotency>, Problem> {
    let mut given = headers.get_all(KEY).iter();
    let Some(first) = given.next() else { return Ok(None) };
    let printable = |text: &&str| text.bytes().all(|b| (0x20..=0x7e).contains(&b));
    let key = first.to_str().ok().filter(|text| (1..=MAX_CHARS).contains(&text.len())).filter(printable);
    let refusal = || Problem::field("Idempotency-Key", "use 1 to 255 printable ASCII characters, once");
    let key = key.filter(|_| given.next().is_none()).ok_or_else(refusal)?;
    Ok(Some(Idempotency { key: key.to_owned(), request_hash: hash(method, path, body) }))
}

fn hash(method: &Method, path: &str, body: Option<&Value>) -> ContentHash {
    let mut text = String::new();
    if let Some(body) = body {
        canonical(body, &mut text);
    }
    let digest = Sha256::new().chain_update(method.as_str()).chain_update(" ").chain_update(path);
    ContentHash::new(digest.chain_update("\n").chain_update(text).finalize().into())
}

/// JSON without white space, members in the order of their names. The parser bounds the depth.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (at, (name, member)) in sorted.into_iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                canonical(member, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                canonical(item, out);
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn hash_of(path: &str, body: &str) -> ContentHash {
        hash(&Method::POST, path, Some(&serde_json::from_str(body).unwrap()))
    }

    #[test]
    fn spelling_makes_no_other_request_and_content_does() {
        let one = hash_of("/v1/payments", r#"{"b":[1,{"d":1,"c":2}],"a":"x"}"#);
        assert_eq!(one, hash_of("/v1/payments", r#" {"a":"x", "b":[1,{"c":2,"d":1}]} "#));
        assert_ne!(one, hash_of("/v1/payments", r#"{"a":"y","b":[1,{"c":2,"d":1}]}"#));
        assert_ne!(one, hash_of("/v1/refunds", r#"{"a":"x","b":[1,{"c":2,"d":1}]}"#));
    }

    #[test]
    fn a_key_is_printable_ascii_of_at_most_255_characters_once() {
        let read = |values: &[&str]| {
            let value = |text: &&str| (KEY, HeaderValue::from_bytes(text.as_bytes()).unwrap());
            let mut headers = HeaderMap::new();
            headers.extend(values.iter().map(value));
            of(&headers, &Method::POST, "/", None)
        };
        assert!(read(&[]).unwrap().is_none());
        assert_eq!(read(&["ORDER 1"]).unwrap().unwrap().key, "ORDER 1");
        assert!(read(&[&"k".repeat(255)]).is_ok());
        for bad in [vec![""], vec!["ü"], vec!["a", "b"], vec!["a", "a"]] {
            assert!(read(&bad).is_err(), "{bad:?}");
        }
        assert!(read(&[&"k".repeat(256)]).is_err());
    }
}
