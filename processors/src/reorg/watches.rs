//! A book asks to be told of transfers to an address. The watch looks back first: what is canonical already is reported
//! at once. It stays for ever, since late payments are reported too; only its deadline passes, once.
//!
//! One payment owns an address and token. A second payment's watch on the same pair is refused, so the same money can
//! never be reported for two payments; payments that share an address are told apart by exact amounts ([`shared`]). On a halted chain a watch is stored and looks back at nothing, since what is
//! canonical there is in doubt: it looks back when the chain goes on ([`look_back_now`]).

use streambook_model::{
    asset::AssetId,
    bytes::Address,
    id::DeadLetterId,
    message::Message,
    records::chain::{ExactAmount, TokenTransfer, WatchAddress},
    time::Timestamp,
};
use streambook_runtime::processor::{Context, Fault};

use super::{
    MAX_HALTED_WATCHES, MAX_LOOK_BACK, backfill,
    change::BlockRef,
    claims, letters, report, settle, shared,
    tables::{
        CANONICAL, Chain, DEADLINES, Due, HALTED, HALTED_CLAIMS, HALTED_EXACT, HaltedWatch, LAST_RECENT,
        RECENT, Recent, TOKENS, WATCHES, Watch, block_of, transfers_of,
    },
};

/// Which transfers of the look-back window a new watch is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LookBack {
    /// Those of its token, and as unmatched those of other accepted tokens: it is the address's first watch.
    AllTokens,
    /// Those of its token: the address was watched before.
    OwnToken,
}

/// Takes a watch.
pub(super) fn take(
    arrived: &WatchAddress,
    chain: &mut Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    check_accepted(&arrived.asset, arrived.token, chain, context)?;
    if let Some(exact) = arrived.exact {
        return shared::take(arrived, exact, chain, context);
    }
    let known = WATCHES.get(&context.state, (chain.id, arrived.address))?;
    if known.as_ref().is_some_and(Vec::is_empty) {
        let reason = format!("{} is an address that payments share by exact amounts", arrived.address);
        return Err(Fault::dead_letter("address_in_use", reason));
    }
    let mut watches = known.unwrap_or_default();
    let mut watch = watch_of(arrived);
    if let Some(known) = watches.iter().find(|known| known.token == watch.token) {
        watch.known_from = known.known_from;
        return if *known == watch { Ok(()) } else { Err(taken(arrived, known)) };
    }
    check_room(chain, context)?;
    if chain.halted.is_none() {
        watch.known_from = backfill::known_from(chain, context)?;
    }
    let look_back = if watches.is_empty() { LookBack::AllTokens } else { LookBack::OwnToken };
    watches.push(watch.clone());
    WATCHES.put(&mut context.state, (chain.id, arrived.address), &watches)?;
    note_deadline(&watch, chain, context)?;
    if chain.halted.is_some() {
        return keep_for_later(&watch, look_back, arrived, chain, context);
    }
    tell_recent(&watch, look_back, &arrived.address, chain, context)?;
    backfill::ask_if_older(&watch, &arrived.address, arrived.meta.occurred_at, chain, context)?;
    settle::all(chain, context)
}

/// Refuses what the settings do not know.
pub(super) fn check_accepted(
    asset: &AssetId,
    token: Address,
    chain: &Chain,
    context: &Context<'_>,
) -> Result<(), Fault> {
    if chain.settings.is_none() {
        let reason = format!("chain {} is not in the settings; add it and retry", chain.id);
        return Err(Fault::dead_letter("unknown_chain", reason));
    }
    if TOKENS.get(&context.state, (chain.id, token))?.as_ref() != Some(asset) {
        let reason = format!("{token} is not {asset} in the settings; correct them and retry");
        return Err(Fault::dead_letter("unlisted_token", reason));
    }
    Ok(())
}

/// Nothing is due at a deadline before the chain's time passes it.
pub(super) fn note_deadline(watch: &Watch, chain: &Chain, context: &mut Context<'_>) -> Result<(), Fault> {
    let due = Due { deadline: watch.deadline, merchant: watch.merchant, payment: watch.payment };
    Ok(DEADLINES.put(&mut context.state, (chain.id, due.deadline, due.payment), &due)?)
}

pub(super) fn watch_of(arrived: &WatchAddress) -> Watch {
    Watch {
        merchant: arrived.merchant,
        payment: arrived.payment,
        asset: arrived.asset.clone(),
        token: arrived.token,
        deadline: arrived.deadline,
        policy: arrived.policy,
        known_from: None,
    }
}

fn taken(arrived: &WatchAddress, known: &Watch) -> Fault {
    let reason = format!("{} is watched for {} of payment {}", arrived.address, known.asset, known.payment);
    Fault::dead_letter("address_in_use", reason)
}

/// Refuses a watch where the chain is halted and too many wait.
pub(super) fn check_room(chain: &Chain, context: &Context<'_>) -> Result<(), Fault> {
    if chain.halted.is_none() {
        return Ok(());
    }
    let most = usize::try_from(MAX_HALTED_WATCHES).unwrap_or(usize::MAX);
    let waiting = [
        HALTED.scan_prefix(&context.state, chain.id, most)?.len(),
        HALTED_EXACT.scan_prefix(&context.state, chain.id, most)?.len(),
        HALTED_CLAIMS.scan_prefix(&context.state, chain.id, most)?.len(),
    ];
    if waiting.iter().sum::<usize>() < most {
        return Ok(());
    }
    let reason =
        format!("chain {} is halted and {MAX_HALTED_WATCHES} watches wait; retry when it goes on", chain.id);
    Err(Fault::dead_letter("chain_halted", reason))
}

fn keep_for_later(
    watch: &Watch,
    look_back: LookBack,
    arrived: &WatchAddress,
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let (address, is_first) = (arrived.address, look_back == LookBack::AllTokens);
    let made_at = arrived.meta.occurred_at;
    let waiting = HaltedWatch { address, token: watch.token, is_first, made_at };
    Ok(HALTED.put(&mut context.state, (chain.id, address, watch.token), &waiting)?)
}

/// Whether a watch came while the chain was halted and has been told of nothing yet.
pub(super) fn waits_to_look_back(
    watch: &Watch,
    address: &Address,
    chain: &Chain,
    context: &Context<'_>,
) -> Result<bool, Fault> {
    Ok(HALTED.get(&context.state, (chain.id, address, watch.token))?.is_some())
}

/// The chain goes on: watches that came meanwhile look back.
pub(super) fn look_back_now(chain: &mut Chain, context: &mut Context<'_>) -> Result<(), Fault> {
    let most = usize::try_from(MAX_HALTED_WATCHES).unwrap_or(usize::MAX);
    let known_from = backfill::known_from(chain, context)?;
    for waiting in HALTED.scan_prefix(&context.state, chain.id, most)? {
        HALTED.delete(&mut context.state, (chain.id, waiting.address, waiting.token));
        let mut watches = WATCHES.get(&context.state, (chain.id, waiting.address))?.unwrap_or_default();
        let Some(watch) = watches.iter_mut().find(|watch| watch.token == waiting.token) else { continue };
        watch.known_from = known_from;
        let watch = watch.clone();
        WATCHES.put(&mut context.state, (chain.id, waiting.address), &watches)?;
        let look_back = if waiting.is_first { LookBack::AllTokens } else { LookBack::OwnToken };
        tell_recent(&watch, look_back, &waiting.address, chain, context)?;
        backfill::ask_if_older(&watch, &waiting.address, waiting.made_at, chain, context)?;
    }
    shared::look_back_now(chain, context)?;
    claims::look_back_now(chain, context)
}

/// Whose a transfer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// This watch's payment's.
    Watch(Watch),
    /// This watch's payment's, by its exact amount at a shared address.
    Exact(Watch),
    /// This watch's payment's, since its transaction is claimed.
    Claim(Watch),
    /// Another token went to the address of this watch's payment.
    OtherToken(Watch),
    /// It went to an address that payments share, and is none's.
    Unmatched,
    /// The address is not watched.
    Nobody,
}

impl Owner {
    /// The watch whose payment's it is.
    pub(super) fn watch(self) -> Option<Watch> {
        match self {
            Self::Watch(watch) | Self::Exact(watch) | Self::Claim(watch) => Some(watch),
            Self::OtherToken(_) | Self::Unmatched | Self::Nobody => None,
        }
    }
}

/// Finds whose a transfer in a block of this time is. The same transfer in the same block is always the same payment's, once
/// that payment's watch is here.
pub(super) fn owner_of(
    transfer: &TokenTransfer,
    place: BlockRef,
    time: Timestamp,
    chain: &Chain,
    context: &Context<'_>,
) -> Result<Owner, Fault> {
    let Some(watches) = WATCHES.get(&context.state, (chain.id, transfer.to))? else {
        return Ok(Owner::Nobody);
    };
    let Some(first) = watches.first() else { return shared::owner_of(transfer, place, time, chain, context) };
    let of_token = watches.iter().find(|watch| watch.token == transfer.token);
    Ok(of_token.map_or_else(|| Owner::OtherToken(first.clone()), |watch| Owner::Watch(watch.clone())))
}

/// Reports what the look-back window holds for the address, in the order of the chain.
fn tell_recent(
    watch: &Watch,
    look_back: LookBack,
    address: &Address,
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    if LAST_RECENT.get(&context.state, (chain.id, *address))?.is_none() {
        return Ok(());
    }
    let mut recent =
        RECENT.scan_prefix(&context.state, (chain.id, *address), MAX_LOOK_BACK.saturating_add(1))?;
    if recent.len() > MAX_LOOK_BACK {
        recent.truncate(MAX_LOOK_BACK);
        tell_incomplete(watch, address, None, chain, context)?;
    }
    for of_block in recent.chunk_by(|a, b| a.block == b.block) {
        tell_block(watch, look_back, of_block, chain, context)?;
    }
    Ok(())
}

fn tell_block(
    watch: &Watch,
    look_back: LookBack,
    recent: &[Recent],
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let Some(place) = recent.first().map(|recent| recent.block) else { return Ok(()) };
    if CANONICAL.get(&context.state, (chain.id, place.number))? != Some(place.hash) {
        return Ok(());
    }
    let block = block_of(chain, &place.hash, context)?;
    let logs: Vec<u32> = recent.iter().map(|recent| recent.log_index).collect();
    for transfer in transfers_of(chain, &block, &place.hash, context)? {
        if logs.binary_search(&transfer.log_index).is_err() {
            continue;
        }
        match (transfer.token == watch.token, look_back) {
            (true, _) => report::seen(watch, &transfer, place, &block, chain, context)?,
            (false, LookBack::AllTokens) => {
                report::unexpected(watch, &transfer, place, &block, chain, context)?;
            }
            (false, LookBack::OwnToken) => {}
        }
    }
    Ok(())
}

/// Says that there was more to look back at than one watch is told of.
pub(super) fn tell_incomplete(
    watch: &Watch,
    address: &Address,
    exact: Option<ExactAmount>,
    chain: &Chain,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let reason = format!(
        "{address} was sent more than {MAX_LOOK_BACK} transfers before it was watched for payment {}; the rest is not reported",
        watch.payment
    );
    let letter = DeadLetterId::derive(&[b"look_back_incomplete", watch.payment.bits()]);
    let record = WatchAddress {
        meta: context.meta(context.input().occurred_at),
        chain: chain.id,
        merchant: watch.merchant,
        payment: watch.payment,
        address: *address,
        asset: watch.asset.clone(),
        token: watch.token,
        deadline: watch.deadline,
        policy: watch.policy,
        exact,
    };
    letters::emit("look_back_incomplete", reason, letter, &Message::from(record), chain, context)
}
