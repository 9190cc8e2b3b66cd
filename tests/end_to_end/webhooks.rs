//! Webhooks, received by a merchant who verifies them with the official library: every event of a payment's life, also
//! where the receiver fails at first.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    api::text, chain::TestChain, devchain::Development, money::token, place::Place, receiver::Receiver,
    settings::CONFIRMATIONS, stage::Stage,
};

/// Good deliveries the receiver refuses at first.
const REFUSED: u32 = 3;

type Deliveries = Vec<Value>;

fn at(deliveries: &Value, path: &str) -> Deliveries {
    let rows = deliveries["accepted"].as_array().unwrap().iter();
    rows.filter(|delivery| delivery["path"] == format!("/{path}")).cloned().collect()
}

/// A payment that goes through as many kinds of events as one can.
async fn live(stage: &Stage<Development>) -> Vec<&'static str> {
    let payment = stage.ask("10").await;
    stage.pay(&payment, token("12")).await;
    stage.chain.mine(2).await;
    stage.until_status(&payment, "confirming").await;
    stage.chain.reorg(2).await;
    stage.until_status(&payment, "pending").await;
    stage.pay(&payment, token("12")).await;
    stage.chain.mine(CONFIRMATIONS).await;
    stage.until_status(&payment, "overpaid").await;
    stage.accept(&payment).await;
    let refund = json!({ "payment": payment.id, "amount": "1", "destination": payment.address });
    stage.shop.api.done("/v1/refunds", &refund).await;
    stage.chain.reorg(CONFIRMATIONS).await;
    stage.until_status(&payment, "reversed").await;
    let canceled = stage.ask("1").await;
    stage.shop.api.done(&format!("/v1/payments/{}/cancel", canceled.id), &json!({})).await;
    let expires = stage.shop.ask("2", 600).await;
    stage.chain.advance(3_600).await;
    stage.chain.mine(CONFIRMATIONS + 1).await;
    stage.until_status(&expires, "expired").await;
    vec![
        "created",
        "confirming",
        "pending",
        "overpaid",
        "completed",
        "refunded",
        "reversed",
        "canceled",
        "expired",
    ]
}

#[tokio::test]
async fn every_event_of_a_payments_life_arrives_signed_and_is_retried_where_the_receiver_fails() {
    let place = Place::new();
    let Some(receiver) = Receiver::start(&place.path().join("deliveries.jsonl")) else { return };
    let stage = Stage::<Development>::open().await.unwrap();
    let (_, all) = stage.shop.endpoint(&receiver.hook("all"), &["*"]).await;
    let (_, some) =
        stage.shop.endpoint(&receiver.hook("some"), &["payment.completed", "payment.expired"]).await;
    receiver.trust(&[&all, &some]).await;
    receiver.fail_next(REFUSED).await;

    let kinds = live(&stage).await;
    let events = stage.shop.all_events().await;
    for kind in kinds {
        assert!(events.values().any(|event| *event == format!("payment.{kind}")), "no {kind} in {events:?}");
    }
    let wanted = events
        .values()
        .filter(|kind| ["payment.completed", "payment.expired"].contains(&kind.as_str()))
        .count();
    let probe = async || {
        let deliveries = receiver.deliveries().await;
        let (all, some) = (at(&deliveries, "all"), at(&deliveries, "some"));
        if all.len() >= events.len() && some.len() >= wanted {
            Ok(deliveries)
        } else {
            Err(format!("{} of {} and {} of {wanted}", all.len(), events.len(), some.len()))
        }
    };
    let deliveries = stage.streambook.until("every event is delivered", probe).await;
    assert_eq!((&deliveries["rejected"], &deliveries["failed"]), (&json!(0), &json!(REFUSED)));
    let all: BTreeMap<_, _> =
        at(&deliveries, "all").iter().map(|delivery| (text(delivery, "id"), delivery.clone())).collect();
    assert!(all.keys().eq(events.keys()), "{all:?} and not {events:?}");
    for (id, delivery) in &all {
        let body: Value = serde_json::from_str(&text(delivery, "body")).unwrap();
        assert_eq!(
            &body,
            &stage.shop.api.get(&format!("/v1/events/{id}")).await,
            "what is sent is what is shown"
        );
        assert_eq!((&body["id"], &body["type"]), (&json!(id), &json!(events[id])));
    }
    for delivery in at(&deliveries, "some") {
        assert!(["payment.completed", "payment.expired"].contains(&events[&text(&delivery, "id")].as_str()));
    }
    stage.streambook.stop_and_verify().await;
}

#[tokio::test]
async fn a_delivery_waits_for_a_receiver_over_a_restart() {
    let place = Place::new();
    let Some(receiver) = Receiver::start(&place.path().join("deliveries.jsonl")) else { return };
    let mut stage = Stage::<Development>::open().await.unwrap();
    let (_, secret) = stage.shop.endpoint(&receiver.hook("all"), &["*"]).await;
    receiver.trust(&[&secret]).await;
    receiver.fail_next(1_000).await;
    stage.ask("1").await;
    let refused = async || {
        let failed = receiver.deliveries().await["failed"].as_u64().unwrap();
        if failed >= 2 { Ok(()) } else { Err(format!("{failed} attempts")) }
    };
    stage.streambook.until("it was tried twice in vain", refused).await;
    stage.streambook.kill();
    receiver.fail_next(0).await;
    stage.streambook.start_again().await;
    let delivered = async || {
        let distinct = receiver.deliveries().await["distinct"].as_u64().unwrap();
        if distinct == 1 { Ok(()) } else { Err(format!("{distinct} delivered")) }
    };
    stage.streambook.until("it is delivered after the restart", delivered).await;
    let deliveries = receiver.deliveries().await;
    let events = stage.shop.all_events().await;
    assert_eq!(deliveries["accepted"][0]["id"].as_str(), events.keys().next().map(String::as_str));
    stage.streambook.stop_and_verify().await;
}
