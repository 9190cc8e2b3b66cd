//! What Stripe sends, and what the books are told of it.

mod facts;
mod hold;
mod order;
mod real;
mod repeats;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use streambook_model::{
    bytes::ContentHash,
    id::{MerchantId, PaymentId},
    message::Message,
    position::TopicPartition,
    records::{
        dead_letter::DeadLetter,
        stripe::{CardFact, StripeEvent},
    },
    time::Timestamp,
};

use super::Dedup;
use crate::testing::Bench;

/// When the tests begin, in milliseconds.
const START: i64 = 1_700_000_000_000;
const HOUR: i64 = 60 * 60 * 1_000;

fn merchant() -> MerchantId {
    MerchantId::derive(&[b"shop"])
}

fn payment() -> PaymentId {
    PaymentId::derive(&[b"order 1"])
}

fn metadata() -> Value {
    json!({"streambook_merchant": merchant().to_string(), "streambook_payment": payment().to_string()})
}

/// A captured charge of 100.00 USD that names its owner.
fn charge() -> Value {
    json!({"id": "ch_1", "object": "charge", "status": "succeeded", "captured": true, "amount": 10_000,
           "amount_captured": 10_000, "currency": "usd", "payment_intent": "pi_1", "balance_transaction": "txn_1",
           "metadata": metadata()})
}

fn balance_transaction(id: &str, amount: i64, fee: i64) -> Value {
    json!({"id": id, "object": "balance_transaction", "amount": amount, "fee": fee, "net": amount - fee, "currency": "usd"})
}

fn refund(id: &str, status: &str, amount: i64) -> Value {
    json!({"id": id, "object": "refund", "status": status, "amount": amount, "currency": "usd", "charge": "ch_1",
           "payment_intent": "pi_1", "balance_transaction": "txn_re", "reason": "requested_by_customer"})
}

fn dispute(status: &str, transactions: &[Value]) -> Value {
    json!({"id": "dp_1", "object": "dispute", "status": status, "amount": 10_000, "currency": "usd", "charge": "ch_1",
           "payment_intent": "pi_1", "reason": "fraudulent", "balance_transactions": transactions})
}

fn intent(status: &str) -> Value {
    json!({"id": "pi_1", "object": "payment_intent", "status": status, "amount": 10_000, "amount_received": 10_000,
           "currency": "usd", "latest_charge": "ch_1", "metadata": metadata()})
}

/// The same object with one field set.
fn with(mut object: Value, field: &str, value: Value) -> Value {
    object[field] = value;
    object
}

/// An event as the connector appends it.
fn event(id: &str, event_type: &str, object: &Value) -> StripeEvent {
    let body = json!({"id": id, "object": "event", "type": event_type, "livemode": false, "data": {"object": object}});
    from_body(&body)
}

/// As the connector does: the family is the intent, else the charge, else the object.
fn from_body(body: &Value) -> StripeEvent {
    let object = &body["data"]["object"];
    let parents = match object["object"].as_str() {
        Some("charge") => vec!["payment_intent", "id"],
        Some("refund" | "dispute") => vec!["payment_intent", "charge", "id"],
        _ => vec!["id"],
    };
    let family = parents.iter().find_map(|name| object[name].as_str()).unwrap_or("none").to_owned();
    let (id, created) = (body["id"].as_str().unwrap().to_owned(), Timestamp::from_millis(START - 1_000));
    StripeEvent {
        meta: Bench::new(&Dedup, 0).meta(),
        event: id,
        event_type: body["type"].as_str().unwrap().to_owned(),
        family,
        livemode: body["livemode"].as_bool().unwrap(),
        created,
        content_hash: ContentHash::new(Sha256::digest(object.to_string()).into()),
        payload: body.to_string(),
    }
}

/// A fact in short: its kind, object and amount.
type Short = (String, String, i128);

fn short(kind: &str, object: &str, amount: i128) -> Short {
    (kind.to_owned(), object.to_owned(), amount)
}

fn shorten(fact: &CardFact) -> Short {
    (format!("{:?}", fact.kind), fact.object.clone(), fact.amount.units())
}

/// One task of dedup, and all it has said.
struct Scene {
    bench: Bench<'static>,
    now: i64,
    facts: Vec<CardFact>,
    letters: Vec<DeadLetter>,
}

impl Scene {
    fn new() -> Self {
        let mut bench = Bench::new(&Dedup, 3);
        bench.at(START);
        Self { bench, now: START, facts: Vec::new(), letters: Vec::new() }
    }

    fn at(&mut self, millis: i64) {
        self.now = millis;
        self.bench.at(millis);
    }

    /// Feeds an event; gives the facts it led to, in short.
    fn feed(&mut self, mut event: StripeEvent) -> Vec<Short> {
        event.meta = self.bench.meta();
        event.meta.recorded_at = Timestamp::from_millis(self.now);
        self.take(event)
    }

    fn take(&mut self, message: impl Into<Message>) -> Vec<Short> {
        let before = self.facts.len();
        for (to, message) in self.bench.feed(message) {
            self.sort(&to, message);
        }
        self.facts[before..].iter().map(shorten).collect()
    }

    fn sort(&mut self, to: &TopicPartition, message: Message) {
        match message {
            Message::CardFact(fact) => {
                assert_eq!(to.topic.as_str(), "book.inbox");
                self.facts.push(fact);
            }
            Message::DeadLetter(letter) => self.letters.push(letter),
            other => panic!("{other:?}"),
        }
    }

    /// Feeds an event twice, the second time as Stripe would; the repeat must say nothing.
    fn twice(&mut self, event: StripeEvent) -> Vec<Short> {
        let said = self.feed(event.clone());
        let letters = self.letters.len();
        assert_eq!(self.feed(event), [], "a repeat said something");
        assert_eq!(self.letters.len(), letters, "a repeat was put aside");
        said
    }

    fn codes(&self) -> Vec<&str> {
        self.letters.iter().map(|letter| letter.code.as_str()).collect()
    }
}
