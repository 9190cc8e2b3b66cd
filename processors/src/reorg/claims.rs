//! Claimed transactions: what the payment's own payer has sent to the shared address in this transaction, and what is not
//! another payment's by its exact amount, is the payment's. A claim looks back first, as far as the payment's time goes, and then
//! waits. Where blocks of that time are kept no longer, its transaction is looked up there ([`backfill`]) and judged the same way.
//! What does not count is refused with the reason, and can be claimed for another payment.
//!
//! A transfer that was counted stays the payment's ([`CLAIMED`]); in whichever block its transaction comes again, it is looked
//! at anew.

use streambook_model::{
    bytes::{Address, TxHash},
    chain::ChainId,
    id::PaymentId,
    message::Message,
    records::{
        backfill::ChainBackfill,
        chain::{ClaimRefused, TokenTransfer, WatchTransaction},
    },
    time::Timestamp,
    topics,
};
use streambook_runtime::processor::{Context, Fault};

use super::{
    MAX_HALTED_WATCHES, MAX_LOOK_BACK, backfill,
    change::BlockRef,
    report, settle, shared,
    tables::{Backfill, Block, CLAIMED, CLAIMS, Chain, Claim, HALTED_CLAIMS, Watch, block_of, transfers_of},
    watches::{self, Owner},
};

type Key = (ChainId, TxHash, (Address, Address));

/// What a claim's transaction has at the address.
#[derive(Debug, Default)]
struct Found {
    /// What is to be counted for the claim.
    to_count: Vec<TokenTransfer>,
    /// Something is the payment's already.
    is_own: bool,
    is_anothers: bool,
    is_nobodys: bool,
}

/// Takes a claim. One that is here already looks again, where nothing was found for it: a letter about it is retried.
pub(super) fn take(
    arrived: &WatchTransaction,
    chain: &mut Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    watches::check_accepted(&arrived.asset, arrived.token, chain, context)?;
    if !shared::is_shared(arrived.address, chain, context)? {
        let reason = format!("{} is not an address that payments share", arrived.address);
        return Err(Fault::dead_letter("address_not_shared", reason));
    }
    let claim = claim_of(arrived, chain.halted.is_some());
    match CLAIMS.get(&context.state, key(&claim, chain))? {
        Some(known) if known.watch.payment != claim.watch.payment => {
            refuse(&claim, "it is claimed for another payment", chain, context);
            return Ok(());
        }
        Some(known) if known.waits || known.looked_up || chain.halted.is_some() => return Ok(()),
        Some(_) => {}
        None => {
            watches::check_room(chain, context)?;
            CLAIMS.put(&mut context.state, key(&claim, chain), &claim)?;
            if claim.waits {
                return Ok(HALTED_CLAIMS.put(&mut context.state, key(&claim, chain), &claim)?);
            }
        }
    }
    look_back(&claim, chain, context)?;
    settle::all(chain, context)
}

fn claim_of(arrived: &WatchTransaction, waits: bool) -> Claim {
    let watch = Watch {
        merchant: arrived.merchant,
        payment: arrived.payment,
        asset: arrived.asset.clone(),
        token: arrived.token,
        deadline: arrived.deadline,
        policy: arrived.policy,
        known_from: None,
    };
    let WatchTransaction { tx_hash, address, payer, from, until, .. } = *arrived;
    Claim { tx_hash, address, payer, from, until, watch, waits, looked_up: false }
}

fn key(claim: &Claim, chain: &Chain) -> Key {
    (chain.id, claim.tx_hash, (claim.address, claim.watch.token))
}

/// The payment that a transfer is claimed for, if it counts.
pub(super) fn claimant(
    transfer: &TokenTransfer,
    time: Timestamp,
    chain: &Chain,
    context: &Context<'_>,
) -> Result<Option<Watch>, Fault> {
    let counts = |claim: &Claim| {
        claim.payer == transfer.from && (claim.from..=claim.until).contains(&time) && !claim.waits
    };
    Ok(claim_on(transfer, chain, context)?.filter(counts).map(|claim| claim.watch))
}

fn claim_on(transfer: &TokenTransfer, chain: &Chain, context: &Context<'_>) -> Result<Option<Claim>, Fault> {
    Ok(CLAIMS.get(&context.state, (chain.id, transfer.tx_hash, (transfer.to, transfer.token)))?)
}

/// Counts a transfer for its claim.
pub(super) fn count(
    watch: &Watch,
    transfer: &TokenTransfer,
    place: BlockRef,
    block: &Block,
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    CLAIMED.put(&mut context.state, (chain.id, place.hash, transfer.log_index), watch)?;
    report::seen(watch, transfer, place, block, chain, context)
}

/// A transfer of a claimed transaction came and is nobody's, or another's: its claim is refused, unless another of the
/// transaction counts. `of_block` are its block's transfers to the address, at least.
pub(super) fn refuse_other(
    transfer: &TokenTransfer,
    of_block: &[TokenTransfer],
    place: BlockRef,
    block: &Block,
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let Some(claim) = claim_on(transfer, chain, context)?.filter(|claim| !claim.waits) else { return Ok(()) };
    let found = look_at(&claim, of_block, place, block, chain, context)?;
    decide(&claim, &found, chain, context);
    Ok(())
}

/// The chain goes on: claims that came meanwhile look back.
pub(super) fn look_back_now(chain: &mut Chain, context: &mut Context<'_>) -> Result<(), Fault> {
    let most = usize::try_from(MAX_HALTED_WATCHES).unwrap_or(usize::MAX);
    for waiting in HALTED_CLAIMS.scan_prefix(&context.state, chain.id, most)? {
        HALTED_CLAIMS.delete(&mut context.state, key(&waiting, chain));
        let claim = Claim { waits: false, ..waiting };
        CLAIMS.put(&mut context.state, key(&claim, chain), &claim)?;
        look_back(&claim, chain, context)?;
    }
    Ok(())
}

/// Counts what is canonical already, and has older blocks searched where nothing is.
fn look_back(claim: &Claim, chain: &mut Chain, context: &mut Context<'_>) -> Result<(), Fault> {
    if !count_recent(claim, chain, context)? && backfill::ask_for_claim(claim, chain, context)? {
        let asked = Claim { looked_up: true, ..claim.clone() };
        CLAIMS.put(&mut context.state, key(claim, chain), &asked)?;
    }
    Ok(())
}

/// Counts what the blocks that are kept have; refuses the claim where there is something and nothing of it counts. Says whether
/// there is something. A transaction is in one canonical block at most.
fn count_recent(claim: &Claim, chain: &Chain, context: &mut Context<'_>) -> Result<bool, Fault> {
    let mut recent = shared::recent_since(claim.from, claim.address, chain, context)?;
    if recent.len() > MAX_LOOK_BACK {
        recent.truncate(MAX_LOOK_BACK);
        watches::tell_incomplete(&claim.watch, &claim.address, None, chain, context)?;
    }
    let mut is_found = false;
    for of_block in recent.chunk_by(|a, b| a.block == b.block) {
        let Some(place) = of_block.first().map(|recent| recent.block) else { continue };
        if !shared::is_canonical(place.number, &place.hash, chain, context)? {
            continue;
        }
        let block = block_of(chain, &place.hash, context)?;
        let transfers = transfers_of(chain, &block, &place.hash, context)?;
        let found = look_at(claim, &transfers, place, &block, chain, context)?;
        for transfer in &found.to_count {
            count(&claim.watch, transfer, place, &block, chain, context)?;
        }
        decide(claim, &found, chain, context);
        is_found |= found.is_something();
    }
    Ok(is_found)
}

/// The look-up for a claim was answered, and what it found is judged. Says whether the answer has settled it: the claim is
/// decided, or its transaction may still come.
pub(super) fn looked_up(
    answer: &ChainBackfill,
    open: &Backfill,
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<bool, Fault> {
    let Some(tx_hash) = open.search.tx_hash else { return Ok(false) };
    let at = (chain.id, tx_hash, (open.address, open.token));
    let of_payment = |claim: &Claim| claim.watch.payment == open.payment;
    let Some(claim) = CLAIMS.get(&context.state, at)?.filter(of_payment) else { return Ok(true) };
    let claim = Claim { looked_up: false, ..claim };
    let mut of_answer = answer.blocks.iter().flat_map(|block| &block.transfers);
    let is_wanted = |transfer: &TokenTransfer| {
        (transfer.tx_hash, transfer.to, transfer.token) == (tx_hash, open.address, open.token)
    };
    // The transaction is known as a whole where its block is there and no problem with it.
    let is_known = !answer.blocks.is_empty() && answer.problem.is_none();
    let is_there = of_answer.any(is_wanted);
    if is_known && !is_there {
        CLAIMS.delete(&mut context.state, at);
        refuse(&claim, "it sends nothing of the payment's token to the address", chain, context);
        return Ok(true);
    }
    CLAIMS.put(&mut context.state, at, &claim)?;
    Ok(is_there || answer.not_found)
}

/// A claim as the record that asks for it again; none where it is there no more.
pub(super) fn record(
    payment: PaymentId,
    (tx_hash, address, token): (Option<TxHash>, Address, Address),
    chain: &Chain,
    context: &Context<'_>,
) -> Result<Option<Message>, Fault> {
    let Some(tx_hash) = tx_hash else { return Ok(None) };
    let claim = CLAIMS.get(&context.state, (chain.id, tx_hash, (address, token)))?;
    let Some(claim) = claim.filter(|claim| claim.watch.payment == payment) else { return Ok(None) };
    let Claim { payer, from, until, watch, .. } = claim;
    let record = WatchTransaction {
        meta: context.meta(context.input().occurred_at),
        chain: chain.id,
        merchant: watch.merchant,
        payment,
        address,
        asset: watch.asset,
        token,
        tx_hash,
        payer,
        deadline: watch.deadline,
        from,
        until,
        policy: watch.policy,
    };
    Ok(Some(record.into()))
}

fn look_at(
    claim: &Claim,
    of_block: &[TokenTransfer],
    place: BlockRef,
    block: &Block,
    chain: &Chain,
    context: &Context<'_>,
) -> Result<Found, Fault> {
    let wanted = (claim.tx_hash, claim.address, claim.watch.token);
    let mut found = Found::default();
    for transfer in of_block {
        if (transfer.tx_hash, transfer.to, transfer.token) != wanted {
            continue;
        }
        match watches::owner_of(transfer, place, block.time, chain, context)? {
            Owner::Claim(_) => found.to_count.push(transfer.clone()),
            Owner::Watch(watch) | Owner::Exact(watch) if watch.payment == claim.watch.payment => {
                found.is_own = true;
            }
            Owner::Watch(_) | Owner::Exact(_) => found.is_anothers = true,
            Owner::Unmatched | Owner::OtherToken(_) | Owner::Nobody => found.is_nobodys = true,
        }
    }
    Ok(found)
}

impl Found {
    fn is_something(&self) -> bool {
        !self.to_count.is_empty() || self.is_own || self.is_anothers || self.is_nobodys
    }
}

/// A claim of which something was found, and nothing counts, is over.
fn decide(claim: &Claim, found: &Found, chain: &Chain, context: &mut Context<'_>) {
    let reason = match found {
        Found { to_count, is_own, .. } if *is_own || !to_count.is_empty() => return,
        Found { is_anothers: true, .. } => {
            "what it sent to the address is the exact amount of another payment"
        }
        Found { is_nobodys: true, .. } => {
            "what it sent to the address was not sent by the payment's `payer_address`, or not in the payment's time"
        }
        Found { .. } => return,
    };
    CLAIMS.delete(&mut context.state, key(claim, chain));
    refuse(claim, reason, chain, context);
}

fn refuse(claim: &Claim, reason: &str, chain: &Chain, context: &mut Context<'_>) {
    let refused = ClaimRefused {
        meta: context.meta(context.input().occurred_at),
        chain: chain.id,
        merchant: claim.watch.merchant,
        payment: claim.watch.payment,
        tx_hash: claim.tx_hash,
        reason: reason.to_owned(),
    };
    context.emit(topics::BOOK_INBOX, claim.watch.merchant.to_string(), refused);
}
