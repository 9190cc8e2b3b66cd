//! What is agreed at creation: the tolerance, and the policy by amount. A change later alters no payment that exists.

use streambook_model::{
    chain::ConfirmationPolicy,
    records::{
        payment::PaymentMethod,
        registry::{AssetAmount, Merchant, SettingsChanged, Tolerance},
        settings::{PolicyTier, Settings},
    },
};

use super::{
    script,
    shop::{SHOP, Shop, amount, merchant, settings},
};

/// A shop whose payments of 1,000 units may differ by 20: a hundredth is 10, and 20 is the least.
fn tolerant() -> Shop {
    let mut shop = Shop::open();
    let least = AssetAmount { asset: "usdc:31337".parse().unwrap(), amount: amount(20) };
    let tolerance = Some(Tolerance { parts_per_million: 10_000, amounts: vec![least] });
    shop.put_merchant(Merchant { tolerance, ..merchant(SHOP) });
    shop
}

fn check(text: &str) -> Shop {
    script::check_in(tolerant(), PaymentMethod::Chain, text)
}

#[test]
fn what_is_within_the_tolerance_completes_and_is_credited_as_it_came() {
    let shop = check(
        "seen a 980 => confirming
         confirmed a => completed
         = completed 975 0 5",
    );
    let payment = shop.last.unwrap();
    assert_eq!(
        (payment.amount, payment.tolerance, payment.fee),
        (amount(1_000), Some(amount(20)), amount(5))
    );
    check(
        "confirmed a 1020 => completed
         = completed 1015 0 5",
    );
}

#[test]
fn one_unit_beyond_the_tolerance_is_under_or_overpaid() {
    check(
        "confirmed a 979 => confirming
         deadline => underpaid
         = underpaid 0 979 0
         accept => completed
         = completed 974 0 5",
    );
    check(
        "confirmed a 1021 => overpaid
         = overpaid 1015 1 5
         refund r 1 => refunded
         = overpaid 1015 0 5",
    );
}

#[test]
fn what_comes_after_completion_is_credited_up_to_the_tolerance_and_taken_back_with_its_transfer() {
    check(
        "confirmed a 600 => confirming
         confirmed b 385 => completed
         = completed 980 0 5
         confirmed c 10 => completed
         = completed 990 0 5
         late-confirmed d 20 => completed
         = completed 1010 0 5
         confirmed e 10 => overpaid
         = overpaid 1015 5 5
         orphaned e => completed
         = completed 1010 0 5
         orphaned d => completed
         orphaned c => completed
         = completed 980 0 5
         orphaned b => reversed
         = reversed 0 600 0
         confirmed f 380 => completed
         = completed 975 0 5",
    );
}

#[test]
fn late_money_does_not_make_up_for_what_is_missing_in_time() {
    check(
        "confirmed a 979 => confirming
         deadline => underpaid
         late-confirmed b 10 => paid_late
         = paidlate 0 989 0",
    );
}

#[test]
fn cards_and_payments_of_before_have_no_tolerance() {
    let mut shop = Shop::open();
    shop.create(1, PaymentMethod::Chain, 1_000);
    let tolerance = Some(Tolerance { parts_per_million: 100_000, amounts: Vec::new() });
    shop.put_merchant(Merchant { tolerance, ..merchant(SHOP) });
    assert_eq!(shop.last.clone().unwrap().tolerance, None);
    shop.create(2, PaymentMethod::Card, 1_000);
    assert_eq!(shop.last.clone().unwrap().tolerance, None);
    shop.create(3, PaymentMethod::Chain, 1_000);
    assert_eq!(shop.last.clone().unwrap().tolerance, Some(amount(100)));
    let script = "confirmed a 999 => confirming
         = confirming 0 999 0";
    let mut known = std::collections::BTreeMap::new();
    for line in script.lines().map(str::trim).filter(|line| !line.starts_with('=')) {
        script::step(&mut shop, line, &mut known);
    }
}

fn tier(from: i128, depth: Option<u32>) -> PolicyTier {
    let policy = ConfirmationPolicy { depth };
    PolicyTier { asset: "usdc:31337".parse().unwrap(), from: amount(from), policy, allow_weaker: false }
}

/// The policy that a payment of this amount is made with; the chain's own is a depth of 3.
fn policy_of(shop: &mut Shop, number: u8, units: i128) -> Option<u32> {
    let said = shop.create(number, PaymentMethod::Chain, units);
    assert_eq!(said.watches[0].policy, shop.last.clone().unwrap().policy.unwrap());
    said.watches[0].policy.depth
}

fn put_tiers(shop: &mut Shop, tiers: Vec<PolicyTier>) {
    let meta = shop.bench.meta();
    shop.bench.feed(SettingsChanged { meta, settings: Settings { tiers, ..settings() } });
}

#[test]
fn the_policy_is_that_of_the_highest_tier_that_the_amount_reaches() {
    let mut shop = Shop::open();
    put_tiers(&mut shop, vec![tier(1_000, Some(12)), tier(5_000, None)]);
    for (number, units, depth) in [
        (1, 999, Some(3)),
        (2, 1_000, Some(12)),
        (3, 4_999, Some(12)),
        (4, 5_000, None),
        (5, 10_i128.pow(20), None),
    ] {
        assert_eq!(policy_of(&mut shop, number, units), depth, "{units}");
    }
    put_tiers(&mut shop, Vec::new());
    assert_eq!(policy_of(&mut shop, 6, 5_000), Some(3));
}

#[test]
fn a_tier_of_another_asset_is_none_of_this_one() {
    let mut shop = Shop::open();
    put_tiers(&mut shop, vec![PolicyTier { asset: "usdc:1".parse().unwrap(), ..tier(1, None) }]);
    assert_eq!(policy_of(&mut shop, 1, 1_000), Some(3));
}
