//! The pure core: what it makes is deterministic and consistent, and reorganisations do what they say.

use std::sync::Arc;

use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH, ReceiptEnvelope};
use alloy_primitives::{Address, B256, U256};

use super::pending::Pending;
use super::{
    BelowFinality, BlockSpec, ChainError, ChainSettings, Content, DevChain, Dropped, FinalityRule, Limits,
    ReorgOptions,
};
use crate::block::{BASE_FEE_WEI, BLOCK_GAS_LIMIT, BlockRef};
use crate::transaction::DevTransaction;
use crate::transfer::{Transfer, TransferRequest};

const TOKEN: Address = Address::with_last_byte(1);
const ROUTER: Address = Address::with_last_byte(2);
const PAYER: Address = Address::with_last_byte(3);
const SHOP: Address = Address::with_last_byte(4);

const FORCE: ReorgOptions = ReorgOptions { below_finality: BelowFinality::Force, dropped: Dropped::Forget };
const REQUEUE: ReorgOptions =
    ReorgOptions { below_finality: BelowFinality::Refuse, dropped: Dropped::Requeue };

fn pay(value: u64) -> TransferRequest {
    TransferRequest::direct(TOKEN, PAYER, SHOP, U256::from(value))
}

fn routed(values: &[u64]) -> TransferRequest {
    let transfer = |value: &u64| Transfer { token: TOKEN, from: PAYER, to: SHOP, value: U256::from(*value) };
    TransferRequest::routed(PAYER, ROUTER, values.iter().map(transfer).collect())
}

fn known(timestamp: u64, hashes: &[B256]) -> BlockSpec {
    BlockSpec { timestamp, contents: hashes.iter().copied().map(Content::Known).collect() }
}

/// A chain of `blocks` blocks after genesis; block n has time n and one payment of n.
fn chain_of(blocks: u64) -> DevChain {
    chain_with(ChainSettings::new(31_337, 0), blocks)
}

fn chain_with(settings: ChainSettings, blocks: u64) -> DevChain {
    let mut chain = DevChain::with_settings(settings);
    for number in 1..=blocks {
        chain.mine(number, &[pay(number)]).unwrap();
    }
    chain
}

fn shop_balance(chain: &DevChain) -> u64 {
    chain.balance_of(TOKEN, SHOP).to()
}

fn first_transaction(chain: &DevChain, number: u64) -> B256 {
    chain.canonical_block(number).unwrap().transactions()[0].hash()
}

/// The canonical branch links from the head to the genesis block, by number and by hash.
fn assert_linked(chain: &DevChain) {
    let blocks: Vec<_> = chain.canonical_blocks(0).collect();
    assert_eq!(blocks.last().unwrap().reference(), chain.head().reference());
    for pair in blocks.windows(2) {
        assert_eq!(pair[1].header().parent_hash, pair[0].header().hash_slow());
        assert_eq!(pair[1].header().number, pair[0].header().number + 1);
    }
}

#[test]
fn the_same_calls_make_the_same_chain() {
    let build = || {
        let mut chain = chain_of(5);
        chain.reorg(2, &[BlockSpec::of(9, &[pay(1), routed(&[2, 3])])], ReorgOptions::default()).unwrap();
        chain.head().hash()
    };
    assert_eq!(build(), build());
    assert_ne!(DevChain::new(1, 0).genesis().hash(), DevChain::new(2, 0).genesis().hash());
}

#[test]
fn a_header_has_the_fields_of_a_post_cancun_block() {
    let chain = chain_of(1);
    let header = chain.head().header();
    assert_eq!(header.parent_hash, chain.genesis().hash());
    assert_eq!(header.ommers_hash, EMPTY_OMMER_ROOT_HASH);
    assert_eq!(header.difficulty, U256::ZERO);
    assert_eq!(header.withdrawals_root, Some(EMPTY_ROOT_HASH));
    assert_eq!((header.blob_gas_used, header.excess_blob_gas), (Some(0), Some(0)));
    assert_eq!(header.parent_beacon_block_root, Some(B256::ZERO));
    assert_eq!(header.gas_used, 51_000);
    assert_eq!(header.hash_slow(), chain.head().hash());
    assert_eq!(chain.genesis().header().receipts_root, EMPTY_ROOT_HASH);
}

#[test]
fn a_failed_transaction_has_status_0_no_logs_and_moves_nothing() {
    let mut chain = DevChain::new(31_337, 0);
    chain.mine(1, &[TransferRequest::failed(TOKEN, PAYER, SHOP, U256::from(5)), pay(7)]).unwrap();
    let receipts = chain.head().receipts();
    assert_eq!(receipts.iter().map(ReceiptEnvelope::status).collect::<Vec<_>>(), [false, true]);
    assert_eq!(receipts.iter().map(|receipt| receipt.logs().len()).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(receipts[1].cumulative_gas_used(), 24_000 + 51_000);
    assert_eq!(shop_balance(&chain), 7);
}

#[test]
fn a_routed_transaction_goes_to_the_router_and_logs_at_the_token() {
    let mut chain = DevChain::new(31_337, 0);
    chain.mine(1, &[routed(&[1, 2, 3])]).unwrap();
    let transaction = &chain.head().transactions()[0];
    assert_eq!(transaction.receiver, ROUTER);
    assert_eq!(transaction.logs.len(), 3);
    assert!(transaction.logs.iter().all(|log| log.address == TOKEN));
    assert_eq!(shop_balance(&chain), 6);
}

#[test]
fn a_reorg_of_every_depth_replaces_exactly_the_last_blocks_and_can_be_taken_back() {
    let mut chain = chain_of(64);
    let original: Vec<_> = chain.canonical_blocks(0).map(|block| block.reference()).collect();
    for depth in 1..=64 {
        // The new branch is in turn of equal length, longer, and a single block.
        let length = [depth, depth + 3, 1][usize::try_from(depth % 3).unwrap()];
        let specs: Vec<_> = (0..length).map(|_| BlockSpec::of(100, &[pay(1_000)])).collect();
        let reorged = chain.reorg(depth, &specs, ReorgOptions::default()).unwrap();
        let ancestor = 64 - depth;
        assert_eq!(reorged.ancestor, ancestor);
        assert_eq!(reorged.orphaned, original[usize::try_from(ancestor).unwrap() + 1..]);
        assert_eq!(chain.head().reference().number, ancestor + length);
        assert_eq!(reorged.adopted.last(), Some(&chain.head().reference()));
        assert!(reorged.orphaned.iter().all(|block| !chain.is_canonical(*block)));
        assert!(reorged.orphaned.iter().all(|block| chain.block(block.hash).is_some()));
        assert_eq!(shop_balance(&chain), (1..=ancestor).sum::<u64>() + length * 1_000);
        assert_linked(&chain);

        let back = chain.switch_to(original[64].hash, ReorgOptions::default()).unwrap();
        assert_eq!((back.adopted, back.orphaned), (reorged.orphaned, reorged.adopted));
        assert_eq!(shop_balance(&chain), (1..=64).sum::<u64>());
    }
    assert_linked(&chain);
}

#[test]
fn equal_contents_and_times_still_give_another_hash() {
    let mut chain = chain_of(3);
    let old = chain.head().reference();
    let same = known(3, &[first_transaction(&chain, 3)]);
    chain.reorg(1, &[same], ReorgOptions::default()).unwrap();
    assert_eq!(chain.head().reference().number, old.number);
    assert_ne!(chain.head().hash(), old.hash);
}

#[test]
fn a_block_becomes_canonical_twice() {
    let mut chain = chain_of(5);
    let old = chain.head().reference();
    chain.reorg(3, &[BlockSpec::of(9, &[])], ReorgOptions::default()).unwrap();
    let short = chain.head().reference();
    assert_eq!(shop_balance(&chain), 1 + 2);

    let back = chain.switch_to(old.hash, ReorgOptions::default()).unwrap();
    assert_eq!(back.orphaned, [short]);
    assert_eq!(back.adopted.len(), 3);
    assert_eq!(shop_balance(&chain), 1 + 2 + 3 + 4 + 5);
    assert_linked(&chain);

    chain.switch_to(short.hash, ReorgOptions::default()).unwrap();
    assert_eq!(chain.head().reference(), short);
}

#[test]
fn switching_to_a_canonical_block_drops_those_after_it() {
    let mut chain = chain_of(5);
    let third = chain.canonical_block(3).unwrap().reference();
    let reorged = chain.switch_to(third.hash, ReorgOptions::default()).unwrap();
    assert_eq!((reorged.ancestor, reorged.orphaned.len(), reorged.adopted.len()), (3, 2, 0));
    assert_eq!(chain.head().reference(), third);
    assert!(chain.canonical_block(4).is_none());
}

#[test]
fn the_same_transaction_can_be_in_another_block() {
    let mut chain = chain_of(3);
    let moved = first_transaction(&chain, 3);
    let specs = [BlockSpec::of(4, &[]), known(5, &[moved])];
    chain.reorg(1, &specs, ReorgOptions::default()).unwrap();
    let included = chain.canonical_inclusion(moved).unwrap();
    assert_eq!(included.block.reference(), chain.head().reference());
    assert_eq!(included.block.transactions()[included.index].hash(), moved);
    assert_eq!(shop_balance(&chain), 1 + 2 + 3);
}

#[test]
fn a_branch_has_a_transaction_once() {
    let mut chain = chain_of(3);
    let second = first_transaction(&chain, 2);
    let third = first_transaction(&chain, 3);
    let refused = Err(ChainError::AlreadyIncluded(second));
    assert_eq!(chain.append(&known(9, &[second])), refused);
    assert_eq!(
        chain.reorg(1, &[known(9, &[second])], ReorgOptions::default()).map(|_| ()),
        refused.map(|_| ())
    );
    let twice = chain.reorg(1, &[known(9, &[third, third])], ReorgOptions::default());
    assert_eq!(twice, Err(ChainError::AlreadyIncluded(third)));

    let fork = chain.canonical_block(1).unwrap().hash();
    let side = chain.extend(fork, &known(9, &[second])).unwrap();
    assert_eq!(chain.extend(side.hash, &known(9, &[second])), Err(ChainError::AlreadyIncluded(second)));
    assert!(chain.extend(side.hash, &known(9, &[third])).is_ok());
    assert_eq!(chain.head().reference().number, 3, "extending beside the head leaves it alone");
}

#[test]
fn dropped_transactions_return_to_the_queue_once() {
    let mut chain = chain_of(3);
    let [second, third] = [2, 3].map(|number| first_transaction(&chain, number));
    chain.reorg(2, &[known(9, &[third])], REQUEUE).unwrap();
    assert_eq!(chain.pending_count(), 1);
    assert!(chain.canonical_inclusion(second).is_none());
    chain.mine_pending(10).unwrap();
    assert_eq!(first_transaction(&chain, 3), second);
    assert_eq!(chain.pending_count(), 0);
}

#[test]
fn a_pending_transaction_leaves_the_queue_when_its_block_becomes_canonical_again() {
    let mut chain = chain_of(2);
    let old = chain.head().reference();
    chain.reorg(1, &[BlockSpec::of(9, &[])], REQUEUE).unwrap();
    assert_eq!(chain.pending_count(), 1);
    chain.switch_to(old.hash, ReorgOptions::default()).unwrap();
    assert_eq!(chain.pending_count(), 0);
}

#[test]
fn finality_stops_forks_unless_forced() {
    let mut chain = chain_of(6);
    chain.finalize(4).unwrap();
    let one = [BlockSpec::of(9, &[])];
    let refused = ChainError::BelowFinalized { ancestor: 3, finalized: 4 };
    let before = chain.kept_blocks();
    assert_eq!(chain.reorg(3, &one, ReorgOptions::default()), Err(refused));
    assert_eq!(chain.kept_blocks(), before, "a refused reorganisation makes no block");
    let low = chain.canonical_block(2).unwrap().hash();
    assert!(matches!(
        chain.switch_to(low, ReorgOptions::default()),
        Err(ChainError::BelowFinalized { ancestor: 2, finalized: 4 })
    ));
    chain.reorg(2, &one, ReorgOptions::default()).unwrap();

    chain.reorg(4, &one, FORCE).unwrap();
    assert_eq!((chain.head().reference().number, chain.finalized(), chain.safe()), (2, 2, 2));
}

#[test]
fn finality_moves_forward_only_and_not_past_the_head() {
    let mut chain = chain_of(6);
    chain.mark_safe(4).unwrap();
    chain.finalize(3).unwrap();
    assert_eq!((chain.safe(), chain.finalized()), (4, 3));
    let refused = |number| ChainError::FinalityOutOfRange { tag: "finalized", number, lowest: 3, highest: 6 };
    assert_eq!(chain.finalize(2), Err(refused(2)));
    assert_eq!(chain.finalize(7), Err(refused(7)));
    assert!(chain.mark_safe(3).is_err());
}

#[test]
fn finality_by_depth_follows_the_head() {
    let finality = FinalityRule::Depth { safe: 2, finalized: 4 };
    let mut chain = chain_with(ChainSettings { finality, ..ChainSettings::new(1, 0) }, 10);
    assert_eq!((chain.safe(), chain.finalized()), (8, 6));
    chain.reorg(4, &[BlockSpec::of(99, &[])], ReorgOptions::default()).unwrap();
    assert_eq!((chain.head().reference().number, chain.safe(), chain.finalized()), (7, 7, 6));
    assert!(chain.reorg(2, &[BlockSpec::of(99, &[])], ReorgOptions::default()).is_err());
}

#[test]
fn impossible_requests_are_refused_and_change_nothing() {
    let mut chain = chain_of(3);
    let head = chain.head().reference();
    let one = [BlockSpec::of(9, &[])];
    let default = ReorgOptions::default();
    assert_eq!(chain.reorg(0, &one, default), Err(ChainError::EmptyReorg));
    assert_eq!(chain.reorg(1, &[], default), Err(ChainError::EmptyReorg));
    assert_eq!(chain.reorg(4, &one, default), Err(ChainError::BelowGenesis { depth: 4, head: 3 }));
    assert_eq!(chain.mine(2, &[]), Err(ChainError::TimestampBackwards { timestamp: 2, parent: 3 }));
    let absent = B256::repeat_byte(7);
    assert_eq!(chain.switch_to(absent, default), Err(ChainError::UnknownBlock(absent)));
    assert_eq!(chain.append(&known(9, &[absent])), Err(ChainError::UnknownTransaction(absent)));
    let failing = [BlockSpec::of(9, &[pay(1)]), BlockSpec::of(8, &[])];
    assert!(chain.reorg(2, &failing, default).is_err());
    let heavy = routed(&vec![1; 40_000]);
    let needed = 21_000 + 40_000 * 30_000;
    assert_eq!(chain.mine(9, &[heavy]), Err(ChainError::BlockFull { needed, limit: BLOCK_GAS_LIMIT }));
    assert_eq!(chain.head().reference(), head);
    assert_eq!(shop_balance(&chain), 1 + 2 + 3);
}

#[test]
fn the_queue_has_a_limit_and_is_mined_in_order() {
    let limits = Limits { pending: 3, ..Limits::default() };
    let mut chain = DevChain::with_settings(ChainSettings { limits, ..ChainSettings::new(1, 0) });
    let hashes = [1, 2, 3].map(|value| chain.submit(&pay(value)).unwrap());
    assert_eq!(chain.submit(&pay(4)), Err(ChainError::PendingFull { limit: 3 }));
    chain.mine_pending(1).unwrap();
    let mined: Vec<_> = chain.head().transactions().iter().map(|transaction| transaction.hash()).collect();
    assert_eq!(mined, hashes);
    assert_eq!(chain.pending_count(), 0);
}

#[test]
fn the_queue_gives_a_block_what_fits_and_keeps_the_rest() {
    let mut pending = Pending::default();
    for nonce in 0..3 {
        pending.push(Arc::new(DevTransaction::new(&pay(1), 1, nonce, BASE_FEE_WEI)));
    }
    let fits = |gas_limit| pending.first_within(gas_limit).len();
    assert_eq!([fits(50_999), fits(51_000), fits(152_999), fits(153_000)], [0, 1, 2, 3]);
    assert_eq!(pending.len(), 3);
}

#[test]
fn the_oldest_blocks_are_pruned_and_the_rest_stays_whole() {
    let limits = Limits { blocks: 10, ..Limits::default() };
    let mut chain = chain_with(ChainSettings { limits, ..ChainSettings::new(1, 0) }, 5);
    let early = first_transaction(&chain, 1);
    for number in 6..=25 {
        chain.mine(number, &[pay(number)]).unwrap();
    }
    assert_eq!((chain.kept_blocks(), chain.first_kept()), (10, 16));
    assert!(chain.canonical_block(15).is_none());
    assert!(chain.canonical_inclusion(early).is_none());
    assert_eq!(chain.canonical_block(0).unwrap().hash(), chain.genesis().hash());
    assert_eq!(shop_balance(&chain), (1..=25).sum::<u64>());
    assert_linked(&chain);
    let one = [BlockSpec::of(99, &[])];
    assert_eq!(chain.reorg(10, &one, FORCE), Err(ChainError::UnknownNumber(15)));
    chain.reorg(9, &one, FORCE).unwrap();
    assert_linked(&chain);
}

#[test]
fn orphans_and_transactions_count_against_the_limits() {
    let limits = Limits { blocks: 8, transactions: 12, ..Limits::default() };
    let mut chain = chain_with(ChainSettings { limits, ..ChainSettings::new(1, 0) }, 3);
    for _ in 0..50 {
        chain.mine(9, &[pay(1)]).unwrap();
        chain.reorg(1, &[BlockSpec::of(9, &[pay(1)])], ReorgOptions::default()).unwrap();
        assert!(chain.kept_blocks() <= 8);
    }
    let head = chain.head().reference();
    for _ in 0..50 {
        chain.extend(head.hash, &BlockSpec::of(9, &[pay(1)])).unwrap();
    }
    assert_eq!(chain.head().reference(), head, "the head is never pruned");
    chain.mine(9, &vec![pay(1); 20]).unwrap();
    assert_eq!(chain.kept_blocks(), 1, "a block above the limit of transactions is kept alone");
    let BlockRef { number, .. } = chain.head().reference();
    assert_eq!(number, head.number + 1);
}
