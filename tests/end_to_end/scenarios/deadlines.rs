//! Deadlines, judged by the chain's own clock: expired, underpaid, late, canceled, and paid just in time.

use serde_json::{Value, json};

use crate::{
    chain::TestChain,
    money::{TOKEN, Tally, token},
    settings::CONFIRMATIONS,
    shop::Payment,
    stage::{Stage, transfer_statuses},
};

/// Seconds to the deadlines of these payments: longer than a busy machine takes to get there.
const SOON: u32 = 600;
/// What the chain's clock jumps.
const HOUR: u64 = 3_600;

/// The payments, each on its way to another end.
struct Payments {
    /// Nothing comes.
    expires: Payment,
    /// Less comes, in time.
    under: Payment,
    /// It comes after the deadline.
    late: Payment,
    /// In a block in time, confirmed after the deadline.
    just: Payment,
    /// A part in time, the rest after the deadline.
    partly_late: Payment,
}

pub(super) async fn play<C: TestChain>() {
    let Some(stage) = Stage::<C>::open().await else { return };
    let mut tally = Tally::default();
    canceled(&stage, &mut tally).await;
    let payments = ask(&stage).await;
    before_the_deadline(&stage, &payments).await;
    after_the_deadline(&stage, &payments, &mut tally).await;
    paid_late(&stage, &payments, &mut tally).await;
    stage.until_books_are(&tally).await;
    stage.streambook.stop_and_verify().await;
}

async fn ask<C: TestChain>(stage: &Stage<C>) -> Payments {
    Payments {
        expires: stage.shop.ask("1", SOON).await,
        under: stage.shop.ask("10", SOON).await,
        late: stage.shop.ask("2", SOON).await,
        just: stage.shop.ask("3", SOON).await,
        partly_late: stage.shop.ask("4", SOON).await,
    }
}

/// Withdrawn while nothing was received; what comes all the same waits for a decision.
async fn canceled<C: TestChain>(stage: &Stage<C>, tally: &mut Tally) {
    let payment = stage.ask("6").await;
    let path = format!("/v1/payments/{}/cancel", payment.id);
    assert_eq!(stage.shop.api.done(&path, &json!({})).await["status"], "canceled");
    assert_eq!(stage.shop.api.done(&path, &json!({})).await["status"], "canceled", "again");
    stage.until_events_are(&payment, &["payment.created", "payment.canceled"]).await;
    stage.pay(&payment, token("6")).await;
    stage.chain.mine(CONFIRMATIONS).await;
    stage.until_status(&payment, "paid_late").await;
    let refused = stage.shop.api.post(&path, &json!({})).await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("payment_not_cancelable")));
    tally.waits(TOKEN, token("6"));
}

async fn before_the_deadline<C: TestChain>(stage: &Stage<C>, payments: &Payments) {
    stage.pay(&payments.under, token("9.999999")).await;
    stage.pay(&payments.partly_late, token("1.5")).await;
    stage.chain.mine(CONFIRMATIONS).await;
    let confirmed = |now: &Value| now["status"] == "confirming" && transfer_statuses(now) == ["confirmed"];
    stage.until(&payments.under, "less than the amount is confirmed", confirmed).await;
    stage.until(&payments.partly_late, "a part is confirmed", confirmed).await;
    stage.pay(&payments.just, token("3")).await;
    stage.chain.mine(1).await;
    stage.until_status(&payments.just, "confirming").await;
    assert_eq!(stage.shop.payment(&payments.expires.id).await["status"], "pending");
}

async fn after_the_deadline<C: TestChain>(stage: &Stage<C>, payments: &Payments, tally: &mut Tally) {
    stage.chain.advance(HOUR).await;
    stage.chain.mine(CONFIRMATIONS + 1).await;
    stage.until_status(&payments.expires, "expired").await;
    stage.until_status(&payments.late, "expired").await;
    stage.until_status(&payments.under, "underpaid").await;
    stage.until_status(&payments.partly_late, "underpaid").await;
    let just = stage.until_status(&payments.just, "completed").await;
    assert_eq!(just["amount_received"], "3.00");
    stage.until_events_are(&payments.expires, &["payment.created", "payment.expired"]).await;
    tally.applied(TOKEN, token("3"));
    tally.waits(TOKEN, token("9.999999") + token("1.5"));
    stage.until_books_are(tally).await;
    assert_eq!(stage.accept(&payments.under).await["status"], "completed");
    tally.waits(TOKEN, -token("9.999999"));
    tally.applied(TOKEN, token("9.999999"));
    stage.until_books_are(tally).await;
}

async fn paid_late<C: TestChain>(stage: &Stage<C>, payments: &Payments, tally: &mut Tally) {
    stage.pay(&payments.late, token("2")).await;
    stage.pay(&payments.partly_late, token("2.5")).await;
    stage.chain.mine(CONFIRMATIONS).await;
    let late = stage.until_status(&payments.late, "paid_late").await;
    assert_eq!((&late["amount_received"], &late["completed_at"]), (&json!("2.00"), &Value::Null));
    let partly = stage.until_status(&payments.partly_late, "paid_late").await;
    assert_eq!(partly["amount_received"], "4.00");
    tally.waits(TOKEN, token("2") + token("2.5"));
    stage.until_books_are(tally).await;
    let accepted = stage.accept(&payments.late).await;
    assert_eq!(accepted["status"], "completed");
    assert!(accepted["completed_at"].is_string());
    tally.waits(TOKEN, -token("2"));
    tally.applied(TOKEN, token("2"));
}
