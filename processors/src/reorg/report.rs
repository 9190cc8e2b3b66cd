//! Reports on watched transfers: to the book of the payment, and public on `chain.transfers`. An inclusion that was
//! reported as seen is open: it waits in one of the tables until it is confirmed, final or orphaned.

use streambook_model::{
    chain::Inclusion,
    money::Amount,
    records::chain::{TokenTransfer, TransferEvent, TransferStatus},
    time::Timestamp,
    topics,
};
use streambook_runtime::processor::{Context, Fault};

use super::{
    change::BlockRef,
    claims, letters, shared,
    tables::{Block, CONFIRMED, CONFIRMING, Chain, Open, TOKENS, UNFINAL, Watch, confirms_at, transfers_of},
    watches::{self, Owner},
};

/// Which reports of a block are taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Those of inclusions that are not final: a reorganisation.
    Open,
    /// Those that were final too: an operator rebuilds the chain.
    Final,
}

/// Reports the watched transfers of a block that became canonical.
pub(super) fn included(
    place: BlockRef,
    block: &Block,
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let transfers = transfers_of(chain, block, &place.hash, context)?;
    for transfer in &transfers {
        match watches::owner_of(transfer, place, block.time, chain, context)? {
            Owner::Watch(watch) => seen(&watch, transfer, place, block, chain, context)?,
            Owner::Exact(watch) => {
                seen(&watch, transfer, place, block, chain, context)?;
                claims::refuse_other(transfer, &transfers, place, block, chain, context)?;
            }
            Owner::Claim(watch) => claims::count(&watch, transfer, place, block, chain, context)?,
            Owner::OtherToken(watch) => unexpected(&watch, transfer, place, block, chain, context)?,
            Owner::Unmatched => shared::unmatched(transfer, &transfers, place, block, chain, context)?,
            Owner::Nobody => {}
        }
    }
    Ok(())
}

/// Takes back what was reported of a block, last first.
pub(super) fn orphaned(
    place: BlockRef,
    block: &Block,
    reach: Reach,
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    for transfer in transfers_of(chain, block, &place.hash, context)?.iter().rev() {
        let owner = watches::owner_of(transfer, place, block.time, chain, context)?;
        let Some(watch) = owner.watch() else { continue };
        let reported = match close(&watch, transfer, place, chain, context)? {
            None if reach == Reach::Final => was_final(&watch, transfer, place, block, chain, context)?,
            open => open,
        };
        if let Some(reported) = reported {
            emit(TransferStatus::Orphaned, &reported, chain, context);
        }
    }
    Ok(())
}

/// An inclusion that was reported and is final, so that it waits nowhere any more: what was said of it follows from its block.
/// `None` where nothing was said: the watch has not looked back yet, or the amount is out of range.
fn was_final(
    watch: &Watch,
    transfer: &TokenTransfer,
    place: BlockRef,
    block: &Block,
    chain: &Chain,
    context: &Context<'_>,
) -> Result<Option<Open>, Fault> {
    let Ok(amount) = Amount::from_token_value(&transfer.value) else { return Ok(None) };
    let unsaid = watches::waits_to_look_back(watch, &transfer.to, chain, context)?;
    Ok((!unsaid).then(|| opened(watch, transfer, amount, place, block)))
}

/// Removes an inclusion from the table it waits in.
fn close(
    watch: &Watch,
    transfer: &TokenTransfer,
    place: BlockRef,
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<Option<Open>, Fault> {
    let by_height = (chain.id, place.number, transfer.log_index);
    let state = &mut context.state;
    if let Some(depth) = watch.policy.depth {
        let at = confirms_at(place.number, depth);
        let by_confirmation = (chain.id, at, (place.number, transfer.log_index));
        if let Some(open) = CONFIRMING.get(state, by_confirmation)? {
            CONFIRMING.delete(state, by_confirmation);
            return Ok(Some(open));
        }
    }
    for table in [UNFINAL, CONFIRMED] {
        if let Some(open) = table.get(state, by_height)? {
            table.delete(state, by_height);
            return Ok(Some(open));
        }
    }
    Ok(None)
}

/// Reports a watched transfer in a canonical block and opens its inclusion.
pub(super) fn seen(
    watch: &Watch,
    transfer: &TokenTransfer,
    place: BlockRef,
    block: &Block,
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let amount = match Amount::from_token_value(&transfer.value) {
        Ok(amount) => amount,
        Err(error) => {
            let reason = format!("{} for payment {}: {error}", transfer.value, watch.payment);
            return letters::transfer("amount_out_of_range", &reason, transfer, place, block, chain, context);
        }
    };
    let open = opened(watch, transfer, amount, place, block);
    emit(TransferStatus::Seen, &open, chain, context);
    match watch.policy.depth {
        Some(depth) => CONFIRMING.put(&mut context.state, open.by_confirmation(chain.id, depth), &open)?,
        None => UNFINAL.put(&mut context.state, open.by_height(chain.id), &open)?,
    }
    Ok(())
}

fn opened(watch: &Watch, transfer: &TokenTransfer, amount: Amount, place: BlockRef, block: &Block) -> Open {
    Open {
        merchant: watch.merchant,
        payment: watch.payment,
        asset: watch.asset.clone(),
        token: transfer.token,
        from: transfer.from,
        to: transfer.to,
        amount,
        block_time: block.time,
        inclusion: Inclusion {
            block_hash: place.hash,
            block_number: place.number,
            tx_hash: transfer.tx_hash,
            log_index: transfer.log_index,
            number: block.times_canonical,
        },
        policy: watch.policy,
    }
}

/// Money in another accepted asset than the payment's cannot be matched, and must not be overlooked. A
/// reorganisation does not take the letter back; one that says it again has the same id.
pub(super) fn unexpected(
    watch: &Watch,
    transfer: &TokenTransfer,
    place: BlockRef,
    block: &Block,
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let Some(asset) = TOKENS.get(&context.state, (chain.id, transfer.token))? else { return Ok(()) };
    let reason = format!(
        "payment {} expects {} and was sent {} of {asset}",
        watch.payment, watch.asset, transfer.value
    );
    letters::transfer("unexpected_token", &reason, transfer, place, block, chain, context)
}

/// Says what has become of an inclusion.
pub(super) fn emit(status: TransferStatus, open: &Open, chain: &Chain, context: &mut Context<'_>) {
    let head_time = chain.head.map_or(open.block_time, |head| head.time);
    let (occurred_at, confirmations) = match status {
        TransferStatus::Seen => (open.block_time, chain.confirmations(open.inclusion.block_number)),
        TransferStatus::Confirmed | TransferStatus::Finalized => {
            (head_time, chain.confirmations(open.inclusion.block_number))
        }
        TransferStatus::Orphaned => (head_time, 0),
    };
    let event = event(status, open, occurred_at, confirmations, chain, context);
    context.emit(topics::BOOK_INBOX, open.merchant.to_string(), event.clone());
    let public = TransferEvent { meta: context.meta(occurred_at), ..event };
    context.emit(topics::CHAIN_TRANSFERS, chain.id.to_string(), public);
}

fn event(
    status: TransferStatus,
    open: &Open,
    occurred_at: Timestamp,
    confirmations: u32,
    chain: &Chain,
    context: &Context<'_>,
) -> TransferEvent {
    TransferEvent {
        meta: context.meta(occurred_at),
        status,
        chain: chain.id,
        merchant: open.merchant,
        payment: open.payment,
        inclusion: open.inclusion,
        asset: open.asset.clone(),
        token: open.token,
        from: open.from,
        to: open.to,
        amount: open.amount,
        block_time: open.block_time,
        confirmations,
    }
}
