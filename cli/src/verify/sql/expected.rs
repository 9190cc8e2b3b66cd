//! The rows that records lead to, as `sinks/src/sql/schema` describes them; written anew here, so that a mistake of the
//! sink is a difference.

use serde::Serialize;
use streambook_model::{
    asset::AssetId,
    money::Amount,
    records::{
        ledger::{AccountId, Entry, LedgerTransaction},
        payment::{Payment, PaymentClaim, PaymentEvent, PaymentStatus, PaymentTransfer, Refund},
    },
    time::Timestamp,
};

use super::cell::{Cell, Row};

/// What an event's row keeps of the payment: `payment_events.moment`.
#[derive(Serialize)]
struct Moment<'a> {
    v: u32,
    s: PaymentStatus,
    r: Amount,
    c: Amount,
    b: Amount,
    f: Amount,
    n: u32,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    t: &'a [PaymentTransfer],
    #[serde(skip_serializing_if = "Option::is_none")]
    e: Option<&'a String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    d: Option<Timestamp>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    k: &'a [PaymentClaim],
}

pub(super) fn transaction(position: i64, it: &LedgerTransaction) -> Row {
    vec![
        Cell::Integer(position),
        Cell::text(it.transaction),
        Cell::text(it.merchant),
        flag(it.livemode),
        Cell::unsigned(it.sequence),
        Cell::text(&it.template),
        Cell::Integer(it.template_version.into()),
        Cell::maybe(it.payment),
        Cell::maybe(it.refund),
        Cell::text(&it.event),
        Cell::maybe(it.reverses),
        time(it.occurred_at),
        Cell::Bytes(it.previous_hash.as_bytes().to_vec()),
        Cell::Bytes(it.hash.as_bytes().to_vec()),
    ]
}

pub(super) fn entry(position: i64, line: i64, entry: &Entry) -> Row {
    vec![
        Cell::Integer(position),
        Cell::Integer(line),
        Cell::text(&entry.account),
        Cell::text(&entry.asset),
        Cell::text(entry.amount),
        Cell::text(entry.balance),
        Cell::unsigned(entry.version),
    ]
}

pub(super) fn balance(account: &AccountId, asset: &AssetId, balance: Amount, version: u64) -> Row {
    let segments: Vec<&str> = account.as_str().splitn(4, '/').collect();
    let (merchant, name) = match segments.as_slice() {
        [_, "merchant", merchant, name] => (Cell::text(merchant), (*name).to_owned()),
        [_, _, rest @ ..] if !rest.is_empty() => (Cell::Null, rest.join("/")),
        _ => (Cell::Null, account.to_string()),
    };
    let livemode = flag(segments.first() == Some(&"live"));
    let (asset, balance) = (Cell::text(asset), Cell::text(balance));
    vec![Cell::text(account), asset, livemode, merchant, Cell::Text(name), balance, Cell::unsigned(version)]
}

pub(super) fn event(position: i64, event: &PaymentEvent) -> Row {
    let payment = &event.payment;
    let moment = Moment {
        v: payment.version,
        s: payment.status,
        r: payment.amount_received,
        c: payment.amount_confirmed,
        b: payment.amount_refunded,
        f: payment.fee,
        n: payment.confirmations,
        t: &payment.transfers,
        e: payment.failure.as_ref(),
        d: payment.completed_at,
        k: &payment.claims,
    };
    vec![
        Cell::Integer(position),
        Cell::text(event.event),
        Cell::text(event.event_type.name()),
        Cell::text(payment.id),
        Cell::text(payment.merchant),
        flag(payment.livemode),
        Cell::maybe(event.refund.as_ref().map(|refund| refund.id)),
        time(event.meta.occurred_at),
        json(&moment),
    ]
}

pub(super) fn payment(it: &Payment) -> Row {
    vec![
        Cell::text(it.id),
        Cell::text(it.merchant),
        flag(it.livemode),
        Cell::Integer(it.version.into()),
        word(&it.status),
        word(&it.method),
        Cell::text(&it.asset),
        Cell::Integer(it.scale.into()),
        Cell::text(it.amount),
        Cell::text(it.amount_received),
        Cell::text(it.amount_confirmed),
        Cell::text(it.amount_refunded),
        Cell::text(it.fee),
        Cell::maybe(it.reference_id.as_ref()),
        time(it.created_at),
        time(it.expires_at),
        it.completed_at.map_or(Cell::Null, time),
        json(it),
    ]
}

pub(super) fn refund(position: i64, it: &Refund) -> Row {
    vec![
        Cell::text(it.id),
        Cell::text(it.payment),
        Cell::text(it.merchant),
        flag(it.livemode),
        Cell::text(&it.asset),
        Cell::Integer(it.scale.into()),
        Cell::text(it.amount),
        Cell::maybe(it.destination.as_ref()),
        Cell::maybe(it.reference.as_ref()),
        Cell::maybe(it.reason.as_ref()),
        time(it.created_at),
        Cell::Integer(position),
    ]
}

fn flag(value: bool) -> Cell {
    Cell::Integer(value.into())
}

fn time(value: Timestamp) -> Cell {
    Cell::Integer(value.millis())
}

/// A value's JSON. One that has none is shown by the reason, which no row holds.
fn json(value: &impl Serialize) -> Cell {
    Cell::Text(serde_json::to_string(value).unwrap_or_else(|error| error.to_string()))
}

/// The one word that a unit variant is in JSON.
fn word(value: &impl Serialize) -> Cell {
    match json(value) {
        Cell::Text(text) => Cell::Text(text.trim_matches('"').to_owned()),
        other => other,
    }
}
