//! Commands: their rules, idempotency keys, and that one merchant never reaches another's payments.

use std::collections::BTreeSet;

use streambook_model::{
    id::MerchantId,
    records::{
        book::{Idempotency, Tick},
        chain::TransferStatus,
        payment::PaymentMethod,
        registry::{Endpoint, SettingsChanged},
        reply::CommandOutcome,
        settings::Settings,
    },
    time::Timestamp,
};

use super::shop::{Late, SHOP, START, Said, Shop, endpoint, hash, settings};

const OTHER: MerchantId = MerchantId::from_bits([8; 16]);
const DAY: i64 = 24 * 60 * 60 * 1_000;

fn put_settings(shop: &mut Shop, settings: Settings) -> Said {
    let meta = shop.bench.meta();
    shop.feed(SettingsChanged { meta, settings })
}

#[test]
fn a_creation_that_breaks_a_rule_is_refused_by_name() {
    let mut shop = Shop::open();
    let mut check = |change: &dyn Fn(&mut streambook_model::records::book::CreatePayment), field, expect| {
        let mut creation = shop.creation(1, PaymentMethod::Chain, 1_000);
        change(&mut creation);
        let said = shop.command(creation);
        let problem = said.reply().problem.clone().unwrap();
        assert_eq!((problem.code.as_str(), problem.field.as_deref()), (expect, field));
    };
    check(&|c| c.asset = "eur".parse().unwrap(), Some("asset"), "asset_not_accepted");
    check(&|c| c.asset = "usd".parse().unwrap(), Some("asset"), "asset_not_on_chain");
    check(&|c| c.method = PaymentMethod::Card, Some("asset"), "asset_not_payable_by_card");
    check(
        &|c| (c.method, c.asset) = (PaymentMethod::Card, "coins".parse().unwrap()),
        Some("asset"),
        "asset_not_payable_by_card",
    );
    check(&|c| c.amount = super::shop::amount(0), Some("amount"), "invalid_amount");
    check(&|c| c.amount = super::shop::amount(-1), Some("amount"), "invalid_amount");
    check(&|c| c.expires_in_seconds = 59, Some("expires_in"), "invalid_expires_in");
    check(&|c| c.expires_in_seconds = 604_801, Some("expires_in"), "invalid_expires_in");
    check(&|c| c.caller.merchant = OTHER, None, "not_found");
}

#[test]
fn without_a_key_or_a_chain_no_chain_payment_is_made() {
    let without_xpub = Settings { xpub: None, ..settings() };
    let without_chain = Settings { chains: Vec::new(), ..settings() };
    for settings in [without_xpub, without_chain] {
        let mut shop = Shop::empty();
        put_settings(&mut shop, settings);
        shop.add_merchant(SHOP);
        assert_eq!(shop.create(1, PaymentMethod::Chain, 1_000).problem(), "chain_payments_unavailable");
        assert_eq!(shop.create(1, PaymentMethod::Card, 1_000).problem(), "none");
    }
}

#[test]
fn settings_that_cannot_be_used_change_nothing() {
    let mut shop = Shop::open();
    for (settings, code) in [
        (Settings { xpub: Some("xpub".into()), ..settings() }, "invalid_xpub"),
        (Settings { postings: "[custodial]".into(), ..settings() }, "invalid_postings"),
    ] {
        let before = shop.business_state();
        assert_eq!(put_settings(&mut shop, settings).dead, [code]);
        assert!(shop.business_state() == before);
    }
}

#[test]
fn an_address_is_never_given_twice_also_when_the_settings_change() {
    let mut shop = Shop::open();
    let mut addresses = BTreeSet::new();
    for number in 1..=4 {
        put_settings(&mut shop, Settings { xpub: None, ..settings() });
        put_settings(&mut shop, settings());
        addresses.insert(shop.create(number, PaymentMethod::Chain, 1).watches[0].address);
    }
    assert_eq!(addresses.len(), 4);
}

#[test]
fn a_payment_keeps_the_terms_it_was_made_with() {
    let mut shop = Shop::open();
    shop.create(1, PaymentMethod::Chain, 1_000);
    let mut changed = settings();
    changed.fee.parts_per_million = 500_000;
    put_settings(&mut shop, changed);
    let report = shop.report(1, TransferStatus::Confirmed, 1, 1_000, Late::No);
    shop.fact(report);
    assert_eq!(shop.last.unwrap().fee, super::shop::amount(5));
}

#[test]
fn the_same_key_gives_the_first_answer_and_another_request_is_a_conflict() {
    let mut shop = Shop::open();
    let key = |byte| Some(Idempotency { key: "order-1".into(), request_hash: hash(byte) });
    let mut creation = shop.creation(1, PaymentMethod::Chain, 1_000);
    creation.caller.idempotency = key(1);
    let first = shop.command(creation).replies.remove(0);
    let report = shop.report(1, TransferStatus::Confirmed, 1, 1_000, Late::No);
    shop.fact(report);

    // The API mints a new payment id for every request; the key finds the first.
    let mut again = shop.creation(2, PaymentMethod::Chain, 1_000);
    again.caller.idempotency = key(1);
    let said = shop.command(again);
    assert_eq!((said.reply().outcome, &said.reply().payment), (CommandOutcome::Replayed, &first.payment));
    assert!(said.events.is_empty() && said.watches.is_empty());

    let mut other = shop.creation(3, PaymentMethod::Chain, 2_000);
    other.caller.idempotency = key(2);
    let said = shop.command(other.clone());
    let problem = said.reply().problem.clone().unwrap();
    assert_eq!((problem.code.as_str(), problem.status), ("idempotency_key_reused", 409));
    assert_eq!(problem.field.as_deref(), Some("Idempotency-Key"));

    // Another mode's key is another key, and after a day the key is free.
    other.caller.livemode = true;
    assert_eq!(shop.command(other).problem(), "none");
    shop.bench.at(START + DAY);
    let mut later = shop.creation(4, PaymentMethod::Chain, 2_000);
    later.caller.idempotency = key(2);
    assert_eq!(shop.command(later).reply().outcome, CommandOutcome::Accepted);
}

#[test]
fn a_rejected_command_leaves_its_key_free() {
    let mut shop = Shop::open();
    let mut creation = shop.creation(1, PaymentMethod::Chain, 0);
    creation.caller.idempotency = Some(Idempotency { key: "k".into(), request_hash: hash(1) });
    assert_eq!(shop.command(creation.clone()).problem(), "invalid_amount");
    creation.amount = super::shop::amount(10);
    assert_eq!(shop.command(creation).problem(), "none");
}

#[test]
fn every_command_replays_its_own_object() {
    let mut shop = Shop::open();
    shop.create(1, PaymentMethod::Chain, 1_000);
    let report = shop.report(1, TransferStatus::Confirmed, 1, 1_500, Late::No);
    shop.fact(report);
    let mut refund = shop.refunding(1, 1, Some(100));
    refund.caller.idempotency = Some(Idempotency { key: "r".into(), request_hash: hash(1) });
    let first = shop.command(refund.clone()).replies.remove(0).refund.unwrap();
    refund.refund = streambook_model::id::RefundId::from_bits([9; 16]);
    assert_eq!(shop.command(refund).reply().refund, Some(first));

    let (meta, mut caller) = (shop.bench.meta(), shop.caller());
    caller.idempotency = Some(Idempotency { key: "a".into(), request_hash: hash(2) });
    let payment = streambook_model::id::PaymentId::from_bits([1; 16]);
    let accept = streambook_model::records::book::AcceptPayment { meta, caller, payment };
    let first = shop.command(accept.clone()).replies.remove(0).payment;
    let report = shop.report(1, TransferStatus::Confirmed, 2, 1, Late::No);
    shop.fact(report);
    assert_eq!(shop.command(accept).reply().payment, first);
}

#[test]
fn keys_are_forgotten_a_few_at_a_time_and_never_pile_up() {
    let mut shop = Shop::open();
    let kept = |shop: &Shop| shop.state().iter().filter(|(key, _)| key.first() == Some(&10)).count();
    let queued = |shop: &Shop| shop.state().iter().filter(|(key, _)| key.first() == Some(&11)).count();
    let create = |shop: &mut Shop, number: u8| {
        let mut creation = shop.creation(number, PaymentMethod::Card, 1_000);
        creation.caller.idempotency =
            Some(Idempotency { key: format!("key-{number}"), request_hash: hash(1) });
        shop.command(creation);
    };
    (1..=10).for_each(|number| create(&mut shop, number));
    assert_eq!((kept(&shop), queued(&shop)), (10, 10));
    shop.bench.at(START + DAY);
    (11..=20).for_each(|number| create(&mut shop, number));
    assert_eq!((kept(&shop), queued(&shop)), (10, 10));
}

#[test]
fn another_merchants_or_modes_payment_is_not_found() {
    let mut shop = Shop::open();
    shop.add_merchant(OTHER);
    shop.create(1, PaymentMethod::Chain, 1_000);
    let report = shop.report(1, TransferStatus::Confirmed, 1, 1_500, Late::No);
    shop.fact(report);
    for (merchant, livemode) in [(OTHER, false), (SHOP, true), (OTHER, true)] {
        let mut refund = shop.refunding(1, 1, None);
        (refund.caller.merchant, refund.caller.livemode) = (merchant, livemode);
        let caller = refund.caller.clone();
        assert_eq!(shop.command(refund).problem(), "not_found");
        let (meta, payment) = (shop.bench.meta(), streambook_model::id::PaymentId::from_bits([1; 16]));
        let cancel = streambook_model::records::book::CancelPayment { meta, caller, payment };
        assert_eq!(shop.command(cancel).problem(), "not_found");
    }
    let mut taken = shop.creation(1, PaymentMethod::Chain, 1_000);
    taken.caller.merchant = OTHER;
    assert_eq!(shop.command(taken).problem(), "payment_id_taken");
    let mut report = shop.report(1, TransferStatus::Seen, 2, 10, Late::No);
    report.merchant = OTHER;
    assert_eq!(shop.fact(report).dead, ["unknown_payment"]);
}

#[test]
fn a_refund_keeps_to_its_limits() {
    let mut shop = Shop::open();
    shop.create(1, PaymentMethod::Chain, 1_000);
    let refund = |shop: &mut Shop, number, units| {
        let refund = shop.refunding(1, number, units);
        shop.command(refund).problem().to_owned()
    };
    assert_eq!(refund(&mut shop, 1, Some(1)), "payment_not_refundable");
    let report = shop.report(1, TransferStatus::Confirmed, 1, 1_000, Late::No);
    shop.fact(report);
    assert_eq!(refund(&mut shop, 1, Some(1_001)), "refund_exceeds_payment");
    assert_eq!(refund(&mut shop, 1, Some(0)), "invalid_amount");
    assert_eq!(refund(&mut shop, 1, Some(-1)), "invalid_amount");
    let mut nowhere = shop.refunding(1, 1, Some(10));
    nowhere.destination = None;
    assert_eq!(shop.command(nowhere.clone()).problem(), "destination_required");
    nowhere.destination = Some("somewhere".into());
    assert_eq!(shop.command(nowhere).problem(), "invalid_destination");
    assert_eq!(refund(&mut shop, 1, Some(900)), "none");
    assert_eq!(refund(&mut shop, 2, Some(101)), "refund_exceeds_payment");
    assert_eq!(refund(&mut shop, 2, Some(96)), "insufficient_balance");
    assert_eq!(refund(&mut shop, 2, Some(95)), "none");
}

#[test]
fn an_endpoint_receives_what_it_asked_for_while_it_is_enabled() {
    let mut shop = Shop::open();
    shop.put_endpoint(endpoint(2, &["payment.completed"]));
    shop.put_endpoint(Endpoint { livemode: true, ..endpoint(3, &["*"]) });
    shop.put_endpoint(Endpoint { merchant: OTHER, ..endpoint(4, &["*"]) });
    assert_eq!(shop.create(1, PaymentMethod::Chain, 1_000).webhooks.len(), 1);
    let report = shop.report(1, TransferStatus::Confirmed, 1, 1_000, Late::No);
    let said = shop.fact(report);
    let ids: BTreeSet<_> = said.webhooks.iter().map(|message| message.event).collect();
    assert_eq!((said.webhooks.len(), ids.len()), (2, 1));
    shop.put_endpoint(Endpoint { disabled: Some("410".into()), ..endpoint(1, &["*"]) });
    shop.put_endpoint(Endpoint { deleted_at: Some(Timestamp::from_millis(START)), ..endpoint(2, &["*"]) });
    let report = shop.report(1, TransferStatus::Orphaned, 1, 1_000, Late::No);
    let said = shop.fact(report);
    assert_eq!((said.names(), said.webhooks.len()), (vec!["reversed"], 0));
}

#[test]
fn a_tick_without_anything_due_says_nothing() {
    let mut shop = Shop::open();
    let meta = shop.bench.meta();
    assert!(shop.feed(Tick { meta, now: Timestamp::from_millis(START) }).events.is_empty());
}

#[test]
fn a_merchant_with_direct_settlement_refunds_out_of_its_own_hands() {
    let mut shop = Shop::open();
    shop.add_merchant_settled(SHOP, "direct");
    shop.create(1, PaymentMethod::Chain, 1_000);
    let report = shop.report(1, TransferStatus::Confirmed, 1, 1_000, Late::No);
    assert_eq!(shop.fact(report).names(), ["completed"]);
    let refund = shop.refunding(1, 1, Some(1_000));
    assert_eq!(shop.command(refund).problem(), "none");
    shop.add_merchant_settled(SHOP, "elsewhere");
    assert_eq!(shop.create(2, PaymentMethod::Chain, 1_000).problem(), "unknown_settlement");
}
