//! Blocks come in, are linked to their parents or held until those come, and are forgotten once they are final and
//! older than the look-back window. A block that comes again changes nothing; one that comes again with other content
//! is a dead letter.
//!
//! What a block brings is kept as the connector sent it, without asking whether its tokens are accepted: the settings
//! that accept a token and the first block with it come from different writers, and may overtake each other.

use std::collections::BTreeSet;

use streambook_model::{
    bytes::Address,
    chain::BlockNumber,
    records::chain::{ChainBlock, TokenTransfer},
};
use streambook_runtime::processor::{Context, Fault};

use super::{
    MAX_HELD,
    change::BlockRef,
    head,
    tables::{
        BLOCKS, Block, CANONICAL, Chain, HEIGHTS, LAST_RECENT, RECENT, Recent, TRANSFERS, WAITING, block_of,
        transfers_of,
    },
};

/// Blocks forgotten with each block that comes: more than one, so that forgetting keeps up.
const PRUNED_PER_BLOCK: usize = 2;

/// Takes a block.
pub(super) fn take(
    mut arrived: ChainBlock,
    chain: &mut Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    arrived.transfers.retain(|transfer| transfer.value.as_bytes().iter().any(|byte| *byte != 0));
    if let Some(known) = BLOCKS.get(&context.state, (chain.id, arrived.hash))? {
        return repeat(&arrived, &known, chain, context);
    }
    let floor = floor_or_start(&arrived, chain, context)?;
    if arrived.number < floor.number {
        // It is an old block that was forgotten, or one of a branch that has lost for ever.
        return Ok(());
    }
    let linked = links(&arrived, floor, chain, context)?;
    insert(&arrived, linked, chain, context)?;
    if linked {
        link_waiting(BlockRef { number: arrived.number, hash: arrived.hash }, chain, context)?;
        head::resume(chain, context)?;
    } else {
        hold(&arrived, chain, context)?;
    }
    if chain.halted.is_none() { prune(chain, context) } else { Ok(()) }
}

/// The same block again is nothing new. Which tokens it was searched for may have changed with the settings; only the
/// tokens that both answers hold can then contradict each other.
fn repeat(arrived: &ChainBlock, known: &Block, chain: &Chain, context: &Context<'_>) -> Result<(), Fault> {
    let header = (arrived.number, arrived.parent_hash, arrived.timestamp);
    let mut before = transfers_of(chain, known, &arrived.hash, context)?;
    let mut now = arrived.transfers.clone();
    if known.settings != chain.settings {
        let (tokens_before, tokens_now) = (tokens(&before), tokens(&now));
        before.retain(|transfer| tokens_now.contains(transfer.token.as_bytes()));
        now.retain(|transfer| tokens_before.contains(transfer.token.as_bytes()));
    }
    if header == (known.number, known.parent, known.time) && before == now {
        return Ok(());
    }
    let reason = format!("block {} of chain {} came before with other content", arrived.hash, chain.id);
    Err(Fault::dead_letter("conflicting_block", reason))
}

fn tokens(transfers: &[TokenTransfer]) -> BTreeSet<[u8; 20]> {
    transfers.iter().map(|transfer| *transfer.token.as_bytes()).collect()
}

/// The final block. With the first block of a chain that is its parent: nothing below can ever change here, and the
/// first block itself still can. The very first block of all has no parent and is final.
fn floor_or_start(
    first: &ChainBlock,
    chain: &mut Chain,
    context: &mut Context<'_>,
) -> Result<BlockRef, Fault> {
    if let Some(floor) = chain.floor {
        return Ok(floor);
    }
    let floor =
        first.number.0.checked_sub(1).map_or(BlockRef { number: first.number, hash: first.hash }, |number| {
            BlockRef { number: BlockNumber(number), hash: first.parent_hash }
        });
    CANONICAL.put(&mut context.state, (chain.id, floor.number), &floor.hash)?;
    chain.floor = Some(floor);
    chain.first_block = Some(first.number);
    chain.pruned_below = floor.number;
    Ok(floor)
}

/// Whether all ancestors down to the final height are known. A block at that height needs none: it is the final block,
/// or the end of a branch that forks below it, which the head's walk has to find.
fn links(arrived: &ChainBlock, floor: BlockRef, chain: &Chain, context: &Context<'_>) -> Result<bool, Fault> {
    let on_floor = arrived.parent_hash == floor.hash && follows(arrived.number, floor.number);
    if arrived.number == floor.number || on_floor {
        return Ok(true);
    }
    match BLOCKS.get(&context.state, (chain.id, arrived.parent_hash))? {
        Some(parent) if !follows(arrived.number, parent.number) => {
            let reason =
                format!("block {} has height {}, its parent {}", arrived.hash, arrived.number, parent.number);
            Err(Fault::dead_letter("height_mismatch", reason))
        }
        parent => Ok(parent.is_some_and(|parent| parent.linked)),
    }
}

fn follows(child: BlockNumber, parent: BlockNumber) -> bool {
    parent.0.checked_add(1) == Some(child.0)
}

fn insert(arrived: &ChainBlock, linked: bool, chain: &Chain, context: &mut Context<'_>) -> Result<(), Fault> {
    let block = Block {
        number: arrived.number,
        parent: arrived.parent_hash,
        time: arrived.timestamp,
        times_canonical: 0,
        has_transfers: !arrived.transfers.is_empty(),
        linked,
        settings: chain.settings,
    };
    let place = BlockRef { number: arrived.number, hash: arrived.hash };
    let state = &mut context.state;
    BLOCKS.put(state, (chain.id, place.hash), &block)?;
    HEIGHTS.put(state, (chain.id, place.number, place.hash), &place)?;
    if block.has_transfers {
        TRANSFERS.put(state, (chain.id, place.hash), &arrived.transfers)?;
    }
    for transfer in &arrived.transfers {
        let recent = Recent { block: place, log_index: transfer.log_index };
        RECENT.put(state, (chain.id, transfer.to, (place.number, place.hash, recent.log_index)), &recent)?;
        if LAST_RECENT.get(state, (chain.id, transfer.to))?.is_none_or(|last| comes_before(&last, &place)) {
            LAST_RECENT.put(state, (chain.id, transfer.to), &place)?;
        }
    }
    Ok(())
}

fn hold(arrived: &ChainBlock, chain: &mut Chain, context: &mut Context<'_>) -> Result<(), Fault> {
    if chain.held >= MAX_HELD {
        let reason = format!(
            "chain {} holds {MAX_HELD} blocks that do not link; a block below them is missing",
            chain.id
        );
        return Err(Fault::Stop(reason));
    }
    chain.held = chain.held.saturating_add(1);
    let place = BlockRef { number: arrived.number, hash: arrived.hash };
    WAITING.put(&mut context.state, (chain.id, arrived.parent_hash, arrived.hash), &place)?;
    Ok(())
}

/// Links the blocks that waited for this one, and those that waited for them: as many as are held, at most.
fn link_waiting(first: BlockRef, chain: &mut Chain, context: &mut Context<'_>) -> Result<(), Fault> {
    let mut linked = vec![first];
    while let Some(parent) = linked.pop() {
        if chain.held == 0 {
            break;
        }
        let limit = usize::try_from(chain.held).unwrap_or(usize::MAX);
        for child in WAITING.scan_prefix(&context.state, (chain.id, parent.hash), limit)? {
            if !follows(child.number, parent.number) {
                let reason =
                    format!("block {} has height {}, its parent {}", child.hash, child.number, parent.number);
                head::halt(reason, chain, context);
                return Ok(());
            }
            link(child, parent, chain, context)?;
            linked.push(child);
        }
    }
    Ok(())
}

fn link(
    child: BlockRef,
    parent: BlockRef,
    chain: &mut Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    WAITING.delete(&mut context.state, (chain.id, parent.hash, child.hash));
    chain.held = chain.held.saturating_sub(1);
    let mut block = block_of(chain, &child.hash, context)?;
    block.linked = true;
    BLOCKS.put(&mut context.state, (chain.id, child.hash), &block)?;
    Ok(())
}

/// Forgets some blocks that are final and older than the look-back window, from the lowest height on.
fn prune(chain: &mut Chain, context: &mut Context<'_>) -> Result<(), Fault> {
    let (Some(head), Some(floor)) = (chain.head, chain.floor) else { return Ok(()) };
    let (from, to) = ((chain.id, chain.pruned_below), (chain.id, floor.number));
    for place in HEIGHTS.scan(&context.state, from, to, PRUNED_PER_BLOCK)? {
        let block = block_of(chain, &place.hash, context)?;
        if block.time.plus_seconds(chain.look_back_seconds) >= head.time {
            break;
        }
        forget(place, &block, chain, context)?;
    }
    Ok(())
}

fn forget(place: BlockRef, block: &Block, chain: &mut Chain, context: &mut Context<'_>) -> Result<(), Fault> {
    for transfer in transfers_of(chain, block, &place.hash, context)? {
        forget_recent(place, &transfer.to, transfer.log_index, chain, context)?;
    }
    let state = &mut context.state;
    TRANSFERS.delete(state, (chain.id, place.hash));
    BLOCKS.delete(state, (chain.id, place.hash));
    HEIGHTS.delete(state, (chain.id, place.number, place.hash));
    if CANONICAL.get(state, (chain.id, place.number))? == Some(place.hash) {
        CANONICAL.delete(state, (chain.id, place.number));
    }
    if !block.linked {
        WAITING.delete(state, (chain.id, block.parent, place.hash));
        chain.held = chain.held.saturating_sub(1);
    }
    chain.pruned_below = place.number;
    chain.forgotten_until = chain.forgotten_until.max(Some(block.time));
    Ok(())
}

fn forget_recent(
    place: BlockRef,
    to: &Address,
    log_index: u32,
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    RECENT.delete(&mut context.state, (chain.id, to, (place.number, place.hash, log_index)));
    if LAST_RECENT.get(&context.state, (chain.id, to))? == Some(place) {
        LAST_RECENT.delete(&mut context.state, (chain.id, to));
    }
    Ok(())
}

/// Forgets a block that is not the lowest one. The last block of each of its receivers is found anew, since it may be one
/// that comes before this.
pub(super) fn forget_above(
    place: BlockRef,
    block: &Block,
    chain: &mut Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let (pruned_below, forgotten_until) = (chain.pruned_below, chain.forgotten_until);
    let transfers = transfers_of(chain, block, &place.hash, context)?;
    forget(place, block, chain, context)?;
    (chain.pruned_below, chain.forgotten_until) = (pruned_below, forgotten_until);
    for transfer in transfers {
        let left = RECENT.scan_prefix(&context.state, (chain.id, transfer.to), usize::MAX)?;
        if let Some(last) = left.last() {
            LAST_RECENT.put(&mut context.state, (chain.id, transfer.to), &last.block)?;
        }
    }
    Ok(())
}

/// The order in which blocks are forgotten.
fn comes_before(one: &BlockRef, other: &BlockRef) -> bool {
    (one.number, one.hash.as_bytes()) < (other.number, other.hash.as_bytes())
}
