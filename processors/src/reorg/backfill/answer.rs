//! What the connector has found in old blocks.
//!
//! - A watch is told by itself of everything from its `known_from` on, so only what is below counts for it in an answer; and what
//!   one answer has reported does not count in another ([`BACKFILLED`]). So each inclusion is reported once.
//! - At an address of a payment's own everything is that payment's. At one that payments share whose a transfer is follows from
//!   the transfer alone, as when its block is new: whoever has asked.
//! - An answer that is full says where the search goes on; that is asked for as a request of its own.
//! - What is nobody's is put aside once: what came since a payment watches the address was, when it came ([`JUDGED_FROM`]).

use streambook_model::{
    id::DeadLetterId,
    records::{
        backfill::{BackfillClosed, BackfillRest, BackfilledBlock, ChainBackfill},
        chain::TokenTransfer,
    },
    topics,
};
use streambook_runtime::processor::{Context, Fault};

use super::{
    super::{
        change::BlockRef,
        claims, letters, report, settle, shared,
        tables::{BACKFILLED, BACKFILLS, Backfill, Block, Chain, JUDGED_FROM, Told, WATCHES, Watch},
        watches::Owner,
    },
    record, request, watch_of,
};

/// Takes an answer. One to a request that is not open was taken before. On a halted chain nothing is reported: the connector
/// answers again once the chain goes on.
pub(in crate::reorg) fn take(
    answer: &ChainBackfill,
    chain: &mut Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let open = BACKFILLS.get(&context.state, (chain.id, answer.request))?;
    let Some(open) = open.filter(|_| chain.halted.is_none()) else { return Ok(()) };
    BACKFILLS.delete(&mut context.state, (chain.id, answer.request));
    chain.open_backfills = chain.open_backfills.saturating_sub(1);
    let mut reported = 0_u32;
    for block in answer.blocks.iter().filter(|block| block.number <= open.top.number) {
        reported = reported.saturating_add(report_block(block, &open, chain, context)?);
    }
    settle::all(chain, context)?;
    let is_settled = open.search.is_claim && claims::looked_up(answer, &open, chain, context)?;
    let problem = answer.problem.clone().or_else(|| moves_nothing(answer, &open));
    if let Some(problem) = problem.as_ref().filter(|_| !is_settled) {
        tell_incomplete(problem, &open, answer.request, chain, context)?;
    }
    let closed = BackfillClosed {
        meta: context.meta(context.input().occurred_at),
        chain: chain.id,
        request: answer.request,
        payment: open.payment,
        from_number: answer.from_number,
        reported,
        problem,
    };
    context.emit(topics::CHAIN_REQUESTS, chain.id.to_string(), closed);
    // Each part begins below the one before, so there is an end.
    let rest = answer.rest.filter(|rest| rest.number < open.top.number);
    rest.map_or(Ok(()), |BackfillRest { number, hash }| {
        request(&Backfill { top: BlockRef { number, hash }, ..open }, chain, context)
    })
}

/// Why nothing is found in a transaction whose block is known.
fn moves_nothing(answer: &ChainBackfill, open: &Backfill) -> Option<String> {
    let tx_hash = open.search.tx_hash.filter(|_| !answer.blocks.is_empty())?;
    let is_empty = answer.blocks.iter().all(|block| block.transfers.is_empty());
    is_empty.then(|| format!("the transaction {tx_hash} moves none of the tokens to {}", open.address))
}

/// Reports what is new in a block of an answer; gives how much that was.
fn report_block(
    found: &BackfilledBlock,
    open: &Backfill,
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<u32, Fault> {
    let is_shared = shared::is_shared(open.address, chain, context)?;
    let own = watch_of(open.payment, &open.address, &open.token, chain, context)?;
    let mut reported = 0_u32;
    for transfer in found.transfers.iter().filter(|transfer| is_asked_for(transfer, open)) {
        let is_new = match &own {
            Some(watch) => report_own(transfer, found, watch, chain, context)?,
            None => is_shared && report_shared(transfer, found, chain, context)?,
        };
        reported = reported.saturating_add(u32::from(is_new));
    }
    Ok(reported)
}

fn is_asked_for(transfer: &TokenTransfer, open: &Backfill) -> bool {
    let is_something = transfer.value.as_bytes().iter().any(|byte| *byte != 0);
    is_something
        && transfer.to == open.address
        && open.search.tx_hash.is_none_or(|wanted| wanted == transfer.tx_hash)
        && open.search.payer.is_none_or(|payer| payer == transfer.from)
}

/// A transfer to an address of the payment's own. Says whether it is reported for the first time.
fn report_own(
    transfer: &TokenTransfer,
    found: &BackfilledBlock,
    watch: &Watch,
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<bool, Fault> {
    let (place, block) = (place_of(found), block_of(found, chain));
    if !is_older(watch, found, chain) {
        return Ok(false);
    }
    if transfer.token == watch.token {
        let is_first = is_first_time(Told::Counted, transfer, found, chain, context)?;
        if is_first {
            report::seen(watch, transfer, place, &block, chain, context)?;
        }
        return Ok(is_first);
    }
    let watches = WATCHES.get(&context.state, (chain.id, transfer.to))?.unwrap_or_default();
    if watches.iter().all(|other| other.token != transfer.token) {
        report::unexpected(watch, transfer, place, &block, chain, context)?;
    }
    Ok(false)
}

/// A transfer to an address that payments share. Says whether it is reported for the first time.
fn report_shared(
    transfer: &TokenTransfer,
    found: &BackfilledBlock,
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<bool, Fault> {
    let (place, block) = (place_of(found), block_of(found, chain));
    match shared::owner_of(transfer, place, block.time, chain, context)? {
        Owner::Exact(watch) => {
            let is_new = is_older(&watch, found, chain)
                && is_first_time(Told::Counted, transfer, found, chain, context)?;
            if is_new {
                report::seen(&watch, transfer, place, &block, chain, context)?;
            }
            claims::refuse_other(transfer, &found.transfers, place, &block, chain, context)?;
            Ok(is_new)
        }
        Owner::Claim(watch) => {
            claims::count(&watch, transfer, place, &block, chain, context)?;
            Ok(true)
        }
        // It was counted for a claim before.
        Owner::Watch(_) => Ok(false),
        Owner::Unmatched | Owner::OtherToken(_) | Owner::Nobody => {
            claims::refuse_other(transfer, &found.transfers, place, &block, chain, context)?;
            put_aside(transfer, found, chain, context)?;
            Ok(false)
        }
    }
}

fn put_aside(
    transfer: &TokenTransfer,
    found: &BackfilledBlock,
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let judged_from = JUDGED_FROM.get(&context.state, (chain.id, transfer.to, transfer.token))?;
    let was_judged = judged_from.max(chain.first_block).is_some_and(|from| found.number >= from);
    if (judged_from.is_some() && was_judged) || !shared::is_accepted(transfer.token, chain, context)? {
        return Ok(());
    }
    if is_first_time(Told::PutAside, transfer, found, chain, context)? {
        shared::put_aside(transfer, place_of(found), &block_of(found, chain), chain, context)?;
    }
    Ok(())
}

/// Whether a watch is not told of a block by itself.
fn is_older(watch: &Watch, found: &BackfilledBlock, chain: &Chain) -> bool {
    watch.known_from.or(chain.first_block).is_some_and(|known_from| found.number < known_from)
}

/// Whether this was not said before. What was put aside can still be counted, not the other way round.
fn is_first_time(
    now: Told,
    transfer: &TokenTransfer,
    found: &BackfilledBlock,
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<bool, Fault> {
    let key = (chain.id, transfer.to, (found.number, found.hash, transfer.log_index));
    let is_first = match BACKFILLED.get(&context.state, key)? {
        None => true,
        Some(before) => (before, now) == (Told::PutAside, Told::Counted),
    };
    if is_first {
        BACKFILLED.put(&mut context.state, key, &now)?;
    }
    Ok(is_first)
}

fn place_of(found: &BackfilledBlock) -> BlockRef {
    BlockRef { number: found.number, hash: found.hash }
}

/// A block of an answer is final, so it has become canonical once as far as anybody was told.
fn block_of(found: &BackfilledBlock, chain: &Chain) -> Block {
    Block {
        number: found.number,
        parent: found.parent_hash,
        time: found.timestamp,
        times_canonical: 1,
        has_transfers: true,
        linked: true,
        settings: chain.settings,
    }
}

fn tell_incomplete(
    problem: &str,
    open: &Backfill,
    request: u64,
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let reason = format!("transfers to {} for payment {}: {problem}", open.address, open.payment);
    let letter =
        DeadLetterId::derive(&[b"backfill_incomplete", &chain.id.0.to_be_bytes(), &request.to_be_bytes()]);
    match record(open.payment, open.address, open.token, open.search, chain, context)? {
        Some(record) => letters::emit("backfill_incomplete", reason, letter, &record, chain, context),
        None => Ok(()),
    }
}
