//! Transfers from before the look-back window.

use super::world::World;
use crate::reorg::MAX_OPEN_BACKFILLS;

/// A chain whose blocks up to height 50 are forgotten, and in which `a30` is one of them.
fn old_chain() -> World {
    let mut world = World::new();
    world.check("block a30 on a29: p1=5, p2=6\n head a30");
    world.grow("a", 31, 70);
    world.run("final a69");
    world.grow("a", 71, 95);
    world
}

fn check(script: &str) -> World {
    let mut world = old_chain();
    world.check(script);
    world
}

#[test]
fn what_was_sent_before_the_window_is_asked_for_and_reported_once() {
    check(
        "watch p1 depth=3 |
         ask p1 | asked 1 p1 up to a68
         answer 1 a30: p1=5, p2=6; a40: p1=7 | seen p1=5 in a30#1, seen p1=7 in a40#1, confirmed p1=5 in a30#1, \
                  confirmed p1=7 in a40#1, finalized p1=5 in a30#1, finalized p1=7 in a40#1, closed 1 with 2
         answer 1 a30: p1=5 |
         ask p1 | asked 2 p1 up to a68
         answer 2 a30: p1=5; a35: p1=1; a40: p1=7 | seen p1=1 in a35#1, confirmed p1=1 in a35#1, \
                  finalized p1=1 in a35#1, closed 2 with 1
         answer 7 a36: p1=1 |",
    );
}

#[test]
fn what_the_watch_is_told_of_by_itself_does_not_count_again() {
    let mut world = check("watch p1 depth=1 |\n ask p1 | asked 1 p1 up to a68");
    world.check("answer 1 a69: p1=5; a80: p1=5; a200: p1=5 | closed 1 with 0");
    // Blocks are forgotten meanwhile whose transfers the watch was told of when they came.
    world.check("block a96 on a95: p1=4\n head a96 | seen p1=4 in a96#1, confirmed p1=4 in a96#1");
    world.run("final a96");
    world.grow("a", 97, 97);
    world.grow("a", 98, 150);
    world.run("final a149");
    world.grow("a", 151, 190);
    world.check("ask p1 | asked 2 p1 up to a148\n answer 2 a60: p1=1; a96: p1=4 | seen p1=1 in a60#1, confirmed p1=1 in a60#1, finalized p1=1 in a60#1, closed 2 with 1");
}

#[test]
fn a_watch_that_is_older_than_the_window_asks_by_itself() {
    check(
        "clock 20
         watch p1 depth=1 | asked 1 p1 up to a68
         watch p1 depth=1 |
         answer 1 a30: p1=5 | seen p1=5 in a30#1, confirmed p1=5 in a30#1, finalized p1=5 in a30#1, closed 1 with 1
         clock 94
         watch p2 depth=1 |",
    );
}

#[test]
fn a_watch_that_waited_on_a_halted_chain_asks_when_it_goes_on() {
    check(
        "clock 20
         final b90 | halted
         watch p1 depth=1 |
         ask p1 | letter chain_halted
         rebuild a89 | asked 1 p1 up to a68, depth 6
         final b89 | halted
         answer 1 a30: p1=5 |
         rebuild a89 |
         answer 1 a30: p1=5 | seen p1=5 in a30#1, confirmed p1=5 in a30#1, finalized p1=5 in a30#1, closed 1 with 1",
    );
}

#[test]
fn money_in_another_token_is_put_aside_and_what_cannot_be_answered_says_why() {
    check(
        "watch p1 depth=1 |
         ask p1 | asked 1 p1 up to a68
         answer 1 a30: p1=5/usdt, p1=0 | letter unexpected_token, closed 1 with 0
         ask p1 | asked 2 p1 up to a68
         answer 2 nothing but no node has block 12 | letter backfill_incomplete, closed 2 with 0
         ask p9 | letter unknown_watch",
    );
}

#[test]
fn what_is_bound_to_a_payer_counts_from_that_payer_alone() {
    check(
        "watch p1 depth=1 |
         ask p1 payer=thief | asked 1 p1 up to a68
         answer 1 a30: p1=5 | closed 1 with 0
         ask p1 payer=payer | asked 2 p1 up to a68
         answer 2 a30: p1=5 | seen p1=5 in a30#1, confirmed p1=5 in a30#1, finalized p1=5 in a30#1, closed 2 with 1",
    );
}

#[test]
fn a_search_whose_answer_is_full_goes_on_below_it_and_never_above() {
    check(
        "watch p1 depth=1 |
         ask p1 payer=payer | asked 1 p1 up to a68
         answer 1 a40: p1=7 and on at a39 | seen p1=7 in a40#1, confirmed p1=7 in a40#1, finalized p1=7 in a40#1, \
                  closed 1 with 1, asked 2 p1 up to a39
         answer 1 a40: p1=7 and on at a39 |
         answer 2 a30: p1=5, p1=6~thief and on at a39 | seen p1=5 in a30#1, confirmed p1=5 in a30#1, \
                  finalized p1=5 in a30#1, closed 2 with 1",
    );
}

#[test]
fn too_many_open_requests_are_refused_and_a_watch_is_taken_all_the_same() {
    let mut world = check("watch p1 depth=1 |");
    for request in 1..=MAX_OPEN_BACKFILLS {
        assert_eq!(world.run("ask p1"), [format!("asked {request} p1 up to a68")]);
    }
    world.check(
        "ask p1 | letter too_many_backfills
         clock 20
         watch p2 depth=1 | letter too_many_backfills
         block a96 on a95: p2=3 |
         head a96 | seen p2=3 in a96#1, confirmed p2=3 in a96#1
         answer 4 nothing | closed 4 with 0
         ask p2 | asked 1001 p2 up to a68",
    );
}

#[test]
fn a_chain_without_older_blocks_has_nothing_to_ask_for() {
    let mut world = World::new();
    world.check(
        "watch p1 depth=1 |
         ask p1 | letter nothing_older
         block a10 on a9
         head a10 |
         ask p1 | asked 1 p1 up to a9
         answer 1 a5: p1=5; a10: p1=5 | seen p1=5 in a5#1, confirmed p1=5 in a5#1, finalized p1=5 in a5#1, \
                  closed 1 with 1
         watch p2 depth=1 |
         ask p2 | asked 2 p2 up to a9
         answer 2 a5: p2=5 | seen p2=5 in a5#1, confirmed p2=5 in a5#1, finalized p2=5 in a5#1, \
                  closed 2 with 1",
    );
}
