//! The operator's way out of a halted chain: the chain goes on from a block that the operator names, the last one that is
//! right. Everything that was canonical above it is taken back first, newest first, and comes again where the nodes still
//! have it; so whatever the nodes say from then on, folding the events gives what the canonical chain alone would give.
//!
//! - What was reported is orphaned, what was final too: the books reverse it, and credit it again where it is mined again. A
//!   refund that was made of it stays a fact, so the merchant may then owe.
//! - Watches that came while the chain was halted look back now.
//!
//! Nothing is rewritten: the command is a record of the inbox like every other, so a replay does the same. It is refused,
//! as a dead letter, on a chain that is not halted and for a block that is not one of the canonical blocks that are kept.

use std::collections::BTreeSet;

use streambook_model::{bytes::BlockHash, chain::BlockNumber, records::chain::ChainRebuild};
use streambook_runtime::processor::{Context, Fault};

use super::{
    blocks,
    change::BlockRef,
    head,
    report::{self, Reach},
    settle,
    tables::{BLOCKS, CANONICAL, Chain, HEIGHTS, Head, block_of},
    watches,
};

/// Blocks that can be taken back at once, and blocks above the named one that are looked through.
const MAX_REBUILT: usize = 100_000;

/// Takes the command.
pub(super) fn take(
    rebuild: &ChainRebuild,
    chain: &mut Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let root = BlockRef { number: rebuild.number, hash: rebuild.hash };
    let (old, time) = check(root, chain, context)?;
    let above = old.block.number.0.saturating_sub(root.number.0);
    chain.halted = None;
    for number in (0..above).map(|below| BlockNumber(old.block.number.0.saturating_sub(below))) {
        take_back(number, chain, context)?;
    }
    forget_unlinked(root, chain, context)?;
    chain.head = Some(Head { block: root, time });
    chain.floor = Some(root);
    chain.finalized = chain.finalized.map(|tag| if tag.number > root.number { root } else { tag });
    (chain.pending_head, chain.pending_finalized) = (None, None);
    watches::look_back_now(chain, context)?;
    settle::all(chain, context)?;
    head::status(Head { block: root, time }, u32::try_from(above).unwrap_or(u32::MAX), chain, context);
    Ok(())
}

/// The head up to which blocks are taken back, and the named block's time.
fn check(
    root: BlockRef,
    chain: &Chain,
    context: &Context<'_>,
) -> Result<(Head, streambook_model::time::Timestamp), Fault> {
    if chain.halted.is_none() {
        let reason = format!("chain {} is not halted, so there is nothing to rebuild", chain.id);
        return Err(Fault::dead_letter("chain_not_halted", reason));
    }
    let canonical = CANONICAL.get(&context.state, (chain.id, root.number))? == Some(root.hash);
    let block = BLOCKS.get(&context.state, (chain.id, root.hash))?;
    let (Some(head), Some(block), true) = (chain.head, block, canonical) else {
        let lowest = chain.pruned_below;
        let reason = format!(
            "block {} at height {} is not one of the canonical blocks that are kept, from height {lowest} on",
            root.hash, root.number
        );
        return Err(Fault::dead_letter("unknown_rebuild_block", reason));
    };
    let above = head.block.number.0.saturating_sub(root.number.0);
    if usize::try_from(above).map_or(true, |above| above > MAX_REBUILT) {
        let reason = format!("{above} blocks would be taken back, at most {MAX_REBUILT} can be");
        return Err(Fault::dead_letter("rebuild_too_deep", reason));
    }
    Ok((head, block.time))
}

fn take_back(number: BlockNumber, chain: &Chain, context: &mut Context<'_>) -> Result<(), Fault> {
    let Some(hash) = CANONICAL.get(&context.state, (chain.id, number))? else {
        return Err(Fault::Stop(format!(
            "the canonical branch of chain {} has a hole at {number}",
            chain.id
        )));
    };
    let place = BlockRef { number, hash };
    CANONICAL.delete(&mut context.state, (chain.id, number));
    let block = block_of(chain, &hash, context)?;
    // The bottom of the tree is never below the tag, and a chain without a tag is final up to it.
    let is_final = chain.floor.is_some_and(|floor| number <= floor.number);
    let reach = if is_final { Reach::Final } else { Reach::Open };
    report::orphaned(place, &block, reach, chain, context)
}

/// Forgets the blocks above the named one that do not descend from it: the connector sends them again, with those below
/// them that are missing. Every block that was ever canonical above it does descend from it, and is kept, since it must be
/// known how often it was canonical.
fn forget_unlinked(root: BlockRef, chain: &mut Chain, context: &mut Context<'_>) -> Result<(), Fault> {
    let (from, to) = (BlockNumber(root.number.0.saturating_add(1)), BlockNumber(u64::MAX));
    let above =
        HEIGHTS.scan(&context.state, (chain.id, from), (chain.id, to), MAX_REBUILT.saturating_mul(2))?;
    let mut linked: BTreeSet<[u8; 32]> = BTreeSet::from([bytes(root.hash)]);
    for place in above {
        let block = block_of(chain, &place.hash, context)?;
        if linked.contains(&bytes(block.parent)) {
            linked.insert(bytes(place.hash));
        } else {
            blocks::forget_above(place, &block, chain, context)?;
        }
    }
    Ok(())
}

fn bytes(hash: BlockHash) -> [u8; 32] {
    *hash.as_bytes()
}
