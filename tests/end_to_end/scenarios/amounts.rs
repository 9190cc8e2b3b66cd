//! Payments in time: exact, in parts, too much, through contracts, several in one transaction, tiny, refunded; and what
//! is no payment at all. The test counts along, and at the end the books must say the same to the unit.

use serde_json::{Value, json};

use crate::{
    api::text,
    chain::{TestChain, Transfer},
    money::{TOKEN, Tally, fee, token, token_text},
    settings::CONFIRMATIONS,
    stage::{Stage, transfer_statuses},
};

pub(super) async fn play<C: TestChain>() {
    let Some(stage) = Stage::<C>::open().await else { return };
    let mut tally = Tally::default();
    exact(&stage, &mut tally).await;
    in_parts(&stage, &mut tally).await;
    several_in_one_transaction(&stage, &mut tally).await;
    through_a_contract_that_loses_a_call(&stage, &mut tally).await;
    what_pays_nothing(&stage, &mut tally).await;
    too_much(&stage, &mut tally).await;
    tiny_amounts(&stage, &mut tally).await;
    refunded(&stage, &mut tally).await;
    stage.until_books_are(&tally).await;
    stage.streambook.stop_and_verify().await;
}

/// From `pending` over each confirmation to `completed`, with everything the API says on the way.
async fn exact<C: TestChain>(stage: &Stage<C>, tally: &mut Tally) {
    let payment = stage.ask("12.50").await;
    let tx_hash = stage.pay(&payment, token("12.50")).await;
    stage.chain.mine(1).await;
    let block = stage.chain.head().await;
    let seen = stage.until_status(&payment, "confirming").await;
    assert_eq!(seen["confirmations"], 1);
    assert_eq!(seen["amount_received"], "12.50");
    assert_eq!(transfer_statuses(&seen), ["seen"]);
    assert!(seen["completed_at"].is_null());
    stage.chain.mine(1).await;
    let second = |now: &Value| now["confirmations"] == 2 && now["status"] == "confirming";
    stage.until(&payment, "the payment has two confirmations", second).await;
    stage.chain.mine(1).await;
    let completed = stage.until_status(&payment, "completed").await;
    assert_eq!(completed["confirmations"], CONFIRMATIONS);
    assert_eq!(completed["amount_received"], "12.50");
    assert_eq!(completed["fee"], "0.0625");
    assert!(completed["completed_at"].is_string());
    let transfers = completed["transactions"].as_array().unwrap();
    assert_eq!(transfers.len(), 1);
    assert_eq!(transfers[0]["tx_hash"], tx_hash.to_lowercase().as_str());
    assert_eq!(transfers[0]["block_number"], block);
    assert!(transfers[0]["log_index"].is_u64());
    assert_eq!((&transfers[0]["amount"], &transfers[0]["status"]), (&json!("12.50"), &json!("confirmed")));
    stage.until_events_are(&payment, &["payment.created", "payment.confirming", "payment.completed"]).await;
    assert_eq!(stage.shop.templates(&payment.id).await, ["transfer.received", "payment.applied"]);
    tally.applied(TOKEN, token("12.50"));
}

/// Two transfers in two blocks; the fee is that of the whole.
async fn in_parts<C: TestChain>(stage: &Stage<C>, tally: &mut Tally) {
    let payment = stage.ask("10").await;
    stage.pay(&payment, token("3.333333")).await;
    stage.chain.mine(CONFIRMATIONS).await;
    let part = |now: &Value| now["status"] == "confirming" && transfer_statuses(now) == ["confirmed"];
    let partly = stage.until(&payment, "a part is confirmed", part).await;
    assert_eq!(partly["amount_received"], "3.333333");
    stage.pay(&payment, token("6.666667")).await;
    stage.chain.mine(CONFIRMATIONS).await;
    let completed = stage.until_status(&payment, "completed").await;
    assert_eq!(completed["amount_received"], "10.00");
    assert_eq!(transfer_statuses(&completed), ["confirmed", "confirmed"]);
    assert_eq!(token(&text(&completed, "fee")), fee(token("10")));
    tally.applied(TOKEN, token("10"));
}

/// One transaction pays two payments, one of them in two transfers.
async fn several_in_one_transaction<C: TestChain>(stage: &Stage<C>, tally: &mut Tally) {
    let (one, two) = (stage.ask("1.10").await, stage.ask("2.20").await);
    let transfers =
        [stage.to(&one, token("1.10")), stage.to(&two, token("0.70")), stage.to(&two, token("1.50"))];
    let tx_hash = stage.chain.together(&transfers).await.to_lowercase();
    stage.chain.mine(CONFIRMATIONS).await;
    let one = stage.until_status(&one, "completed").await;
    let two = stage.until_status(&two, "completed").await;
    let hashes: Vec<_> =
        [&one, &two].iter().flat_map(|payment| payment["transactions"].as_array().unwrap()).collect();
    assert_eq!(hashes.len(), 3);
    assert!(hashes.iter().all(|transfer| transfer["tx_hash"] == tx_hash.as_str()));
    let mut places: Vec<_> = hashes.iter().map(|transfer| transfer["log_index"].as_u64().unwrap()).collect();
    places.dedup();
    assert_eq!(places.len(), 3, "each transfer has a log of its own");
    tally.applied(TOKEN, token("1.10"));
    tally.applied(TOKEN, token("2.20"));
}

/// A contract whose inner call is undone and which then pays: only what stands in the logs counts.
async fn through_a_contract_that_loses_a_call<C: TestChain>(stage: &Stage<C>, tally: &mut Tally) {
    let (lost, kept) = (stage.ask("4").await, stage.ask("5").await);
    stage.chain.after_lost_call(&stage.to(&lost, token("4")), &stage.to(&kept, token("5"))).await;
    stage.chain.undone(&stage.to(&lost, token("4"))).await;
    stage.chain.mine(CONFIRMATIONS).await;
    stage.until_status(&kept, "completed").await;
    let untouched = stage.shop.payment(&lost.id).await;
    assert_eq!((&untouched["status"], &untouched["amount_received"]), (&json!("pending"), &json!("0.00")));
    tally.applied(TOKEN, token("5"));
}

/// A transfer of nothing, and a token nobody knows, to an address that is watched.
async fn what_pays_nothing<C: TestChain>(stage: &Stage<C>, tally: &mut Tally) {
    let (ignored, witness) = (stage.ask("3").await, stage.ask("0.50").await);
    stage.pay(&ignored, 0).await;
    let unlisted =
        Transfer { token: stage.chain.tokens().unlisted.clone(), ..stage.to(&ignored, token("3")) };
    stage.chain.transfer(&unlisted).await;
    stage.pay(&witness, token("0.50")).await;
    stage.chain.mine(CONFIRMATIONS).await;
    // In the same block: when it is completed, the others were looked at.
    stage.until_status(&witness, "completed").await;
    let untouched = stage.shop.payment(&ignored.id).await;
    assert_eq!((&untouched["status"], &untouched["amount_received"]), (&json!("pending"), &json!("0.00")));
    assert_eq!(untouched["transactions"], json!([]));
    assert_eq!(stage.shop.events(&ignored.id).await, ["payment.created"]);
    tally.applied(TOKEN, token("0.50"));
}

/// The amount is credited, the rest waits; one is accepted, of the other the rest is refunded.
async fn too_much<C: TestChain>(stage: &Stage<C>, tally: &mut Tally) {
    let (accepted, returned) = (stage.ask("20").await, stage.ask("30").await);
    stage.pay(&accepted, token("22.5")).await;
    stage.pay(&returned, token("30.000001")).await;
    stage.chain.mine(CONFIRMATIONS).await;
    let over = stage.until_status(&accepted, "overpaid").await;
    assert_eq!(over["amount_received"], "22.50");
    stage.until_status(&returned, "overpaid").await;
    tally.applied(TOKEN, token("20"));
    tally.applied(TOKEN, token("30"));
    tally.waits(TOKEN, token("2.5") + 1);
    stage.until_books_are(tally).await;
    assert_eq!(stage.accept(&accepted).await["status"], "completed");
    let refund = json!({
        "payment": returned.id, "amount": "0.000001",
        "destination": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
    });
    stage.shop.api.done("/v1/refunds", &refund).await;
    tally.change("available", TOKEN, token("2.5") - (fee(token("22.5")) - fee(token("20"))));
    tally.waits(TOKEN, -token("2.5") - 1);
    stage.until_books_are(tally).await;
}

/// Fees of less than a unit, rounded half up.
async fn tiny_amounts<C: TestChain>(stage: &Stage<C>, tally: &mut Tally) {
    for (units, expected) in [(1, 0), (99, 0), (100, 1), (300, 2)] {
        let payment = stage.ask(&token_text(units)).await;
        stage.pay(&payment, units).await;
        stage.chain.mine(CONFIRMATIONS).await;
        let completed = stage.until_status(&payment, "completed").await;
        assert_eq!(token(&text(&completed, "fee")), expected, "the fee of {units} units");
        tally.change("available", TOKEN, units - expected);
    }
}

/// A refund in part and then of all that is left; one more is refused.
async fn refunded<C: TestChain>(stage: &Stage<C>, tally: &mut Tally) {
    let payment = stage.ask("8").await;
    stage.pay(&payment, token("8")).await;
    stage.chain.mine(CONFIRMATIONS).await;
    stage.until_status(&payment, "completed").await;
    let refund = |amount: Option<&str>| json!({ "payment": payment.id, "amount": amount, "destination": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8" });
    let part = stage.shop.api.done("/v1/refunds", &refund(Some("2.25"))).await;
    assert_eq!((&part["amount"], &part["payment"]), (&json!("2.25"), &json!(payment.id)));
    stage.until(&payment, "a part is refunded", |now| now["amount_refunded"] == "2.25").await;
    stage.shop.api.done("/v1/refunds", &refund(None)).await;
    stage.until(&payment, "all is refunded", |now| now["amount_refunded"] == "8.00").await;
    let refused = stage.shop.api.post("/v1/refunds", &refund(Some("0.000001"))).await;
    assert_eq!((refused.status, &refused.body["field"]), (422, &json!("amount")), "{}", refused.body);
    let without = stage.shop.api.post("/v1/refunds", &json!({ "payment": payment.id })).await;
    assert!(without.status == 422, "{}", without.body);
    tally.applied(TOKEN, token("8"));
    tally.change("available", TOKEN, -token("8"));
}
