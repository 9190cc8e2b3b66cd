//! The rules of watches, deadlines and reports, one by one.

use streambook_model::{
    chain::ChainId,
    id::MerchantId,
    message::Message,
    records::chain::{ChainHead, ChainStatus, TransferStatus},
};

use super::world::{World, hash, height};
use crate::reorg::{MAX_DEADLINES, MAX_LOOK_BACK, MAX_SETTLED};

fn check(script: &str) -> World {
    let mut world = World::new();
    world.check(script);
    world
}

#[test]
fn a_deadline_passes_once_after_the_transfers_up_to_it_and_stays_passed() {
    check(
        "watch p1 depth=1 until=11
         block a10 on a9
         block a11 on a10: p1=1
         block a12 on a11: p1=2
         head a10 |
         head a12 | seen p1=1 in a11#1, seen p1=2 in a12#1, confirmed p1=1 in a11#1, confirmed p1=2 in a12#1, deadline p1
         block b12 on a11
         head a11 | orphaned p1=2 in a12#1, depth 1
         head b12 |
         block b13 on b12: p1=3
         head b13 | seen p1=3 in b13#1, confirmed p1=3 in b13#1",
    );
}

#[test]
fn the_block_at_the_deadline_does_not_pass_it() {
    check(
        "watch p1 until=11
         block a10 on a9
         block a11 on a10
         head a11 |",
    );
}

#[test]
fn a_watch_looks_back_first_and_its_own_deadline_may_have_passed() {
    check(
        "block a10 on a9: p1=1, p2=5, p1=6/usdt
         block b11 on a10: p1=9
         block a11 on a10: p1=2
         block a12 on a11
         head a12
         watch p1 depth=2 until=11 | seen p1=1 in a10#1, letter unexpected_token, seen p1=2 in a11#1, \
                                     confirmed p1=1 in a10#1, confirmed p1=2 in a11#1, deadline p1
         watch p1 depth=2 until=11 |
         head b11 | orphaned p1=2 in a11#1, seen p1=9 in b11#1, depth 2",
    );
}

#[test]
fn a_watch_looks_back_below_finality_within_the_window_and_no_further() {
    let mut world = check(
        "block a10 on a9: old=1
         block a11 on a10
         block a12 on a11: new=2
         head a12",
    );
    world.grow("a", 13, 32);
    world.run("final a30");
    world.grow("a", 33, 33);
    world.check(
        "watch new depth=finalized | seen new=2 in a12#1, confirmed new=2 in a12#1, finalized new=2 in a12#1
         watch old depth=1         |",
    );
}

#[test]
fn a_watch_that_cannot_be_served_is_a_dead_letter() {
    let mut world = check(
        "watch p1 token=scam | letter unlisted_token
         watch p1            |
         watch p1'           | letter address_in_use
         watch p1' token=usdt |",
    );
    let watch = world.watch(ChainId(7), "p9", "usdc", Some(1), 5);
    assert_eq!(world.feed(watch), ["letter unknown_chain"]);
}

#[test]
fn deadlines_beyond_the_limit_come_with_the_next_record() {
    let mut world = check("block a10 on a9\n head a10");
    for number in 0..=MAX_DEADLINES {
        assert_eq!(world.run(&format!("watch p{number} until=10")), Vec::<String>::new());
    }
    world.run("block a11 on a10");
    assert_eq!(world.run("head a11").len(), MAX_DEADLINES);
    assert_eq!(world.run("head a11").len(), 1);
    assert_eq!(world.run("head a11").len(), 0);
}

#[test]
fn confirmations_beyond_the_limit_come_with_the_next_record() {
    let mut world = check("watch p1 depth=1\n block a10 on a9");
    let transfers = vec!["p1=1"; MAX_SETTLED + 1].join(",");
    world.run(&format!("block a11 on a10: {transfers}"));
    assert_eq!(world.run("head a11").len(), 2 * MAX_SETTLED + 1);
    assert_eq!(world.run("head a11"), ["confirmed p1=1 in a11#1"]);
    assert_eq!(world.run("head a11").len(), 0);
}

#[test]
fn a_look_back_over_more_transfers_than_the_limit_says_so() {
    let mut world = check("block a10 on a9");
    let transfers = vec!["p1=1"; MAX_LOOK_BACK + 1].join(",");
    world.run(&format!("block a11 on a10: {transfers}"));
    world.run("head a11");
    let said = world.run("watch p1 depth=9");
    assert_eq!(said.len(), MAX_LOOK_BACK + 1);
    assert_eq!(said[0], "letter look_back_incomplete");
}

#[test]
fn events_go_to_the_merchants_book_and_in_public_and_state_their_confirmations() {
    let mut world = check(
        "watch p1 depth=3
         block a10 on a9: p1=1
         block a11 on a10
         block a12 on a11",
    );
    let meta = world.bench.meta();
    let outputs =
        world.bench.feed(ChainHead { meta, chain: ChainId(1), number: height("a12"), hash: hash("a12") });
    let shop = MerchantId::derive(&[b"shop"]).to_string();
    let book = streambook_log::partitioner::partition_of(shop.as_bytes(), 16);
    let said: Vec<(String, u16, TransferStatus, u32)> = outputs
        .iter()
        .filter_map(|(to, message)| match message {
            Message::TransferEvent(event) => {
                Some((to.topic.to_string(), to.partition.0, event.status, event.confirmations))
            }
            _ => None,
        })
        .collect();
    let public = streambook_log::partitioner::partition_of(b"1", 16);
    let expect = |status| {
        [("book.inbox".to_owned(), book.0, status, 3), ("chain.transfers".to_owned(), public.0, status, 3)]
    };
    assert_eq!(said, [expect(TransferStatus::Seen), expect(TransferStatus::Confirmed)].concat());
    let status: Vec<&ChainStatus> = outputs
        .iter()
        .filter_map(|(_, message)| match message {
            Message::ChainStatus(status) => Some(status),
            _ => None,
        })
        .collect();
    assert_eq!(status.len(), 1);
    assert_eq!((status[0].head_number, status[0].head_hash), (height("a12"), hash("a12")));
    assert_eq!((status[0].reorg_depth, &status[0].halted), (0, &None));
}
