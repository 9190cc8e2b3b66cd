//! Addresses that payments share: whose a transfer is follows from its value and its block's time.

use super::world::World;

fn check(script: &str) -> World {
    let mut world = World::new();
    world.check(script);
    world
}

#[test]
fn a_transfer_is_the_payments_whose_exact_amount_it_has() {
    check(
        "watch p1 at=shop exact=101 from=9 till=30 depth=1
         watch p2 at=shop exact=102 from=9 till=30 depth=2
         block a10 on a9: shop=102, shop=101, shop=102/dai
         head a10 | seen p2=102 in a10#1, seen p1=101 in a10#1, confirmed p1=101 in a10#1
         block a11 on a10
         head a11 | confirmed p2=102 in a10#1",
    );
}

#[test]
fn what_has_no_payments_amount_is_put_aside_and_is_never_anybodys() {
    check(
        "watch p1 at=shop exact=101 from=9 till=30
         block a10 on a9: shop=100, shop=102, shop=101/usdt, shop=huge, shop=0
         head a10 | letter unmatched_transfer, letter unmatched_transfer, letter unmatched_transfer, letter unmatched_transfer",
    );
}

#[test]
fn a_transfer_that_is_taken_back_comes_again_where_its_amount_is_still_reserved() {
    check(
        "watch p1 at=shop exact=101 from=9 till=12 depth=1
         block a10 on a9
         head a10 |
         block a11 on a10: shop=101
         head a11 | seen p1=101 in a11#1, confirmed p1=101 in a11#1
         block b11 on a10
         block b12 on b11: shop=101
         head b12 | orphaned p1=101 in a11#1, seen p1=101 in b12#1, confirmed p1=101 in b12#1, depth 1
         block c12 on b11
         block c13 on c12: shop=101
         head c13 | orphaned p1=101 in b12#1, letter unmatched_transfer, depth 1
         head b12 | seen p1=101 in b12#2, confirmed p1=101 in b12#2, depth 2",
    );
}

#[test]
fn an_amount_is_another_payments_after_its_time_and_the_block_time_alone_decides() {
    check(
        "watch p1 at=shop exact=101 from=9 till=12 depth=1 until=11
         watch p2 at=shop exact=101 from=13 till=14 depth=1 until=14
         block a10 on a9
         block a11 on a10: shop=101
         block a12 on a11: shop=101
         block a13 on a12: shop=101
         block a14 on a13
         block a15 on a14: shop=101
         head a11 | seen p1=101 in a11#1, confirmed p1=101 in a11#1
         head a12 | seen p1=101 in a12#1, confirmed p1=101 in a12#1, deadline p1
         head a13 | seen p2=101 in a13#1, confirmed p2=101 in a13#1
         head a15 | letter unmatched_transfer, deadline p2",
    );
}

#[test]
fn a_watch_looks_back_to_where_its_own_time_begins_and_no_further() {
    check(
        "watch p0 at=shop exact=999 from=1 till=30
         block a10 on a9: shop=101
         block a11 on a10: shop=101
         block b12 on a11: shop=101
         block a12 on a11: shop=101, shop=102
         block a13 on a12: shop=101/usdt
         head a13 | letter unmatched_transfer, letter unmatched_transfer, letter unmatched_transfer, \
                    letter unmatched_transfer, letter unmatched_transfer
         watch p1 at=shop exact=101 from=11 till=30 depth=1 | seen p1=101 in a11#1, seen p1=101 in a12#1, \
                    confirmed p1=101 in a11#1, confirmed p1=101 in a12#1
         watch p1 at=shop exact=101 from=11 till=30 depth=1 |
         watch p2 at=shop exact=102 from=13 till=30 depth=1 |
         head b12 | orphaned p1=101 in a12#1, seen p1=101 in b12#1, confirmed p1=101 in b12#1, depth 2",
    );
}

#[test]
fn watches_that_contradict_each_other_are_refused() {
    check(
        "watch p1 at=shop exact=101 from=9 till=30
         watch p2 at=shop exact=101 from=30 till=40 | letter amount_in_use
         watch p3 at=shop exact=101 from=1 till=9 | letter amount_in_use
         watch p4 at=shop exact=101 from=10 till=20 | letter amount_in_use
         watch p5 at=shop exact=101 from=31 till=40 |
         watch p6 at=shop exact=101 from=1 till=8 |
         watch p7 at=shop exact=0 from=1 till=8 | letter invalid_exact_amount
         watch p8 at=shop exact=5 from=9 till=8 | letter invalid_exact_amount
         watch shop | letter address_in_use
         watch own
         watch p9 at=own exact=101 from=1 till=8 | letter address_in_use
         watch q1 at=shop exact=101 from=9 till=30 token=usdt |",
    );
}

#[test]
fn a_watch_of_a_halted_chain_is_told_of_nothing_until_it_goes_on() {
    let mut world = World::new();
    world.check(
        "watch p1 at=shop exact=101 from=9 till=90 depth=1
         block a10 on a9
         head a10
         final a10
         block a11 on a10: shop=101, shop=102
         head a11 | seen p1=101 in a11#1, letter unmatched_transfer, confirmed p1=101 in a11#1
         block b10 on a9
         block b11 on b10
         head b11 | halted
         watch p2 at=shop exact=102 from=9 till=90 depth=1 |
         watch p2 at=shop exact=102 from=9 till=90 depth=1 |",
    );
    let said = world.run("rebuild a10");
    assert!(said.contains(&"orphaned p1=101 in a11#1".to_owned()), "{said:?}");
    assert!(said.iter().all(|said| !said.contains("p2")), "it is not canonical any more: {said:?}");
    world.check("head a11 | seen p1=101 in a11#2, seen p2=102 in a11#2, confirmed p1=101 in a11#2, confirmed p2=102 in a11#2");
}
