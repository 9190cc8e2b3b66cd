//! What several nodes say together: contradictions, votes about heads and finality, slow nodes, and receipts that no root
//! covers.

use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::blocks::{SimBlock, TOKEN};
use super::driver::{PATIENCE, Running, config};
use super::node::{Lie, Node, at, chain_of, extend, head};
use crate::chain::follower::Resume;
use crate::chain::health::Breaker;
use crate::chain::stall::Moving;
use crate::chain::state_sync::state_sync_hash;
use crate::chain::status::{ChainState, ChainStatus};
use crate::chain::transfers::TRANSFER_TOPIC;
use crate::chain::types::Observation;

fn waits_for(status: &ChainStatus, words: &str) -> bool {
    matches!(&status.state, ChainState::Waiting { reason } if reason.contains(words))
}

#[tokio::test]
async fn a_head_that_another_node_contradicts_waits_until_they_agree() {
    let base = chain_of(10, 1);
    let (mut one, mut other) = (base.clone(), base.clone());
    extend(&mut one, 2, 2);
    extend(&mut other, 2, 3);
    let (first, second) = (Node::start(&one).await, Node::start(&other).await);
    let mut running = Running::start(&config(&[&first, &second]), Resume::default());
    running.until_status(|status| waits_for(status, "contradict each other about block 11")).await;
    running.drain();
    assert!(running.consumer.heads.iter().all(|head| head.number < 10), "{:?}", running.consumer.heads);
    first.set_chain(&other);
    running.until_head(head(&other)).await;
    running.assert_observed(&other);
    running.end().await.unwrap();
}

#[tokio::test]
async fn a_node_that_invents_a_chain_is_outvoted_and_asked_last() {
    let mut honest_chain = chain_of(10, 1);
    let mut invented = honest_chain[..6].to_vec();
    extend(&mut invented, 30, 9);
    let liar = Node::start(&invented).await;
    let (second, third) = (Node::start(&honest_chain).await, Node::start(&honest_chain).await);
    let mut running = Running::start(&config(&[&liar, &second, &third]), Resume::default());
    running.until_head(head(&honest_chain)).await;
    extend(&mut honest_chain, 4, 1);
    second.set_chain(&honest_chain);
    third.set_chain(&honest_chain);
    running.until_head(head(&honest_chain)).await;
    running.assert_observed(&honest_chain);
    let believed = running.consumer.heads.iter();
    let invented_hashes: Vec<_> = invented[6..].iter().map(|block| block.id.hash).collect();
    assert!(
        !believed.clone().any(|head| invented_hashes.contains(&head.hash)),
        "an invented head was believed"
    );
    let outvoted =
        |status: &ChainStatus| status.nodes.first().is_some_and(|node| node.marks.contradictions > 0);
    let status = running.until_status(outvoted).await;
    assert!(status.nodes[0].score < status.nodes[1].score, "{status:?}");
    running.end().await.unwrap();
}

/// The head it announces is right in itself, and nobody has the block below it.
#[tokio::test]
async fn a_node_that_announces_a_head_on_nothing_holds_nobody_up_and_costs_only_itself() {
    let mut chain = chain_of(10, 1);
    let mut told = chain.clone();
    told.push(chain_of(11, 9).pop().unwrap());
    let liar = Node::start(&told).await;
    let (second, third) = (Node::start(&chain).await, Node::start(&chain).await);
    let mut running = Running::start(&config(&[&liar, &second, &third]), Resume::default());
    running.until_head(head(&chain)).await;
    for _ in 0..5 {
        extend(&mut chain, 1, 1);
        second.set_chain(&chain);
        third.set_chain(&chain);
        running.until_head(head(&chain)).await;
    }
    running.assert_observed(&chain);
    let blamed = |status: &ChainStatus| status.nodes.first().is_some_and(|node| node.marks.lags > 0);
    let status = running.until_status(blamed).await;
    assert_eq!([status.nodes[1].marks.lags, status.nodes[2].marks.lags], [0, 0], "{status:?}");
    running.end().await.unwrap();
}

#[tokio::test]
async fn nodes_that_leave_finality_one_after_the_other_do_not_stop_the_chain() {
    let mut chain = chain_of(30, 1);
    let (first, second) = (Node::start(&chain).await, Node::start(&chain).await);
    first.finalize(20);
    second.finalize(20);
    let mut running = Running::start(&config(&[&first, &second]), Resume::default());
    running.until_head(head(&chain)).await;
    running.until_status(|status| status.finalized == Some(20)).await;
    let mut fork = chain[..15].to_vec();
    extend(&mut fork, 20, 2);
    for (wrong, right) in [(0, &second), (1, &first)] {
        let nodes = [&first, &second];
        nodes[wrong].set_chain(&fork);
        let left = |status: &ChainStatus| {
            let error = status.nodes.get(wrong).and_then(|node| node.last_error.clone());
            error.is_some_and(|error| error.contains("settled up to block 20"))
        };
        running.until_status(left).await;
        extend(&mut chain, 2, 1);
        right.set_chain(&chain);
        running.until_head(head(&chain)).await;
        nodes[wrong].set_chain(&chain);
        extend(&mut chain, 1, 1);
        nodes.iter().for_each(|node| node.set_chain(&chain));
        running.until_head(head(&chain)).await;
    }
    running.assert_observed(&chain);
    running.end().await.unwrap();
}

#[tokio::test]
async fn one_node_alone_does_not_hurry_finality_on() {
    let chain = chain_of(12, 1);
    let (hasty, second, third) =
        (Node::start(&chain).await, Node::start(&chain).await, Node::start(&chain).await);
    hasty.finalize(11);
    second.finalize(3);
    third.finalize(4);
    let mut running = Running::start(&config(&[&hasty, &second, &third]), Resume::default());
    while running.consumer.finalized.is_none() {
        let observation = running.next().await.expect("the connector ended");
        running.consumer.take(observation);
    }
    assert_eq!(running.consumer.finalized, Some(at(&chain, 4)), "what more than half say");
    running.end().await.unwrap();
}

#[tokio::test]
async fn a_chain_that_needs_two_nodes_waits_for_the_second() {
    let chain = chain_of(8, 1);
    let (first, second) = (Node::start(&chain).await, Node::start(&chain).await);
    second.lie_from(0, Lie::Status(503));
    let mut config = config(&[&first, &second]);
    config.agreement = 2;
    let mut running = Running::start(&config, Resume::default());
    running.until_status(|status| waits_for(status, "fewer than 2 nodes")).await;
    running.drain();
    assert_eq!(running.consumer.heads, []);
    second.be_honest();
    running.until_head(head(&chain)).await;
    running.assert_observed(&chain);
    running.end().await.unwrap();
}

#[tokio::test]
async fn a_slow_node_is_overtaken_by_the_next() {
    let chain = chain_of(20, 1);
    let (slow, quick) = (Node::start(&chain).await, Node::start(&chain).await);
    slow.lie_from(3, Lie::Silent);
    let mut config = config(&[&slow, &quick]);
    (config.hedge_after_ms, config.request_timeout_ms, config.max_in_flight) = (20, 60_000, 4);
    let mut running = Running::start(&config, Resume::default());
    let begun = Instant::now();
    running.until_head(head(&chain)).await;
    assert!(begun.elapsed() < Duration::from_secs(50), "the slow node was waited for");
    running.assert_observed(&chain);
    let shown = |status: &ChainStatus| status.nodes.first().is_some_and(|node| node.marks.slow > 0);
    running.until_status(shown).await;
    running.end().await.unwrap();
}

#[tokio::test]
async fn a_node_that_refuses_for_the_rate_is_asked_more_slowly_and_shown() {
    let chain = chain_of(30, 1);
    let mut node = Node::start(&chain).await;
    node.lie_from(5, Lie::Status(429));
    let mut running = Running::start(&config(&[&node]), Resume::default());
    timeout(PATIENCE, node.has_lied(2)).await.unwrap();
    let throttled = |status: &ChainStatus| {
        status.nodes.first().is_some_and(|node| {
            node.marks.throttled > 0 && node.requests_per_second.is_some() && node.breaker != Breaker::Closed
        })
    };
    running.until_status(throttled).await;
    node.be_honest();
    running.until_head(head(&chain)).await;
    running.assert_observed(&chain);
    running.end().await.unwrap();
}

#[tokio::test]
async fn a_head_that_stands_still_is_an_alarm_until_it_moves() {
    let mut chain = chain_of(5, 1);
    let node = Node::start(&chain).await;
    let mut config = config(&[&node]);
    config.head_stall_seconds = 1;
    let mut running = Running::start(&config, Resume::default());
    running.until_head(head(&chain)).await;
    let stands = |status: &ChainStatus| {
        status.stalls.iter().any(|stall| stall.what == Moving::Head && stall.number == 4)
    };
    running.until_status(stands).await;
    extend(&mut chain, 1, 1);
    node.set_chain(&chain);
    running.until_head(head(&chain)).await;
    running.until_status(|status| status.stalls.is_empty()).await;
    running.end().await.unwrap();
}

/// A chain whose last block also has a state-sync receipt with one transfer of `value`.
fn with_state_sync(chain: &[SimBlock], value: u8) -> Vec<SimBlock> {
    let mut chain = chain.to_vec();
    let block = chain.last_mut().unwrap();
    let hash = state_sync_hash(block.id.number, block.id.hash);
    let position = format!("{:#x}", block.transfers.len());
    let to = Address::with_last_byte(0x77);
    let log = json!({
        "address": TOKEN, "topics": [TRANSFER_TOPIC, B256::ZERO, to.into_word()], "data": B256::with_last_byte(value),
        "logIndex": position, "blockHash": block.id.hash, "blockNumber": format!("{:#x}", block.id.number),
        "transactionHash": hash, "transactionIndex": position, "removed": false,
    });
    let receipt = json!({
        "type": "0x0", "status": "0x1", "to": Value::Null, "logs": [log], "cumulativeGasUsed": "0x0",
        "blockHash": block.id.hash, "blockNumber": format!("{:#x}", block.id.number),
        "transactionHash": hash, "transactionIndex": position,
    });
    block.receipts.as_array_mut().unwrap().push(receipt);
    block.json["transactions"].as_array_mut().unwrap().push(json!({ "hash": hash, "type": "0x0" }));
    chain
}

/// (transfers, unproven transfers) of the last block, as (value) each.
async fn last_block(nodes: &[&Node], chain: &[SimBlock]) -> (Vec<u64>, Vec<u64>) {
    let mut running = Running::start(&config(nodes), Resume::default());
    running.until_head(head(chain)).await;
    let block = &running.consumer.blocks[&head(chain).hash];
    let values = |transfers: &[crate::chain::Erc20Transfer]| {
        transfers.iter().map(|transfer| transfer.value.to::<u64>()).collect::<Vec<_>>()
    };
    let found = (values(&block.transfers), values(&block.unproven));
    running.end().await.unwrap();
    found
}

#[tokio::test]
async fn a_transfer_outside_the_receipts_root_counts_when_two_nodes_send_it_alike() {
    let chain = chain_of(6, 1);
    let (told, otherwise) = (with_state_sync(&chain, 200), with_state_sync(&chain, 201));
    let (first, second, other) =
        (Node::start(&told).await, Node::start(&told).await, Node::start(&otherwise).await);
    let own: Vec<u64> = vec![50, 51];
    assert_eq!(
        last_block(&[&first], &chain).await,
        (own.clone(), vec![200]),
        "one node's word is not enough"
    );
    let agreed = [own.as_slice(), &[200]].concat();
    assert_eq!(last_block(&[&first, &second], &chain).await, (agreed, vec![]));
    let (transfers, mut unproven) = last_block(&[&first, &other], &chain).await;
    unproven.sort_unstable();
    assert_eq!((transfers, unproven), (own, vec![200, 201]), "what one alone says is set apart");
}

#[tokio::test]
async fn a_block_that_may_have_a_state_sync_receipt_waits_for_a_second_node() {
    let chain = chain_of(17, 1);
    let (leaves_out, told) = (Node::start(&chain).await, Node::start(&with_state_sync(&chain, 200)).await);
    for node in [&leaves_out, &told] {
        node.serve_chain_id(137);
    }
    told.lie_from(16, Lie::Status(503));
    let mut config = config(&[&leaves_out, &told]);
    config.id = 137;
    config.tokens[0].asset = "usdc:137".to_owned();
    let mut running = Running::start(&config, Resume::default());
    running.until_status(|status| waits_for(status, "block 16")).await;
    let status = running.until_status(|status| waits_for(status, "waits for a second node")).await;
    assert!(waits_for(&status, "503"), "{status:?}");
    running.drain();
    assert!(!running.consumer.blocks.contains_key(&head(&chain).hash), "one node's word was enough");
    told.be_honest();
    running.until_head(head(&chain)).await;
    let unproven = &running.consumer.blocks[&head(&chain).hash].unproven;
    assert_eq!(unproven.iter().map(|transfer| transfer.value.to::<u64>()).collect::<Vec<_>>(), [200]);
    running.end().await.unwrap();
}

#[tokio::test]
async fn a_chain_whose_nodes_disagree_goes_on_when_the_wrong_one_goes_away() {
    let base = chain_of(10, 1);
    let (mut right, mut wrong) = (base.clone(), base.clone());
    extend(&mut right, 3, 2);
    extend(&mut wrong, 3, 3);
    let (liar, honest) = (Node::start(&wrong).await, Node::start(&right).await);
    let mut running = Running::start(&config(&[&liar, &honest]), Resume::default());
    running.until_status(|status| waits_for(status, "contradict")).await;
    drop(liar);
    running.until_head(head(&right)).await;
    running.assert_observed(&right);
    let wrong_head = head(&wrong);
    assert!(!running.consumer.heads.iter().any(|seen| seen.hash == wrong_head.hash));
    assert!(!matches!(running.next_or_none(), Some(Observation::ForkBelowFinality(_))));
    running.end().await.unwrap();
}
