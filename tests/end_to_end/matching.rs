//! What a merchant and an operator can agree on, from outside: exact amounts at the merchant's address, a tolerance, a
//! policy by amount, and the picture that a payment page shows.

use serde_json::{Value, json};

use crate::{
    api::text,
    chain::{TestChain, Transfer},
    command,
    devchain::{self, Development},
    money::{TOKEN, Tally, token},
    settings::{CONFIRMATIONS, Settings},
    shop::{Payment, Shop},
    stage::{LONG, Stage},
    streambook::Streambook,
};

/// The merchant's own address.
const OWN: &str = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";

/// A shop with an address of its own and a tolerance of a hundredth, and a chain that wants finality from 100 tokens on.
async fn open() -> Stage<Development> {
    let chain = Development::start().await.unwrap();
    let mut settings = Settings::on(&chain);
    settings.toml.push_str("[[tier]]\nasset = \"usdc:31337\"\nfrom = \"100\"\nfinality = \"finalized\"\n");
    let streambook = Streambook::start(settings).await;
    streambook.until_ready().await;
    let shop = Shop::open(&streambook, "shop").await;
    let mut update = streambook.administration("merchants update");
    update.args([&shop.id, "--address", &format!("31337={OWN}"), "--tolerance-ppm", "10000"]);
    let updated = command::ends(&mut update);
    assert_eq!(updated.code, Some(0), "{updated:#?}");
    let shown: Value = serde_json::from_str(&updated.out).unwrap();
    assert_eq!((&shown["addresses"]["31337"], &shown["name"]), (&json!(OWN), &json!("shop")));
    Stage { chain, streambook, shop }
}

async fn ask_exact(stage: &Stage<Development>, price: &str) -> Value {
    let body = json!({
        "amount": price, "asset": TOKEN, "matching": "exact_amount", "expires_in": LONG, "payer_address": devchain::payer(),
    });
    stage.shop.api.done("/v1/payments", &body).await
}

fn handle(payment: &Value) -> Payment {
    Payment { id: text(payment, "id"), address: text(payment, "deposit_address") }
}

async fn send(stage: &Stage<Development>, amount: &str) -> String {
    let transfer =
        Transfer { token: stage.chain.tokens().accepted.clone(), to: OWN.to_owned(), units: token(amount) };
    stage.chain.transfer(&transfer).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payments_to_one_address_are_told_apart_by_their_amounts() {
    let stage = open().await;
    let (first, second) = (ask_exact(&stage, "5").await, ask_exact(&stage, "5").await);
    assert_eq!((&first["amount"], &first["price"]), (&json!("5.000001"), &json!("5.00")));
    assert_eq!((&second["amount"], &second["deposit_address"]), (&json!("5.000002"), &json!(OWN)));
    stage.chain.mine(2).await;
    let round = send(&stage, "5").await;
    send(&stage, "5.000002").await;
    stage.chain.mine(CONFIRMATIONS).await;
    let paid = stage.until_status(&handle(&second), "completed").await;
    assert_eq!(
        (&paid["amount_received"], &paid["transactions"][0]["amount"]),
        (&json!("5.000002"), &json!("5.000002"))
    );
    assert_eq!(stage.shop.payment(&text(&first, "id")).await["status"], "pending");
    // The round amount is nobody's, and is seen.
    let probe = async || {
        let letters = stage.streambook.admin().get("/v1/dead-letters").await;
        let found = letters["data"]
            .as_array()
            .unwrap()
            .iter()
            .find(|letter| letter["code"] == "unmatched_transfer")
            .cloned();
        found.ok_or_else(|| letters.to_string())
    };
    let letter = stage.streambook.until("the round amount is put aside", probe).await;
    assert!(text(&letter, "reason").contains(&round), "{letter}");
    // Who sent it can claim it: it is too little by one unit, and the tolerance covers that.
    let path = format!("/v1/payments/{}/claim", text(&first, "id"));
    stage.shop.api.done(&path, &json!({ "transaction_hash": round })).await;
    let claimed = stage.until_status(&handle(&first), "completed").await;
    assert_eq!(
        (&claimed["claims"][0]["status"], &claimed["amount_received"]),
        (&json!("matched"), &json!("5.00"))
    );
    let twice = format!("/v1/payments/{}/claim", text(&second, "id"));
    let refused = stage.shop.api.post(&twice, &json!({ "transaction_hash": round })).await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("transaction_claimed")));
    // A reorganisation takes it back, and the other payment's is not touched by it.
    stage.chain.reorg(CONFIRMATIONS).await;
    let taken = stage.until_status(&handle(&second), "reversed").await;
    assert_eq!(taken["amount_received"], "0.00");
    let unclaimed = stage.until_status(&handle(&first), "reversed").await;
    assert_eq!(unclaimed["claims"][0]["status"], "waiting");
    send(&stage, "5.000002").await;
    send(&stage, "5.000001").await;
    stage.chain.mine(CONFIRMATIONS).await;
    stage.until_status(&handle(&second), "completed").await;
    stage.until_status(&handle(&first), "completed").await;
    let mut tally = Tally::default();
    tally.applied(TOKEN, token("5.000002"));
    tally.applied(TOKEN, token("5.000001"));
    stage.until_books_are(&tally).await;
    stage.streambook.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tolerance_and_a_policy_by_amount_are_what_was_agreed() {
    let stage = open().await;
    let (small, large) = (stage.ask("10").await, stage.ask("100").await);
    let shown = [stage.shop.payment(&small.id).await, stage.shop.payment(&large.id).await];
    assert_eq!((&shown[0]["tolerance"], &shown[1]["tolerance"]), (&json!("0.10"), &json!("1.00")));
    assert_eq!(
        (&shown[0]["confirmed_by"], &shown[0]["confirmations_required"]),
        (&json!("confirmations"), &json!(3))
    );
    assert_eq!(
        (&shown[1]["confirmed_by"], &shown[1]["confirmations_required"]),
        (&json!("finalized"), &Value::Null)
    );
    stage.pay(&small, token("9.9")).await;
    stage.pay(&large, token("101")).await;
    stage.chain.mine(20).await;
    let done = stage.until_status(&small, "completed").await;
    assert_eq!(done["amount_received"], "9.90");
    // Twenty blocks are no substitute for the tag.
    stage.until_status(&large, "confirming").await;
    let head = stage.chain.head().await;
    stage.chain.node().chain().lock().finalize(head).unwrap();
    stage.until_status(&large, "completed").await;
    let mut tally = Tally::default();
    tally.applied(TOKEN, token("9.9"));
    tally.applied(TOKEN, token("101"));
    stage.until_books_are(&tally).await;
    stage.streambook.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_page_gets_its_picture() {
    let stage = open().await;
    let payment = stage.ask("7").await;
    for (kind, media) in [("svg", "image/svg+xml"), ("png", "image/png")] {
        let path = format!("/v1/payments/{}/qr.{kind}?scale=4", payment.id);
        let answer = stage.shop.api.send(stage.shop.api.request(reqwest::Method::GET, &path)).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(media)));
    }
    stage.streambook.stop_and_verify().await;
}
