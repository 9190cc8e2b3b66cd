//! The operator's administration of merchants.

use axum::http::Method;

use super::harness::{ADMIN, Api, Ask, SHOP};

fn put(id: &str, body: &str) -> Ask {
    Ask::post(&format!("/v1/merchants/{id}"), body).method(Method::PUT).key(ADMIN)
}

const WHOLE: &str = r#"{"name": "shop", "settlement": "direct",
    "addresses": {"31337": "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"},
    "tolerance": {"parts_per_million": 1000, "amounts": {"usdc:31337": "0.01"}}}"#;

#[tokio::test]
async fn a_merchant_is_replaced_and_shown_as_it_is() {
    let api = Api::start().await;
    let id = api.shop.to_string();
    let answer = api.ask(put(&id, WHOLE)).await;
    let json = answer.json();
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(json["addresses"]["31337"], "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed");
    assert_eq!(json["tolerance"]["amounts"]["usdc:31337"], "0.01");
    assert_eq!(
        (&json["tolerance"]["parts_per_million"], &json["settlement"]),
        (&1_000.into(), &"direct".into())
    );
    let read = api.ask(Ask::get(&format!("/v1/merchants/{id}")).key(ADMIN)).await.json();
    assert_eq!((&read["addresses"], &read["tolerance"]), (&json["addresses"], &json["tolerance"]));
    let bare = api.ask(put(&id, r#"{"name": "shop"}"#)).await.json();
    assert_eq!(
        (bare["addresses"].to_string(), bare["tolerance"].is_null()),
        ("{}".to_owned(), true),
        "it is replaced"
    );
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_the_field() {
    let api = Api::start().await;
    let id = api.shop.to_string();
    let before = api.appended().await;
    for (body, field) in [
        (r#"{"name": "s", "addresses": {"one": "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"}}"#, "addresses"),
        (r#"{"name": "s", "addresses": {"01": "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"}}"#, "addresses"),
        (r#"{"name": "s", "addresses": {"1": "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beae"}}"#, "addresses"),
        (r#"{"name": "s", "addresses": {"1": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD"}}"#, "addresses"),
        (r#"{"name": "s", "addresses": {"1": "é"}}"#, "addresses"),
        (r#"{"name": "s", "tolerance": {"amounts": {"dai:1": "1"}}}"#, "tolerance.amounts.dai:1"),
        (r#"{"name": "s", "tolerance": {"amounts": {"usdc:31337": "0"}}}"#, "tolerance.amounts.usdc:31337"),
        (
            r#"{"name": "s", "tolerance": {"amounts": {"usdc:31337": "0.0000001"}}}"#,
            "tolerance.amounts.usdc:31337",
        ),
        (r#"{"name": "s", "tolerance": {"percent": 1}}"#, "tolerance"),
    ] {
        let (status, code, found) = api.ask(put(&id, body)).await.problem();
        assert_eq!((status, code.as_str()), (422, "invalid_field"), "{body}");
        assert!(found.starts_with(field), "{found} for {body}");
    }
    assert_eq!(api.appended().await, before);
    assert_eq!(api.ask(put("mer_01990000000070008000000000000000", WHOLE)).await.problem().0, 404);
    assert_eq!(
        api.ask(Ask::post(&format!("/v1/merchants/{id}"), WHOLE).method(Method::PUT)).await.problem().0,
        401
    );
    let shop = Ask::post(&format!("/v1/merchants/{id}"), WHOLE).method(Method::PUT).key(SHOP);
    assert_eq!(api.ask(shop).await.problem().0, 403);
}

#[tokio::test]
async fn how_transfers_are_matched_is_asked_for_by_name() {
    let api = Api::start().await;
    let ask = |matching: &str| {
        let body = format!(r#"{{"amount": "1.00", "asset": "usdc:31337", "matching": "{matching}"}}"#);
        Ask::post("/v1/payments", &body).key(SHOP)
    };
    let made = api.ask(ask("exact_amount")).await;
    assert_eq!(
        (made.status.as_u16(), &made.json()["matching"]),
        (201, &"exact_amount".into()),
        "{}",
        made.text
    );
    assert_eq!(
        api.ask(ask("by_luck")).await.problem(),
        (422, "invalid_field".to_owned(), "matching".to_owned())
    );
}

#[tokio::test]
async fn a_transaction_is_claimed_by_its_hash() {
    let api = Api::start().await;
    let body = r#"{"amount": "1.00", "asset": "usdc:31337", "matching": "exact_amount",
                   "payer_address": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"}"#;
    let made = api.ask(Ask::post("/v1/payments", body).key(SHOP)).await;
    assert_eq!(made.json()["payer_address"], "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "{}", made.text);
    let path = format!("/v1/payments/{}/claim", made.json()["id"].as_str().unwrap());
    let hash = format!("0x{}", "ab".repeat(32));
    let claimed = api.ask(Ask::post(&path, &format!(r#"{{"transaction_hash": "{hash}"}}"#)).key(SHOP)).await;
    assert_eq!(claimed.status, 200, "{}", claimed.text);
    assert_eq!(claimed.json()["claims"][0]["transaction_hash"], hash);
    let before = api.appended().await;
    for wrong in [r#"{"transaction_hash": "0xab"}"#, "{}"] {
        let refused = api.ask(Ask::post(&path, wrong).key(SHOP)).await.problem();
        assert_eq!((refused.0, refused.2.as_str()), (422, "transaction_hash"), "{wrong}");
    }
    let mistyped = body.replace("BeAed", "BeAeD");
    assert_eq!(api.ask(Ask::post("/v1/payments", &mistyped).key(SHOP)).await.problem().2, "payer_address");
    assert_eq!(api.appended().await, before);
}
