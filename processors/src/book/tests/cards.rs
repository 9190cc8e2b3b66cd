//! Payments by card.

use streambook_model::{
    records::{payment::PaymentMethod, stripe::CardFactKind},
    time::Timestamp,
};
use streambook_runtime::processor::Processor;

use super::{
    super::{BookProcessor, ledger::Account},
    script,
    shop::{START, Shop, amount},
};

fn check(text: &str) -> Shop {
    script::check(PaymentMethod::Card, text)
}

#[test]
fn a_charge_completes_and_a_refund_is_taken_from_the_available_balance() {
    let shop = check(
        "card succeeded ch_1 1000 => completed
         = completed 995 0 5
         card fee txn_1 59
         = completed 936 0 5
         card refunded re_1 300 => refunded
         = completed 636 0 5",
    );
    assert_eq!(shop.last.unwrap().amount_refunded, amount(300));
}

/// A card's money comes back by facts of its own, never by a reversal.
#[test]
fn nothing_of_a_card_payment_is_kept_for_a_reversal() {
    let shop = check("card succeeded ch_1 1000 => completed");
    assert_eq!(shop.state().iter().filter(|(key, _)| key.first() == Some(&203)).count(), 0);
}

#[test]
fn a_declined_card_fails_and_a_later_charge_completes() {
    let shop = check("card failed pi_1 => failed");
    assert_eq!(shop.last.unwrap().failure.as_deref(), Some("the card was declined"));
    check(
        "card failed pi_1 => failed
         card succeeded ch_1 1000 => completed
         = completed 995 0 5",
    );
    check(
        "card succeeded ch_1 1000 => completed
         card failed pi_1
         = completed 995 0 5",
    );
}

#[test]
fn a_dispute_takes_the_money_until_it_is_won() {
    check(
        "card succeeded ch_1 1000 => completed
         card disputed dp_1 1000 => disputed
         card dispute-fee txn_2 15
         = disputed -20 0 5
         card won dp_1 1000 => completed
         = completed 980 0 5",
    );
    check(
        "card succeeded ch_1 1000 => completed
         card disputed dp_1 1000 => disputed
         card lost dp_1
         = disputed -5 0 5",
    );
}

#[test]
fn a_failed_refund_gives_the_money_back() {
    let shop = check(
        "card succeeded ch_1 1000 => completed
         card refunded re_1 300 => refunded
         card refund-failed re_1 300 => refund_failed
         = completed 995 0 5",
    );
    assert_eq!(shop.last.unwrap().amount_refunded, amount(0));
}

/// Every order of the facts of one payment ends in the same books and the same status.
#[test]
fn card_facts_end_the_same_in_every_order() {
    let facts = [
        (CardFactKind::Succeeded, "ch_1", 1_000),
        (CardFactKind::FeeKnown, "txn_1", 59),
        (CardFactKind::Refunded, "re_1", 300),
        (CardFactKind::RefundFailed, "re_1", 300),
        (CardFactKind::Refunded, "re_2", 200),
        (CardFactKind::DisputeOpened, "dp_1", 500),
    ];
    for order in permutations(facts.len()) {
        let mut shop = Shop::open();
        shop.create(1, PaymentMethod::Card, 1_000);
        for index in &order {
            let (kind, object, units) = facts[*index];
            let fact = shop.card_fact(1, kind, object, units);
            assert!(shop.fact(fact).dead.is_empty());
        }
        let payment = shop.last.clone().unwrap();
        let ends = (format!("{:?}", payment.status), payment.amount_refunded, payment.amount_confirmed);
        assert_eq!(ends, ("Disputed".into(), amount(200), amount(1_000)), "{order:?}");
        let books = [Account::Available, Account::Clearing, Account::Fees].map(|account| shop.holds(account));
        assert_eq!(books, [995 - 59 - 200 - 500, 0, 5], "{order:?}");
    }
}

fn permutations(count: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for next in 0..count {
        let insert = |order: Vec<usize>| {
            (0..=order.len()).map(move |place| {
                let mut order = order.clone();
                order.insert(place, next);
                order
            })
        };
        all = all.into_iter().flat_map(insert).collect();
    }
    all
}

#[test]
fn a_card_payment_expires_by_a_tick_and_a_chain_payment_does_not() {
    let mut shop = Shop::open();
    shop.create(2, PaymentMethod::Chain, 1_000);
    assert_eq!(BookProcessor.next_deadline(shop.state()).unwrap(), None);
    shop.create(1, PaymentMethod::Card, 1_000);
    let deadline = Timestamp::from_millis(START + 1_800_000);
    assert_eq!(BookProcessor.next_deadline(shop.state()).unwrap(), Some(deadline));
    assert!(shop.tick(START + 1_799_999).events.is_empty());
    assert_eq!(shop.tick(START + 1_800_000).names(), ["expired"]);
    assert_eq!(BookProcessor.next_deadline(shop.state()).unwrap(), None);
}

#[test]
fn a_finished_card_payment_needs_no_tick() {
    let shop = check("card succeeded ch_1 1000 => completed");
    assert_eq!(BookProcessor.next_deadline(shop.state()).unwrap(), None);
    let shop = check("cancel => canceled");
    assert_eq!(BookProcessor.next_deadline(shop.state()).unwrap(), None);
}

#[test]
fn one_tick_expires_at_most_a_thousand_and_the_next_the_rest() {
    let mut shop = Shop::open();
    for index in 0..1_001_u32 {
        let mut creation = shop.creation(1, PaymentMethod::Card, 1_000);
        creation.payment = streambook_model::id::PaymentId::derive(&[&index.to_be_bytes()]);
        shop.feed(creation);
    }
    let tick = |shop: &mut Shop| {
        let meta = shop.bench.meta();
        let now = Timestamp::from_millis(START + 2_000_000);
        shop.feed(streambook_model::records::book::Tick { meta, now }).events.len()
    };
    assert_eq!([tick(&mut shop), tick(&mut shop), tick(&mut shop)], [1_000, 1, 0]);
}

#[test]
fn a_charge_after_the_deadline_or_the_cancellation_is_late() {
    check(
        "tick 1800 => expired
         clock 1900
         card succeeded ch_1 1000 => paid_late
         = paidlate 0 1000 0
         card refunded re_1 1000 => refunded
         = paidlate 0 0 0",
    );
    check(
        "cancel => canceled
         card succeeded ch_1 1000 => paid_late
         accept => completed
         = completed 995 0 5",
    );
}

#[test]
fn a_card_refund_that_the_merchant_recorded_is_not_booked_again_when_stripe_reports_it() {
    check(
        "card succeeded ch_1 1000 => completed
         refund r 100 => refunded
         = completed 895 0 5
         card refunded re_1 100
         = completed 895 0 5
         card refunded re_2 50 => refunded
         refund rr 50 => refund_already_recorded",
    );
}

#[test]
fn a_card_fact_that_fits_no_payment_is_put_aside() {
    let mut shop = Shop::open();
    shop.create(1, PaymentMethod::Card, 1_000);
    let fact = shop.card_fact(9, CardFactKind::Succeeded, "ch_1", 1_000);
    assert_eq!(shop.fact(fact).dead, ["unknown_payment"]);
    let mut fact = shop.card_fact(1, CardFactKind::Succeeded, "ch_1", 1_000);
    fact.asset = "eur".parse().unwrap();
    assert_eq!(shop.fact(fact).dead, ["asset_mismatch"]);
    let mut fact = shop.card_fact(1, CardFactKind::Succeeded, "ch_1", 1_000);
    fact.livemode = true;
    assert_eq!(shop.fact(fact).dead, ["asset_mismatch"]);
}
