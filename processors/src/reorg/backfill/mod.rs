//! Transfers that are older than the look-back window. Their blocks are forgotten here, so the chain's connector is asked to
//! search them, and what it answers is reported like everything else ([`answer`]).
//!
//! - A watch that was made before the oldest block that is still kept asks by itself: it came late, and what was sent to it
//!   meanwhile may be forgotten. So does a claim whose transaction is not in the blocks that are kept. An operator asks by a
//!   record ([`RequestBackfill`]).
//! - The request names the highest block to search by its hash: it is final, and every block of the answer is an ancestor of it.
//! - An answer that lacks something says why: a dead letter, `backfill_incomplete`, with the request or the claim.

mod answer;

use streambook_model::{
    bytes::Address,
    chain::BlockNumber,
    id::{DeadLetterId, PaymentId},
    message::Message,
    records::backfill::{BackfillRequested, RequestBackfill},
    time::Timestamp,
    topics,
};
use streambook_runtime::processor::{Context, Fault};

pub(super) use self::answer::take as answered;
use super::{
    MAX_OPEN_BACKFILLS,
    change::BlockRef,
    claims, letters, shared,
    tables::{BACKFILLS, BLOCKS, Backfill, CANONICAL, Chain, Claim, ExactWatch, Search, WATCHES, Watch},
};

/// The clock of whoever made a payment and the time of a block may differ by so much, in seconds, but never by more than half
/// of the look-back window.
const CLOCKS_DIFFER_SECONDS: u32 = 600;

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
    let watch = match request.exact {
        Some(exact) => {
            shared::watch_of(request.payment, request.address, request.token, exact, chain, context)?
        }
        None => watch_of(request.payment, &request.address, &request.token, chain, context)?,
    };
    let Some(watch) = watch else { return Err(unknown_watch(request, chain, context)?) };
    let RequestBackfill { since, from_number: from, tx_hash, payer, exact, .. } = *request;
    let search = Search { since, from, tx_hash, payer, exact, is_claim: false };
    match ask(&watch, &request.address, search, chain, context)? {
        Some(refused) => Err(Fault::dead_letter(refused.code, refused.reason)),
        None => Ok(()),
    }
}

fn unknown_watch(request: &RequestBackfill, chain: &Chain, context: &Context<'_>) -> Result<Fault, Fault> {
    let is_shared = shared::is_shared(request.address, chain, context)?;
    let why = if is_shared && request.exact.is_none() {
        "is shared by payments, so the request must name the payment's exact amount"
    } else {
        "is not watched for the payment"
    };
    let reason = format!("{} {why} (payment {})", request.address, request.payment);
    Ok(Fault::dead_letter("unknown_watch", reason))
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
    if !forgot_since(since, chain) {
        return Ok(());
    }
    let search = Search { since: Some(since), ..Search::default() };
    ask_or_tell(watch, address, search, chain, context).map(drop)
}

/// The same for a watch of an exact amount: nothing counts for it that is older than where its own time begins.
pub(super) fn ask_for_exact(
    watch: &ExactWatch,
    chain: &mut Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let (since, exact) = (watch.exact.from, Some(watch.exact));
    if !forgot_since(since, chain) {
        return Ok(());
    }
    let search = Search { since: Some(since), exact, ..Search::default() };
    ask_or_tell(&watch.watch, &watch.address, search, chain, context).map(drop)
}

/// A claim has found nothing among the blocks that are kept. Says whether its transaction is looked up among older ones.
pub(super) fn ask_for_claim(
    claim: &Claim,
    chain: &mut Chain,
    context: &mut Context<'_>,
) -> Result<bool, Fault> {
    if !forgot_since(claim.from, chain) {
        return Ok(false);
    }
    let search = Search { tx_hash: Some(claim.tx_hash), is_claim: true, ..Search::default() };
    ask_or_tell(&claim.watch, &claim.address, search, chain, context)
}

/// Whether a block of this time or a later one is kept no longer.
fn forgot_since(since: Timestamp, chain: &Chain) -> bool {
    chain.forgotten_until.is_some_and(|forgotten| forgotten >= since)
}

/// The watch or claim itself is taken; where what is missing cannot be asked for now, a letter says so, and asks again when it
/// is retried.
fn ask_or_tell(
    watch: &Watch,
    address: &Address,
    search: Search,
    chain: &mut Chain,
    context: &mut Context<'_>,
) -> Result<bool, Fault> {
    let Some(refused) = ask(watch, address, search, chain, context)? else { return Ok(true) };
    let transaction = search.tx_hash.map_or_else(Vec::new, |hash| hash.as_bytes().to_vec());
    let letter = DeadLetterId::derive(&[refused.code.as_bytes(), watch.payment.bits(), &transaction]);
    let reason = format!("{} (payment {})", refused.reason, watch.payment);
    if let Some(record) = record(watch.payment, *address, watch.token, search, chain, context)? {
        letters::emit(refused.code, reason, letter, &record, chain, context)?;
    }
    Ok(false)
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
    let (merchant, payment, address, token) = (watch.merchant, watch.payment, *address, watch.token);
    let open = Backfill { merchant, payment, address, token, top, search };
    request(&open, chain, context)?;
    Ok(None)
}

/// Asks the connector.
fn request(open: &Backfill, chain: &mut Chain, context: &mut Context<'_>) -> Result<(), Fault> {
    chain.backfills = chain.backfills.saturating_add(1);
    chain.open_backfills = chain.open_backfills.saturating_add(1);
    BACKFILLS.put(&mut context.state, (chain.id, chain.backfills), open)?;
    let Backfill { merchant, payment, address, top, search, .. } = *open;
    let requested = BackfillRequested {
        meta: context.meta(context.input().occurred_at),
        chain: chain.id,
        request: chain.backfills,
        merchant,
        payment,
        address,
        top_number: top.number,
        top_hash: top.hash,
        since: search.since,
        from_number: search.from,
        tx_hash: search.tx_hash,
    };
    context.emit(topics::CHAIN_REQUESTS, chain.id.to_string(), requested);
    Ok(())
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

/// What asks again, for a letter; none where the claim that asked is there no more.
fn record(
    payment: PaymentId,
    address: Address,
    token: Address,
    search: Search,
    chain: &Chain,
    context: &Context<'_>,
) -> Result<Option<Message>, Fault> {
    if search.is_claim {
        return claims::record(payment, (search.tx_hash, address, token), chain, context);
    }
    let Search { since, from, tx_hash, payer, exact, .. } = search;
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
        exact,
    };
    Ok(Some(record.into()))
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
