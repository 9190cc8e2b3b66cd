//! What each kind of event says.

use super::*;

#[test]
fn a_charge_says_its_gross_to_its_merchants_book_and_nothing_of_the_fee_while_only_the_transactions_id_is_known()
 {
    let mut scene = Scene::new();
    assert_eq!(
        scene.twice(event("evt_1", "charge.succeeded", &charge())),
        [short("Succeeded", "ch_1", 10_000)]
    );
    let fact = &scene.facts[0];
    assert_eq!((fact.merchant, fact.payment, fact.livemode), (merchant(), payment(), false));
    assert_eq!(fact.asset.as_str(), "usd");
    assert_eq!(fact.meta.occurred_at, Timestamp::from_millis(START - 1_000));
    assert_eq!(fact.meta.recorded_at, Timestamp::from_millis(START));
}

#[test]
fn the_fee_is_said_once_by_the_first_event_that_has_the_balance_transaction() {
    let mut scene = Scene::new();
    let settled = with(charge(), "balance_transaction", balance_transaction("txn_1", 10_000, 320));
    scene.feed(event("evt_1", "charge.succeeded", &charge()));
    assert_eq!(scene.twice(event("evt_2", "charge.updated", &settled)), [short("FeeKnown", "txn_1", 320)]);
    assert_eq!(scene.twice(event("evt_3", "charge.captured", &settled)), []);
}

#[test]
fn the_intent_and_its_charge_say_the_same_success_once() {
    let mut scene = Scene::new();
    let said = scene.twice(event("evt_1", "payment_intent.succeeded", &intent("succeeded")));
    assert_eq!(said, [short("Succeeded", "ch_1", 10_000)]);
    assert_eq!(scene.twice(event("evt_2", "charge.succeeded", &charge())), []);
    for (id, field, value) in [
        ("evt_3", "latest_charge", charge()),
        ("evt_4", "charges", json!({"object": "list", "data": [charge()]})),
    ] {
        assert_eq!(
            scene.twice(event(id, "payment_intent.succeeded", &with(intent("succeeded"), field, value))),
            []
        );
    }
    assert!(scene.letters.is_empty());
}

#[test]
fn an_authorization_moves_nothing_until_it_is_captured_and_then_what_was_captured() {
    let mut scene = Scene::new();
    let open = with(with(charge(), "captured", json!(false)), "amount_captured", json!(0));
    assert_eq!(scene.twice(event("evt_1", "charge.succeeded", &open)), []);
    let part = with(charge(), "amount_captured", json!(6_000));
    assert_eq!(scene.twice(event("evt_2", "charge.captured", &part)), [short("Succeeded", "ch_1", 6_000)]);
}

#[test]
fn a_declined_charge_is_not_the_end_and_a_canceled_intent_is() {
    let mut scene = Scene::new();
    let declined = with(charge(), "status", json!("failed"));
    assert_eq!(scene.twice(event("evt_1", "charge.failed", &declined)), []);
    let retry =
        with(intent("requires_payment_method"), "last_payment_error", json!({"code": "card_declined"}));
    assert_eq!(scene.twice(event("evt_2", "payment_intent.payment_failed", &retry)), []);
    let canceled = with(intent("canceled"), "last_payment_error", json!({"code": "card_declined"}));
    let said = scene.twice(event("evt_3", "payment_intent.canceled", &canceled));
    assert_eq!(said, [short("Failed", "pi_1", 10_000)]);
    assert_eq!(scene.facts[0].reason.as_deref(), Some("card_declined"));
    assert!(scene.letters.is_empty());
}

#[test]
fn a_refund_is_said_once_when_it_succeeded_whichever_events_say_so() {
    let mut scene = Scene::new();
    scene.feed(event("evt_1", "charge.succeeded", &charge()));
    assert_eq!(scene.twice(event("evt_2", "refund.created", &refund("re_1", "pending", 3_000))), []);
    let said = scene.twice(event("evt_3", "refund.updated", &refund("re_1", "succeeded", 3_000)));
    assert_eq!(said, [short("Refunded", "re_1", 3_000)]);
    let listed = with(
        charge(),
        "refunds",
        json!({"data": [refund("re_1", "succeeded", 3_000), refund("re_2", "succeeded", 500)]}),
    );
    assert_eq!(scene.twice(event("evt_4", "charge.refunded", &listed)), [short("Refunded", "re_2", 500)]);
    assert_eq!(scene.twice(event("evt_5", "charge.refund.updated", &refund("re_2", "succeeded", 500))), []);
    assert_eq!(scene.facts[1].reason.as_deref(), Some("requested_by_customer"));
}

#[test]
fn a_refund_without_effect_on_the_balance_says_nothing() {
    let mut scene = Scene::new();
    scene.feed(event("evt_1", "charge.succeeded", &charge()));
    let released = with(refund("re_1", "succeeded", 4_000), "balance_transaction", Value::Null);
    assert_eq!(scene.twice(event("evt_2", "refund.created", &released)), []);
}

#[test]
fn a_refund_that_fails_gives_back_only_what_had_been_returned() {
    let mut scene = Scene::new();
    scene.feed(event("evt_1", "charge.succeeded", &charge()));
    assert_eq!(scene.twice(event("evt_2", "refund.failed", &refund("re_1", "failed", 3_000))), []);
    let said = scene.twice(event("evt_3", "refund.created", &refund("re_1", "succeeded", 3_000)));
    assert_eq!(said, [short("Refunded", "re_1", 3_000), short("RefundFailed", "re_1", 3_000)]);
    scene.feed(event("evt_4", "refund.created", &refund("re_2", "succeeded", 100)));
    let said = scene.twice(event("evt_5", "refund.updated", &refund("re_2", "failed", 100)));
    assert_eq!(said, [short("RefundFailed", "re_2", 100)]);
}

#[test]
fn a_dispute_is_opened_when_the_money_is_withdrawn_and_its_fee_is_what_the_transaction_says() {
    let mut scene = Scene::new();
    scene.feed(event("evt_1", "charge.succeeded", &charge()));
    assert_eq!(scene.twice(event("evt_2", "charge.dispute.created", &dispute("needs_response", &[]))), []);
    let withdrawal = balance_transaction("txn_d", -10_000, 1_500);
    let withdrawn = dispute("needs_response", std::slice::from_ref(&withdrawal));
    let said = scene.twice(event("evt_3", "charge.dispute.funds_withdrawn", &withdrawn));
    assert_eq!(said, [short("DisputeOpened", "dp_1", 10_000), short("DisputeFee", "txn_d", 1_500)]);
    let lost = dispute("lost", &[withdrawal]);
    assert_eq!(
        scene.twice(event("evt_4", "charge.dispute.closed", &lost)),
        [short("DisputeLost", "dp_1", 10_000)]
    );
    assert!(scene.letters.is_empty());
}

#[test]
fn a_won_dispute_is_said_once_by_its_end_or_by_the_money_and_a_fee_that_comes_back_is_put_aside_with_its_amount()
 {
    let mut scene = Scene::new();
    scene.feed(event("evt_1", "charge.succeeded", &charge()));
    let said = scene.twice(event("evt_2", "charge.dispute.closed", &dispute("won", &[])));
    assert_eq!(said, [short("DisputeOpened", "dp_1", 10_000), short("DisputeWon", "dp_1", 10_000)]);
    let both = [balance_transaction("txn_d", -10_000, 1_500), balance_transaction("txn_r", 10_000, -1_500)];
    let said = scene.twice(event("evt_3", "charge.dispute.funds_reinstated", &dispute("won", &both)));
    assert_eq!(said, [short("DisputeFee", "txn_d", 1_500)]);
    assert_eq!(scene.codes(), ["fee_returned"]);
    assert!(scene.letters[0].reason.contains("1500 usd in txn_r"), "{}", scene.letters[0].reason);
    scene.feed(event("evt_4", "charge.dispute.updated", &dispute("won", &both)));
    assert_eq!(scene.codes(), ["fee_returned"]);
}

#[test]
fn an_inquiry_moves_nothing() {
    let mut scene = Scene::new();
    scene.feed(event("evt_1", "charge.succeeded", &charge()));
    for (id, event_type, status) in [
        ("evt_2", "charge.dispute.created", "warning_needs_response"),
        ("evt_3", "charge.dispute.funds_withdrawn", "warning_needs_response"),
        ("evt_4", "charge.dispute.closed", "warning_closed"),
    ] {
        assert_eq!(scene.twice(event(id, event_type, &dispute(status, &[]))), []);
    }
}

#[test]
fn money_that_cannot_be_booked_exactly_is_put_aside_with_a_reason() {
    let transaction = balance_transaction("txn_1", 10_000, 320);
    for (object, expect) in [
        (
            with(charge(), "balance_transaction", with(transaction.clone(), "currency", json!("eur"))),
            "currency_conversion",
        ),
        (
            with(charge(), "balance_transaction", with(transaction.clone(), "amount", json!(9_999))),
            "balance_transaction_mismatch",
        ),
        (
            with(charge(), "balance_transaction", with(transaction, "net", json!(9_000))),
            "balance_transaction_mismatch",
        ),
        (with(charge(), "amount", json!(10.5)), "malformed_event"),
        (with(charge(), "amount", json!(-1)), "malformed_event"),
        (with(charge(), "amount_captured", json!(0)), "malformed_event"),
        (with(charge(), "currency", json!("dollars")), "malformed_event"),
        (with(charge(), "captured", Value::Null), "malformed_event"),
        (with(charge(), "object", json!("customer")), "malformed_event"),
        (
            with(charge(), "metadata", json!({"streambook_merchant": merchant().to_string()})),
            "malformed_event",
        ),
        (
            with(charge(), "metadata", json!({"streambook_merchant": "shop", "streambook_payment": "1"})),
            "malformed_event",
        ),
    ] {
        let mut scene = Scene::new();
        assert_eq!(scene.feed(event("evt_1", "charge.succeeded", &object)), []);
        assert_eq!(scene.codes(), [expect], "{object}");
        assert!(!scene.letters[0].reason.is_empty());
    }
}

#[test]
fn an_event_that_was_put_aside_can_be_retried() {
    let mut scene = Scene::new();
    scene.feed(event("evt_1", "charge.succeeded", &with(charge(), "captured", Value::Null)));
    assert_eq!(
        scene.feed(event("evt_1", "charge.succeeded", &charge())),
        [short("Succeeded", "ch_1", 10_000)]
    );
}

#[test]
fn contradictions_with_what_was_booked_are_put_aside() {
    for (object, expect) in [
        (with(charge(), "amount_captured", json!(9_000)), "conflicting_amount"),
        (
            with(
                charge(),
                "metadata",
                json!({"streambook_merchant": merchant().to_string(), "streambook_payment": PaymentId::derive(&[b"other"]).to_string()}),
            ),
            "conflicting_owner",
        ),
    ] {
        let mut scene = Scene::new();
        scene.feed(event("evt_1", "charge.succeeded", &charge()));
        assert_eq!(scene.feed(event("evt_2", "charge.updated", &object)), []);
        assert_eq!(scene.codes(), [expect]);
    }
    let mut scene = Scene::new();
    scene.feed(event("evt_1", "charge.succeeded", &charge()));
    let live =
        StripeEvent { livemode: true, ..event("evt_2", "refund.created", &refund("re_1", "succeeded", 1)) };
    assert_eq!(scene.feed(live), []);
    assert_eq!(scene.codes(), ["conflicting_livemode"]);
}

#[test]
fn a_type_of_event_that_nobody_knows_is_put_aside_and_one_that_is_known_to_say_nothing_is_counted() {
    let mut scene = Scene::new();
    scene.feed(event("evt_1", "charge.melted", &charge()));
    assert_eq!(scene.codes(), ["unknown_event_type"]);
    for id in ["evt_2", "evt_2", "evt_3"] {
        assert_eq!(
            scene.feed(event(id, "customer.updated", &json!({"id": "cus_1", "object": "customer"}))),
            []
        );
    }
    assert_eq!(scene.codes().len(), 1);
    assert_eq!(super::super::COUNTS.get(&scene.bench.state, "customer.updated").unwrap(), Some(2));
}

#[test]
fn a_record_of_another_topic_is_put_aside() {
    let mut scene = Scene::new();
    let mut other = Scene::new();
    other.feed(event("evt_1", "charge.succeeded", &charge()));
    let fact = CardFact { meta: scene.bench.meta(), ..other.facts[0].clone() };
    scene.take(fact);
    assert_eq!(scene.codes(), ["unexpected_record"]);
}
