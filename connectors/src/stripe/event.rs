//! A Stripe event body, read into our [`StripeEvent`].
//!
//! Only what names the record is read here: the event's id, type, mode and time, and which payment it belongs to. The
//! body travels on whole. Amounts must be integers of the smallest unit, as Stripe's are; a body with any other amount
//! is not Stripe's and is refused, so that no float can get near money later.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use streambook_model::{bytes::ContentHash, meta::Meta, records::stripe::StripeEvent, time::Timestamp};

/// Fields that hold an amount, wherever they stand in the object.
const AMOUNTS: [&str; 7] =
    ["amount", "amount_captured", "amount_refunded", "amount_received", "amount_capturable", "fee", "net"];

/// A body that is not an event we can read.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// Not UTF-8.
    #[error("the body is not UTF-8")]
    NotText(#[source] std::str::Utf8Error),
    /// Not JSON.
    #[error("the body is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// A field is missing or is something else.
    #[error("`{field}` must be {expected}")]
    Field {
        /// The field's path.
        field: String,
        /// What it must be.
        expected: &'static str,
    },
}

/// What a body turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// An event about a charge, a payment intent, a refund or a dispute.
    Known(Box<StripeEvent>),
    /// An event about something we do not book.
    Other {
        /// Its id.
        event: String,
        /// Its type.
        event_type: String,
    },
}

/// Reads a body whose signature was checked; `now` becomes the record's `recorded_at`.
pub fn parse(body: &[u8], now: Timestamp) -> Result<Parsed, EventError> {
    let payload = std::str::from_utf8(body).map_err(EventError::NotText)?;
    let root: Value = serde_json::from_str(payload).map_err(EventError::NotJson)?;
    if root.get("object").and_then(Value::as_str) != Some("event") {
        return Err(field("object", "\"event\""));
    }
    let (event, event_type) = (text(&root, "id")?, text(&root, "type")?);
    let object = root.pointer("/data/object").and_then(Value::as_object);
    let object = object.ok_or_else(|| field("data.object", "an object"))?;
    let Some(family) = family(object)? else { return Ok(Parsed::Other { event, event_type }) };
    check_amounts(object)?;
    let created = root.get("created").and_then(Value::as_u64).and_then(Timestamp::from_seconds);
    let created = created.ok_or_else(|| field("created", "a time in unix seconds"))?;
    let livemode = root.get("livemode").and_then(Value::as_bool);
    Ok(Parsed::Known(Box::new(StripeEvent {
        meta: Meta {
            source: None,
            id: event.clone(),
            occurred_at: created,
            recorded_at: now,
            cause: None,
            trace: None,
        },
        event,
        event_type,
        family,
        livemode: livemode.ok_or_else(|| field("livemode", "true or false"))?,
        created,
        content_hash: content_hash(object),
        payload: payload.to_owned(),
    })))
}

fn field(name: impl Into<String>, expected: &'static str) -> EventError {
    EventError::Field { field: name.into(), expected }
}

fn text(root: &Value, name: &str) -> Result<String, EventError> {
    let text = root.get(name).and_then(Value::as_str).filter(|text| (1..=255).contains(&text.len()));
    text.map(str::to_owned).ok_or_else(|| field(name, "a text of 1 to 255 bytes"))
}

/// The key under which all events of one payment meet; `None` for an object we do not book.
fn family(object: &Map<String, Value>) -> Result<Option<String>, EventError> {
    let parents: &[&str] = match object.get("object").and_then(Value::as_str) {
        Some("payment_intent") => &["id"],
        Some("charge") => &["payment_intent", "id"],
        Some("refund" | "dispute") => &["payment_intent", "charge", "id"],
        Some(_) => return Ok(None),
        None => return Err(field("data.object.object", "the name of an object's type")),
    };
    let key = parents.iter().find_map(|name| reference(object.get(*name)?));
    let key = key.filter(|key| (1..=255).contains(&key.len()));
    key.map(|key| Some(key.to_owned())).ok_or_else(|| field("data.object.id", "a text of 1 to 255 bytes"))
}

/// A reference to another object: its id, or the object itself where it was expanded.
fn reference(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("id")?.as_str())
}

fn check_amounts(object: &Map<String, Value>) -> Result<(), EventError> {
    for name in AMOUNTS {
        if object.get(name).is_some_and(|value| !value.is_null() && !value.is_i64()) {
            return Err(not_integer(&format!("data.object.{name}")));
        }
    }
    object.iter().try_for_each(|(name, value)| check_nested(value, &format!("data.object.{name}")))
}

/// The parser stops at 128 levels, so this recursion does too. Metadata is the merchant's own text.
fn check_nested(value: &Value, path: &str) -> Result<(), EventError> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| check_nested(item, path)),
        Value::Object(fields) => {
            fields.iter().filter(|(name, _)| *name != "metadata").try_for_each(|(name, value)| {
                let path = format!("{path}.{name}");
                if AMOUNTS.contains(&name.as_str()) && value.is_number() && !value.is_i64() {
                    return Err(not_integer(&path));
                }
                check_nested(value, &path)
            })
        }
        _ => Ok(()),
    }
}

fn not_integer(path: &str) -> EventError {
    field(path, "a whole number of the currency's smallest unit")
}

/// SHA-256 over the object's canonical JSON: keys sorted, no blanks. What it hashes to does not depend on the order in
/// which Stripe wrote the fields.
fn content_hash(object: &Map<String, Value>) -> ContentHash {
    let mut hash = Sha256::new();
    hash_object(object, &mut hash);
    ContentHash::new(hash.finalize().into())
}

fn hash_object(object: &Map<String, Value>, hash: &mut Sha256) {
    let mut fields: Vec<_> = object.iter().collect();
    fields.sort_by_key(|(name, _)| *name);
    hash.update(b"{");
    for (name, value) in fields {
        hash.update(Value::from(name.as_str()).to_string());
        hash.update(b":");
        hash_value(value, hash);
        hash.update(b",");
    }
    hash.update(b"}");
}

fn hash_value(value: &Value, hash: &mut Sha256) {
    match value {
        Value::Object(object) => hash_object(object, hash),
        Value::Array(items) => {
            hash.update(b"[");
            for item in items {
                hash_value(item, hash);
                hash.update(b",");
            }
            hash.update(b"]");
        }
        scalar => hash.update(scalar.to_string()),
    }
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
