use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::json;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn body(object: &Value) -> Value {
    json!({"id": "evt_1", "object": "event", "type": "charge.succeeded", "created": 1_699_999_999, "livemode": true,
           "data": {"object": object}})
}

fn read(body: &Value) -> Result<Parsed, EventError> {
    parse(body.to_string().as_bytes(), NOW)
}

fn known(object: &Value) -> StripeEvent {
    match read(&body(object)).unwrap() {
        Parsed::Known(event) => *event,
        other => panic!("{other:?}"),
    }
}

fn refused_field(body: &Value) -> String {
    match read(body) {
        Err(EventError::Field { field, .. }) => field,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_event_keeps_its_name_its_time_and_its_body() {
    let event = known(&json!({"id": "ch_1", "object": "charge", "amount": 5}));
    assert_eq!(
        (event.event.as_str(), event.event_type.as_str(), event.livemode),
        ("evt_1", "charge.succeeded", true)
    );
    assert_eq!((event.meta.id.as_str(), event.meta.recorded_at), ("evt_1", NOW));
    assert_eq!(event.created, Timestamp::from_millis(1_699_999_999_000));
    assert_eq!(event.meta.occurred_at, event.created);
    let again: Value = serde_json::from_str(&event.payload).unwrap();
    assert_eq!(again["data"]["object"]["id"], "ch_1");
}

#[test]
fn every_event_of_a_payment_has_the_intents_id_as_its_key_or_the_charges() {
    for (object, expect) in [
        (json!({"object": "payment_intent", "id": "pi_1"}), "pi_1"),
        (json!({"object": "charge", "id": "ch_1", "payment_intent": "pi_1"}), "pi_1"),
        (json!({"object": "charge", "id": "ch_1", "payment_intent": {"id": "pi_1"}}), "pi_1"),
        (json!({"object": "charge", "id": "ch_1", "payment_intent": null}), "ch_1"),
        (json!({"object": "refund", "id": "re_1", "charge": "ch_1", "payment_intent": "pi_1"}), "pi_1"),
        (json!({"object": "refund", "id": "re_1", "charge": {"id": "ch_1"}}), "ch_1"),
        (json!({"object": "dispute", "id": "dp_1", "charge": "ch_1", "payment_intent": null}), "ch_1"),
    ] {
        assert_eq!(known(&object).family, expect, "{object}");
    }
}

#[test]
fn an_event_about_anything_else_is_named_and_not_kept() {
    let parsed = read(&body(&json!({"object": "customer", "id": "cus_1"}))).unwrap();
    assert_eq!(parsed, Parsed::Other { event: "evt_1".into(), event_type: "charge.succeeded".into() });
}

#[test]
fn a_malformed_body_is_refused_with_the_field() {
    let good = body(&json!({"object": "charge", "id": "ch_1", "amount": 1}));
    for (pointer, value, expect) in [
        ("/object", json!("v2.core.event"), "object"),
        ("/id", json!(""), "id"),
        ("/type", json!(5), "type"),
        ("/data/object", json!([]), "data.object"),
        ("/data/object/object", json!(null), "data.object.object"),
        ("/data/object/id", json!(7), "data.object.id"),
        ("/created", json!(1.5), "created"),
        ("/livemode", json!("yes"), "livemode"),
        ("/data/object/amount", json!(10.5), "data.object.amount"),
        ("/data/object/amount", json!("10.00"), "data.object.amount"),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        assert_eq!(refused_field(&bad), expect);
    }
    assert!(matches!(parse(b"{", NOW), Err(EventError::NotJson(_))));
    assert!(matches!(parse(&[0xff], NOW), Err(EventError::NotText(_))));
}

#[test]
fn an_amount_inside_the_object_must_be_an_integer_too_but_metadata_is_free_text() {
    let charge =
        |inner: Value| body(&json!({"object": "charge", "id": "ch_1", "balance_transaction": inner}));
    assert_eq!(refused_field(&charge(json!({"fee": 1.0}))), "data.object.balance_transaction.fee");
    assert!(read(&charge(json!({"fee": 1, "exchange_rate": 1.08}))).is_ok());
    let metadata = json!({"object": "charge", "id": "ch_1", "metadata": {"amount": "12.50"}});
    assert!(read(&body(&metadata)).is_ok());
}

#[test]
fn the_hash_is_of_the_object_alone_and_not_of_the_order_of_its_fields() {
    let hash = |body: &str| match parse(body.as_bytes(), NOW).unwrap() {
        Parsed::Known(event) => event.content_hash,
        other => panic!("{other:?}"),
    };
    let event = |object: &str, pending: u8| {
        format!(
            r#"{{"object":"event","id":"evt_1","type":"t","created":1,"livemode":false,"pending_webhooks":{pending},"data":{{"object":{object}}}}}"#
        )
    };
    let one = hash(&event(r#"{"object":"charge","id":"ch_1","amount":1}"#, 1));
    assert_eq!(one, hash(&event(r#"{ "amount" : 1, "id":"ch_1","object":"charge"}"#, 2)));
    assert_ne!(one, hash(&event(r#"{"object":"charge","id":"ch_1","amount":2}"#, 1)));
}

#[test]
fn real_events_of_every_kind_are_read() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/stripe/events");
    let Ok(files) = std::fs::read_dir(folder) else {
        println!(
            "NOT CHECKED: shared/data/stripe/events is missing; put the shared data folder beside the project"
        );
        return;
    };
    let (mut kept, mut other) = (0, 0);
    for path in
        files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "json"))
    {
        match parse(&std::fs::read(&path).unwrap(), NOW).unwrap() {
            Parsed::Known(_) => kept += 1,
            Parsed::Other { .. } => other += 1,
        }
    }
    assert_eq!((kept, other), (23, 4));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>(), text in "[\\[\\]{}:,\"a-z0-9.]{0,60}") {
        let _ = parse(&bytes, NOW);
        let _ = parse(text.as_bytes(), NOW);
    }
}
