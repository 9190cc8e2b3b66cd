//! Transfers from before the look-back window to addresses that payments share: each is the payment's that it would have been
//! when its block was new, and counts once, whoever asks first and however often.

use super::world::World;
use crate::reorg::MAX_OPEN_BACKFILLS;

/// A chain whose blocks up to height 68 are forgotten, on which nobody watched the address while they were kept.
fn old_chain() -> World {
    let mut world = World::new();
    world.check("block a30 on a29: shop=101, shop=7\n head a30");
    world.grow("a", 31, 70);
    world.run("final a69");
    world.grow("a", 71, 95);
    world
}

/// A chain on which p1 watches its amount from the beginning: it is paid at 30, and something else comes there at 31.
fn watched_chain() -> World {
    let mut world = World::new();
    world.check(
        "block a20 on a19
         head a20
         watch p1 at=shop exact=101 from=9 till=90 depth=1 |",
    );
    world.grow("a", 21, 29);
    world.check(
        "block a30 on a29: shop=101
         head a30 | seen p1=101 in a30#1, confirmed p1=101 in a30#1
         block a31 on a30: shop=7
         head a31 | letter unmatched_transfer",
    );
    world.grow("a", 32, 70);
    assert_eq!(world.run("final a69"), ["finalized p1=101 in a30#1"]);
    world.grow("a", 71, 95);
    world
}

fn check(script: &str) -> World {
    let mut world = old_chain();
    world.check(script);
    world
}

fn check_watched(script: &str) -> World {
    let mut world = watched_chain();
    world.check(script);
    world
}

#[test]
fn a_late_watch_asks_by_itself_and_its_amount_is_found_once() {
    check(
        "watch p1 at=shop exact=101 from=20 till=90 depth=1 | asked 1 p1 up to a68
         watch p1 at=shop exact=101 from=20 till=90 depth=1 |
         answer 1 a30: shop=101, shop=7 | seen p1=101 in a30#1, letter unmatched_transfer, \
                    confirmed p1=101 in a30#1, finalized p1=101 in a30#1, closed 1 with 1
         answer 1 a30: shop=101, shop=7 |
         ask p1 at=shop exact=101 from=20 till=90 | asked 2 p1 up to a68
         answer 2 a30: shop=101, shop=7; a69: shop=101 | closed 2 with 0",
    );
}

#[test]
fn a_watch_whose_time_began_within_the_window_asks_for_nothing() {
    check("watch p1 at=shop exact=101 from=69 till=90 depth=1 |");
}

#[test]
fn what_was_matched_or_put_aside_before_its_block_was_forgotten_does_not_count_again() {
    check_watched(
        "ask p1 at=shop exact=101 from=9 till=90 | asked 1 p1 up to a68
         answer 1 a30: shop=101; a31: shop=7 | closed 1 with 0
         watch p2 at=shop exact=55 from=20 till=90 | asked 2 p2 up to a68
         answer 2 a30: shop=101; a31: shop=7; a33: shop=55/usdt | letter unmatched_transfer, closed 2 with 0
         ask p2 at=shop exact=55 from=20 till=90 | asked 3 p2 up to a68
         answer 3 a31: shop=7; a33: shop=55/usdt | closed 3 with 0",
    );
}

#[test]
fn what_came_before_anybody_watched_is_put_aside_by_the_first_search_alone() {
    check(
        "watch p1 at=shop exact=9 from=20 till=90 | asked 1 p1 up to a68
         watch p2 at=shop exact=8 from=20 till=90 | asked 2 p2 up to a68
         answer 2 a30: shop=101, shop=7, shop=0, shop=5/dai | letter unmatched_transfer, letter unmatched_transfer, closed 2 with 0
         answer 1 a30: shop=101, shop=7 | closed 1 with 0",
    );
}

#[test]
fn anothers_amount_in_an_answer_is_credited_to_that_one_in_any_order() {
    let watches = "watch p1 at=shop exact=101 from=20 till=90 depth=1 | asked 1 p1 up to a68
                   watch p2 at=shop exact=7 from=20 till=90 depth=1 | asked 2 p2 up to a68\n";
    let both = "seen p1=101 in a30#1, seen p2=7 in a30#1, confirmed p1=101 in a30#1, confirmed p2=7 in a30#1, \
                finalized p1=101 in a30#1, finalized p2=7 in a30#1";
    for (first, second) in [(1, 2), (2, 1)] {
        check(&format!(
            "{watches}answer {first} a30: shop=101, shop=7 | {both}, closed {first} with 2
             answer {second} a30: shop=101, shop=7 | closed {second} with 0"
        ));
    }
}

#[test]
fn the_blocks_time_alone_decides_whose_an_amount_is() {
    check(
        "watch p1 at=shop exact=101 from=20 till=29 depth=1 | asked 1 p1 up to a68
         watch p2 at=shop exact=101 from=31 till=40 depth=1 | asked 2 p2 up to a68
         answer 1 a29: shop=101; a30: shop=101; a31: shop=101; a41: shop=101 | seen p1=101 in a29#1, \
                    letter unmatched_transfer, seen p2=101 in a31#1, letter unmatched_transfer, \
                    confirmed p1=101 in a29#1, confirmed p2=101 in a31#1, finalized p1=101 in a29#1, \
                    finalized p2=101 in a31#1, closed 1 with 2
         answer 2 a31: shop=101 | closed 2 with 0",
    );
}

#[test]
fn what_was_put_aside_by_a_search_is_the_payments_whose_watch_comes_after_it() {
    check(
        "watch p1 at=shop exact=101 from=20 till=90 depth=1 | asked 1 p1 up to a68
         answer 1 a30: shop=7 | letter unmatched_transfer, closed 1 with 0
         watch p2 at=shop exact=7 from=20 till=90 depth=1 | asked 2 p2 up to a68
         answer 2 a30: shop=7 | seen p2=7 in a30#1, confirmed p2=7 in a30#1, finalized p2=7 in a30#1, closed 2 with 1
         ask p1 at=shop exact=101 from=20 till=90 | asked 3 p1 up to a68
         answer 3 a30: shop=7 | closed 3 with 0",
    );
}

#[test]
fn a_claim_has_its_old_transaction_looked_up_and_counts_it_once() {
    check_watched(
        "claim p1 at=shop tx=shop=7 from=9 till=90 | asked 1 p1 up to a68 of shop=7
         claim p1 at=shop tx=shop=7 from=9 till=90 |
         answer 1 a31: shop=7 | seen p1=7 in a31#1, confirmed p1=7 in a31#1, finalized p1=7 in a31#1, closed 1 with 1
         answer 1 a31: shop=7 |
         claim p1 at=shop tx=shop=7 from=9 till=90 | asked 2 p1 up to a68 of shop=7
         answer 2 a31: shop=7 | closed 2 with 0
         ask p1 at=shop exact=101 from=9 till=90 | asked 3 p1 up to a68
         answer 3 a30: shop=101; a31: shop=7 | closed 3 with 0
         watch p2 at=shop exact=7 from=9 till=90 | asked 4 p2 up to a68
         answer 4 a31: shop=7 | closed 4 with 0",
    );
}

#[test]
fn a_claim_is_settled_by_whatever_search_finds_its_transaction_first() {
    check_watched(
        "claim p1 at=shop tx=shop=7 from=9 till=90 | asked 1 p1 up to a68 of shop=7
         ask p1 at=shop exact=101 from=9 till=90 | asked 2 p1 up to a68
         answer 2 a31: shop=7 | seen p1=7 in a31#1, confirmed p1=7 in a31#1, finalized p1=7 in a31#1, closed 2 with 1
         answer 1 a31: shop=7 | closed 1 with 0",
    );
}

#[test]
fn an_old_claim_is_refused_as_a_recent_one_is() {
    check_watched(
        "claim p1 at=shop tx=shop=7 from=9 till=90 payer=eve | asked 1 p1 up to a68 of shop=7
         answer 1 a31: shop=7 | refused p1, closed 1 with 0
         claim p1 at=shop tx=shop=7 from=9 till=30 | asked 2 p1 up to a68 of shop=7
         answer 2 a31: shop=7 | refused p1, closed 2 with 0
         watch p2 at=shop exact=55 from=9 till=90 | asked 3 p2 up to a68
         answer 3 nothing | closed 3 with 0
         claim p2 at=shop tx=shop=101 from=9 till=90 | asked 4 p2 up to a68 of shop=101
         answer 4 a30: shop=101 | refused p2, closed 4 with 0
         claim p2 at=shop tx=shop=7 from=9 till=90 | asked 5 p2 up to a68 of shop=7
         claim p1 at=shop tx=shop=7 from=9 till=90 | refused p1
         answer 5 a31: shop=7 | seen p2=7 in a31#1, confirmed p2=7 in a31#1, finalized p2=7 in a31#1, closed 5 with 1",
    );
}

#[test]
fn another_payments_amount_in_a_claimed_transaction_is_credited_to_that_payment() {
    check(
        "watch p1 at=shop exact=101 from=20 till=90 depth=1 | asked 1 p1 up to a68
         watch p2 at=shop exact=55 from=20 till=90 | asked 2 p2 up to a68
         claim p2 at=shop tx=shop=101 from=20 till=90 | asked 3 p2 up to a68 of shop=101
         answer 3 a30: shop=101 | seen p1=101 in a30#1, refused p2, confirmed p1=101 in a30#1, finalized p1=101 in a30#1, \
                    closed 3 with 1
         answer 1 a30: shop=101, shop=7 | letter unmatched_transfer, closed 1 with 0",
    );
}

#[test]
fn a_claimed_transaction_that_pays_nothing_there_is_refused_and_one_that_is_unknown_waits() {
    check_watched(
        "claim p1 at=shop tx=other=7 from=9 till=90 | asked 1 p1 up to a68 of other=7
         answer 1 a31: | refused p1, closed 1 with 0
         claim p1 at=shop tx=shop=5/usdt from=9 till=90 | asked 2 p1 up to a68 of shop=5/usdt
         answer 2 a31: shop=5/usdt | letter unmatched_transfer, refused p1, closed 2 with 0
         claim p1 at=shop tx=shop=8 from=9 till=97 | asked 3 p1 up to a68 of shop=8
         answer 3 nothing but it is not found | closed 3 with 0
         block a96 on a95: shop=8
         head a96 | seen p1=8 in a96#1, confirmed p1=8 in a96#1",
    );
}

#[test]
fn a_look_up_that_fails_says_so_and_the_claim_can_be_retried() {
    check_watched(
        "claim p1 at=shop tx=shop=7 from=9 till=90 | asked 1 p1 up to a68 of shop=7
         answer 1 nothing but no node has block 31 | letter backfill_incomplete, closed 1 with 0
         claim p1 at=shop tx=shop=7 from=9 till=90 | asked 2 p1 up to a68 of shop=7
         answer 2 a31: shop=7 | seen p1=7 in a31#1, confirmed p1=7 in a31#1, finalized p1=7 in a31#1, closed 2 with 1",
    );
}

#[test]
fn an_answer_that_comes_after_its_claim_was_refused_says_nothing_of_it() {
    check_watched(
        "claim p1 at=shop tx=shop=7 from=9 till=90 payer=eve | asked 1 p1 up to a68 of shop=7
         ask p1 at=shop exact=101 from=9 till=90 | asked 2 p1 up to a68
         answer 2 a31: shop=7 | refused p1, closed 2 with 0
         answer 1 nothing but no node has block 31 | closed 1 with 0
         claim p1 at=shop tx=shop=9~eve from=9 till=90 | asked 3 p1 up to a68 of shop=9~eve
         ask p1 at=shop exact=101 from=9 till=90 | asked 4 p1 up to a68
         answer 4 a31: shop=9~eve | refused p1, closed 4 with 0
         watch p2 at=shop exact=55 from=9 till=90 | asked 5 p2 up to a68
         claim p2 at=shop tx=shop=9~eve from=9 till=90 payer=eve | asked 6 p2 up to a68 of shop=9~eve
         answer 3 nothing but no node has block 31 | closed 3 with 0
         claim p2 at=shop tx=shop=9~eve from=9 till=90 payer=eve |",
    );
}

#[test]
fn a_claim_of_a_young_payment_looks_no_further_than_the_blocks_that_are_kept() {
    check(
        "watch p1 at=shop exact=101 from=80 till=97 depth=1 |\n claim p1 at=shop tx=shop=7 from=80 till=97 |",
    );
}

#[test]
fn a_halted_chain_asks_when_it_goes_on() {
    check(
        "final b90 | halted
         watch p1 at=shop exact=101 from=20 till=90 depth=1 |
         claim p1 at=shop tx=shop=7 from=20 till=90 |
         claim p1 at=shop tx=shop=7 from=20 till=90 |
         ask p1 at=shop exact=101 from=20 till=90 | letter chain_halted
         rebuild a89 | asked 1 p1 up to a68, asked 2 p1 up to a68 of shop=7, depth 6
         final b89 | halted
         answer 1 a30: shop=101, shop=7 |
         rebuild a89 |
         answer 1 a30: shop=101, shop=7 | seen p1=101 in a30#1, seen p1=7 in a30#1, confirmed p1=101 in a30#1, \
                    confirmed p1=7 in a30#1, finalized p1=101 in a30#1, finalized p1=7 in a30#1, closed 1 with 2
         answer 2 a30: shop=101, shop=7 | closed 2 with 0",
    );
}

#[test]
fn requests_that_name_no_payments_amount_are_refused_and_a_payer_binds_them() {
    check_watched(
        "ask p1 at=shop | letter unknown_watch
         ask p1 at=shop exact=102 from=9 till=90 | letter unknown_watch
         ask p2 at=shop exact=101 from=9 till=90 | letter unknown_watch
         watch p2 at=shop exact=55 from=20 till=90 depth=1 | asked 1 p2 up to a68
         ask p2 at=shop exact=55 from=20 till=90 payer=eve | asked 2 p2 up to a68
         answer 2 a32: shop=55 | closed 2 with 0
         ask p2 at=shop exact=55 from=20 till=90 tx=shop=55 | asked 3 p2 up to a68 of shop=55
         answer 3 a32: shop=55 | seen p2=55 in a32#1, confirmed p2=55 in a32#1, finalized p2=55 in a32#1, closed 3 with 1",
    );
}

#[test]
fn too_many_open_requests_leave_watch_and_claim_to_be_retried() {
    let mut world = watched_chain();
    for request in 1..=MAX_OPEN_BACKFILLS {
        let asked = world.run("ask p1 at=shop exact=101 from=9 till=90");
        assert_eq!(asked, [format!("asked {request} p1 up to a68")]);
    }
    world.check(
        "watch p2 at=shop exact=55 from=20 till=90 depth=1 | letter too_many_backfills
         claim p1 at=shop tx=shop=7 from=9 till=90 | letter too_many_backfills
         answer 4 a32: shop=55 | seen p2=55 in a32#1, confirmed p2=55 in a32#1, finalized p2=55 in a32#1, closed 4 with 1
         claim p1 at=shop tx=shop=7 from=9 till=90 | asked 1001 p1 up to a68 of shop=7",
    );
}

#[test]
fn the_look_back_and_the_search_together_find_everything_once() {
    let mut world = old_chain();
    world.check(
        "block a96 on a95: shop=101
         head a96 |
         watch p1 at=shop exact=101 from=20 till=97 depth=1 | seen p1=101 in a96#1, asked 1 p1 up to a68, confirmed p1=101 in a96#1",
    );
    assert_eq!(world.run("final a96"), ["finalized p1=101 in a96#1"]);
    world.grow("a", 97, 150);
    world.run("final a149");
    world.grow("a", 151, 190);
    world.check(
        "ask p1 at=shop exact=101 from=20 till=97 | asked 2 p1 up to a148
         answer 2 a30: shop=101; a96: shop=101 | seen p1=101 in a30#1, confirmed p1=101 in a30#1, \
                    finalized p1=101 in a30#1, closed 2 with 1
         answer 1 a30: shop=101 | closed 1 with 0",
    );
}
