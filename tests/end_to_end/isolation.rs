//! One merchant never sees another's data, and test data never meets live data.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    api::{Api, text},
    hook::Hook,
    requests::is_problem,
    settings::Settings,
    shop::{self, Shop},
    streambook::Streambook,
};

/// Lists of a merchant's own things.
const LISTS: [&str; 5] =
    ["/v1/payments", "/v1/events", "/v1/ledger/transactions", "/v1/webhook-endpoints", "/v1/balances"];

/// Nothing of the payment and the endpoint can be seen or touched with this key.
async fn sees_nothing(what: &str, api: &Api, payment: &str, event: &str, endpoint: &str) {
    for path in
        [format!("payments/{payment}"), format!("events/{event}"), format!("webhook-endpoints/{endpoint}")]
    {
        let answer = api.send(api.request(Method::GET, &format!("/v1/{path}"))).await;
        is_problem(&format!("{what}: {path}"), &answer, 404, None);
    }
    for list in LISTS {
        let rows = api.get(list).await;
        assert_eq!(rows["data"], json!([]), "{what}: {list}");
    }
    let by_payment = api.get(&format!("/v1/events?payment={payment}")).await;
    assert_eq!(by_payment["data"], json!([]), "{what}");
    let cancel = api.post(&format!("/v1/payments/{payment}/cancel"), &json!({})).await;
    is_problem(&format!("{what}: cancel"), &cancel, 404, None);
    let refund = api.post("/v1/refunds", &json!({ "payment": payment, "reference": "re_1" })).await;
    is_problem(&format!("{what}: refund"), &refund, 404, None);
    let delete = api.send(api.request(Method::DELETE, &format!("/v1/webhook-endpoints/{endpoint}"))).await;
    is_problem(&format!("{what}: delete"), &delete, 404, None);
}

#[tokio::test]
async fn merchants_and_modes_are_apart() {
    let streambook = Streambook::start(Settings::without_chain()).await;
    streambook.until_ready().await;
    let admin = streambook.admin();
    let (own, other) = (Shop::open(&streambook, "own").await, Shop::open(&streambook, "other").await);
    let live =
        streambook.api().with_key(&shop::key(&admin, &own.id, &["read", "write", "refund"], "live").await);
    let hook = Hook::start().await;
    let (endpoint, secret) = own.endpoint(hook.url(), &["*"]).await;
    hook.trust(&secret);
    let payment = own.ask_card("5").await;
    let probe = async || {
        let events = own.all_events().await;
        if events.is_empty() { Err("no event yet".to_owned()) } else { Ok(events) }
    };
    let events = streambook.until("the payment's event is there", probe).await;
    let event = events.keys().next().unwrap().clone();

    sees_nothing("another merchant", &other.api, &payment, &event, &endpoint).await;
    sees_nothing("the same merchant's live key", &live, &payment, &event, &endpoint).await;
    assert_eq!(own.payment(&payment).await["status"], "pending", "nobody else could touch it");

    // What others do is not told to this merchant's endpoint.
    let theirs = other.ask_card("6").await;
    let body = json!({ "amount": "7", "asset": "usd", "method": "card" });
    let in_live: Value = live.done("/v1/payments", &body).await;
    assert_eq!((&in_live["livemode"], &in_live["merchant"]), (&json!(true), &json!(own.id)));
    let witness = own.ask_card("8").await;
    let told = async || {
        let events = own.all_events().await;
        let accepted = hook.accepted();
        let all = events.len() == 2 && events.keys().all(|event| accepted.contains_key(event));
        if all { Ok(accepted) } else { Err(format!("{accepted:?} of {events:?}")) }
    };
    let accepted = streambook.until("the merchant is told of its own", told).await;
    assert_eq!(accepted.len(), 2, "and of nothing else: {accepted:?}");
    let listed: Vec<_> = own.api.all("/v1/payments").await.iter().map(|row| text(row, "id")).collect();
    assert_eq!(listed, [witness, payment], "newest first, and neither {theirs} nor the live one");

    // A revoked key is nobody's.
    let keys = admin.all("/v1/api-keys").await;
    let key = keys.iter().find(|key| key["merchant"] == own.id.as_str() && key["mode"] == "live").unwrap();
    let key = text(key, "id");
    admin.send(admin.request(Method::DELETE, &format!("/v1/api-keys/{key}"))).await;
    let answer = live.send(live.request(Method::GET, "/v1/payments")).await;
    is_problem("a revoked key", &answer, 401, Some("Authorization"));
    streambook.stop_and_verify().await;
}
