//! Claimed transactions: what the payment's own payer has sent to the shared address in this transaction, and what is not
//! another payment's by its exact amount, is the payment's. A claim looks back first, as far as the payment's time goes, and then
//! waits. What does not count is refused with the reason, and can be claimed for another payment.
//!
//! A transfer that was counted stays the payment's ([`CLAIMED`]); in whichever block its transaction comes again, it is looked
//! at anew.

use streambook_model::{
    bytes::{Address, TxHash},
    chain::ChainId,
    records::chain::{ClaimRefused, TokenTransfer, WatchTransaction},
    time::Timestamp,
    topics,
};
use streambook_runtime::processor::{Context, Fault};

use super::{
    MAX_HALTED_WATCHES, MAX_LOOK_BACK,
    change::BlockRef,
    report, settle, shared,
    tables::{Block, CLAIMED, CLAIMS, Chain, Claim, HALTED_CLAIMS, WATCHES, Watch, block_of, transfers_of},
    watches::{self, Owner},
};

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

/// Takes a claim.
pub(super) fn take(
    arrived: &WatchTransaction,
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    watches::check_accepted(&arrived.asset, arrived.token, chain, context)?;
    if !WATCHES.get(&context.state, (chain.id, arrived.address))?.is_some_and(|watches| watches.is_empty()) {
        let reason = format!("{} is not an address that payments share", arrived.address);
        return Err(Fault::dead_letter("address_not_shared", reason));
    }
    let claim = claim_of(arrived, chain.halted.is_some());
    if let Some(known) = CLAIMS.get(&context.state, key(&claim, chain))? {
        if known.watch.payment != claim.watch.payment {
            refuse(&claim, "it is claimed for another payment", chain, context);
        }
        return Ok(());
    }
    watches::check_room(chain, context)?;
    CLAIMS.put(&mut context.state, key(&claim, chain), &claim)?;
    if claim.waits {
        return Ok(HALTED_CLAIMS.put(&mut context.state, key(&claim, chain), &claim)?);
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
    Claim { tx_hash, address, payer, from, until, watch, waits }
}

fn key(claim: &Claim, chain: &Chain) -> (ChainId, TxHash, (Address, Address)) {
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
/// transaction counts.
pub(super) fn refuse_other(
    transfer: &TokenTransfer,
    place: BlockRef,
    block: &Block,
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let Some(claim) = claim_on(transfer, chain, context)?.filter(|claim| !claim.waits) else { return Ok(()) };
    let mut found = Found::default();
    look_at(&claim, place, block, &mut found, chain, context)?;
    decide(&claim, &found, chain, context);
    Ok(())
}

/// The chain goes on: claims that came meanwhile look back.
pub(super) fn look_back_now(chain: &Chain, context: &mut Context<'_>) -> Result<(), Fault> {
    let most = usize::try_from(MAX_HALTED_WATCHES).unwrap_or(usize::MAX);
    for waiting in HALTED_CLAIMS.scan_prefix(&context.state, chain.id, most)? {
        HALTED_CLAIMS.delete(&mut context.state, key(&waiting, chain));
        let claim = Claim { waits: false, ..waiting };
        CLAIMS.put(&mut context.state, key(&claim, chain), &claim)?;
        look_back(&claim, chain, context)?;
    }
    Ok(())
}

/// Counts what is canonical already; refuses the claim where there is something and nothing of it counts. A transaction is in
/// one canonical block at most.
fn look_back(claim: &Claim, chain: &Chain, context: &mut Context<'_>) -> Result<(), Fault> {
    let mut recent = shared::recent_since(claim.from, claim.address, chain, context)?;
    if recent.len() > MAX_LOOK_BACK {
        recent.truncate(MAX_LOOK_BACK);
        watches::tell_incomplete(&claim.watch, &claim.address, None, chain, context)?;
    }
    for of_block in recent.chunk_by(|a, b| a.block == b.block) {
        let Some(place) = of_block.first().map(|recent| recent.block) else { continue };
        if !shared::is_canonical(place.number, &place.hash, chain, context)? {
            continue;
        }
        let block = block_of(chain, &place.hash, context)?;
        let mut found = Found::default();
        look_at(claim, place, &block, &mut found, chain, context)?;
        for transfer in &found.to_count {
            count(&claim.watch, transfer, place, &block, chain, context)?;
        }
        decide(claim, &found, chain, context);
    }
    Ok(())
}

fn look_at(
    claim: &Claim,
    place: BlockRef,
    block: &Block,
    found: &mut Found,
    chain: &Chain,
    context: &Context<'_>,
) -> Result<(), Fault> {
    let wanted = (claim.tx_hash, claim.address, claim.watch.token);
    for transfer in transfers_of(chain, block, &place.hash, context)? {
        if (transfer.tx_hash, transfer.to, transfer.token) != wanted {
            continue;
        }
        match watches::owner_of(&transfer, place, block.time, chain, context)? {
            Owner::Claim(_) => found.to_count.push(transfer),
            Owner::Watch(watch) | Owner::Exact(watch) if watch.payment == claim.watch.payment => {
                found.is_own = true;
            }
            Owner::Watch(_) | Owner::Exact(_) => found.is_anothers = true,
            Owner::Unmatched | Owner::OtherToken(_) | Owner::Nobody => found.is_nobodys = true,
        }
    }
    Ok(())
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
