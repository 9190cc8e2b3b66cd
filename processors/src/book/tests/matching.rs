//! Payments that share their merchant's address.

use std::collections::BTreeSet;

use streambook_model::{
    bytes::Address,
    chain::ChainId,
    records::{
        chain::TransferStatus,
        payment::{Matching, PaymentMethod, PaymentStatus},
        registry::{FixedAddress, Merchant, Tolerance},
    },
    time::Timestamp,
};

use super::shop::{CHAIN, Late, SHOP, START, Said, Shop, amount, merchant};

const OWN: Address = Address::new([0x5a; 20]);
const DAY: i64 = 86_400_000;

fn with_address() -> Shop {
    let mut shop = Shop::open();
    put_address(&mut shop, CHAIN, OWN);
    shop
}

fn put_address(shop: &mut Shop, chain: ChainId, address: Address) {
    shop.put_merchant(Merchant { addresses: vec![FixedAddress { chain, address }], ..merchant(SHOP) });
}

fn create(shop: &mut Shop, number: u8, units: i128) -> Said {
    let mut creation = shop.creation(number, PaymentMethod::Chain, units);
    creation.matching = Some(Matching::ExactAmount);
    shop.command(creation)
}

#[test]
fn each_payment_has_an_amount_of_its_own_a_little_above_the_price() {
    let mut shop = with_address();
    let mut amounts = BTreeSet::new();
    for (number, price) in [(1, 1_000), (2, 1_000), (3, 1_001), (4, 1_000)] {
        let said = create(&mut shop, number, price);
        let payment = said.reply().payment.clone().unwrap();
        assert_eq!((payment.price, payment.deposit_address), (Some(amount(price)), Some(OWN)));
        assert_eq!((payment.matching, payment.derivation_path), (Some(Matching::ExactAmount), None));
        let until = Timestamp::from_millis(START + 1_800_000 + DAY);
        assert_eq!(payment.reserved_until, Some(until));
        let exact = said.watches[0].exact.unwrap();
        assert_eq!((exact.amount, exact.until), (payment.amount, until));
        assert_eq!(exact.from, Timestamp::from_millis(START - 60_000));
        assert!(payment.amount > amount(price), "a round price is nobody's");
        amounts.insert(payment.amount.units());
    }
    assert_eq!(amounts, BTreeSet::from([1_001, 1_002, 1_003, 1_004]));
}

#[test]
fn the_merchant_is_credited_what_came_with_the_fee_on_it() {
    let mut shop = with_address();
    create(&mut shop, 1, 1_000_000);
    let report = shop.report(1, TransferStatus::Confirmed, 1, 1_000_001, Late::No);
    shop.fact(report);
    let payment = shop.last.clone().unwrap();
    assert_eq!(payment.status, PaymentStatus::Completed);
    assert_eq!((payment.amount_confirmed, payment.fee), (amount(1_000_001), amount(5_000)));
    assert_eq!(shop.holds(super::super::ledger::Account::Available), 995_001);
}

#[test]
fn an_amount_stays_reserved_for_a_day_after_the_deadline_and_is_then_free() {
    let mut shop = with_address();
    create(&mut shop, 1, 1_000);
    shop.cancel(1);
    let free_at = START + 1_800_000 + DAY + 60_000;
    shop.bench.at(free_at);
    assert_eq!(create(&mut shop, 2, 1_000).reply().payment.clone().unwrap().amount, amount(1_002));
    shop.bench.at(free_at + 1);
    let said = create(&mut shop, 3, 1_000);
    assert_eq!(said.reply().payment.clone().unwrap().amount, amount(1_001));
    let first = Timestamp::from_millis(START + 1_800_000 + DAY);
    assert!(said.watches[0].exact.unwrap().from > first, "the two have no time in common");
}

#[test]
fn a_price_has_a_hundredth_of_itself_to_tell_payments_apart() {
    let mut shop = with_address();
    for number in 1..=3 {
        assert_eq!(create(&mut shop, number, 300).problem(), "none");
    }
    let said = create(&mut shop, 4, 300);
    let problem = said.reply().problem.clone().unwrap();
    assert_eq!((problem.code.as_str(), problem.status), ("no_free_amount", 409));
    assert_eq!(create(&mut shop, 5, 99).problem(), "amount_too_small");
    assert_eq!(create(&mut shop, 6, 100).problem(), "none");
}

#[test]
fn the_largest_price_has_no_amount_above_it_and_is_refused_and_answered() {
    let mut shop = with_address();
    let largest = 10_i128.pow(38) - 1;
    assert_eq!(create(&mut shop, 1, largest).problem(), "no_free_amount");
    assert_eq!(shop.create(2, PaymentMethod::Chain, largest).problem(), "none");
    let tolerance = Some(Tolerance { parts_per_million: 1_000, amounts: Vec::new() });
    shop.put_merchant(Merchant { tolerance, ..merchant(SHOP) });
    assert_eq!(shop.create(3, PaymentMethod::Chain, largest).problem(), "invalid_amount");
}

#[test]
fn another_address_and_another_chain_have_amounts_of_their_own() {
    let mut shop = with_address();
    create(&mut shop, 1, 1_000);
    put_address(&mut shop, CHAIN, Address::new([0x5b; 20]));
    assert_eq!(create(&mut shop, 2, 1_000).watches[0].exact.unwrap().amount, amount(1_001));
    put_address(&mut shop, CHAIN, OWN);
    assert_eq!(create(&mut shop, 3, 1_000).watches[0].exact.unwrap().amount, amount(1_002));
}

#[test]
fn without_an_address_or_by_card_it_is_refused_with_the_field() {
    let mut shop = Shop::open();
    let said = create(&mut shop, 1, 1_000);
    let problem = said.reply().problem.clone().unwrap();
    assert_eq!((problem.code.as_str(), problem.field.as_deref()), ("no_fixed_address", Some("matching")));
    put_address(&mut shop, ChainId(1), OWN);
    assert_eq!(create(&mut shop, 1, 1_000).problem(), "no_fixed_address");
    let mut card = shop.creation(2, PaymentMethod::Card, 1_000);
    card.matching = Some(Matching::ExactAmount);
    assert_eq!(shop.command(card).problem(), "matching_not_for_cards");
}

#[test]
fn the_answer_to_a_creation_is_given_again_as_it_was() {
    let mut shop = with_address();
    let creation = {
        let mut creation = shop.creation(1, PaymentMethod::Chain, 1_000);
        creation.matching = Some(Matching::ExactAmount);
        creation
    };
    let first = shop.feed(creation.clone()).reply().payment.clone();
    let report = shop.report(1, TransferStatus::Confirmed, 1, 1_001, Late::No);
    shop.fact(report);
    assert_eq!(shop.feed(creation).reply().payment, first);
}
