//! Limits, readiness, Stripe's deliveries, the description of the surface, and the server on a socket.

use std::num::NonZeroU32;

use axum::{Router, http::StatusCode, middleware::from_fn_with_state, routing::get};
use serde_json::Value;
use streambook_runtime::health::Condition;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use super::harness::{Api, Ask, PAYMENT, READER, SHOP};
use crate::envelope;

#[tokio::test]
async fn a_key_beyond_its_burst_waits_and_others_do_not() {
    let one = NonZeroU32::MIN;
    let api = Api::with(|config| (config.key_requests_per_second, config.key_burst) = (one, one)).await;
    assert_eq!(api.ask(Ask::post("/v1/payments", PAYMENT).key(SHOP)).await.status, 201);
    let before = api.appended().await;
    let refused = api.ask(Ask::post("/v1/payments", PAYMENT).key(SHOP)).await;
    assert_eq!(refused.problem(), (429, "rate_limited".to_owned(), String::new()));
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!((refused.header("ratelimit-limit"), refused.header("ratelimit-remaining")), ("1", "0"));
    assert_eq!(api.appended().await, before);
    assert_eq!(api.ask(Ask::get("/v1/payments").key(READER)).await.status, 200);
}

#[tokio::test]
async fn an_address_beyond_its_burst_waits_and_health_does_not() {
    let one = NonZeroU32::MIN;
    let api =
        Api::with(|config| (config.address_requests_per_second, config.address_burst) = (one, one)).await;
    assert_eq!(api.ask(Ask::get("/v1/payments").key(SHOP)).await.status, 200);
    assert_eq!(api.ask(Ask::get("/v1/payments").key(READER)).await.problem().0, 429);
    assert_eq!(api.ask(Ask::get("/healthz")).await.status, 200);
}

#[tokio::test]
async fn readiness_names_what_does_not_work() {
    let api = Api::start().await;
    api.health.report("chain/1", Condition::Troubled { reason: "no node answers".into() });
    let answer = api.ask(Ask::get("/readyz")).await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()["not_ready"]["chain/1"].as_str()),
        (503, Some("troubled: no node answers"))
    );
    api.health.report("chain/1", Condition::Running);
    let answer = api.ask(Ask::get("/readyz")).await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()["status"].as_str()),
        (200, Some("ready")),
        "{}",
        answer.text
    );
    assert_eq!(api.ask(Ask::get("/metrics")).await.text, "streambook_up 1\n");
}

#[tokio::test]
async fn stripes_deliveries_are_kept_when_their_signature_is_right() {
    let api = Api::start().await;
    let deliver = |signature: &str| Ask::post("/ingest/stripe", "{}").header("stripe-signature", signature);
    let before = api.appended().await;
    assert_eq!(api.ask(deliver("bad")).await.problem().1, "invalid_signature");
    assert_eq!(api.ask(Ask::post("/ingest/stripe", "{}")).await.problem().0, 400);
    assert_eq!(api.ask(deliver("ignored")).await.status, 200);
    assert_eq!(api.ask(deliver("good").body("x".repeat((1 << 20) + 1))).await.problem().0, 413);
    assert_eq!(api.appended().await, before, "refused and ignored deliveries are not appended");
    assert_eq!(api.ask(deliver("good").body("x".repeat(1 << 20))).await.json()["received"], true);
    assert_eq!(api.appended().await, before + 1);
}

#[tokio::test]
async fn the_description_is_whole() {
    let api = Api::start().await;
    let document = api.ask(Ask::get("/openapi.json")).await.json();
    let paths = document["paths"].as_object().unwrap();
    for path in
        ["/v1/payments", "/v1/payments/{id}/cancel", "/v1/ledger/transactions", "/ingest/stripe", "/readyz"]
    {
        assert!(paths.contains_key(path), "{path}");
    }
    let create = &document["paths"]["/v1/payments"]["post"];
    assert!(create["responses"]["422"]["content"]["application/problem+json"].is_object());
    assert!(
        create["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .any(|parameter| parameter["name"] == "Idempotency-Key")
    );
    assert_eq!(document["components"]["securitySchemes"]["key"]["scheme"], "bearer");
    every_reference_leads_somewhere(&document, &document);
    // The described payment is the payment.
    let id = api.payment().await;
    let payment = api.ask(Ask::get(&format!("/v1/payments/{id}")).key(SHOP)).await.json();
    let described = &document["components"]["schemas"]["Payment"];
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(sorted(names(&described["properties"])), sorted(names(&payment)));
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

fn every_reference_leads_somewhere(document: &Value, part: &Value) {
    match part {
        Value::Object(members) => {
            if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
            }
            members.values().for_each(|member| every_reference_leads_somewhere(document, member));
        }
        Value::Array(items) => items.iter().for_each(|item| every_reference_leads_somewhere(document, item)),
        _ => {}
    }
}

#[tokio::test]
async fn the_server_answers_on_a_socket_gives_slow_callers_up_and_stops() {
    let api = Api::with(|config| config.header_timeout_ms = 200).await;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let (state, config, stopping) = (api.state.clone(), api.state.config().clone(), stop.clone());
    let server =
        tokio::spawn(async move { crate::serve(crate::router(state), &config, listener, stopping).await });
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("x-request-id: req_"), "{text}");
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHo").await.unwrap();
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).await.unwrap();
    stop.cancel();
    server.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_panic_and_a_request_that_takes_too_long_are_problems() {
    let api = Api::with(|config| {
        (config.request_timeout_ms, config.reply_timeout_ms, config.read_wait_ms) = (100, 50, 10);
    })
    .await;
    let boom = || async {
        assert!(std::hint::black_box(false), "boom");
        StatusCode::OK
    };
    let router = Router::new()
        .route("/boom", get(boom))
        .route("/never", get(std::future::pending::<StatusCode>))
        .layer(CatchPanicLayer::custom(envelope::panicked))
        .layer(from_fn_with_state(api.state.clone(), envelope::envelope));
    for (path, status, code) in [("/boom", 500, "internal_error"), ("/never", 503, "request_timeout")] {
        let answer = Api::ask_router(&router, Ask::get(path)).await;
        assert_eq!(answer.problem(), (status, code.to_owned(), String::new()), "{}", answer.text);
    }
}
