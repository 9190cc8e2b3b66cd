//! Claimed transactions: they count where the payer's own hand has sent them, and are refused with a reason else.

use super::world::World;
use crate::reorg::MAX_LOOK_BACK;

fn check(script: &str) -> World {
    let mut world = World::new();
    world.check(script);
    world
}

#[test]
fn a_claim_finds_what_came_before_it_and_is_taken_back_with_its_block() {
    check(
        "watch p1 at=shop exact=101 from=9 till=30 depth=1
         block a10 on a9: shop=100
         head a10 | letter unmatched_transfer
         claim p1 at=shop tx=shop=100 from=9 till=30 | seen p1=100 in a10#1, confirmed p1=100 in a10#1
         claim p1 at=shop tx=shop=100 from=9 till=30 |
         block b10 on a9
         block b11 on b10: shop=100
         head b11 | orphaned p1=100 in a10#1, seen p1=100 in b11#1, confirmed p1=100 in b11#1, depth 1
         block a11 on a10
         block a12 on a11
         head a12 | orphaned p1=100 in b11#1, seen p1=100 in a10#2, confirmed p1=100 in a10#2, depth 2",
    );
}

#[test]
fn a_claim_waits_for_its_transaction_and_counts_all_that_it_sends() {
    check(
        "watch p1 at=shop exact=101 from=9 till=30 depth=1
         claim p1 at=shop tx=shop=7 from=9 till=30 |
         block a10 on a9: shop=7, shop=9, shop=7
         head a10 | seen p1=7 in a10#1, letter unmatched_transfer, seen p1=7 in a10#1, \
                    confirmed p1=7 in a10#1, confirmed p1=7 in a10#1",
    );
}

#[test]
fn a_claim_that_cannot_look_at_all_that_came_says_so() {
    let mut world = check(
        "watch p1 at=shop exact=101 from=9 till=30 depth=1
         block a10 on a9",
    );
    let transfers = vec!["shop=1"; MAX_LOOK_BACK + 1].join(",");
    world.run(&format!("block a11 on a10: {transfers}"));
    world.run("head a11");
    assert_eq!(world.run("claim p1 at=shop tx=shop=5 from=9 till=30"), ["letter look_back_incomplete"]);
}

#[test]
fn what_another_has_sent_does_not_count_and_can_be_claimed_for_another_payment() {
    check(
        "watch p1 at=shop exact=101 from=9 till=30 depth=1
         watch p2 at=shop exact=102 from=9 till=30 depth=1
         block a10 on a9: shop=100~eve
         head a10 | letter unmatched_transfer
         claim p1 at=shop tx=shop=100~eve from=9 till=30 | refused p1
         claim p2 at=shop tx=shop=100~eve from=9 till=30 payer=eve | seen p2=100 in a10#1, confirmed p2=100 in a10#1
         claim p1 at=shop tx=shop=100~eve from=9 till=30 | refused p1
         claim p1 at=shop tx=shop=50~eve from=9 till=30 |
         block a11 on a10: shop=50~eve
         head a11 | refused p1, letter unmatched_transfer
         block a12 on a11
         block b11 on a10
         block b12 on b11: shop=50~eve
         head b12 | letter unmatched_transfer, depth 1",
    );
}

#[test]
fn another_payments_exact_amount_is_not_claimed() {
    check(
        "watch p1 at=shop exact=101 from=9 till=30 depth=1
         watch p2 at=shop exact=102 from=9 till=30 depth=1
         block a10 on a9: shop=102
         head a10 | seen p2=102 in a10#1, confirmed p2=102 in a10#1
         claim p1 at=shop tx=shop=102 from=9 till=30 | refused p1
         claim p2 at=shop tx=shop=102 from=9 till=30 |
         claim p1 at=shop tx=shop=102/usdc from=9 till=30 |
         block a11 on a10: shop=102/usdc
         head a11 | seen p2=102 in a11#1, refused p1, confirmed p2=102 in a11#1",
    );
}

#[test]
fn what_was_counted_for_a_claim_stays_its_own_when_its_amount_is_given_out_later() {
    check(
        "watch p1 at=shop exact=101 from=9 till=30 depth=1
         block a10 on a9: shop=103
         head a10 | letter unmatched_transfer
         claim p1 at=shop tx=shop=103 from=9 till=30 | seen p1=103 in a10#1, confirmed p1=103 in a10#1
         watch p3 at=shop exact=103 from=10 till=30 depth=2 |
         block b10 on a9
         block b11 on b10
         head b11 | orphaned p1=103 in a10#1, depth 1",
    );
}

#[test]
fn a_claim_outside_the_payments_time_and_at_an_address_of_ones_own_is_refused() {
    check(
        "watch p1 at=shop exact=101 from=11 till=12 depth=1
         block a11 on a10
         block a12 on a11
         block a13 on a12: shop=100
         head a13 | letter unmatched_transfer
         claim p1 at=shop tx=shop=100 from=11 till=12 | refused p1
         watch own
         claim p9 at=own tx=shop=100 from=11 till=12 | letter address_not_shared",
    );
}

#[test]
fn a_claim_on_a_halted_chain_looks_back_when_it_goes_on() {
    let mut world = World::new();
    world.check(
        "watch p1 at=shop exact=101 from=9 till=90 depth=1
         block a10 on a9
         head a10
         final a10
         block a11 on a10: shop=100
         head a11 | letter unmatched_transfer
         block b10 on a9
         block b11 on b10
         head b11 | halted
         claim p1 at=shop tx=shop=100 from=9 till=90 |",
    );
    world.run("rebuild a10");
    world.check("head a11 | seen p1=100 in a11#2, confirmed p1=100 in a11#2");
}
