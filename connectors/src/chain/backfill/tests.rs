//! Searches against scripted nodes.

use alloy_primitives::{Address, B256};
use streambook_model::{
    bytes,
    chain::{BlockNumber, ChainId},
    id::{MerchantId, PaymentId},
    meta::Meta,
    records::backfill::BackfillRequested,
    time::Timestamp,
};

use super::search::{Found, Search, Walk};
use crate::chain::config::ChainSettings;
use crate::chain::pool::{NoAnswer, Pool};
use crate::chain::tests::blocks::{CHAIN, SimBlock};
use crate::chain::tests::driver::config;
use crate::chain::tests::node::{Lie, Node, chain_of, extend};

/// Each block of the scripted chains but every seventh pays this address ten times its height.
const PAID: Address = Address::with_last_byte(1);

fn asked(top: &SimBlock) -> BackfillRequested {
    let at = Timestamp::from_millis(0);
    BackfillRequested {
        meta: Meta {
            source: None,
            id: "test".into(),
            occurred_at: at,
            recorded_at: at,
            cause: None,
            trace: None,
        },
        chain: ChainId(CHAIN),
        request: 1,
        merchant: MerchantId::derive(&[b"m"]),
        payment: PaymentId::derive(&[b"p"]),
        address: bytes::Address::new(PAID.into_array()),
        top_number: BlockNumber(top.id.number),
        top_hash: bytes::BlockHash::new(top.id.hash.0),
        since: None,
        from_number: None,
        tx_hash: None,
    }
}

fn settings(nodes: &[&Node], start: u64) -> ChainSettings {
    let mut config = config(nodes);
    config.start_block = start;
    config.check().unwrap()
}

async fn search(
    settings: &ChainSettings,
    asked: &BackfillRequested,
    walk: &mut Walk,
) -> Result<Found, NoAnswer> {
    let (pool, tokens) = (Pool::new(settings).unwrap(), settings.contracts());
    let search = Search { settings, pool: &pool, tokens: &tokens };
    match asked.tx_hash {
        Some(transaction) => search.look_up(asked, B256::new(*transaction.as_bytes())).await,
        None => search.walk(walk, |_| {}).await,
    }
}

async fn found(settings: &ChainSettings, asked: &BackfillRequested) -> Found {
    search(settings, asked, &mut Walk::new(asked, settings.start_block)).await.unwrap()
}

/// (height, value) of each transfer.
fn transfers(found: &Found) -> Vec<(u64, u64)> {
    let value = |bytes: &[u8; 32]| u64::from_be_bytes(bytes[24..].try_into().unwrap());
    let of_block = |block: &streambook_model::records::backfill::BackfilledBlock| {
        let transfers = block.transfers.iter();
        transfers.map(|transfer| (block.number.0, value(transfer.value.as_bytes()))).collect::<Vec<_>>()
    };
    found.blocks.iter().flat_map(of_block).collect()
}

fn expected(heights: std::ops::RangeInclusive<u64>) -> Vec<(u64, u64)> {
    heights.filter(|number| number % 7 != 6 && *number > 0).map(|number| (number, 10 * number)).collect()
}

#[tokio::test]
async fn every_transfer_to_the_address_is_found_down_to_where_it_is_wanted() {
    let chain = chain_of(60, 1);
    let node = Node::start(&chain).await;
    let all = found(&settings(&[&node], 0), &asked(&chain[50])).await;
    assert_eq!((transfers(&all), all.from, all.problem), (expected(0..=50), Some(0), None));

    let from = BackfillRequested { from_number: Some(BlockNumber(40)), ..asked(&chain[50]) };
    let some = found(&settings(&[&node], 0), &from).await;
    assert_eq!((transfers(&some), some.from, some.problem), (expected(40..=50), Some(40), None));

    let time = Timestamp::from_seconds(1_700_000_000 + 45);
    let since = BackfillRequested { since: time, ..asked(&chain[50]) };
    let some = found(&settings(&[&node], 0), &since).await;
    assert_eq!((transfers(&some), some.from, some.problem), (expected(45..=50), Some(45), None));
}

#[tokio::test]
async fn an_answer_that_is_full_says_where_the_search_goes_on() {
    let chain = chain_of(60, 1);
    let node = Node::start(&chain).await;
    let (settings, mut asked) = (settings(&[&node], 0), asked(&chain[50]));
    let mut all = Vec::new();
    for _ in 0..100 {
        let mut walk = Walk::new(&asked, 0).full_after(10);
        let part = search(&settings, &asked, &mut walk).await.unwrap();
        assert!(part.problem.is_none() && transfers(&part).len() <= 10, "{part:?}");
        all.splice(0..0, transfers(&part));
        let Some(rest) = part.rest else { break };
        assert_eq!(part.from, Some(rest.number.0 + 1));
        assert_eq!(*rest.hash.as_bytes(), chain[usize::try_from(rest.number.0).unwrap()].id.hash.0);
        asked = BackfillRequested { top_number: rest.number, top_hash: rest.hash, ..asked };
    }
    assert_eq!(all, expected(0..=50));
    // Nothing is left where the last block that is wanted fills it.
    let wanted = BackfillRequested { from_number: Some(BlockNumber(58)), ..self::asked(&chain[59]) };
    let mut walk = Walk::new(&wanted, 0).full_after(2);
    let part = search(&settings, &wanted, &mut walk).await.unwrap();
    assert_eq!((transfers(&part).len(), part.rest), (2, None));
}

#[tokio::test]
async fn below_the_start_block_nothing_is_read_and_it_says_so_where_more_was_wanted() {
    let chain = chain_of(30, 1);
    let node = Node::start(&chain).await;
    let settings = settings(&[&node], 20);
    let all = found(&settings, &asked(&chain[25])).await;
    assert_eq!((transfers(&all), all.from, all.problem), (expected(20..=25), Some(20), None));
    for wanted in [
        BackfillRequested { from_number: Some(BlockNumber(3)), ..asked(&chain[25]) },
        BackfillRequested { since: Timestamp::from_seconds(1), ..asked(&chain[25]) },
    ] {
        let cut = found(&settings, &wanted).await;
        assert_eq!((transfers(&cut), cut.from), (expected(20..=25), Some(20)));
        assert!(cut.problem.unwrap().contains("below block 20"));
    }
    let nothing =
        found(&settings, &BackfillRequested { since: Timestamp::from_seconds(1), ..asked(&chain[9]) }).await;
    assert_eq!((transfers(&nothing), nothing.from), (vec![], None));
    assert!(nothing.problem.unwrap().contains("below block 20"));
}

/// The node's canonical blocks are of another branch; those that are wanted it has by their hashes.
#[tokio::test]
async fn blocks_of_another_branch_are_not_taken_for_the_ones_that_are_final() {
    let chain = chain_of(40, 1);
    let node = Node::start(&chain).await;
    let mut other = chain[..10].to_vec();
    extend(&mut other, 40, 7);
    node.set_chain(&other);
    let all = found(&settings(&[&node], 0), &asked(&chain[30])).await;
    assert_eq!((transfers(&all), all.problem), (expected(0..=30), None));
    let hashes: Vec<_> = all.blocks.iter().map(|block| *block.hash.as_bytes()).collect();
    assert!(hashes.iter().all(|hash| chain.iter().any(|block| block.id.hash.0 == *hash)));
}

#[tokio::test]
async fn a_search_that_fails_goes_on_where_it_was() {
    let chain = chain_of(40, 1);
    let (node, asked) = (Node::start(&chain).await, asked(&chain[34]));
    let settings = settings(&[&node], 0);
    for lie in [Lie::LogDropped, Lie::ReceiptsEmpty, Lie::BlockNull, Lie::Status(429)] {
        let mut walk = Walk::new(&asked, 0);
        // Block 34 has no transfers to lie about; at the next one the search ends.
        node.lie_from(30, lie);
        search(&settings, &asked, &mut walk).await.unwrap_err();
        assert_eq!(walk.taken(), if lie == Lie::Status(429) { 0 } else { 1 }, "{lie:?}");
        node.be_honest();
        let all = search(&settings, &asked, &mut walk).await.unwrap();
        assert_eq!((transfers(&all), all.problem), (expected(0..=34), None), "{lie:?}");
    }
    let mut walk = Walk::new(&asked, 0);
    node.lie_from(0, Lie::Status(503));
    search(&settings, &asked, &mut walk).await.unwrap_err();
    let given_up = walk.give_up("no node has it");
    assert!(
        given_up
            .problem
            .unwrap()
            .contains("block 34 and what is below it could not be searched: no node has it")
    );
}

#[tokio::test]
async fn a_transaction_is_looked_up_and_believed_when_the_nodes_agree_on_its_block() {
    let chain = chain_of(40, 1);
    let hash_of = |block: &SimBlock| -> bytes::TxHash {
        let hash: B256 = block.receipts[0]["transactionHash"].as_str().unwrap().parse().unwrap();
        bytes::TxHash::new(hash.0)
    };
    let (first, second) = (Node::start(&chain).await, Node::start(&chain).await);
    let settings = settings(&[&first, &second], 5);
    let of = |block: &SimBlock| BackfillRequested { tx_hash: Some(hash_of(block)), ..asked(&chain[30]) };
    let alone = found(&settings, &of(&chain[12])).await;
    assert_eq!((transfers(&alone), alone.from, alone.problem), (vec![(12, 120)], None, None));
    let problem = async |asked: BackfillRequested| {
        let found = found(&settings, &asked).await;
        (found.problem.unwrap(), found.not_found)
    };
    let (later, not_found) = problem(of(&chain[33])).await;
    assert!(later.contains("told by itself") && not_found, "{later}");
    let (below, not_found) = problem(of(&chain[3])).await;
    assert!(below.contains("below block 5") && !not_found, "{below}");
    let unknown = BackfillRequested { tx_hash: Some(bytes::TxHash::new([9; 32])), ..asked(&chain[30]) };
    let (unknown, not_found) = problem(unknown).await;
    assert!(unknown.contains("no node knows") && not_found, "{unknown}");
    // That it moves nothing to the address is known: its block is in the answer.
    let elsewhere = BackfillRequested { address: bytes::Address::new([7; 20]), ..of(&chain[12]) };
    let nothing = found(&settings, &elsewhere).await;
    assert_eq!((transfers(&nothing), nothing.problem), (vec![], None));
    assert_eq!(nothing.blocks.iter().map(|block| block.number.0).collect::<Vec<_>>(), [12]);

    let mut other = chain[..10].to_vec();
    extend(&mut other, 40, 7);
    second.set_chain(&other);
    let asked = of(&chain[12]);
    let refused = search(&settings, &asked, &mut Walk::new(&asked, 5)).await.unwrap_err();
    assert!(refused.reason.contains("do not agree on block 12"), "{}", refused.reason);
}
