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
    let stage = open_with(|toml| toml).await;
    stage.streambook.until_ready().await;
    stage
}

/// The same, with its settings changed; it may not be ready yet.
async fn open_with(change: impl Fn(String) -> String) -> Stage<Development> {
    let chain = Development::start().await.unwrap();
    let mut settings = Settings::on(&chain);
    settings.toml.push_str("[[tier]]\nasset = \"usdc:31337\"\nfrom = \"100\"\nfinality = \"finalized\"\n");
    settings.toml = change(settings.toml);
    let streambook = Streambook::start(settings).await;
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

/// How the chain stands, by the running process.
fn standing(streambook: &Streambook) -> Value {
    let status = command::ends(streambook.command("chain status").arg("--json"));
    let said: Value =
        serde_json::from_str(&status.out).unwrap_or_else(|error| panic!("{error}: {status:#?}"));
    said[0].clone()
}

async fn until_standing(stage: &Stage<Development>, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let probe = async || {
        let now = standing(&stage.streambook);
        if is(&now) { Ok(now) } else { Err(now.to_string()) }
    };
    stage.streambook.until(what, probe).await
}

/// Sets the chain's clock forward, and lets the process forget every block there is now.
async fn forget_all_blocks(stage: &Stage<Development>) {
    stage.chain.advance(600).await;
    stage.chain.mine(1).await;
    let last = stage.chain.head().await;
    stage.chain.node().chain().lock().finalize(last).unwrap();
    // How a chain stands is said with each head.
    let probe = async || {
        stage.chain.mine(1).await;
        let now = standing(&stage.streambook);
        if now["finalized"] == last { Ok(()) } else { Err(now.to_string()) }
    };
    stage.streambook.until("it is final", probe).await;
    // With each block that comes two are forgotten.
    stage.chain.mine(last).await;
    let head = stage.chain.head().await;
    until_standing(stage, "the head is there", |now| now["head"] == head).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claimed_transaction_in_a_block_that_is_forgotten_is_looked_up_and_credited_once() {
    let stage = open_with(|toml| toml + "[data]\nlook_back_seconds = 60\n").await;
    let (first, second) = (ask_exact(&stage, "5").await, ask_exact(&stage, "5").await);
    stage.chain.mine(2).await;
    send(&stage, "5.000002").await;
    let round = send(&stage, "5").await;
    stage.chain.mine(CONFIRMATIONS).await;
    stage.until_status(&handle(&second), "completed").await;
    forget_all_blocks(&stage).await;
    let claim = async |payment: &Value, hash: &str| {
        let path = format!("/v1/payments/{}/claim", text(payment, "id"));
        stage.shop.api.done(&path, &json!({ "transaction_hash": hash })).await;
    };
    claim(&first, &round).await;
    let claimed = stage.until_status(&handle(&first), "completed").await;
    assert_eq!(
        (&claimed["claims"][0]["status"], &claimed["amount_received"]),
        (&json!("matched"), &json!("5.00"))
    );
    // Other searches find both transfers, that of a new payment's watch by itself, and neither counts again. A claimed
    // transaction that nobody knows waits.
    let unknown = format!("0x{}", "ab".repeat(32));
    let third = ask_exact(&stage, "7").await;
    let search =
        command::ends(stage.streambook.command("chain backfill").args(["--payment", &text(&first, "id")]));
    assert_eq!(search.code, Some(0), "{search:#?}");
    let all_done = |now: &Value| {
        let searches = now["backfills"].as_array().unwrap();
        searches.len() == 3 && searches.iter().all(|one| one["state"] == "done")
    };
    let now = until_standing(&stage, "all searches are done", all_done).await;
    let reported: Vec<_> = now["backfills"].as_array().unwrap().iter().map(|one| &one["reported"]).collect();
    assert_eq!(reported, [&json!(1), &json!(0), &json!(0)], "{now}");
    claim(&third, &unknown).await;
    assert_eq!(stage.shop.payment(&text(&third, "id")).await["claims"][0]["status"], "waiting");
    let mut tally = Tally::default();
    tally.applied(TOKEN, token("5.000002"));
    tally.applied(TOKEN, token("5"));
    stage.until_books_are(&tally).await;
    // What is nobody's amount was put aside when it came, and not again.
    let letters = stage.streambook.admin().get("/v1/dead-letters").await;
    let codes: Vec<_> = letters["data"].as_array().unwrap().iter().map(|letter| &letter["code"]).collect();
    assert_eq!(codes, [&json!("unmatched_transfer")], "{letters}");
    stage.streambook.stop_and_verify().await;
}

/// The chain is read from a block on that is above those with the money: only a search below it can find that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exact_amounts_in_old_blocks_are_found_by_one_search_and_credited_once() {
    let mut stage =
        open_with(|toml| toml.replacen("confirmations =", "start_block = 20\nconfirmations =", 1)).await;
    let (first, second) = (ask_exact(&stage, "5").await, ask_exact(&stage, "5").await);
    stage.chain.mine(2).await;
    send(&stage, "5.000002").await;
    send(&stage, "4").await;
    stage.chain.mine(2).await;
    send(&stage, "5.000001").await;
    stage.chain.mine(30).await;
    let head = stage.chain.head().await;
    until_standing(&stage, "the head is there", |now| now["head"] == head).await;
    stage.streambook.stop().await;
    let file = stage.streambook.file("streambook.toml");
    let toml = std::fs::read_to_string(&file).unwrap().replace("start_block = 20", "start_block = 1");
    std::fs::write(&file, toml).unwrap();
    stage.streambook.start_again().await;
    stage.streambook.until_ready().await;
    for payment in [&first, &second] {
        let id = text(payment, "id");
        let search = command::ends(stage.streambook.command("chain backfill").args(["--payment", &id]));
        assert_eq!(search.code, Some(0), "{search:#?}");
    }
    for payment in [&first, &second] {
        stage.until_status(&handle(payment), "completed").await;
    }
    let all_done = |now: &Value| {
        let searches = now["backfills"].as_array().unwrap();
        searches.len() == 2 && searches.iter().all(|one| one["state"] == "done")
    };
    let now = until_standing(&stage, "both searches are done", all_done).await;
    let reported: Vec<_> = now["backfills"].as_array().unwrap().iter().map(|one| &one["reported"]).collect();
    assert_eq!(reported, [&json!(2), &json!(0)], "{now}");
    let mut tally = Tally::default();
    tally.applied(TOKEN, token("5.000002"));
    tally.applied(TOKEN, token("5.000001"));
    stage.until_books_are(&tally).await;
    let letters = stage.streambook.admin().get("/v1/dead-letters").await;
    let codes: Vec<_> = letters["data"].as_array().unwrap().iter().map(|letter| &letter["code"]).collect();
    assert_eq!(codes, [&json!("unmatched_transfer")], "{letters}");
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
