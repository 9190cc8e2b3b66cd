//! The chain changes its mind: before a payment is completed, after it, and around one that nothing happens to.

use serde_json::json;

use crate::{
    chain::TestChain,
    money::{TOKEN, Tally, token},
    settings::CONFIRMATIONS,
    stage::{Stage, transfer_statuses},
};

pub(super) async fn play<C: TestChain>() {
    let Some(stage) = Stage::<C>::open().await else { return };
    let mut tally = Tally::default();
    older_than_the_fork(&stage, &mut tally).await;
    before_completion(&stage, &mut tally).await;
    after_completion(&stage, &mut tally).await;
    stage.until_books_are(&tally).await;
    stage.streambook.stop_and_verify().await;
}

/// A payment below every fork of this test: it is completed once and stays so, which the books at the end show.
async fn older_than_the_fork<C: TestChain>(stage: &Stage<C>, tally: &mut Tally) {
    let payment = stage.ask("40").await;
    stage.pay(&payment, token("40")).await;
    stage.chain.mine(CONFIRMATIONS + 1).await;
    stage.until_status(&payment, "completed").await;
    tally.applied(TOKEN, token("40"));
}

async fn before_completion<C: TestChain>(stage: &Stage<C>, tally: &mut Tally) {
    let payment = stage.ask("7.77").await;
    stage.pay(&payment, token("7.77")).await;
    stage.chain.mine(2).await;
    stage.until_status(&payment, "confirming").await;
    stage.chain.reorg(2).await;
    let pending = stage.until_status(&payment, "pending").await;
    assert_eq!(pending["amount_received"], "0.00");
    assert_eq!(transfer_statuses(&pending), ["orphaned"]);
    assert_eq!(stage.shop.templates(&payment.id).await, [""; 0], "nothing was ever in the books");
    stage.pay(&payment, token("7.77")).await;
    stage.chain.mine(CONFIRMATIONS).await;
    let completed = stage.until_status(&payment, "completed").await;
    assert_eq!(completed["amount_received"], "7.77");
    let events =
        ["created", "confirming", "pending", "confirming", "completed"].map(|name| format!("payment.{name}"));
    stage.until_events_are(&payment, &events.each_ref().map(String::as_str)).await;
    tally.applied(TOKEN, token("7.77"));
}

async fn after_completion<C: TestChain>(stage: &Stage<C>, tally: &mut Tally) {
    let payment = stage.ask("9.99").await;
    stage.pay(&payment, token("9.99")).await;
    stage.chain.mine(CONFIRMATIONS).await;
    stage.until_status(&payment, "completed").await;
    stage.chain.reorg(CONFIRMATIONS).await;
    let reversed = stage.until_status(&payment, "reversed").await;
    assert_eq!((&reversed["amount_received"], &reversed["fee"]), (&json!("0.00"), &json!("0.00")));
    assert!(reversed["completed_at"].is_null());
    assert_eq!(transfer_statuses(&reversed), ["orphaned"]);
    stage.until_books_are(tally).await;
    let templates = stage.shop.templates(&payment.id).await;
    assert_eq!(templates, ["transfer.received", "payment.applied", "reversal", "reversal"]);
    stage.pay(&payment, token("9.99")).await;
    stage.chain.mine(CONFIRMATIONS).await;
    let completed = stage.until_status(&payment, "completed").await;
    assert_eq!(completed["amount_received"], "9.99");
    assert!(completed["completed_at"].is_string());
    let events = stage.shop.events(&payment.id).await;
    let of = |name: &str| events.iter().filter(|event| *event == name).count();
    assert_eq!((of("payment.completed"), of("payment.reversed")), (2, 1), "{events:?}");
    tally.applied(TOKEN, token("9.99"));
}
