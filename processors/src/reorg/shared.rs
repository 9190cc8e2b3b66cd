//! Addresses that payments share: a transfer belongs to the payment whose exact amount it has, in a block of that payment's
//! time. What has no payment's amount is a dead letter with the transaction, so that no money goes unseen.
//!
//! The books give out amounts such that no two watches have one amount at one time; a watch that contradicts this is refused.
//! A watch looks back as far as its own time begins, so what somebody sent before it was made is never credited to it. Where
//! blocks of that time are kept no longer, they are searched ([`backfill`]).
//! A transfer that comes before its watch is reported as unmatched first, and is the payment's once the watch is here.

use streambook_model::{
    bytes::{Address, BlockHash},
    chain::{BlockNumber, ChainId},
    id::PaymentId,
    money::Amount,
    records::chain::{ExactAmount, TokenTransfer, WatchAddress},
    time::Timestamp,
};
use streambook_runtime::processor::{Context, Fault};

use super::{
    MAX_HALTED_WATCHES, MAX_LOOK_BACK, backfill,
    change::BlockRef,
    claims, letters, report, settle,
    tables::{
        BLOCKS, Block, CANONICAL, CLAIMED, Chain, EXACT, ExactWatch, HALTED_EXACT, JUDGED_FROM, LAST_RECENT,
        RECENT, Recent, TOKENS, WATCHES, Watch, block_of, transfers_of,
    },
    watches::{self, Owner},
};

type Key = (ChainId, Address, (Address, Amount, Timestamp));

/// Takes a watch of an exact amount.
pub(super) fn take(
    arrived: &WatchAddress,
    exact: ExactAmount,
    chain: &mut Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let waits = chain.halted.is_some();
    let mut watch = ExactWatch { address: arrived.address, watch: watches::watch_of(arrived), exact, waits };
    if is_known(&watch, chain, context)? {
        return Ok(());
    }
    watches::check_room(chain, context)?;
    mark_shared(&watch, chain, context)?;
    if !waits {
        watch.watch.known_from = backfill::known_from(chain, context)?;
    }
    EXACT.put(&mut context.state, key(&watch, chain), &watch)?;
    watches::note_deadline(&watch.watch, chain, context)?;
    if waits {
        return Ok(HALTED_EXACT.put(&mut context.state, key(&watch, chain), &watch)?);
    }
    tell_recent(&watch, chain, context)?;
    backfill::ask_for_exact(&watch, chain, context)?;
    settle::all(chain, context)
}

fn key(watch: &ExactWatch, chain: &Chain) -> Key {
    (chain.id, watch.address, (watch.watch.token, watch.exact.amount, watch.exact.until))
}

/// Whether the watch is here already.
///
/// # Errors
/// A dead letter where another has its amount at a time that it has it.
fn is_known(watch: &ExactWatch, chain: &Chain, context: &Context<'_>) -> Result<bool, Fault> {
    let ExactAmount { amount, from, until } = watch.exact;
    if !amount.is_positive() || from > until {
        let reason = format!("{amount} from {from} to {until} is no exact amount");
        return Err(Fault::dead_letter("invalid_exact_amount", reason));
    }
    let Some(known) = first_ending(watch.address, watch.watch.token, amount, from, chain, context)? else {
        return Ok(false);
    };
    // What was told of it meanwhile makes it no other.
    let as_it_came = Watch { known_from: None, ..known.watch.clone() };
    if (ExactWatch { waits: watch.waits, watch: as_it_came, ..known }) == *watch {
        return Ok(true);
    }
    if known.exact.from > until {
        return Ok(false);
    }
    let reason = format!("{amount} at {} is payment {}'s at that time", watch.address, known.watch.payment);
    Err(Fault::dead_letter("amount_in_use", reason))
}

/// The first watch of an amount that does not end before a time.
fn first_ending(
    address: Address,
    token: Address,
    amount: Amount,
    time: Timestamp,
    chain: &Chain,
    context: &Context<'_>,
) -> Result<Option<ExactWatch>, Fault> {
    let from: Key = (chain.id, address, (token, amount, time));
    let to: Key = (chain.id, address, (token, amount, Timestamp::from_millis(i64::MAX)));
    Ok(EXACT.scan(&context.state, from, to, 1)?.into_iter().next())
}

/// The watch of a payment with this exact amount.
pub(super) fn watch_of(
    payment: PaymentId,
    address: Address,
    token: Address,
    exact: ExactAmount,
    chain: &Chain,
    context: &Context<'_>,
) -> Result<Option<Watch>, Fault> {
    let found = EXACT.get(&context.state, (chain.id, address, (token, exact.amount, exact.until)))?;
    Ok(found.map(|found| found.watch).filter(|watch| watch.payment == payment))
}

/// Whether payments share the address.
pub(super) fn is_shared(address: Address, chain: &Chain, context: &Context<'_>) -> Result<bool, Fault> {
    Ok(WATCHES.get(&context.state, (chain.id, address))?.is_some_and(|own| own.is_empty()))
}

/// Notes that payments share the address, and from which height on what comes there is judged. It cannot be one payment's own.
fn mark_shared(watch: &ExactWatch, chain: &Chain, context: &mut Context<'_>) -> Result<(), Fault> {
    let at = (chain.id, watch.address);
    match WATCHES.get(&context.state, at)? {
        None => WATCHES.put(&mut context.state, at, &Vec::new())?,
        Some(watches) => {
            if let Some(own) = watches.first() {
                let reason = format!("{} is the address of payment {} alone", watch.address, own.payment);
                return Err(Fault::dead_letter("address_in_use", reason));
            }
        }
    }
    let of_token = (chain.id, watch.address, watch.watch.token);
    if JUDGED_FROM.get(&context.state, of_token)?.is_none() {
        let next = chain.head.map_or(0, |head| head.block.number.0.saturating_add(1));
        JUDGED_FROM.put(&mut context.state, of_token, &BlockNumber(next))?;
    }
    Ok(())
}

/// Whose a transfer to a shared address is: the claim's that it was counted for, else the payment's whose exact amount it has,
/// else that of a claim of its transaction.
pub(super) fn owner_of(
    transfer: &TokenTransfer,
    place: BlockRef,
    time: Timestamp,
    chain: &Chain,
    context: &Context<'_>,
) -> Result<Owner, Fault> {
    let Ok(amount) = Amount::from_token_value(&transfer.value) else { return Ok(Owner::Unmatched) };
    if let Some(watch) = CLAIMED.get(&context.state, (chain.id, place.hash, transfer.log_index))? {
        return Ok(Owner::Watch(watch));
    }
    let found = first_ending(transfer.to, transfer.token, amount, time, chain, context)?;
    match found.filter(|found| found.exact.from <= time && !found.waits) {
        Some(found) => Ok(Owner::Exact(found.watch)),
        None => Ok(claims::claimant(transfer, time, chain, context)?.map_or(Owner::Unmatched, Owner::Claim)),
    }
}

/// What has the amount of no payment. Tokens that were never accepted are ignored, as everywhere.
pub(super) fn unmatched(
    transfer: &TokenTransfer,
    of_block: &[TokenTransfer],
    place: BlockRef,
    block: &Block,
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    claims::refuse_other(transfer, of_block, place, block, chain, context)?;
    put_aside(transfer, place, block, chain, context)
}

/// Whether a token is accepted, or was once.
pub(super) fn is_accepted(token: Address, chain: &Chain, context: &Context<'_>) -> Result<bool, Fault> {
    Ok(TOKENS.get(&context.state, (chain.id, token))?.is_some())
}

/// Puts a transfer aside, as far as its token is accepted.
pub(super) fn put_aside(
    transfer: &TokenTransfer,
    place: BlockRef,
    block: &Block,
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let Some(asset) = TOKENS.get(&context.state, (chain.id, transfer.token))? else { return Ok(()) };
    let reason = format!(
        "{} of {asset} was sent by {} to {}, which payments share, and is the exact amount of none at the block's time",
        transfer.value, transfer.from, transfer.to
    );
    letters::transfer("unmatched_transfer", &reason, transfer, place, block, chain, context)
}

/// The chain goes on: watches that came meanwhile look back.
pub(super) fn look_back_now(chain: &mut Chain, context: &mut Context<'_>) -> Result<(), Fault> {
    let most = usize::try_from(MAX_HALTED_WATCHES).unwrap_or(usize::MAX);
    let known_from = backfill::known_from(chain, context)?;
    for waiting in HALTED_EXACT.scan_prefix(&context.state, chain.id, most)? {
        HALTED_EXACT.delete(&mut context.state, key(&waiting, chain));
        let told = Watch { known_from, ..waiting.watch };
        let watch = ExactWatch { waits: false, watch: told, ..waiting };
        EXACT.put(&mut context.state, key(&watch, chain), &watch)?;
        tell_recent(&watch, chain, context)?;
        backfill::ask_for_exact(&watch, chain, context)?;
    }
    Ok(())
}

/// Reports what the look-back window holds of the amount, from the watch's own time on, in the order of the chain.
fn tell_recent(watch: &ExactWatch, chain: &Chain, context: &mut Context<'_>) -> Result<(), Fault> {
    let mut recent = recent_since(watch.exact.from, watch.address, chain, context)?;
    if recent.len() > MAX_LOOK_BACK {
        recent.truncate(MAX_LOOK_BACK);
        watches::tell_incomplete(&watch.watch, &watch.address, Some(watch.exact), chain, context)?;
    }
    for of_block in recent.chunk_by(|a, b| a.block == b.block) {
        tell_block(watch, of_block, chain, context)?;
    }
    Ok(())
}

/// What came to an address in blocks not older than a time, in their order: one more than [`MAX_LOOK_BACK`] at most.
pub(super) fn recent_since(
    time: Timestamp,
    address: Address,
    chain: &Chain,
    context: &Context<'_>,
) -> Result<Vec<Recent>, Fault> {
    let (Some(head), Some(last)) = (chain.head, LAST_RECENT.get(&context.state, (chain.id, address))?) else {
        return Ok(Vec::new());
    };
    let first = first_since(time, head.block.number, chain, context)?;
    if last.number < first {
        return Ok(Vec::new());
    }
    let to = BlockNumber(head.block.number.0.saturating_add(1));
    let limit = MAX_LOOK_BACK.saturating_add(1);
    Ok(RECENT.scan(&context.state, (chain.id, address, first), (chain.id, address, to), limit)?)
}

/// The lowest canonical block that is not older than a time, among those that are kept. Times never fall along a branch.
fn first_since(
    time: Timestamp,
    head: BlockNumber,
    chain: &Chain,
    context: &Context<'_>,
) -> Result<BlockNumber, Fault> {
    let (mut low, mut high) = (chain.pruned_below.0, head.0);
    while low < high {
        let middle = low + (high - low) / 2;
        if time_at(BlockNumber(middle), chain, context)?.is_some_and(|at| at >= time) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(BlockNumber(low))
}

/// A canonical block's time; none of the block below the first, which is not kept.
fn time_at(number: BlockNumber, chain: &Chain, context: &Context<'_>) -> Result<Option<Timestamp>, Fault> {
    let Some(hash) = CANONICAL.get(&context.state, (chain.id, number))? else { return Ok(None) };
    Ok(BLOCKS.get(&context.state, (chain.id, hash))?.map(|block| block.time))
}

fn tell_block(
    watch: &ExactWatch,
    recent: &[Recent],
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let Some(place) = recent.first().map(|recent| recent.block) else { return Ok(()) };
    if !is_canonical(place.number, &place.hash, chain, context)? {
        return Ok(());
    }
    let block = block_of(chain, &place.hash, context)?;
    for transfer in transfers_of(chain, &block, &place.hash, context)? {
        let is_told =
            transfer.to == watch.address && recent.iter().any(|of| of.log_index == transfer.log_index);
        let owner = owner_of(&transfer, place, block.time, chain, context)?;
        if is_told && owner == Owner::Exact(watch.watch.clone()) {
            report::seen(&watch.watch, &transfer, place, &block, chain, context)?;
        }
    }
    Ok(())
}

/// Whether a block is canonical.
pub(super) fn is_canonical(
    number: BlockNumber,
    hash: &BlockHash,
    chain: &Chain,
    context: &Context<'_>,
) -> Result<bool, Fault> {
    Ok(CANONICAL.get(&context.state, (chain.id, number))?.as_ref() == Some(hash))
}
