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
    for depth in DEPTHS {
        mined_again(&stage, &mut tally, depth).await;
    }
    stage.until_books_are(&tally).await;
    stage.streambook.stop_and_verify().await;
}

/// How deep the reorganisations are after which the same transaction is mined in another block.
const DEPTHS: [u64; 6] = [1, 2, CONFIRMATIONS, 8, 32, 64];

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

/// The payer's transaction is the same before and after: its transfer is in another block, and counts once.
async fn mined_again<C: TestChain>(stage: &Stage<C>, tally: &mut Tally, depth: u64) {
    let payment = stage.ask("3.21").await;
    let transaction = stage.pay(&payment, token("3.21")).await;
    stage.chain.mine(depth).await;
    let is_complete = depth >= CONFIRMATIONS;
    let first = stage.until_status(&payment, if is_complete { "completed" } else { "confirming" }).await;
    stage.chain.reorg_with(depth, &transaction).await;
    stage.chain.mine(CONFIRMATIONS - 1).await;
    let is_settled = |now: &serde_json::Value| {
        now["status"] == "completed" && transfer_statuses(now) == ["orphaned", "confirmed"]
    };
    let completed = stage.until(&payment, "the payment is completed by the other block", is_settled).await;
    assert_eq!(completed["amount_received"], "3.21", "depth {depth}");
    let transfers = completed["transactions"].as_array().unwrap();
    assert!(transfers.iter().all(|transfer| transfer["tx_hash"] == transaction), "{completed}");
    let heights = |now: &serde_json::Value, index: usize| {
        now["transactions"][index]["block_number"].as_u64().unwrap_or_else(|| panic!("{now}"))
    };
    assert_eq!(heights(&completed, 1), heights(&first, 0) + depth - 1, "it is in the last of the new blocks");
    let credited = ["transfer.received", "payment.applied"];
    let taken_back =
        if is_complete { [credited.as_slice(), &["reversal", "reversal"]].concat() } else { Vec::new() };
    let expected = [taken_back.as_slice(), &credited].concat();
    assert_eq!(stage.shop.templates(&payment.id).await, expected, "depth {depth}");
    tally.applied(TOKEN, token("3.21"));
}
