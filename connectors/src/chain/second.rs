//! What a second node says of a block. Before Madhugiri Polygon's receipts root covers no state-sync receipt: neither one
//! that was sent nor one that was left out, so transfers in it count when two nodes send them alike, and a block that may
//! have one waits for the second node.

use alloy_primitives::Address;

use super::agreement::agreed_transfers;
use super::config::ChainSettings;
use super::pool::{NoAnswer, Pool, Sender};
use super::rpc::Wanted;
use super::state_sync;
use super::transfers::keep_tokens;
use super::types::VerifiedBlock;

/// Whether the block may hold transfers that its receipts root does not cover, and there is another node to ask.
pub(super) fn is_needed(settings: &ChainSettings, block: &VerifiedBlock) -> bool {
    let may_be_left_out = state_sync::may_be_in(settings.chain_id, block.number);
    settings.nodes.len() > 1 && (may_be_left_out || !block.unproven.is_empty())
}

/// Counts the transfers outside the receipts root that another node sends alike; what one of the two alone says stays
/// unproven. The block waits for the second node also where the first sent no such transfer: it may have left one out.
///
/// # Errors
/// [`NoAnswer`] while no second node has the block.
pub(super) async fn ask(
    pool: &Pool,
    (first, mut block): (Sender, VerifiedBlock),
    claimant: Option<Sender>,
    tokens: &[Address],
) -> Result<VerifiedBlock, NoAnswer> {
    let second = pool.block_of_other(Wanted::Hash(block.hash), first, claimant).await;
    let (_, mut second) = second.map_err(|error| waits(&block, &error))?;
    keep_tokens(&mut second, tokens);
    let (agreed, unproven) = agreed_transfers(block.unproven, &second.unproven);
    let last = block.transfers.last().map(|transfer| transfer.log_index);
    let (after, before) = agreed
        .into_iter()
        .partition::<Vec<_>, _>(|transfer| last.is_none_or(|last| transfer.log_index > last));
    block.transfers.extend(after);
    // Two events of a block under one number could not be told apart later.
    block.unproven = unproven.into_iter().chain(before).collect();
    Ok(block)
}

fn waits(block: &VerifiedBlock, error: &NoAnswer) -> NoAnswer {
    let reason = format!(
        "block {} ({}) waits for a second node, since its roots cover no state-sync receipt and one node may leave it out; {}",
        block.number, block.hash, error.reason
    );
    NoAnswer { reason, retry_at: error.retry_at }
}
