//! Commands: answered when they are on disk, once for each idempotency key, and never lost when the answer is late.

use axum::http::Method;

use super::harness::{ADMIN, Api, Ask, PAYMENT, READER, SHOP};

#[tokio::test]
async fn a_payment_is_created_with_the_fields_it_was_asked_with() {
    let api = Api::start().await;
    let body = r#"{"amount": "12.50", "asset": "usdc:31337", "method": "chain", "reference_id": "ORDER_1",
                   "description": "two", "metadata": {"a": "b"}, "expires_in": 60}"#;
    let answer = api.ask(Ask::post("/v1/payments", body).key(SHOP)).await;
    let json = answer.json();
    assert_eq!((answer.status.as_u16(), json["status"].as_str()), (201, Some("pending")), "{}", answer.text);
    assert_eq!((json["amount"].as_str(), json["asset"].as_str()), (Some("12.50"), Some("usdc:31337")));
    assert_eq!((json["reference_id"].as_str(), json["metadata"]["a"].as_str()), (Some("ORDER_1"), Some("b")));
    assert_eq!(answer.header("location"), format!("/v1/payments/{}", json["id"].as_str().unwrap()));
    assert!(answer.header("x-request-id").starts_with("req_"));
    assert!(!answer.header("streambook-position").is_empty());
    assert!(!answer.header("ratelimit-remaining").is_empty());
}

#[tokio::test]
async fn the_same_idempotency_key_gives_the_same_answer_and_another_request_a_conflict() {
    let api = Api::start().await;
    let ask = |body: &str| Ask::post("/v1/payments", body).key(SHOP).header("idempotency-key", "K1");
    let first = api.ask(ask(PAYMENT)).await;
    let spelled = r#"{"reference_id": "ORDER_1",   "asset": "usdc:31337", "amount": "12.50"}"#;
    let again = api.ask(ask(spelled)).await;
    assert_eq!((first.status.as_u16(), again.status.as_u16()), (201, 201));
    assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), ("", "true"));
    assert_eq!(first.text, again.text);
    let other = api.ask(ask(r#"{"amount": "1", "asset": "usdc:31337"}"#)).await;
    assert_eq!(other.problem(), (409, "not_possible".to_owned(), String::new()));
}

#[tokio::test]
async fn a_late_answer_is_202_and_where_to_look() {
    let api = Api::with(|config| config.reply_timeout_ms = 30).await;
    api.silence();
    let before = api.appended().await;
    let answer = api.ask(Ask::post("/v1/payments", PAYMENT).key(SHOP)).await;
    assert_eq!(answer.status, 202);
    assert!(answer.header("location").starts_with("/v1/payments/pay_"));
    assert_eq!(answer.json()["location"], answer.header("location"));
    assert_eq!(api.appended().await, before + 1, "the command is in the log");
}

#[tokio::test]
async fn no_more_commands_wait_than_may() {
    let api = Api::with(|config| (config.reply_timeout_ms, config.max_waiting) = (2_000, 1)).await;
    api.silence();
    let ask = || api.ask(Ask::post("/v1/payments", PAYMENT).key(SHOP));
    let before = api.appended().await;
    let (first, second) = tokio::join!(ask(), ask());
    let mut statuses = [first.status.as_u16(), second.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [202, 503]);
    assert_eq!(api.appended().await, before + 1, "the refused one appended nothing");
}

#[tokio::test]
async fn a_rejection_is_a_problem() {
    let api = Api::start().await;
    let id = api.payment().await;
    let cancel = Ask::new(Method::POST, &format!("/v1/payments/{id}/cancel")).key(SHOP);
    assert_eq!(api.ask(cancel).await.problem(), (409, "not_possible".to_owned(), String::new()));
}

#[tokio::test]
async fn a_refund_is_recorded_in_the_payments_asset() {
    let api = Api::start().await;
    let id = api.payment().await;
    let body =
        format!(r#"{{"payment": "{id}", "amount": "2.5", "destination": "0xabc", "reason": "broken"}}"#);
    let answer = api.ask(Ask::post("/v1/refunds", &body).key(SHOP)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()["amount"].as_str()),
        (201, Some("2.50")),
        "{}",
        answer.text
    );
    let path = answer.header("location").to_owned();
    assert_eq!(api.ask(Ask::get(&path).key(READER)).await.json(), answer.json());
    let list = api.ask(Ask::get(&format!("/v1/refunds?payment={id}")).key(READER)).await;
    assert_eq!(list.json()["data"][0], answer.json());
}

#[tokio::test]
async fn a_new_merchants_new_key_works_at_once_until_it_is_revoked() {
    let api = Api::start().await;
    let merchant = api.ask(Ask::post("/v1/merchants", r#"{"name": "new"}"#).key(ADMIN)).await;
    assert_eq!(merchant.status, 201, "{}", merchant.text);
    let id = merchant.json()["id"].as_str().unwrap().to_owned();
    let body = format!(r#"{{"merchant": "{id}", "scopes": ["read"], "mode": "live"}}"#);
    let key = api.ask(Ask::post("/v1/api-keys", &body).key(ADMIN)).await.json();
    let secret = key["key"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("sk_live_"));
    assert_eq!(api.ask(Ask::get("/v1/payments").key(&secret)).await.status, 200);
    let path = format!("/v1/api-keys/{}", key["id"].as_str().unwrap());
    let shown = api.ask(Ask::get(&path).key(ADMIN)).await;
    assert!(shown.status == 200 && !shown.text.contains(&secret), "shown once: {}", shown.text);
    assert_eq!(api.ask(Ask::new(Method::DELETE, &path).key(ADMIN)).await.status, 200);
    assert_eq!(api.ask(Ask::get("/v1/payments").key(&secret)).await.status, 401);
    let list = api.ask(Ask::get("/v1/merchants?limit=1").key(ADMIN)).await.json();
    assert_eq!((list["data"].as_array().unwrap().len(), list["next_cursor"].is_string()), (1, true));
}

#[tokio::test]
async fn a_webhook_endpoint_shows_its_secret_once_and_can_be_changed_and_deleted() {
    let api = Api::start().await;
    let body = r#"{"url": "http://127.0.0.1:9/hook", "events": ["payment.completed"]}"#;
    let created = api.ask(Ask::post("/v1/webhook-endpoints", body).key(SHOP)).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let json = created.json();
    assert!(json["secret"].as_str().unwrap().starts_with("whsec_"));
    let path = created.header("location").to_owned();
    let shown = api.ask(Ask::get(&path).key(SHOP)).await;
    assert_eq!((shown.json()["url"].as_str(), shown.json().get("secret")), (json["url"].as_str(), None));
    let patch = |body: &str| Ask::post(&path, body).key(SHOP).method(Method::PATCH);
    let changed = api.ask(patch(r#"{"events": ["*"], "disabled": true}"#)).await.json();
    assert_eq!((changed["events"][0].as_str(), changed["disabled"].is_string()), (Some("*"), true));
    assert_eq!(api.ask(Ask::new(Method::DELETE, &path).key(SHOP)).await.status, 204);
    assert_eq!(api.ask(Ask::get(&path).key(SHOP)).await.status, 404);
}

#[tokio::test]
async fn when_replies_are_no_longer_read_waits_end_and_new_commands_are_refused() {
    let api = Api::start().await;
    api.silence();
    let before = api.appended().await;
    let ask = || api.ask(Ask::post("/v1/payments", PAYMENT).key(SHOP));
    let stop = async {
        while api.appended().await == before {
            tokio::task::yield_now().await;
        }
        api.stop();
    };
    let (waiting, ()) = tokio::join!(ask(), stop);
    assert_eq!(waiting.status, 202);
    assert_eq!(ask().await.problem(), (503, "not_ready".to_owned(), String::new()));
    assert_eq!(api.appended().await, before + 1);
}
