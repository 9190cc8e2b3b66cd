//! A fork below finality: the connector stops and says so in the log; an operator names the block to go on from; a connector
//! that resumes from that log observes the new branch from there on.

use alloy_primitives::{Address, U256};
use streambook_devchain::{BelowFinality, DevChain, DevNode, LiveBlock, ReorgOptions, TransferRequest};
use streambook_lying_node::{LyingNode, Mix};

use crate::observed::{CHAIN, Observed};
use crate::truth::Truth;

#[tokio::test]
async fn a_connector_that_resumes_after_a_rebuild_follows_the_new_branch() {
    let (token, payer, shop) =
        (Address::repeat_byte(0xa0), Address::repeat_byte(0xee), Address::repeat_byte(0x51));
    let node = DevNode::start(DevChain::new(CHAIN, 1_700_000_000), 0).await.unwrap();
    let url = node.url();
    let proxy = LyingNode::start(&url, 1, Mix::honest()).await.unwrap();
    let mut truth = Truth::of(&url, &token.to_string());
    for value in 1..=20_u64 {
        node.transfer(&TransferRequest::direct(token, payer, shop, U256::from(value))).unwrap();
        node.mine().unwrap();
    }
    node.chain().lock().finalize(15).unwrap();
    truth.look().await;
    let observed = Observed::start(&token.to_string(), &[&proxy]).await;
    observed.until_finalized(15).await;
    let forced = ReorgOptions { below_finality: BelowFinality::Force, ..ReorgOptions::default() };
    node.reorg(10, vec![LiveBlock::default(); 12], forced).unwrap();
    let fork = observed.until_forked().await;
    assert_eq!((fork.floor_number.0, fork.found_number.0), (15, 15));

    let root = truth.canonical[10].clone();
    truth.look().await;
    let observed = observed.rebuilt_on(&token.to_string(), 10, &root, &[&proxy]).await;
    node.transfer(&TransferRequest::direct(token, payer, shop, U256::from(99))).unwrap();
    node.mine().unwrap();
    truth.look().await;
    let held = observed.until_complete(&truth).await;
    held.assert_true(&truth);
}
