//! Transfers that are older than the look-back window. Their blocks are forgotten here, so the chain's connector is asked to
//! search them, and what it answers is reported like everything else.
//!
//! - A watch that was made before the oldest block that is still kept asks by itself: it came late, and what was sent to it
//!   meanwhile may be forgotten. An operator or a claim asks by a record ([`RequestBackfill`]).
//! - The request names the highest block to search by its hash: it is final, and every block of the answer is an ancestor of it.
//! - A watch is told by itself of everything from its `known_from` on, so only what is below counts in an answer; and what one
//!   answer has reported does not count in another ([`BACKFILLED`]). So each inclusion is reported once.
//! - An answer that lacks something says why: a dead letter, `backfill_incomplete`, with the request.

use streambook_model::{
    bytes::{Address, TxHash},
    chain::BlockNumber,
    id::{DeadLetterId, PaymentId},
    message::Message,
    records::{
        backfill::{BackfillClosed, BackfillRequested, BackfilledBlock, ChainBackfill, RequestBackfill},
        chain::TokenTransfer,
    },
    time::Timestamp,
    topics,
};
use streambook_runtime::processor::{Context, Fault};

use super::{
    MAX_OPEN_BACKFILLS,
    change::BlockRef,
    letters, report, settle,
    tables::{BACKFILLED, BACKFILLS, BLOCKS, Backfill, Block, CANONICAL, Chain, WATCHES, Watch},
};

/// The clock of whoever made a payment and the time of a block may differ by so much, in seconds, but never by more than half
/// of the look-back window.
const CLOCKS_DIFFER_SECONDS: u32 = 600;

/// What is searched for.
#[derive(Debug, Clone, Copy, Default)]
struct Search {
    since: Option<Timestamp>,
    from: Option<BlockNumber>,
    tx_hash: Option<TxHash>,
    payer: Option<Address>,
}

/// Takes a request.
pub(super) fn take(
    request: &RequestBackfill,
    chain: &mut Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    if chain.halted.is_some() {
        let reason = format!("chain {} is halted; retry when it goes on", chain.id);
        return Err(Fault::dead_letter("chain_halted", reason));
    }
    let watch = watch_of(request.payment, &request.address, &request.token, chain, context)?;
    let Some(watch) = watch else {
        let watches = WATCHES.get(&context.state, (chain.id, request.address))?;
        let why = match watches {
            Some(own) if own.is_empty() => {
                "is shared by payments, and only an address of a payment's own is searched for"
            }
            _ => "is not watched for the payment",
        };
        let reason = format!("{} {why} (payment {})", request.address, request.payment);
        return Err(Fault::dead_letter("unknown_watch", reason));
    };
    let (since, from) = (request.since, request.from_number);
    let search = Search { since, from, tx_hash: request.tx_hash, payer: request.payer };
    match ask(&watch, &request.address, search, chain, context)? {
        Some(refused) => Err(Fault::dead_letter(refused.code, refused.reason)),
        None => Ok(()),
    }
}

/// A watch has just looked back. Asks for what was sent before, where it was made before the oldest block that is kept.
pub(super) fn ask_if_older(
    watch: &Watch,
    address: &Address,
    made_at: Timestamp,
    chain: &mut Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let differ = CLOCKS_DIFFER_SECONDS.min(chain.look_back_seconds / 2);
    let since = Timestamp::from_millis(made_at.millis().saturating_sub(i64::from(differ) * 1_000));
    if chain.forgotten_until.is_none_or(|forgotten| forgotten < since) {
        return Ok(());
    }
    let search = Search { since: Some(since), ..Search::default() };
    let Some(refused) = ask(watch, address, search, chain, context)? else { return Ok(()) };
    // The watch itself is taken; what is missing can be asked for again.
    let letter = DeadLetterId::derive(&[refused.code.as_bytes(), watch.payment.bits()]);
    let reason = format!("{} (payment {})", refused.reason, watch.payment);
    let record = record(watch.payment, *address, watch.token, search, chain, context);
    letters::emit(refused.code, reason, letter, &record, chain, context)
}

/// Why a search cannot be asked for.
struct Refused {
    code: &'static str,
    reason: String,
}

fn ask(
    watch: &Watch,
    address: &Address,
    search: Search,
    chain: &mut Chain,
    context: &mut Context<'_>,
) -> Result<Option<Refused>, Fault> {
    if chain.open_backfills >= MAX_OPEN_BACKFILLS {
        let reason = format!("{MAX_OPEN_BACKFILLS} backfills of chain {} are open; retry later", chain.id);
        return Ok(Some(Refused { code: "too_many_backfills", reason }));
    }
    let Some(top) = highest_forgotten(chain, context)? else {
        let reason = format!("chain {} has no block below those that are kept", chain.id);
        return Ok(Some(Refused { code: "nothing_older", reason }));
    };
    chain.backfills = chain.backfills.saturating_add(1);
    chain.open_backfills = chain.open_backfills.saturating_add(1);
    let Search { since, from, tx_hash, payer } = search;
    let (payment, address, token) = (watch.payment, *address, watch.token);
    let open = Backfill { payment, address, token, top, since, from, tx_hash, payer };
    BACKFILLS.put(&mut context.state, (chain.id, chain.backfills), &open)?;
    let requested = BackfillRequested {
        meta: context.meta(context.input().occurred_at),
        chain: chain.id,
        request: chain.backfills,
        merchant: watch.merchant,
        payment,
        address,
        top_number: top.number,
        top_hash: top.hash,
        since,
        from_number: from,
        tx_hash,
    };
    context.emit(topics::CHAIN_REQUESTS, chain.id.to_string(), requested);
    Ok(None)
}

/// The parent of the lowest canonical block that is kept: final, or below the first block that was ever read.
fn highest_forgotten(chain: &Chain, context: &Context<'_>) -> Result<Option<BlockRef>, Fault> {
    let Some(lowest) = lowest_kept(chain, context)? else { return Ok(None) };
    let number = lowest.0.checked_sub(1).map(BlockNumber);
    let hash = CANONICAL.get(&context.state, (chain.id, lowest))?;
    let block = hash.map(|hash| BLOCKS.get(&context.state, (chain.id, hash))).transpose()?.flatten();
    Ok(number.zip(block).map(|(number, block)| BlockRef { number, hash: block.parent }))
}

/// From which height on a watch that comes now is told of everything; none before the first block.
pub(super) fn known_from(chain: &Chain, context: &Context<'_>) -> Result<Option<BlockNumber>, Fault> {
    Ok(lowest_kept(chain, context)?.or(chain.first_block))
}

/// The height of the lowest canonical block that is kept; none before there is one. Of a height some blocks may be forgotten
/// and others not, so the canonical one is there, or at the next.
fn lowest_kept(chain: &Chain, context: &Context<'_>) -> Result<Option<BlockNumber>, Fault> {
    let lowest = chain.pruned_below;
    for number in [lowest, BlockNumber(lowest.0.saturating_add(1))] {
        let hash = CANONICAL.get(&context.state, (chain.id, number))?;
        let block = hash.map(|hash| BLOCKS.get(&context.state, (chain.id, hash))).transpose()?.flatten();
        if block.is_some() {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

/// Takes an answer. One to a request that is not open was taken before. On a halted chain nothing is reported: the connector
/// answers again once the chain goes on.
pub(super) fn answered(
    answer: &ChainBackfill,
    chain: &mut Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let open = BACKFILLS.get(&context.state, (chain.id, answer.request))?;
    let Some(open) = open.filter(|_| chain.halted.is_none()) else { return Ok(()) };
    BACKFILLS.delete(&mut context.state, (chain.id, answer.request));
    chain.open_backfills = chain.open_backfills.saturating_sub(1);
    let mut reported = 0_u32;
    for block in &answer.blocks {
        reported = reported.saturating_add(report_block(block, &open, chain, context)?);
    }
    settle::all(chain, context)?;
    if let Some(problem) = &answer.problem {
        tell_incomplete(problem, &open, answer.request, chain, context)?;
    }
    let closed = BackfillClosed {
        meta: context.meta(context.input().occurred_at),
        chain: chain.id,
        request: answer.request,
        payment: open.payment,
        from_number: answer.from_number,
        reported,
        problem: answer.problem.clone(),
    };
    context.emit(topics::CHAIN_REQUESTS, chain.id.to_string(), closed);
    Ok(())
}

/// Reports what is new in a block of an answer; gives how much that was.
fn report_block(
    found: &BackfilledBlock,
    open: &Backfill,
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<u32, Fault> {
    let Some(watch) = watch_of(open.payment, &open.address, &open.token, chain, context)? else {
        return Ok(0);
    };
    let known_from = watch.known_from.or(chain.first_block);
    let is_older = known_from.is_some_and(|known_from| found.number < known_from);
    if !is_older || found.number > open.top.number {
        return Ok(0);
    }
    let mut reported = 0_u32;
    for transfer in &found.transfers {
        if is_asked_for(transfer, open) {
            let is_new = report_transfer(transfer, found, &watch, chain, context)?;
            reported = reported.saturating_add(u32::from(is_new));
        }
    }
    Ok(reported)
}

fn is_asked_for(transfer: &TokenTransfer, open: &Backfill) -> bool {
    let is_something = transfer.value.as_bytes().iter().any(|byte| *byte != 0);
    is_something
        && transfer.to == open.address
        && open.tx_hash.is_none_or(|wanted| wanted == transfer.tx_hash)
        && open.payer.is_none_or(|payer| payer == transfer.from)
}

fn is_first_time(
    transfer: &TokenTransfer,
    found: &BackfilledBlock,
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<bool, Fault> {
    let key = (chain.id, transfer.to, (found.number, found.hash, transfer.log_index));
    let is_first = BACKFILLED.get(&context.state, key)?.is_none();
    BACKFILLED.put(&mut context.state, key, &())?;
    Ok(is_first)
}

/// Says whether it is reported for the first time. A block of an answer is final, so it has become canonical once as far as
/// anybody was told.
fn report_transfer(
    transfer: &TokenTransfer,
    found: &BackfilledBlock,
    watch: &Watch,
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<bool, Fault> {
    let place = BlockRef { number: found.number, hash: found.hash };
    let block = Block {
        number: found.number,
        parent: found.parent_hash,
        time: found.timestamp,
        times_canonical: 1,
        has_transfers: true,
        linked: true,
        settings: chain.settings,
    };
    if transfer.token == watch.token {
        let is_first = is_first_time(transfer, found, chain, context)?;
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
    let Backfill { since, from, tx_hash, payer, .. } = *open;
    let search = Search { since, from, tx_hash, payer };
    let record = record(open.payment, open.address, open.token, search, chain, context);
    letters::emit("backfill_incomplete", reason, letter, &record, chain, context)
}

/// The request as a record, for a letter.
fn record(
    payment: PaymentId,
    address: Address,
    token: Address,
    search: Search,
    chain: &Chain,
    context: &Context<'_>,
) -> Message {
    let Search { since, from, tx_hash, payer } = search;
    let meta = context.meta(context.input().occurred_at);
    let record = RequestBackfill {
        meta,
        chain: chain.id,
        payment,
        address,
        token,
        since,
        from_number: from,
        tx_hash,
        payer,
    };
    record.into()
}

fn watch_of(
    payment: PaymentId,
    address: &Address,
    token: &Address,
    chain: &Chain,
    context: &Context<'_>,
) -> Result<Option<Watch>, Fault> {
    let watches = WATCHES.get(&context.state, (chain.id, address))?.unwrap_or_default();
    Ok(watches.into_iter().find(|watch| (watch.payment, &watch.token) == (payment, token)))
}
