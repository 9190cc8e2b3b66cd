//! Payments on a chain.

use streambook_model::records::{chain::TransferStatus, payment::PaymentMethod};

use super::{
    super::ledger::Account,
    script,
    shop::{Late, Shop, amount, event_id},
};

fn check(text: &str) -> Shop {
    script::check(PaymentMethod::Chain, text)
}

#[test]
fn an_exact_payment_completes_and_is_credited_less_the_fee() {
    let shop = check(
        "seen a 1000 => confirming
         = confirming 0 0 0
         confirmed a => completed
         = completed 995 0 5
         deadline
         final a
         = completed 995 0 5",
    );
    let payment = shop.last.unwrap();
    assert_eq!(
        (payment.fee, payment.amount_received, payment.amount_confirmed),
        (amount(5), amount(1_000), amount(1_000))
    );
    assert!(payment.completed_at.is_some());
    assert_eq!(payment.version, 3);
}

#[test]
fn a_transfer_that_is_confirmed_at_once_completes_at_once() {
    check(
        "confirmed a 1000 => completed
         = completed 995 0 5",
    );
}

#[test]
fn several_transfers_add_up() {
    check(
        "seen a 400 => confirming
         seen b 600 => confirming
         confirmed a => confirming
         = confirming 0 400 0
         confirmed b => completed
         = completed 995 0 5",
    );
}

#[test]
fn an_underpaid_payment_waits_for_the_merchant() {
    check(
        "confirmed a 400 => confirming
         deadline => underpaid
         = underpaid 0 400 0
         accept => completed
         = completed 398 0 2
         accept
         orphaned a => reversed
         = reversed 0 0 0
         confirmed b 400 => completed
         = completed 398 0 2",
    );
    check(
        "confirmed a 400 => confirming
         deadline => underpaid
         refund r 150 => refunded
         = underpaid 0 250 0
         accept => completed
         = completed 249 0 1
         refund rr => insufficient_balance
         refund rr 249 => refunded
         = completed 0 0 1",
    );
}

#[test]
fn the_excess_of_an_overpaid_payment_waits_for_the_merchant() {
    check(
        "confirmed a 1500 => overpaid
         = overpaid 995 500 5
         accept => completed
         = completed 1492 0 8
         confirmed b 100 => overpaid
         = overpaid 1492 100 8",
    );
    check(
        "confirmed a 1500 => overpaid
         refund r 500 => refunded
         = overpaid 995 0 5
         accept => payment_not_acceptable",
    );
}

#[test]
fn a_payment_after_completion_is_an_excess_once_it_is_confirmed() {
    check(
        "confirmed a 1000 => completed
         seen b 200
         confirmed b => overpaid
         = overpaid 995 200 5
         orphaned b => completed
         = completed 995 0 5
         late c 10
         late-confirmed c => overpaid
         = overpaid 995 10 5",
    );
}

#[test]
fn late_money_waits_for_the_merchant() {
    check(
        "deadline => expired
         late a 1000
         late-confirmed a => paid_late
         = paidlate 0 1000 0
         accept => completed
         = completed 995 0 5",
    );
    check(
        "deadline => expired
         late-confirmed a 700 => paid_late
         refund r => refunded
         = paidlate 0 0 0
         accept => payment_not_acceptable",
    );
    check(
        "late-confirmed a 1000 => paid_late
         deadline
         = paidlate 0 1000 0",
    );
}

#[test]
fn money_after_a_cancellation_is_late() {
    check(
        "cancel => canceled
         seen a 1000
         confirmed a => paid_late
         = paidlate 0 1000 0
         orphaned a => canceled
         = canceled 0 0 0
         confirmed b 1000 => paid_late
         accept => completed
         = completed 995 0 5",
    );
}

#[test]
fn what_is_on_its_way_keeps_a_payment_open_across_the_deadline() {
    check(
        "seen a 1000 => confirming
         deadline
         = confirming 0 0 0
         confirmed a => completed",
    );
    check(
        "seen a 400 => confirming
         deadline
         confirmed a => underpaid",
    );
    check(
        "seen a 400 => confirming
         deadline
         orphaned a => expired",
    );
}

#[test]
fn a_payment_that_nothing_was_received_for_expires() {
    check(
        "deadline => expired
         = expired 0 0 0
         cancel => payment_not_cancelable",
    );
}

#[test]
fn only_a_payment_without_money_can_be_canceled() {
    check("seen a 10 => confirming\n cancel => payment_not_cancelable");
    check("late a 10\n cancel => payment_not_cancelable");
    check("cancel => canceled\n cancel");
}

#[test]
fn a_reorganisation_before_completion_leads_back_to_pending() {
    check(
        "seen a 1000 => confirming
         orphaned a => pending
         = pending 0 0 0
         seen b 1000 => confirming
         confirmed b => completed
         = completed 995 0 5",
    );
    check(
        "confirmed a 400 => confirming
         seen b 600 => confirming
         orphaned a => confirming
         orphaned b => pending
         = pending 0 0 0",
    );
}

#[test]
fn a_reorganisation_after_completion_reverses_the_payment_until_it_is_paid_again() {
    let shop = check(
        "seen a 1000 => confirming
         confirmed a => completed
         orphaned a => reversed
         = reversed 0 0 0
         seen b 1000
         confirmed b => completed
         = completed 995 0 5",
    );
    assert_eq!(shop.ledger.iter().filter(|transaction| transaction.reverses.is_some()).count(), 2);
    assert!(shop.last.unwrap().completed_at.is_some());
    let shop = check("confirmed a 1000 => completed\n orphaned a => reversed");
    assert_eq!(shop.last.unwrap().completed_at, None);
}

#[test]
fn a_reorganisation_into_a_later_block_makes_the_payment_late() {
    check(
        "confirmed a 1000 => completed
         orphaned a => reversed
         deadline
         late-confirmed b 1000 => paid_late
         = paidlate 0 1000 0
         accept => completed",
    );
}

/// An event in between had shown it as received; without another event the public payment would show it for ever.
#[test]
fn unconfirmed_money_that_is_taken_back_after_the_end_is_said() {
    let shop = check(
        "confirmed a 1000 => completed
         seen b 400 =>
         confirmed c 50 => overpaid
         orphaned b => overpaid",
    );
    assert_eq!(shop.last.as_ref().unwrap().amount_received, amount(1_050));
}

#[test]
fn an_overpaid_payment_that_loses_its_excess_is_completed() {
    check(
        "confirmed a 1000 => completed
         confirmed b 500 => overpaid
         accept => completed
         = completed 1492 0 8
         orphaned b => completed
         = completed 995 0 5
         confirmed c 500 => completed
         = completed 1492 0 8",
    );
}

#[test]
fn money_that_was_refunded_before_a_reorganisation_is_a_receivable() {
    check(
        "confirmed a 1000 => completed
         refund r 1000 => insufficient_balance
         refund r 995 => refunded
         = completed 0 0 5
         orphaned a => reversed
         = reversed -995 0 0",
    );
}

#[test]
fn what_contradicts_is_put_aside() {
    check(
        "orphaned a => unknown_inclusion
         final a => unknown_inclusion
         seen a 1000 => confirming
         orphaned a => pending
         final a => orphan_finalized
         confirmed a
         = pending 0 0 0",
    );
    let mut shop = Shop::open();
    shop.create(1, PaymentMethod::Chain, 1_000);
    let report = shop.report(2, TransferStatus::Seen, 1, 1_000, Late::No);
    assert_eq!(shop.fact(report).dead, ["unknown_payment"]);
    let seen = shop.report(1, TransferStatus::Seen, 1, 1_000, Late::No);
    shop.fact(seen.clone());
    let changed = shop.report(1, TransferStatus::Confirmed, 1, 999, Late::No);
    assert_eq!(shop.fact(changed).dead, ["inclusion_changed"]);
    let zero = shop.report(1, TransferStatus::Seen, 2, 0, Late::No);
    assert_eq!(shop.fact(zero).dead, ["zero_transfer"]);
    let mut unlisted = seen;
    unlisted.asset = "fake:31337".parse().unwrap();
    assert_eq!(shop.fact(unlisted).dead, ["asset_mismatch"]);
    let meta = shop.bench.meta();
    let watch = shop.create(2, PaymentMethod::Chain, 1_000).watches.remove(0);
    assert_eq!(
        shop.feed(streambook_model::records::chain::WatchAddress { meta, ..watch }).dead,
        ["unexpected_record"]
    );
}

#[test]
fn several_payments_in_one_transaction_are_credited_each() {
    let mut shop = Shop::open();
    shop.create(1, PaymentMethod::Chain, 1_000);
    shop.create(2, PaymentMethod::Chain, 2_000);
    for (number, units, log_index) in [(1, 1_000, 0), (2, 2_000, 1)] {
        let mut report = shop.report(number, TransferStatus::Confirmed, 9, units, Late::No);
        report.inclusion.log_index = log_index;
        assert_eq!(shop.fact(report).names(), ["completed"]);
    }
    assert_eq!(shop.holds(Account::Available), 2_985);
}

#[test]
fn a_flood_of_dust_is_booked_and_does_not_grow_the_payment_without_bound() {
    let mut shop = Shop::open();
    shop.create(1, PaymentMethod::Chain, 1_000);
    for index in 0..150_u32 {
        for status in [TransferStatus::Seen, TransferStatus::Confirmed] {
            let mut report = shop.report(1, status, 9, 1, Late::No);
            report.inclusion.log_index = index;
            shop.fact(report);
        }
    }
    let payment = shop.last.clone().unwrap();
    assert_eq!((payment.transfers.len(), payment.amount_confirmed), (100, amount(150)));
    assert_eq!(shop.holds(Account::Clearing), 150);
    let mut report = shop.report(1, TransferStatus::Orphaned, 9, 1, Late::No);
    report.inclusion.log_index = 140;
    shop.fact(report);
    assert_eq!(shop.holds(Account::Clearing), 149);
    let report = shop.report(1, TransferStatus::Confirmed, 10, 851, Late::No);
    assert_eq!(shop.fact(report).names(), ["completed"]);
    assert_eq!(shop.holds(Account::Available), 995);
}

/// An operator has rebuilt the chain below a block that was final.
#[test]
fn what_was_final_is_reversed_when_its_chain_is_rebuilt_and_paid_again() {
    let shop = check(
        "seen a 1000 => confirming
         confirmed a => completed
         final a
         orphaned a => reversed
         = reversed 0 0 0
         orphaned a
         seen b 1000
         confirmed b => completed
         final b
         = completed 995 0 5",
    );
    assert_eq!(shop.ledger.iter().filter(|transaction| transaction.reverses.is_some()).count(), 2);
    check(
        "confirmed a 400 => confirming
         confirmed b 600 => completed
         final a
         final b
         orphaned b => reversed
         = reversed 0 400 0
         confirmed c 600 => completed
         = completed 995 0 5",
    );
}

#[test]
fn a_refund_of_what_was_final_stays_when_the_chain_takes_the_money_back() {
    check(
        "confirmed a 1000 => completed
         final a
         refund r 995 => refunded
         = completed 0 0 5
         orphaned a => reversed
         = reversed -995 0 0
         confirmed b 1000 => completed
         = completed 0 0 5",
    );
}

#[test]
fn an_event_reaches_the_topic_and_the_endpoint_with_one_id() {
    let mut shop = Shop::open();
    let said = shop.create(1, PaymentMethod::Chain, 12_500_000);
    let (event, message) = (&said.events[0], &said.webhooks[0]);
    assert_eq!((event.event, message.event), (event_id(1, 1), event_id(1, 1)));
    let body: serde_json::Value = serde_json::from_str(&message.body).unwrap();
    assert_eq!(body["id"], event.event.to_string());
    assert_eq!((&body["type"], &body["data"]["amount"]), (&"payment.created".into(), &"12.50".into()));
    assert_eq!(body["created_at"], "2023-11-14T22:13:20Z");
    assert_eq!(body["data"], streambook_model::payment_json::payment_json(&event.payment));
    assert_eq!(body.as_object().unwrap().len(), 4);
    let watch = &said.watches[0];
    assert_eq!(Some(watch.address), event.payment.deposit_address);
    assert_eq!(watch.address.to_checksum(), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
    assert_eq!(event.payment.derivation_path.as_deref(), Some("0/0"));
    let second = shop.create(2, PaymentMethod::Chain, 1);
    assert_eq!(second.watches[0].address.to_checksum(), "0x70997970C51812dc3A010C7d01b50e0d17dc79C8");
}

/// What was refunded of money that the chain then took back is borne by the merchant: nothing hangs in clearing, and it makes
/// no difference whether the rest was final by then.
#[test]
fn what_was_refunded_and_then_taken_back_is_the_merchants_loss() {
    check(
        "confirmed a 400 => confirming
         deadline => underpaid
         accept => completed
         final a
         late-confirmed b 50 => overpaid
         accept => completed
         = completed 448 0 2
         orphaned b => completed
         = completed 398 0 2
         late-confirmed c 50 => completed
         = completed 448 0 2",
    );
    check(
        "confirmed a 1000 => completed
         final a
         confirmed b 50 => overpaid
         refund r 50 => refunded
         orphaned b => completed
         = completed 945 0 5",
    );
}
