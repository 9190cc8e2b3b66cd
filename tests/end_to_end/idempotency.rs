//! `Idempotency-Key` over HTTP: one key is one request, also when it comes twice at once, and also after a restart.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    api::{Answer, Api, text},
    requests::is_problem,
    settings::Settings,
    shop::Shop,
    streambook::Streambook,
};

/// Requests that are sent at once.
const AT_ONCE: usize = 12;

async fn create(api: &Api, key: &str, body: &Value) -> Answer {
    api.send(api.request(Method::POST, "/v1/payments").header("Idempotency-Key", key).json(body)).await
}

fn card(amount: &str) -> Value {
    json!({ "amount": amount, "asset": "usd", "method": "card", "reference_id": "ORDER_1" })
}

/// Checks that an answer repeats the first one.
#[track_caller]
fn is_repeat(answer: &Answer, first: &Value) {
    assert_eq!(
        (answer.status, answer.header("idempotency-replayed")),
        (201, Some("true")),
        "{}",
        answer.body
    );
    assert_eq!(&answer.body, first);
}

#[tokio::test]
async fn a_key_is_one_request_also_at_once_and_after_a_restart() {
    let mut streambook = Streambook::start(Settings::without_chain()).await;
    streambook.until_ready().await;
    let (one, two) = (Shop::open(&streambook, "one").await, Shop::open(&streambook, "two").await);

    let first = create(&one.api, "order 1", &card("5")).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (201, None));
    is_repeat(&create(&one.api, "order 1", &card("5")).await, &first.body);
    let spelled = r#" {"reference_id":"ORDER_1",  "method":"card","asset":"usd", "amount":"5"}"#;
    let request = one.api.request(Method::POST, "/v1/payments").header("Idempotency-Key", "order 1");
    let request = request.header("Content-Type", "application/json").body(spelled);
    is_repeat(&one.api.send(request).await, &first.body);
    is_problem("another body", &create(&one.api, "order 1", &card("6")).await, 409, Some("Idempotency-Key"));
    let other = create(&two.api, "order 1", &card("5")).await;
    assert_eq!((other.status, other.header("idempotency-replayed")), (201, None), "another merchant's key");

    let together = futures::future::join_all((0..AT_ONCE).map(|_| async {
        let answer = create(&one.api, "order 2", &card("7")).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        text(&answer.body, "id")
    }));
    let ids: BTreeSet<_> = together.await.into_iter().collect();
    assert_eq!(ids.len(), 1, "one payment for {AT_ONCE} requests at once");

    streambook.kill();
    streambook.start_again().await;
    streambook.until_ready().await;
    is_repeat(&create(&one.api, "order 1", &card("5")).await, &first.body);
    assert_eq!(one.api.all("/v1/payments").await.len(), 2);
    assert_eq!(two.api.all("/v1/payments").await.len(), 1);
    streambook.stop_and_verify().await;
}
