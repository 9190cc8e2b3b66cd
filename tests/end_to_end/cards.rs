//! Card payments, told by Stripe: once, twice, in any order, and by someone who is not Stripe.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::{
    api::text,
    money::{DOLLAR_SCALE, Tally, fee, units},
    settings::Settings,
    shop::Shop,
    streambook::Streambook,
    stripe::{self, Order},
};

/// What is paid, in cents.
const AMOUNT: &str = "1250";
/// Stripe's fee, in cents.
const COSTS: i128 = 66;

struct Stage {
    streambook: Streambook,
    shop: Shop,
    tally: Tally,
}

impl Stage {
    async fn open() -> Self {
        let streambook = Streambook::start(Settings::without_chain()).await;
        streambook.until_ready().await;
        let shop = Shop::open(&streambook, "shop").await;
        Self { streambook, shop, tally: Tally::default() }
    }

    /// A payment of [`AMOUNT`] and the events Stripe has to tell about it.
    async fn order(&self, key: &str) -> Order {
        let payment = self.shop.ask_card("12.50").await;
        let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let url = self
            .streambook
            .api()
            .request(reqwest::Method::POST, "/ingest/stripe")
            .build()
            .unwrap()
            .url()
            .to_string();
        Order { url, key: key.to_owned(), merchant: self.shop.id.clone(), payment, created }
    }

    async fn until(&self, order: &Order, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let probe = async || {
            let now = self.shop.payment(&order.payment).await;
            if is(&now) { Ok(now) } else { Err(now.to_string()) }
        };
        self.streambook.until(what, probe).await
    }

    async fn until_books_are_right(&self) {
        let expected = self.tally.balances();
        let probe = async || {
            let found = self.shop.balances().await;
            if found == expected { Ok(()) } else { Err(format!("{found:?} and not {expected:?}")) }
        };
        self.streambook.until("the balances are right", probe).await;
        assert_eq!(self.shop.ledger_sums().await, expected, "the ledger's own sums");
    }

    /// The charge is in the books, with Stripe's fee.
    fn charged(&mut self) {
        self.tally.applied("usd", units("12.50", DOLLAR_SCALE));
        self.tally.change("available", "usd", -COSTS);
    }

    fn refunded(&mut self, amount: &str) {
        self.tally.change("available", "usd", -units(amount, DOLLAR_SCALE));
    }
}

const CHARGE: [&str; 6] = ["--amount", AMOUNT, "--fee", "66", "--balance-transaction", "expanded"];
const REFUND: [&str; 8] =
    ["--amount", AMOUNT, "--fee", "66", "--balance-transaction", "expanded", "--refund", "400"];

#[tokio::test]
async fn a_card_payment_succeeds_with_its_fee_and_is_refunded_however_often_stripe_says_so() {
    if !stripe::is_installed() {
        return;
    }
    let mut stage = Stage::open().await;
    let order = stage.order("in-order").await;
    let unknown_fee = ["--amount", AMOUNT, "--fee", "66", "--balance-transaction", "null"];
    order.says("payment_intent.created", &CHARGE).await;
    order.says("charge.succeeded", &unknown_fee).await;
    let completed = stage.until(&order, "the charge completes it", |now| now["status"] == "completed").await;
    assert_eq!(completed["amount_received"], "12.50");
    assert_eq!(units(&text(&completed, "fee"), DOLLAR_SCALE), fee(1_250));
    assert!(completed["completed_at"].is_string());
    stage.charged();
    // Until the fee is known there is none in the books.
    stage.tally.change("available", "usd", COSTS);
    stage.until_books_are_right().await;
    stage.tally.change("available", "usd", -COSTS);
    order.says("charge.updated", &CHARGE).await;
    order.says("charge.updated", &CHARGE).await;
    order.says("payment_intent.succeeded", &CHARGE).await;
    stage.until_books_are_right().await;
    order.says("charge.refunded", &REFUND).await;
    order.says("refund.created", &REFUND).await;
    order.says("refund.created", &REFUND).await;
    stage.refunded("4");
    let refunded = stage.until(&order, "the refund is known", |now| now["amount_refunded"] == "4.00").await;
    assert_eq!(refunded["status"], "completed");
    stage.until_books_are_right().await;
    let templates = ["card.received", "payment.applied", "card.fee", "card.refunded"];
    assert_eq!(stage.shop.templates(&order.payment).await, templates);
    assert_eq!(
        stage.shop.events(&order.payment).await,
        ["payment.created", "payment.completed", "payment.refunded"]
    );
    stage.streambook.stop_and_verify().await;
}

#[tokio::test]
async fn events_in_any_order_end_in_the_same_books() {
    if !stripe::is_installed() {
        return;
    }
    let mut stage = Stage::open().await;
    let kinds = [
        "refund.created",
        "charge.refunded",
        "charge.updated",
        "charge.succeeded",
        "payment_intent.succeeded",
    ];
    let mut orders = Vec::new();
    for turn in 0..3 {
        let order = stage.order(&format!("turned-{turn}")).await;
        for at in 0..kinds.len() {
            let kind = kinds[(at + turn) % kinds.len()];
            let arguments: &[&str] = if kind.contains("refund") { &REFUND } else { &CHARGE };
            order.says(kind, arguments).await;
        }
        orders.push(order);
        stage.charged();
        stage.refunded("4");
    }
    let declined = stage.order("declined").await;
    declined.says("payment_intent.canceled", &CHARGE).await;
    for order in &orders {
        stage
            .until(order, "it is completed and refunded", |now| {
                now["amount_refunded"] == "4.00" && now["status"] == "completed"
            })
            .await;
    }
    stage.until(&declined, "it has failed", |now| now["status"] == "failed").await;
    stage.until_books_are_right().await;
    stage.streambook.stop_and_verify().await;
}

#[tokio::test]
async fn deliveries_that_are_not_stripes_are_refused_and_append_nothing() {
    if !stripe::is_installed() {
        return;
    }
    let mut stage = Stage::open().await;
    let order = stage.order("forged").await;
    let before = stage.streambook.records().await;
    let order = Order { url: stage.order("new address").await.url, ..order };
    let too_large = "x".repeat(1_100_000);
    for (arguments, status) in [
        (["--fault", "wrong-secret"], 401),
        (["--fault", "tampered-body"], 401),
        (["--fault", "only-v0"], 400),
        (["--fault", "no-timestamp"], 400),
        (["--fault", "no-header"], 401),
        (["--offset", "-400"], 401),
        (["--offset", "400"], 401),
    ] {
        let delivered = order.post("charge.succeeded", &[&CHARGE[..], &arguments].concat()).await;
        let body = &delivered.body;
        assert_eq!(delivered.status, status, "{arguments:?}: {body}");
        assert_eq!(body["status"], status, "{arguments:?}: {body}");
        assert!(body["detail"].as_str().is_some_and(|detail| detail.len() > 15), "{arguments:?}: {body}");
        assert!(body["request_id"].is_string() && body["code"].is_string(), "{arguments:?}: {body}");
    }
    let api = stage.streambook.api();
    let request = api.request(reqwest::Method::POST, "/ingest/stripe").body(too_large);
    crate::requests::is_problem("too large", &api.send(request).await, 413, None);
    assert_eq!(stage.shop.payment(&order.payment).await["status"], "pending");
    let after = stage.streambook.records().await;
    assert_eq!((after["stripe.inbox"], before["stripe.inbox"]), (0, 0));
    assert_eq!(after["ledger.transactions"], 0);
    assert_eq!(after["dead.letters"], 0);

    // With one of several signatures being right, as during a rotation, it is Stripe's.
    let order = Order { url: stage.order("rotated").await.url, ..order };
    order.says("charge.succeeded", &[&CHARGE[..], &["--other-v1", "2"]].concat()).await;
    stage.until(&order, "the real charge completes it", |now| now["status"] == "completed").await;
    stage.charged();
    stage.until_books_are_right().await;
    assert_eq!(
        json!(stage.shop.templates(&order.payment).await),
        json!(["card.received", "payment.applied", "card.fee"])
    );
    stage.streambook.stop_and_verify().await;
}
