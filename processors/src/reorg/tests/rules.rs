//! The rules, one by one.

use streambook_model::{
    chain::ChainId,
    message::Message,
    records::{
        book::Tick,
        chain::{ChainFork, ChainHead},
    },
};

use super::world::{World, hash, height, time_at};
use crate::reorg::{FINAL_DEPTH, MAX_HELD};

fn check(script: &str) -> World {
    let mut world = World::new();
    world.check(script);
    world
}

#[test]
fn a_transfer_is_seen_when_its_block_is_canonical_and_confirmed_at_the_policys_depth() {
    check(
        "watch p1 depth=3
         block a10 on a9: p1=100
         head a10            | seen p1=100 in a10#1
         block a11 on a10
         head a11            |
         block a12 on a11
         head a12            | confirmed p1=100 in a10#1
         block a13 on a12
         head a13            |",
    );
}

#[test]
fn a_depth_of_one_is_reached_at_once_and_a_long_commit_confirms_in_one_step() {
    check(
        "watch p1 depth=1
         watch p2 depth=3
         block a10 on a9: p1=1, p2=2
         block a11 on a10: p1=3
         block a12 on a11
         head a12 | seen p1=1 in a10#1, seen p2=2 in a10#1, seen p1=3 in a11#1, \
                    confirmed p1=1 in a10#1, confirmed p1=3 in a11#1, confirmed p2=2 in a10#1",
    );
}

#[test]
fn several_transfers_of_a_transaction_and_of_a_block_are_each_reported() {
    check(
        "watch p1 depth=2
         block a10 on a9: p1=5, p1=5, stranger=9, p1=7
         head a10 | seen p1=5 in a10#1, seen p1=5 in a10#1, seen p1=7 in a10#1",
    );
}

#[test]
fn a_reorganisation_orphans_newest_first_then_reports_the_new_branch() {
    check(
        "watch p1 depth=2
         watch p2 depth=2
         block a10 on a9
         block a11 on a10: p1=1, p2=2
         block a12 on a11: p1=3
         head a12 | seen p1=1 in a11#1, seen p2=2 in a11#1, seen p1=3 in a12#1, \
                    confirmed p1=1 in a11#1, confirmed p2=2 in a11#1
         block b11 on a10: p2=2
         block b12 on b11: p1=1
         head b12 | orphaned p1=3 in a12#1, orphaned p2=2 in a11#1, orphaned p1=1 in a11#1, \
                    seen p2=2 in b11#1, seen p1=1 in b12#1, confirmed p2=2 in b11#1, depth 2",
    );
}

#[test]
fn a_block_that_becomes_canonical_again_is_a_new_inclusion() {
    check(
        "watch p1 depth=2
         block a10 on a9
         block a11 on a10: p1=1
         block b11 on a10
         head a11 | seen p1=1 in a11#1
         head b11 | orphaned p1=1 in a11#1, depth 1
         head a11 | seen p1=1 in a11#2, depth 1
         block a12 on a11
         head a12 | confirmed p1=1 in a11#2",
    );
}

#[test]
fn a_head_that_moves_back_reverts_and_takes_no_confirmation_from_what_is_still_canonical() {
    check(
        "watch p1 depth=2
         block a10 on a9: p1=1
         block a11 on a10: p1=2
         head a11 | seen p1=1 in a10#1, seen p1=2 in a11#1, confirmed p1=1 in a10#1
         head a10 | orphaned p1=2 in a11#1, depth 1
         head a11 | seen p1=2 in a11#2",
    );
}

#[test]
fn even_the_first_block_can_be_replaced() {
    check(
        "watch p1 depth=1
         block a10 on a9: p1=1
         head a10 | seen p1=1 in a10#1, confirmed p1=1 in a10#1
         block b10 on a9
         head b10 | orphaned p1=1 in a10#1, depth 1",
    );
}

#[test]
fn blocks_and_heads_wait_until_the_gap_is_filled() {
    check(
        "watch p1 depth=2
         block a10 on a9
         head a10
         block a13 on a12: p1=3
         head a13        |
         block a12 on a11: p1=2 |
         block a11 on a10: p1=1 | seen p1=1 in a11#1, seen p1=2 in a12#1, seen p1=3 in a13#1, \
                                  confirmed p1=1 in a11#1, confirmed p1=2 in a12#1",
    );
}

#[test]
fn a_head_may_come_before_its_block_and_the_last_head_counts() {
    check(
        "watch p1 depth=2
         block a10 on a9
         head a10
         head b11        |
         head a11        |
         block b11 on a10: p1=9 |
         block a11 on a10: p1=1 | seen p1=1 in a11#1",
    );
}

#[test]
fn a_head_with_a_wrong_height_is_put_aside_and_its_block_is_not() {
    let mut world = check("watch p1 depth=1\n block a10 on a9\n head a10");
    let meta = world.bench.meta();
    let wrong = ChainHead { meta, chain: ChainId(1), number: height("a12"), hash: hash("a11") };
    assert_eq!(world.feed(wrong), Vec::<String>::new());
    world.check(
        "block a11 on a10: p1=1 | letter height_mismatch
         head a11               | seen p1=1 in a11#1, confirmed p1=1 in a11#1
         block a13 on a11       | letter height_mismatch",
    );
}

#[test]
fn a_held_block_whose_height_does_not_follow_its_parents_halts_the_chain() {
    let world = check(
        "block a10 on a9
         block a13 on a11
         block a11 on a10 | halted",
    );
    assert_eq!(world.alarms().len(), 1);
}

#[test]
fn more_held_blocks_than_the_limit_stop_the_task() {
    let mut world = check("block a10 on a9");
    for number in 0..u64::from(MAX_HELD) {
        assert_eq!(
            world.run(&format!("block x{} on x{}", 2 * number + 20, 2 * number + 19)),
            Vec::<String>::new()
        );
    }
    assert_eq!(world.run("block y99 on y98"), ["stopped held"]);
}

#[test]
fn a_repeated_block_or_head_changes_nothing_and_other_content_is_a_dead_letter() {
    let mut world = check(
        "watch p1 depth=2
         block a10 on a9: p1=1, p1=0
         head a10 | seen p1=1 in a10#1",
    );
    let before = world.bench.state.clone();
    world.check(
        "block a10 on a9: p1=1, p1=0 |
         head a10                    |",
    );
    assert_eq!(world.bench.state, before);
    world.check(
        "block a10 on a9: p1=2 | letter conflicting_block
         block a10 on b9: p1=1 | letter conflicting_block
         block a10 on a9       | letter conflicting_block",
    );
}

#[test]
fn a_block_again_after_the_settings_changed_may_hold_other_tokens_but_not_other_transfers() {
    check(
        "block a10 on a9: p1=1
         settings 2
         block a10 on a9: p1=1, p1=5/usdt |
         block a10 on a9: p1=2, p1=5/usdt | letter conflicting_block",
    );
}

#[test]
fn zero_values_and_tokens_that_were_never_accepted_are_ignored() {
    check(
        "watch p1 depth=1
         block a10 on a9: p1=0, p1=5/scam
         head a10 |",
    );
}

#[test]
fn another_accepted_token_and_a_value_that_does_not_fit_are_visible_and_the_rest_of_the_block_counts() {
    check(
        "watch p1 depth=2
         block a10 on a9: p1=5/usdt, p1=huge, p1=3
         block b10 on a9
         head a10 | letter unexpected_token, letter amount_out_of_range, seen p1=3 in a10#1
         head b10 | orphaned p1=3 in a10#1, depth 1
         head a10 | letter unexpected_token, letter amount_out_of_range, seen p1=3 in a10#2, depth 1",
    );
}

#[test]
fn money_that_cannot_be_matched_is_found_by_a_late_watch_in_a_block_that_was_canonical_twice() {
    check(
        "block a10 on a9: p1=5/usdt, p1=huge
         block b10 on a9
         head a10
         head b10 | depth 1
         head a10 | depth 1
         watch p1 | letter unexpected_token, letter amount_out_of_range",
    );
}

#[test]
fn a_dead_letter_about_a_transfer_names_payment_and_transaction_and_carries_it() {
    let mut world = check(
        "watch p1 depth=2
         block a10 on a9: p1=5/usdt, p1=3",
    );
    let meta = world.bench.meta();
    let head = ChainHead { meta, chain: ChainId(1), number: height("a10"), hash: hash("a10") };
    let outputs = world.bench.feed(head);
    let letter = outputs.iter().find_map(|(_, message)| match message {
        Message::DeadLetter(letter) => Some(letter),
        _ => None,
    });
    let letter = letter.unwrap();
    assert!(letter.reason.contains("pay_") && letter.reason.contains("transaction 0x"), "{}", letter.reason);
    assert_eq!((letter.task.as_str(), letter.topic.as_str()), ("reorg/0", "chain.inbox"));
    let Ok(Message::ChainBlock(block)) = streambook_model::codec::decode(&letter.record) else {
        panic!("not a block")
    };
    assert_eq!(block.transfers.len(), 1);
}

#[test]
fn a_policy_without_a_depth_waits_for_the_tag_however_deep_it_is() {
    let mut world = check(
        "watch p1 depth=finalized
         watch p2 depth=1
         block a10 on a9: p1=1, p2=2
         head a10 | seen p1=1 in a10#1, seen p2=2 in a10#1, confirmed p2=2 in a10#1",
    );
    assert_eq!(world.grow("a", 11, 60), Vec::<String>::new());
    world.check("final a10 | confirmed p1=1 in a10#1, finalized p1=1 in a10#1, finalized p2=2 in a10#1");
}

#[test]
fn finality_that_comes_before_the_depth_waits_for_it() {
    check(
        "watch p1 depth=3
         block a10 on a9: p1=1
         head a10  | seen p1=1 in a10#1
         final a10 |
         block a11 on a10
         block a12 on a11
         head a12  | confirmed p1=1 in a10#1, finalized p1=1 in a10#1",
    );
}

#[test]
fn a_tag_ahead_of_the_head_counts_when_the_head_is_there() {
    check(
        "watch p1 depth=finalized
         block a10 on a9: p1=1
         block a11 on a10
         head a10  | seen p1=1 in a10#1
         final a11 |
         head a11  | confirmed p1=1 in a10#1, finalized p1=1 in a10#1",
    );
}

#[test]
fn a_chain_without_the_tag_is_final_by_depth_and_confirms_nothing_by_it() {
    let mut world = check(
        "watch p1 depth=finalized
         watch p2 depth=2
         block a10 on a9: p1=1, p2=2
         head a10 | seen p1=1 in a10#1, seen p2=2 in a10#1",
    );
    assert_eq!(world.grow("a", 11, 10 + FINAL_DEPTH - 1), ["confirmed p2=2 in a10#1"]);
    assert_eq!(world.grow("a", 10 + FINAL_DEPTH, 10 + FINAL_DEPTH), ["finalized p2=2 in a10#1"]);
    world.check("watch p3 depth=1 |");
}

#[test]
fn state_does_not_grow_with_the_chain() {
    let mut world = check("block a10 on a9: p1=1\n head a10");
    world.grow("a", 11, 100);
    world.run("final a95");
    world.grow("a", 101, 140);
    let size = |world: &World| world.bench.state.iter().count();
    let before = size(&world);
    for end in [200, 260, 320] {
        world.grow("a", end - 59, end);
        world.run(&format!("final a{}", end - 5));
    }
    world.grow("a", 321, 360);
    assert!(size(&world) <= before + 3, "{} grew to {}", before, size(&world));
}

#[test]
fn a_fork_below_finality_halts_the_chain_and_only_that_chain() {
    let mut world = check(
        "watch p1 depth=1
         block a10 on a9
         block a11 on a10
         block a12 on a11
         head a12
         final a11
         block b11 on a10
         block b12 on b11: p1=1
         block b13 on b12
         head b13 | halted
         block a13 on a12: p1=2
         head a13 |
         final a13 |
         watch p2 until=11 |
         other block c10 on c9: q1=5
         other head c10
         other watch q1 depth=1 | seen q1=5 in c10#1, confirmed q1=5 in c10#1",
    );
    let [alarm] = <[String; 1]>::try_from(world.alarms()).unwrap();
    assert!(alarm.contains("chain 1 is halted") && alarm.contains("below the final block"), "{alarm}");
    assert_eq!(world.run("head a13"), Vec::<String>::new());
}

#[test]
fn a_finalized_block_that_is_not_canonical_halts_the_chain() {
    let world = check(
        "block a10 on a9
         block a11 on a10
         block b11 on a10
         head a11
         final b11 | halted
         head b11  |",
    );
    assert_eq!(world.alarms().len(), 1);
}

#[test]
fn a_fork_the_connector_reports_halts_the_chain_and_the_first_reason_stays() {
    let mut world = check("watch p1 depth=1\n block a10 on a9\n head a10");
    let fork = |meta, found: &str| ChainFork {
        meta,
        chain: ChainId(1),
        floor_number: height("a9"),
        floor_hash: hash("a9"),
        found_number: height(found),
        found_hash: hash(found),
    };
    let first = fork(world.bench.meta(), "b9");
    assert_eq!(world.feed(first), ["halted"]);
    let alarms = world.alarms();
    let second = fork(world.bench.meta(), "c9");
    assert_eq!(world.feed(second), Vec::<String>::new());
    world.check("block a11 on a10: p1=1 |\n head a11 |");
    assert_eq!((alarms.len(), world.alarms()), (1, alarms));
}

#[test]
fn a_halted_chain_goes_on_from_the_block_that_an_operator_names() {
    let world = check(
        "watch p1 depth=1
         watch p2 depth=3
         block a10 on a9
         block a11 on a10: p1=1
         block a12 on a11: p2=2
         block a13 on a12: p2=3
         head a13 | seen p1=1 in a11#1, seen p2=2 in a12#1, seen p2=3 in a13#1, confirmed p1=1 in a11#1
         final a11 | finalized p1=1 in a11#1
         rebuild a10 | letter chain_not_halted
         final b11 | halted
         watch p3 depth=1
         block b12 on b11: p3=7 |
         rebuild b11 | letter unknown_rebuild_block
         rebuild a10 | orphaned p2=3 in a13#1, orphaned p2=2 in a12#1, \
                       orphaned p1=1 in a11#1, depth 3
         block b11 on a10: p1=1 |
         head b11 | seen p1=1 in b11#1, confirmed p1=1 in b11#1
         block b12 on b11: p3=7 |
         head b12 | seen p3=7 in b12#1, confirmed p3=7 in b12#1
         head a13 | orphaned p3=7 in b12#1, orphaned p1=1 in b11#1, seen p1=1 in a11#2, seen p2=2 in a12#2, \
                    seen p2=3 in a13#2, confirmed p1=1 in a11#2, depth 2",
    );
    assert_eq!(world.alarms(), Vec::<String>::new());
}

#[test]
fn what_a_rebuild_forgets_hides_nothing_that_is_older() {
    check(
        "block a10 on a9
         block a11 on a10: p1=5
         block a12 on a11
         head a12 |
         final a12 |
         final b12 | halted
         block b13 on b12: p1=6 |
         rebuild a11 | depth 1
         watch p1 depth=1 | seen p1=5 in a11#1, confirmed p1=5 in a11#1, finalized p1=5 in a11#1",
    );
}

#[test]
fn watches_that_came_while_the_chain_was_halted_look_back_when_it_goes_on() {
    check(
        "block a10 on a9: p1=5
         block a11 on a10: p1=6
         head a11 |
         final a11 |
         final b11 | halted
         watch p1 depth=1 |
         rebuild a10 | seen p1=5 in a10#1, confirmed p1=5 in a10#1, finalized p1=5 in a10#1, depth 1
         block b11 on a10: p1=8 |
         head b11 | seen p1=8 in b11#1, confirmed p1=8 in b11#1",
    );
}

#[test]
fn a_tag_for_a_branch_whose_head_waits_for_blocks_is_no_fork() {
    let world = check(
        "watch p1 depth=finalized
         block a10 on a9
         block a11 on a10
         head a11
         block b12 on b11: p1=1
         head b12  |
         final b11 |
         block b11 on a10: p1=2 | seen p1=2 in b11#1, seen p1=1 in b12#1, confirmed p1=2 in b11#1, \
                                  finalized p1=2 in b11#1, depth 1",
    );
    assert_eq!(world.alarms(), Vec::<String>::new());
}

#[test]
fn a_lagging_head_below_finality_is_not_believed_and_another_block_there_is_a_fork() {
    check(
        "block a10 on a9
         block a11 on a10
         block a12 on a11
         head a12
         final a12
         head a11 | letter head_below_finality
         final b11 | halted",
    );
}

#[test]
fn a_record_of_another_inbox_is_a_dead_letter() {
    let mut world = World::new();
    let tick = Tick { meta: world.bench.meta(), now: time_at(1) };
    assert_eq!(world.feed(tick), ["letter unexpected_record"]);
}
