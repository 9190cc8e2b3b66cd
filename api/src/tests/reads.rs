//! Reads see what was written through this instance, or what the caller says it has seen, or say that they may not.

use super::harness::{Api, Ask, OTHER, READER, SHOP};
use crate::position::{Position, shard};
use streambook_log::Offset;

#[tokio::test]
async fn a_read_that_follows_a_write_sees_it() {
    let api = Api::start().await;
    for _ in 0..5 {
        let id = api.payment().await;
        let answer = api.ask(Ask::get(&format!("/v1/payments/{id}")).key(READER)).await;
        assert_eq!((answer.status.as_u16(), answer.header("streambook-stale")), (200, ""), "{}", answer.text);
    }
    let events = api.ask(Ask::get("/v1/events?type=payment.created").key(READER)).await.json();
    assert_eq!(events["data"].as_array().unwrap().len(), 5);
    let path = format!("/v1/events/{}", events["data"][0]["id"].as_str().unwrap());
    assert_eq!(api.ask(Ask::get(&path).key(READER)).await.json(), events["data"][0]);
    assert_eq!(api.ask(Ask::get(&path).key(OTHER)).await.status, 404);
}

#[tokio::test]
async fn a_position_that_is_not_reached_in_time_is_said_to_be_stale() {
    let api = Api::with(|config| config.read_wait_ms = 20).await;
    let ahead = Position { partition: shard(api.shop), offset: Offset(1_000_000) }.header().unwrap();
    let ask = Ask::get("/v1/balances").key(READER).header("streambook-position", ahead.to_str().unwrap());
    let answer = api.ask(ask).await;
    assert_eq!((answer.status.as_u16(), answer.header("streambook-stale")), (200, "true"));
    assert_eq!(api.ask(Ask::get("/v1/balances").key(READER)).await.header("streambook-stale"), "");
    // What may have been written in the meantime is not said to be missing.
    for kind in ["payments/pay", "refunds/ref", "events/evt"] {
        let path = format!("/v1/{kind}_01990000000070008000000000000000");
        let late = Ask::get(&path).key(READER).header("streambook-position", ahead.to_str().unwrap());
        let answer = api.ask(late).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["code"]),
            (503, &"storage_behind".into()),
            "{path}"
        );
        assert_eq!(api.ask(Ask::get(&path).key(READER)).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn lists_are_walked_with_cursors() {
    let api = Api::start().await;
    let mut created = Vec::new();
    for _ in 0..3 {
        created.push(api.payment().await);
    }
    let first = api.ask(Ask::get("/v1/payments?limit=2").key(SHOP)).await.json();
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = api.ask(Ask::get(&format!("/v1/payments?limit=2&cursor={cursor}")).key(SHOP)).await.json();
    assert!(second["next_cursor"].is_null());
    let rows = first["data"].as_array().unwrap().iter().chain(second["data"].as_array().unwrap());
    let mut listed: Vec<_> = rows.map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    listed.reverse();
    assert_eq!(listed, created);
    for path in
        ["/v1/payments?reference_id=ORDER_1&status=pending", "/v1/payments?created_from=2020-01-01T00:00:00Z"]
    {
        let found = api.ask(Ask::get(path).key(SHOP)).await.json();
        assert_eq!(found["data"].as_array().unwrap().len(), 3, "{path}");
    }
    let ledger =
        api.ask(Ask::get(&format!("/v1/ledger/transactions?payment={}", created[0])).key(SHOP)).await;
    assert_eq!(
        (ledger.status.as_u16(), ledger.json()["next_cursor"].is_null()),
        (200, true),
        "{}",
        ledger.text
    );
}
