//! Before the development chain: each lie by itself, and all of them together from several seeds.

use alloy_primitives::{Address, U256};
use futures::{StreamExt, stream};
use streambook_devchain::{DevChain, DevNode, LiveBlock, ReorgOptions, TransferRequest};
use streambook_lying_node::{Lie, Mix};

use crate::observed::{CHAIN, Observed, proxies, until_asked};
use crate::truth::Truth;

const TOKEN: Address = Address::repeat_byte(0xa0);
const PAYER: Address = Address::repeat_byte(0xee);
/// Rounds of mining, each seventh with a reorganisation.
const ROUNDS: u64 = 21;

fn transfers(round: u64) -> Vec<TransferRequest> {
    let to = Address::with_last_byte(u8::try_from(round % 5 + 1).unwrap());
    (0..round % 4)
        .map(|index| TransferRequest::direct(TOKEN, PAYER, to, U256::from(round * 10 + index)))
        .collect()
}

/// Plays a chain that grows and reorganises while both reachable nodes lie; then they become honest.
async fn play(seed: u64, mix: &Mix) -> u64 {
    let node = DevNode::start(DevChain::new(CHAIN, 1_700_000_000), 0).await.unwrap();
    let url = node.url();
    let nodes = proxies(&url, seed, mix).await;
    let all: Vec<_> = nodes.iter().collect();
    let token = TOKEN.to_string();
    let mut truth = Truth::of(&url, &token);
    let observed = Observed::start(&token, &all).await;
    for round in 1..=ROUNDS {
        for transfer in transfers(round) {
            node.transfer(&transfer).unwrap();
        }
        node.mine().unwrap();
        truth.look().await;
        until_asked(&all, 12).await;
        if round % 7 == 0 {
            let depth = (seed + round) % 6 + 1;
            node.reorg(
                depth,
                vec![LiveBlock::default(); usize::try_from(depth).unwrap() + 1],
                ReorgOptions::default(),
            )
            .unwrap();
            truth.look().await;
            until_asked(&all, 12).await;
        }
    }
    let told = nodes.iter().flat_map(|node| node.told().into_values()).sum();
    nodes.iter().for_each(|node| node.set_mix(Mix::honest()));
    observed.until_complete(&truth).await.assert_true(&truth);
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_each_lie_the_log_holds_the_truth_and_all_of_it_in_the_end() {
    let plays = stream::iter(Lie::ALL).map(async |lie| (lie, play(7, &Mix::of(&[lie], 400)).await));
    let told: Vec<_> = plays.buffer_unordered(4).collect().await;
    for (lie, times) in told {
        assert!(times > 0, "{lie:?} was never told");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_all_lies_together_the_log_holds_the_truth() {
    let seeds = 1..=u64::from(std::env::var("SEEDS").map_or(6_u16, |seeds| seeds.parse().unwrap()));
    let plays = stream::iter(seeds).map(async |seed| play(seed, &Mix::all(350)).await);
    let told: Vec<_> = plays.buffer_unordered(4).collect().await;
    assert!(told.iter().all(|times| *times > 50), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_always_lie_bring_nothing_into_the_log_until_one_is_honest() {
    let always =
        [Lie::DropLogs, Lie::EmptyReceipts, Lie::SwapReceipts, Lie::OtherReceipts, Lie::ChangeAmount];
    for lie in always {
        let node = DevNode::start(DevChain::new(CHAIN, 1_700_000_000), 0).await.unwrap();
        for round in 1..=8 {
            (0..2)
                .flat_map(|_| transfers(round * 4 + 2))
                .for_each(|transfer| assert!(node.transfer(&transfer).is_ok()));
            node.mine().unwrap();
        }
        let nodes = proxies(&node.url(), 1, &Mix::of(&[lie], 1_000)).await;
        let all: Vec<_> = nodes.iter().collect();
        let mut truth = Truth::of(&node.url(), &TOKEN.to_string());
        truth.look().await;
        let observed = Observed::start(&TOKEN.to_string(), &all).await;
        until_asked(&all, 60).await;
        nodes[2].set_mix(Mix::honest());
        observed.until_complete(&truth).await.assert_true(&truth);
    }
}
