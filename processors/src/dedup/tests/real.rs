//! Stripe's recorded events, and the journal entries they must lead to.

use std::{collections::BTreeMap, fs, path::PathBuf};

use super::*;

/// A file of the shared data, or a notice that it is missing.
#[expect(
    clippy::disallowed_methods,
    reason = "the test reads its data; the processor under test reads nothing"
)]
fn shared(path: &str) -> Option<Value> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/stripe").join(path);
    match fs::read_to_string(file) {
        Ok(text) => Some(serde_json::from_str(&text).unwrap()),
        Err(_) => {
            println!(
                "NOT CHECKED: shared/data/stripe/{path} is missing; put the shared data folder beside the project"
            );
            None
        }
    }
}

fn pair(name: &str) -> Option<(StripeEvent, Value)> {
    let mut body = shared(&format!("journal-pairs/{name}.event.json"))?;
    if body["data"]["object"]["object"] == "charge" {
        body["data"]["object"]["metadata"] = metadata();
    }
    Some((from_body(&body), shared(&format!("journal-pairs/{name}.expected.json"))?))
}

/// The sum of each account's lines, debits positive.
fn journal(expected: &Value) -> BTreeMap<String, i128> {
    let mut sums = BTreeMap::new();
    for line in
        expected["entries"].as_array().unwrap().iter().flat_map(|entry| entry["lines"].as_array().unwrap())
    {
        let amount = i128::from(line["amount"].as_i64().unwrap());
        let signed = if line["side"] == "debit" { amount } else { -amount };
        *sums.entry(line["accountCode"].as_str().unwrap().to_owned()).or_default() += signed;
    }
    sums
}

/// What our facts do to that shop's accounts: 1010 Stripe balance, 1200 disputed, 4000 revenue, 4900 refunds, 6000 and
/// 6100 fees and losses.
fn posted(facts: &[Short]) -> BTreeMap<String, i128> {
    let mut sums = BTreeMap::new();
    for (kind, _, amount) in facts {
        let (debit, credit) = match kind.as_str() {
            "Succeeded" => ("1010", "4000"),
            "FeeKnown" => ("6000", "1010"),
            "Refunded" => ("4900", "1010"),
            "DisputeOpened" => ("1200", "1010"),
            "DisputeFee" => ("6100", "1010"),
            "DisputeWon" => ("1010", "1200"),
            "DisputeLost" => ("6100", "1200"),
            other => panic!("{other}"),
        };
        *sums.entry(debit.to_owned()).or_default() += amount;
        *sums.entry(credit.to_owned()).or_default() -= amount;
    }
    sums
}

/// Feeds the events before it, then the named one, whose facts must post what the journal says.
fn check(before: &[&str], name: &str) {
    let mut scene = Scene::new();
    for earlier in before {
        let Some((event, _)) = pair(earlier) else { return };
        scene.feed(event);
    }
    let Some((event, expected)) = pair(name) else { return };
    assert_eq!(posted(&scene.twice(event)), journal(&expected), "{name}");
    assert!(scene.letters.is_empty(), "{name}: {:?}", scene.codes());
}

#[test]
fn the_facts_post_what_the_recorded_journals_say() {
    let charge = "charge_succeeded_standard";
    check(&[], charge);
    check(&[], "charge_succeeded_eur");
    check(&[], "charge_succeeded_zero_amount");
    check(&[], "charge_failed_informational");
    check(&[charge], "charge_refunded_partial");
    check(&[charge], "dispute_created_informational");
    check(&[charge], "dispute_funds_withdrawn_standard");
    check(&[charge, "dispute_funds_withdrawn_standard"], "dispute_funds_reinstated_won");
    check(&[charge, "dispute_funds_withdrawn_standard"], "dispute_closed_lost");
}

#[test]
fn a_refund_that_is_the_first_news_of_a_charge_says_both() {
    let Some((event, expected)) = pair("charge_refunded_full") else { return };
    let mut scene = Scene::new();
    let said = scene.twice(event);
    assert_eq!(
        said,
        [short("Succeeded", "ch_test_full_001", 5_000), short("Refunded", "re_test_full_001", 5_000)]
    );
    assert_eq!(posted(&said[1..]), journal(&expected));
}

#[test]
fn a_payout_says_nothing_about_a_payment() {
    let Some((event, _)) = pair("payout_paid_standard") else { return };
    let mut scene = Scene::new();
    assert_eq!(scene.twice(event), []);
    assert!(scene.letters.is_empty());
}

#[test]
fn every_recorded_event_is_a_fact_or_says_nothing_and_none_is_put_aside() {
    let said = [
        ("charge_captured", vec![]),
        ("charge_expired", vec![]),
        ("charge_failed", vec![]),
        ("charge_pending", vec![]),
        ("charge_updated", vec![]),
        ("charge_succeeded", vec![("Succeeded", 3_000)]),
        ("charge_refunded", vec![("Succeeded", 2_500), ("Refunded", 2_500)]),
        ("charge_dispute_created", vec![]),
        ("charge_dispute_updated", vec![]),
        ("charge_dispute_closed", vec![]),
        ("charge_dispute_funds_withdrawn", vec![]),
        ("charge_dispute_funds_reinstated", vec![]),
        ("payment_intent_created", vec![]),
        ("payment_intent_processing", vec![]),
        ("payment_intent_requires_action", vec![]),
        ("payment_intent_payment_failed", vec![]),
        ("payment_intent_amount_capturable_updated", vec![]),
        ("payment_intent_partially_funded", vec![]),
        ("payment_intent_succeeded", vec![]),
        ("payment_intent_canceled", vec![]),
        ("customer_updated", vec![]),
        ("invoice_paid", vec![]),
        ("checkout_session_completed", vec![]),
        ("subscription_updated", vec![]),
    ];
    for (name, expect) in said {
        let Some(mut body) = shared(&format!("events/{name}.json")) else { return };
        if body["data"]["object"]["object"] == "charge" {
            body["data"]["object"]["metadata"] = metadata();
        }
        let mut scene = Scene::new();
        let facts: Vec<_> =
            scene.twice(from_body(&body)).into_iter().map(|(kind, _, amount)| (kind, amount)).collect();
        let expect: Vec<_> = expect.into_iter().map(|(kind, amount)| (kind.to_owned(), amount)).collect();
        assert_eq!((facts, scene.codes()), (expect, vec![]), "{name}");
    }
}

#[test]
fn a_recorded_refund_waits_for_its_payment_and_is_then_booked() {
    for name in ["refund_created", "refund_updated", "refund_failed"] {
        let Some(body) = shared(&format!("events/{name}.json")) else { return };
        let mut scene = Scene::new();
        assert_eq!(scene.twice(from_body(&body)), []);
        let paid = with(charge(), "payment_intent", body["data"]["object"]["payment_intent"].clone());
        let said = scene.twice(event("evt_charge", "charge.succeeded", &paid));
        assert_eq!(said[1..], [short("Refunded", "re_1Nispe2eZvKYlo2Cd31jOCgZ", 1_000)], "{name}");
    }
}

#[test]
fn a_recorded_dispute_that_returned_its_fee_leaves_the_returned_fee_as_a_stored_reason() {
    let Some(reinstated) = shared("objects/dispute_dp_funds_reinstated_full.json") else { return };
    let Some(transaction) = shared("objects/balance_transaction_txn_fake_ch_fakefakefakefakefake0001.json")
    else {
        return;
    };
    let mut scene = Scene::new();
    let paid = with(charge(), "payment_intent", reinstated["payment_intent"].clone());
    let paid =
        ["amount", "amount_captured"].into_iter().fold(paid, |paid, field| with(paid, field, json!(2_000)));
    let said =
        scene.twice(event("evt_1", "charge.succeeded", &with(paid, "balance_transaction", transaction)));
    assert_eq!(said[1], short("FeeKnown", "txn_fake_ch_fakefakefakefakefake0001", 88));
    let said = scene.twice(event("evt_2", "charge.dispute.funds_reinstated", &reinstated));
    let dispute = "dp_1JAyTwJSZQVUcJYgPqasUEn1";
    let withdrawal = "txn_16g5h62eZvKYlo2CQ2AHA89s";
    assert_eq!(
        said,
        [
            short("DisputeOpened", dispute, 1_000),
            short("DisputeWon", dispute, 1_000),
            short("DisputeFee", withdrawal, 1_500)
        ]
    );
    assert_eq!(scene.codes(), ["fee_returned"]);
    assert!(scene.letters[0].reason.contains("1500 usd in txn_1JAyV2JSZQVUcJYgETKXUN9k"));
}
