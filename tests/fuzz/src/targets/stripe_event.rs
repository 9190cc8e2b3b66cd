//! A body that Stripe signed: any bytes. What is read becomes a record that keeps the body, its hash does not depend on
//! how the body is spelled, a refusal names the field, and `dedup` takes it or puts it aside.

use bytes::Bytes;
use serde_json::Value;
use streambook_connectors::stripe::event::{EventError, Parsed, parse};
use streambook_log::Record;
use streambook_model::{
    codec,
    message::Message,
    position::{Offset, Partition},
    records::stripe::StripeEvent,
    time::Timestamp,
};
use streambook_processors::dedup::Dedup;
use streambook_runtime::step::{Task, chain_of};
use streambook_simulation::store::Store;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// An event that says whose payment `pi_0` is.
const OWNER: &str = r#"{"id":"evt_owner","object":"event","type":"payment_intent.succeeded","created":1700000000,"livemode":false,"data":{"object":{"id":"pi_0","object":"payment_intent","status":"succeeded","amount":1000,"amount_received":1000,"currency":"usd","latest_charge":"ch_0","metadata":{"streambook_merchant":"mer_00112233445566778899aabbccddeeff","streambook_payment":"pay_00112233445566778899aabbccddeeff"}}}}"#;

/// Checks the property.
pub fn check(data: &[u8]) {
    match parse(data, NOW) {
        Ok(Parsed::Known(event)) => known(&event, data),
        Ok(Parsed::Other { event, event_type }) => assert!(!event.is_empty() && !event_type.is_empty()),
        Err(EventError::Field { field, expected }) => assert!(!field.is_empty() && !expected.is_empty()),
        Err(error) => assert!(!chain_of(&error).is_empty()),
    }
}

fn known(event: &StripeEvent, data: &[u8]) {
    assert_eq!(event.payload.as_bytes(), data, "the body travels on whole");
    assert!((1..=255).contains(&event.family.len()) && (1..=255).contains(&event.event.len()));
    let document: Value = serde_json::from_slice(data).expect("it was read as JSON");
    match parse(document.to_string().as_bytes(), NOW) {
        Ok(Parsed::Known(again)) => {
            assert_eq!(again.content_hash, event.content_hash, "spelling is no content");
        }
        other => panic!("the same document is read as {other:?}"),
    }
    let encoded = codec::encode(&Message::from(event.clone())).expect("an event that was read is a record");
    assert_eq!(codec::decode(&encoded).ok(), Some(Message::from(event.clone())));
    dedup_goes_on(&encoded);
}

fn dedup_goes_on(encoded: &[u8]) {
    let Ok(Parsed::Known(owner)) = parse(OWNER.as_bytes(), NOW) else {
        panic!("the fixed event is not read")
    };
    let owner = codec::encode(&Message::from(*owner)).expect("the fixed event is a record");
    let (task, mut state) = (Task::new(&Dedup, Partition(0)), Store::default());
    for (offset, value) in (0..).zip([&owner[..], encoded, encoded]) {
        let value = Bytes::copy_from_slice(value);
        let record = Record { offset: Offset(offset), appended_at_ms: 0, key: Bytes::new(), value };
        if let Err(stopped) = task.step(&record, &mut state) {
            panic!("dedup stops: {}", chain_of(&stopped));
        }
    }
}
