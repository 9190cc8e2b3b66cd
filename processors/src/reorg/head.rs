//! The head moves, and with it the whole canonical branch. A head whose block does not link yet is kept until it does;
//! of several, the last one counts. A branch that forks below the final block halts the chain.

use streambook_model::{
    bytes::BlockHash,
    chain::BlockNumber,
    id::DeadLetterId,
    message::Message,
    records::chain::{ChainFork, ChainHead, ChainStatus},
    topics,
};
use streambook_runtime::processor::{Context, Fault};

use super::{
    FINAL_DEPTH,
    change::{BlockRef, ChainChange, Unreconciled, reconcile},
    finality, letters,
    report::{self, Reach},
    settle,
    tables::{BLOCKS, CANONICAL, Chain, Head, block_of},
};

/// Takes a head.
pub(super) fn take(head: &ChainHead, chain: &mut Chain, context: &mut Context<'_>) -> Result<(), Fault> {
    let target = BlockRef { number: head.number, hash: head.hash };
    if chain.halted.is_none() && chain.floor.is_some_and(|floor| target.number < floor.number) {
        return below_floor(target, chain, context);
    }
    chain.pending_head = Some(target);
    if !resume(chain, context)? {
        // Nothing moved; what was left over from earlier records still goes on.
        settle::all(chain, context)?;
    }
    Ok(())
}

/// A head below the final block: a node that lags names a block of our branch, or one so old that it is forgotten, and
/// is not believed. Another block at a known height is a fork.
fn below_floor(target: BlockRef, chain: &mut Chain, context: &mut Context<'_>) -> Result<(), Fault> {
    match CANONICAL.get(&context.state, (chain.id, target.number))? {
        Some(canonical) if canonical != target.hash => {
            fork(target, chain, context);
            Ok(())
        }
        _ => {
            let reason = format!("head {} at height {} is below the final block", target.hash, target.number);
            Err(Fault::dead_letter("head_below_finality", reason))
        }
    }
}

/// Moves to the pending head if its block links now. Says whether the head has moved, or
/// the chain has halted over it.
pub(super) fn resume(chain: &mut Chain, context: &mut Context<'_>) -> Result<bool, Fault> {
    let (None, Some(target)) = (&chain.halted, chain.pending_head) else { return Ok(false) };
    let Some(block) = BLOCKS.get(&context.state, (chain.id, target.hash))? else { return Ok(false) };
    if !block.linked {
        return Ok(false);
    }
    chain.pending_head = None;
    if block.number != target.number {
        return mismatch(target, block.number, chain, context).map(|()| false);
    }
    if chain.head.is_some_and(|head| head.block == target) {
        finality::resume(chain, context)?;
        return Ok(false);
    }
    let head = Head { block: target, time: block.time };
    match change_to(target, chain, context)? {
        Some(change) => switch(head, change, chain, context)?,
        None => fork(target, chain, context),
    }
    Ok(true)
}

/// The head is put aside by a letter of its own, since the record in hand may be the block it waited for, which is fine.
fn mismatch(
    target: BlockRef,
    number: BlockNumber,
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let reason = format!("head {} is said to have height {}, it has {number}", target.hash, target.number);
    let meta = context.meta(context.input().occurred_at);
    let head = ChainHead { meta, chain: chain.id, number: target.number, hash: target.hash };
    let parts: [&[u8]; 4] = [
        b"height_mismatch",
        &chain.id.0.to_be_bytes(),
        target.hash.as_bytes(),
        &target.number.0.to_be_bytes(),
    ];
    letters::emit(
        "height_mismatch",
        reason,
        DeadLetterId::derive(&parts),
        &Message::from(head),
        chain,
        context,
    )
}

/// How the branch changes; `None` where it would change below the final block.
fn change_to(target: BlockRef, chain: &Chain, context: &Context<'_>) -> Result<Option<ChainChange>, Fault> {
    let Some(floor) = chain.floor else {
        return Err(Fault::Stop(format!("chain {} has blocks and no start", chain.id)));
    };
    let old = chain.head.map_or(floor, |head| head.block);
    let parent = |hash: &_| Ok(BLOCKS.get(&context.state, (chain.id, hash))?.map(|block| block.parent));
    match reconcile(floor, old, target, parent) {
        Ok(change) => Ok(Some(change)),
        Err(Unreconciled::BelowFinality { .. }) => Ok(None),
        Err(Unreconciled::Missing(hash)) => {
            Err(Fault::Stop(format!("the state of chain {} lacks block {hash}", chain.id)))
        }
        Err(Unreconciled::Lookup(fault)) => Err(fault),
    }
}

fn switch(
    head: Head,
    change: ChainChange,
    chain: &mut Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let (old, new) = change.into_sides();
    let reorg_depth = u32::try_from(old.len()).unwrap_or(u32::MAX);
    chain.head = Some(head);
    for block in old {
        take_back(block, chain, context)?;
    }
    for block in new {
        include(block, chain, context)?;
    }
    raise_floor_by_depth(chain, context)?;
    finality::resume(chain, context)?;
    settle::all(chain, context)?;
    if chain.halted.is_none() {
        status(head, reorg_depth, chain, context);
    }
    Ok(())
}

fn take_back(place: BlockRef, chain: &Chain, context: &mut Context<'_>) -> Result<(), Fault> {
    CANONICAL.delete(&mut context.state, (chain.id, place.number));
    let block = block_of(chain, &place.hash, context)?;
    report::orphaned(place, &block, Reach::Open, chain, context)
}

fn include(place: BlockRef, chain: &Chain, context: &mut Context<'_>) -> Result<(), Fault> {
    let mut block = block_of(chain, &place.hash, context)?;
    block.times_canonical = block.times_canonical.saturating_add(1);
    BLOCKS.put(&mut context.state, (chain.id, place.hash), &block)?;
    CANONICAL.put(&mut context.state, (chain.id, place.number), &place.hash)?;
    report::included(place, &block, chain, context)
}

/// A chain that has never reported finality would keep its tree for ever; see [`FINAL_DEPTH`].
fn raise_floor_by_depth(chain: &mut Chain, context: &Context<'_>) -> Result<(), Fault> {
    let (None, Some(head), Some(floor)) = (chain.finalized, chain.head, chain.floor) else { return Ok(()) };
    let Some(number) = head.block.number.0.checked_sub(FINAL_DEPTH).filter(|number| *number > floor.number.0)
    else {
        return Ok(());
    };
    if let Some(hash) = CANONICAL.get(&context.state, (chain.id, number))? {
        chain.floor = Some(BlockRef { number: BlockNumber(number), hash });
    }
    Ok(())
}

fn fork(target: BlockRef, chain: &mut Chain, context: &mut Context<'_>) {
    chain.pending_head = Some(target);
    let floor =
        chain.floor.map_or_else(String::new, |floor| format!(" {} at height {}", floor.hash, floor.number));
    let reason =
        format!("head {} at height {} forks below the final block{floor}", target.hash, target.number);
    halt(reason, chain, context);
}

/// The connector has seen every node leave a block that was final: nothing more comes from it, so the chain stops here
/// as well, whatever this tree still allows.
pub(super) fn told_of_fork(fork: &ChainFork, chain: &mut Chain, context: &mut Context<'_>) {
    let reason = format!(
        "the nodes have left the final block {} at height {} for {} at height {}",
        fork.floor_hash, fork.floor_number, fork.found_hash, fork.found_number
    );
    halt(reason, chain, context);
}

/// Stops the chain until an operator acts. The first reason stays.
pub(super) fn halt(reason: String, chain: &mut Chain, context: &mut Context<'_>) {
    if chain.halted.is_some() {
        return;
    }
    let nothing = BlockRef { number: chain.pruned_below, hash: BlockHash::ZERO };
    let at = chain.floor.unwrap_or(nothing);
    let head = chain.head.unwrap_or(Head { block: at, time: context.input().occurred_at });
    chain.halted = Some(reason);
    status(head, 0, chain, context);
}

/// Says how the chain stands.
pub(super) fn status(head: Head, reorg_depth: u32, chain: &Chain, context: &mut Context<'_>) {
    let status = ChainStatus {
        meta: context.meta(head.time),
        chain: chain.id,
        head_number: head.block.number,
        head_hash: head.block.hash,
        head_time: head.time,
        finalized_number: chain.finalized.map(|block| block.number),
        reorg_depth,
        halted: chain.halted.clone(),
    };
    context.emit(topics::CHAIN_TRANSFERS, chain.id.to_string(), status);
}
