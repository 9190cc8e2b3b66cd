//! Whatever is wrong is a problem document that names the field, and appends nothing.

use axum::{body::Body, http::Method};
use bytes::Bytes;

use super::harness::{ADMIN, Api, Ask, OTHER, PAYMENT, READER, REVOKED, SHOP, SHOP_LIVE};

async fn refuse(api: &Api, ask: Ask, status: u16, code: &str, field: &str) {
    let before = api.appended().await;
    let answer = api.ask(ask).await;
    assert_eq!(answer.problem(), (status, code.to_owned(), field.to_owned()), "{}", answer.text);
    assert_eq!(api.appended().await, before, "nothing is appended: {}", answer.text);
}

#[tokio::test]
async fn keys_are_needed_known_and_in_force() {
    let api = Api::start().await;
    let ask = || Ask::post("/v1/payments", PAYMENT);
    refuse(&api, ask(), 401, "unauthenticated", "Authorization").await;
    refuse(&api, ask().key("sk_test_nobody"), 401, "invalid_key", "Authorization").await;
    refuse(&api, ask().key(REVOKED), 401, "invalid_key", "Authorization").await;
    refuse(&api, ask().header("authorization", "Basic x"), 401, "invalid_key", "Authorization").await;
    let answer = api.ask(ask()).await;
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    // The key is checked before the body is.
    refuse(&api, Ask::post("/v1/payments", "{"), 401, "unauthenticated", "Authorization").await;
}

#[tokio::test]
async fn scopes_bind() {
    let api = Api::start().await;
    let answer = api.ask(Ask::post("/v1/payments", PAYMENT).key(READER)).await;
    assert!(answer.json()["detail"].as_str().unwrap().contains("`write`"), "{}", answer.text);
    refuse(&api, Ask::post("/v1/payments", PAYMENT).key(READER), 403, "missing_scope", "").await;
    refuse(&api, Ask::post("/v1/refunds", "{}").key(READER), 403, "missing_scope", "").await;
    for path in ["/v1/merchants", "/v1/api-keys", "/v1/dead-letters"] {
        refuse(&api, Ask::get(path).key(SHOP), 403, "missing_scope", "").await;
    }
    refuse(&api, Ask::post("/v1/api-keys", "{}").key(SHOP), 403, "missing_scope", "").await;
}

#[tokio::test]
async fn an_operators_key_names_its_merchant_and_a_merchants_key_only_its_own() {
    let api = Api::start().await;
    let named = |ask: Ask| ask.header("streambook-merchant", &api.shop.to_string());
    refuse(&api, Ask::get("/v1/payments").key(ADMIN), 422, "invalid_field", "Streambook-Merchant").await;
    assert_eq!(api.ask(named(Ask::get("/v1/payments").key(ADMIN))).await.status, 200);
    refuse(&api, named(Ask::get("/v1/payments").key(OTHER)), 403, "other_merchant", "Streambook-Merchant")
        .await;
}

#[tokio::test]
async fn another_merchants_and_another_modes_objects_do_not_exist() {
    let api = Api::start().await;
    let id = api.payment().await;
    let path = format!("/v1/payments/{id}");
    assert_eq!(api.ask(Ask::get(&path).key(SHOP)).await.json()["id"], id);
    for key in [OTHER, SHOP_LIVE] {
        refuse(&api, Ask::get(&path).key(key), 404, "not_found", "").await;
        let list = api.ask(Ask::get("/v1/payments").key(key)).await;
        assert_eq!(list.json()["data"].as_array().unwrap().len(), 0);
        let refund = format!(r#"{{"payment": "{id}"}}"#);
        refuse(&api, Ask::post("/v1/refunds", &refund).key(key), 404, "not_found", "").await;
    }
    refuse(&api, Ask::get("/v1/payments/nonsense").key(SHOP), 404, "not_found", "").await;
}

#[tokio::test]
async fn every_field_of_a_payment_is_checked() {
    let api = Api::start().await;
    let long = |field: &str, length| {
        format!(r#"{{"amount": "1", "asset": "usdc:31337", "{field}": "{}"}}"#, "x".repeat(length))
    };
    let with = |rest: &str| format!(r#"{{"amount": "1", "asset": "usdc:31337", {rest}}}"#);
    let amount = |text: &str| format!(r#"{{"amount": {text}, "asset": "usdc:31337"}}"#);
    let cases = [
        (amount("12.5"), "amount"),
        (amount("12"), "amount"),
        (amount("\"0\""), "amount"),
        (amount("\"-1\""), "amount"),
        (amount("\"1e3\""), "amount"),
        (amount("\"0.0000001\""), "amount"),
        (amount("null"), "amount"),
        (amount(&format!("\"{}\"", "9".repeat(60))), "amount"),
        (r#"{"asset": "usdc:31337"}"#.to_owned(), "amount"),
        (r#"{"amount": "1"}"#.to_owned(), "asset"),
        (r#"{"amount": "1", "asset": "USD"}"#.to_owned(), "asset"),
        (r#"{"amount": "1", "asset": "usdc:1"}"#.to_owned(), "asset"),
        (r#"{"amount": "1", "asset": "usd"}"#.to_owned(), "asset"),
        (r#"{"amount": "1", "asset": "usdc:31337", "method": "card"}"#.to_owned(), "asset"),
        (with(r#""method": "cash""#), "method"),
        (with(r#""surprise": 1"#), "surprise"),
        (with(r#""amount": "2""#), "amount"),
        (long("reference_id", 201), "reference_id"),
        (long("description", 1_001), "description"),
        (with(r#""reference_id": "a\u0000b""#), "reference_id"),
        (with(r#""metadata": {"": "x"}"#), "metadata"),
        (with(&format!(r#""metadata": {{"{}": "x"}}"#, "k".repeat(41))), "metadata"),
        (with(&format!(r#""metadata": {{"k": "{}"}}"#, "v".repeat(501))), "metadata"),
        (with(r#""metadata": {"k": 1}"#), "metadata.k"),
        (with(r#""expires_in": 59"#), "expires_in"),
        (with(r#""expires_in": 604801"#), "expires_in"),
        (with(r#""expires_in": -1"#), "expires_in"),
    ];
    for (body, field) in &cases {
        refuse(&api, Ask::post("/v1/payments", body).key(SHOP), 422, "invalid_field", field).await;
    }
    let answer = api.ask(Ask::post("/v1/payments", &amount("12.5")).key(SHOP)).await;
    assert!(answer.json()["detail"].as_str().unwrap().contains("as a string"), "{}", answer.text);
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_refused() {
    let api = Api::start().await;
    refuse(&api, Ask::post("/v1/payments", r#"{"amount": "#).key(SHOP), 400, "malformed_json", "").await;
    let answer = api.ask(Ask::post("/v1/payments", "{\"amount\": \n !}").key(SHOP)).await;
    assert!(answer.json()["detail"].as_str().unwrap().contains("line 2 column"), "{}", answer.text);
    let plain =
        Ask::new(Method::POST, "/v1/payments").key(SHOP).header("content-type", "text/plain").body(PAYMENT);
    refuse(&api, plain, 415, "unsupported_media_type", "Content-Type").await;
    let large = "x".repeat((64 << 10) + 1);
    refuse(&api, Ask::post("/v1/payments", &large).key(SHOP), 413, "body_too_large", "").await;
    // Without a length announced, the bytes are counted as they come.
    let chunks =
        futures::stream::iter((0..70).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 1 << 10]))));
    let streamed = Ask::post("/v1/payments", "").key(SHOP).body(Body::from_stream(chunks));
    refuse(&api, streamed, 413, "body_too_large", "").await;
    let key = "k".repeat(256);
    let keyed = Ask::post("/v1/payments", PAYMENT).key(SHOP).header("idempotency-key", &key);
    refuse(&api, keyed, 422, "invalid_field", "Idempotency-Key").await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up() {
    let api = Api::with(|config| config.body_timeout_ms = 20).await;
    let never = futures::stream::pending::<Result<Bytes, std::io::Error>>();
    let ask = Ask::post("/v1/payments", "").key(SHOP).body(Body::from_stream(never));
    refuse(&api, ask, 408, "body_timeout", "").await;
}

#[tokio::test]
async fn unknown_routes_methods_and_parameters_are_problems_too() {
    let api = Api::start().await;
    refuse(&api, Ask::get("/v2/payments"), 404, "unknown_route", "").await;
    let put = Ask::new(Method::PUT, "/v1/payments").key(SHOP);
    refuse(&api, put, 405, "method_not_allowed", "").await;
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("cursor=x", "cursor"),
        ("status=paid", "status"),
        ("created_from=yesterday", "created_from"),
        ("surprise=1", "surprise"),
        ("limit=1&limit=2", "limit"),
    ] {
        refuse(&api, Ask::get(&format!("/v1/payments?{query}")).key(SHOP), 422, "invalid_field", field).await;
    }
    let position = Ask::get("/v1/payments").key(SHOP).header("streambook-position", "x");
    refuse(&api, position, 422, "invalid_field", "Streambook-Position").await;
}

#[tokio::test]
async fn webhook_endpoints_inside_the_network_and_unknown_events_are_refused() {
    let api = Api::start().await;
    let endpoint = |url: &str, events: &str| format!(r#"{{"url": "{url}", "events": {events}}}"#);
    for (body, field) in [
        (endpoint("https://10.0.0.1/", r#"["*"]"#), "url"),
        (endpoint("http://example.com/", r#"["*"]"#), "url"),
        (endpoint("https://user:pass@example.com/", r#"["*"]"#), "url"),
        (endpoint("https://example.com/", "[]"), "events"),
        (endpoint("https://example.com/", r#"["payment.exploded"]"#), "events[0]"),
    ] {
        refuse(&api, Ask::post("/v1/webhook-endpoints", &body).key(SHOP), 422, "invalid_field", field).await;
    }
}

#[tokio::test]
async fn keys_and_merchants_are_checked() {
    let api = Api::start().await;
    let shop = api.shop;
    for (path, body, field) in [
        ("/v1/merchants", r#"{"name": ""}"#.to_owned(), "name"),
        ("/v1/merchants", r#"{"name": "x", "settlement": "nonsense"}"#.to_owned(), "settlement"),
        ("/v1/api-keys", r#"{"scopes": ["read"], "mode": "test"}"#.to_owned(), "merchant"),
        ("/v1/api-keys", format!(r#"{{"merchant": "{shop}", "scopes": [], "mode": "test"}}"#), "scopes"),
        (
            "/v1/api-keys",
            format!(r#"{{"merchant": "{shop}", "scopes": ["admin"], "mode": "test"}}"#),
            "scopes",
        ),
        (
            "/v1/api-keys",
            format!(r#"{{"merchant": "{shop}", "scopes": ["own"], "mode": "test"}}"#),
            "scopes[0]",
        ),
        ("/v1/api-keys", format!(r#"{{"merchant": "{shop}", "scopes": ["read"], "mode": "prod"}}"#), "mode"),
        (
            "/v1/api-keys",
            r#"{"merchant": "mer_00000000000000000000000000000000", "scopes": ["read"], "mode": "test"}"#
                .to_owned(),
            "merchant",
        ),
    ] {
        refuse(&api, Ask::post(path, &body).key(ADMIN), 422, "invalid_field", field).await;
    }
}
