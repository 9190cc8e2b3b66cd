//! One request to `/ingest/stripe`, decided: append it, ignore it, or refuse it.
//!
//! The order of the checks is part of the promise: size before anything is computed, the signature before anything is
//! parsed, so an unauthenticated body costs one HMAC and reaches no parser. An event about something we do not book is
//! answered with success and counted by the caller, since a refusal would make Stripe send it again for three days.

use streambook_model::{records::stripe::StripeEvent, time::Timestamp};

use super::{
    event::{self, EventError, Parsed},
    signature::{self, Secrets, SignatureError},
};

/// The largest body that is taken, in bytes.
pub const BODY_MAX_BYTES: usize = 1024 * 1024;

/// What to do with a request that was believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ingested {
    /// Append the record to `stripe.inbox`, and answer 200 once it is durable.
    Append {
        /// The record's key: the payment intent's id, or the charge's.
        key: String,
        /// The record.
        event: Box<StripeEvent>,
    },
    /// Answer 200 and count it: it is about something we do not book.
    Ignored {
        /// Stripe's event id.
        event: String,
        /// The event's type, for the counter's label.
        event_type: String,
    },
}

/// Why a request is refused, ready for a problem document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// A stable code.
    pub code: &'static str,
    /// The field of the body it is about.
    pub field: Option<String>,
    /// What is wrong and what to do about it.
    pub detail: String,
}

/// Decides on a request: the `Stripe-Signature` header, the raw body, the operator's secrets, the clock.
pub fn ingest(
    header: Option<&str>,
    body: &[u8],
    secrets: &Secrets,
    now: Timestamp,
) -> Result<Ingested, Refusal> {
    if body.len() > BODY_MAX_BYTES {
        return Err(too_large(body.len()));
    }
    signature::verify(header, body, secrets, now).map_err(|error| unsigned(&error))?;
    match event::parse(body, now).map_err(|error| malformed(&error))? {
        Parsed::Known(event) => Ok(Ingested::Append { key: event.family.clone(), event }),
        Parsed::Other { event, event_type } => Ok(Ingested::Ignored { event, event_type }),
    }
}

fn too_large(bytes: usize) -> Refusal {
    let detail = format!("the body has {bytes} bytes, at most {BODY_MAX_BYTES} are taken");
    Refusal { status: 413, code: "body_too_large", field: None, detail }
}

fn unsigned(error: &SignatureError) -> Refusal {
    let (status, code) = match error {
        SignatureError::Missing => (401, "signature_missing"),
        SignatureError::Time | SignatureError::NoSignature | SignatureError::TooMany => {
            (400, "signature_malformed")
        }
        SignatureError::Mismatch => (401, "signature_mismatch"),
        SignatureError::OutsideWindow { .. } => (401, "signature_outside_window"),
    };
    Refusal { status, code, field: None, detail: error.to_string() }
}

fn malformed(error: &EventError) -> Refusal {
    let (field, detail) = match error {
        EventError::NotText(cause) => (None, format!("{error}: {cause}")),
        EventError::NotJson(cause) => (None, format!("{error}: {cause}")),
        EventError::Field { field, .. } => (Some(field.clone()), error.to_string()),
    };
    Refusal { status: 400, code: "malformed_event", field, detail }
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, Mac};
    use sha2::Sha256;

    use super::*;

    const CHARGE: &str = r#"{"id":"evt_1","object":"event","type":"charge.succeeded","created":1700000000,"livemode":false,"data":{"object":{"id":"ch_1","object":"charge","amount":5}}}"#;
    const CUSTOMER: &str = r#"{"id":"evt_2","object":"event","type":"customer.updated","created":1700000000,"livemode":false,"data":{"object":{"id":"cus_1","object":"customer"}}}"#;

    fn post(body: &[u8]) -> Result<Ingested, Refusal> {
        let mac = Hmac::<Sha256>::new_from_slice(b"whsec_1")
            .unwrap()
            .chain_update("1700000000.")
            .chain_update(body);
        let header = format!("t=1700000000,v1={}", hex::encode(mac.finalize().into_bytes()));
        post_with(Some(&header), body)
    }

    fn post_with(header: Option<&str>, body: &[u8]) -> Result<Ingested, Refusal> {
        let secrets = Secrets::new(vec!["whsec_1".into()]).unwrap();
        ingest(header, body, &secrets, Timestamp::from_millis(1_700_000_000_000))
    }

    #[test]
    fn a_signed_charge_is_appended_under_its_family() {
        match post(CHARGE.as_bytes()).unwrap() {
            Ingested::Append { key, event } => {
                assert_eq!((key.as_str(), event.payload.as_str()), ("ch_1", CHARGE));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_signed_event_about_something_else_is_ignored_by_name() {
        let expect = Ingested::Ignored { event: "evt_2".into(), event_type: "customer.updated".into() };
        assert_eq!(post(CUSTOMER.as_bytes()), Ok(expect));
    }

    #[test]
    fn a_refusal_has_a_status_a_code_the_field_and_a_remedy() {
        let check = |result: Result<Ingested, Refusal>, status, code, field: Option<&str>| {
            let refusal = result.unwrap_err();
            assert_eq!((refusal.status, refusal.code, refusal.field.as_deref()), (status, code, field));
            assert!(!refusal.detail.is_empty());
        };
        check(post_with(None, CHARGE.as_bytes()), 401, "signature_missing", None);
        check(post_with(Some("t=x"), CHARGE.as_bytes()), 400, "signature_malformed", None);
        let forged = format!("t=1700000000,v1={}", "0".repeat(64));
        check(post_with(Some(&forged), CHARGE.as_bytes()), 401, "signature_mismatch", None);
        check(post(b"{"), 400, "malformed_event", None);
        check(
            post(CHARGE.replace("\"amount\":5", "\"amount\":0.5").as_bytes()),
            400,
            "malformed_event",
            Some("data.object.amount"),
        );
        check(post(&vec![b' '; BODY_MAX_BYTES + 1]), 413, "body_too_large", None);
        check(post(&vec![b' '; BODY_MAX_BYTES]), 400, "malformed_event", None);
    }

    #[test]
    fn an_unsigned_body_reaches_no_parser() {
        assert_eq!(post_with(None, b"{").unwrap_err().code, "signature_missing");
    }
}
