//! The chain's `finalized` tag moves. It counts once the canonical head is there: until then, and while a head waits
//! for its blocks, it is kept. A finalized block that is not canonical halts the chain.

use streambook_model::records::chain::ChainFinalized;
use streambook_runtime::processor::{Context, Fault};

use super::{
    change::BlockRef,
    head, settle,
    tables::{CANONICAL, Chain},
};

/// Takes the tag.
pub(super) fn take(tag: &ChainFinalized, chain: &mut Chain, context: &mut Context<'_>) -> Result<(), Fault> {
    let block = BlockRef { number: tag.number, hash: tag.hash };
    if chain.pending_finalized.is_none_or(|pending| pending.number <= block.number) {
        chain.pending_finalized = Some(block);
    }
    resume(chain, context)?;
    settle::all(chain, context)
}

/// Moves finality to the pending block if the canonical branch covers it.
pub(super) fn resume(chain: &mut Chain, context: &mut Context<'_>) -> Result<(), Fault> {
    let (None, None, Some(tag)) = (&chain.halted, chain.pending_head, chain.pending_finalized) else {
        return Ok(());
    };
    if chain.head.is_none_or(|head| head.block.number < tag.number) {
        return Ok(());
    }
    match CANONICAL.get(&context.state, (chain.id, tag.number))? {
        Some(canonical) if canonical != tag.hash => {
            let reason =
                format!("block {} at height {} is finalized and not canonical", tag.hash, tag.number);
            head::halt(reason, chain, context);
            return Ok(());
        }
        Some(_) => raise(tag, chain),
        // It is below the first block, or older than anything kept: it covers nothing that is still open.
        None => {}
    }
    chain.pending_finalized = None;
    Ok(())
}

fn raise(tag: BlockRef, chain: &mut Chain) {
    let higher = |known: Option<BlockRef>| known.is_none_or(|known| known.number < tag.number);
    if higher(chain.finalized) {
        chain.finalized = Some(tag);
    }
    if higher(chain.floor) {
        chain.floor = Some(tag);
    }
}
