//! The Ethereum methods that read blocks, transactions and receipts.
//!
//! The lock is held only to find the block; turning it into JSON happens outside.

use std::sync::Arc;

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{B256, U64};
use serde_json::Value;

use super::envelope::{Answer, json};
use super::error::RpcError;
use super::params::Positional;
use crate::block::DevBlock;
use crate::chain::DevChain;
use crate::live::LiveChain;
use crate::render::{Detail, rpc_block, rpc_pending_transaction, rpc_receipt, rpc_receipts, rpc_transaction};

pub(super) fn chain_id(live: &LiveChain, params: Option<Value>) -> Answer {
    Positional::of(params, 0)?;
    json(&U64::from(live.chain().lock().chain_id()))
}

pub(super) fn net_version(live: &LiveChain, params: Option<Value>) -> Answer {
    Positional::of(params, 0)?;
    json(&live.chain().lock().chain_id().to_string())
}

pub(super) fn client_version(params: Option<Value>) -> Answer {
    Positional::of(params, 0)?;
    json(&concat!("streambook-devchain/", env!("CARGO_PKG_VERSION")))
}

pub(super) fn syncing(params: Option<Value>) -> Answer {
    Positional::of(params, 0)?;
    json(&false)
}

pub(super) fn block_number(live: &LiveChain, params: Option<Value>) -> Answer {
    Positional::of(params, 0)?;
    json(&U64::from(live.chain().lock().head().reference().number))
}

pub(super) fn block_by_number(live: &LiveChain, params: Option<Value>) -> Answer {
    let mut params = Positional::of(params, 2)?;
    let tag = params.required::<BlockNumberOrTag>(0, "block")?;
    let detail = detail(&mut params)?;
    let block = block_at(&live.chain().lock(), tag);
    json(&block.map(|block| rpc_block(&block, detail)))
}

pub(super) fn block_by_hash(live: &LiveChain, params: Option<Value>) -> Answer {
    let mut params = Positional::of(params, 2)?;
    let hash = params.required::<B256>(0, "block hash")?;
    let detail = detail(&mut params)?;
    let block = live.chain().lock().block(hash);
    json(&block.map(|block| rpc_block(&block, detail)))
}

pub(super) fn block_receipts(live: &LiveChain, params: Option<Value>) -> Answer {
    let mut params = Positional::of(params, 1)?;
    let id = params.required::<BlockId>(0, "block")?;
    let block = block_of(&live.chain().lock(), id)?;
    json(&block.map(|block| rpc_receipts(&block)))
}

pub(super) fn transaction_receipt(live: &LiveChain, params: Option<Value>) -> Answer {
    let hash = Positional::of(params, 1)?.required::<B256>(0, "transaction hash")?;
    let included = live.chain().lock().canonical_inclusion(hash);
    json(&included.and_then(|included| rpc_receipt(&included.block, included.index)))
}

pub(super) fn transaction_by_hash(live: &LiveChain, params: Option<Value>) -> Answer {
    let hash = Positional::of(params, 1)?.required::<B256>(0, "transaction hash")?;
    let (included, pending) = {
        let chain = live.chain().lock();
        (chain.canonical_inclusion(hash), chain.pending_transaction(hash))
    };
    let mined = included.and_then(|included| rpc_transaction(&included.block, included.index));
    json(&mined.or_else(|| pending.map(|pending| rpc_pending_transaction(&pending))))
}

/// The canonical block behind a number or a tag. There is no pending block, so `pending` is the head.
pub(super) fn block_at(chain: &DevChain, tag: BlockNumberOrTag) -> Option<Arc<DevBlock>> {
    chain.canonical_block(number_of(chain, tag))
}

/// The number behind a tag.
pub(super) fn number_of(chain: &DevChain, tag: BlockNumberOrTag) -> u64 {
    match tag {
        BlockNumberOrTag::Latest | BlockNumberOrTag::Pending => chain.head().reference().number,
        BlockNumberOrTag::Safe => chain.safe(),
        BlockNumberOrTag::Finalized => chain.finalized(),
        BlockNumberOrTag::Earliest => 0,
        BlockNumberOrTag::Number(number) => number,
    }
}

/// The block behind an identifier (EIP-1898). A hash may name an orphan unless `requireCanonical` is set.
pub(super) fn block_of(chain: &DevChain, id: BlockId) -> Result<Option<Arc<DevBlock>>, RpcError> {
    let by_hash = match id {
        BlockId::Number(tag) => return Ok(block_at(chain, tag)),
        BlockId::Hash(by_hash) => by_hash,
    };
    let block = chain.block(by_hash.block_hash);
    let orphaned = block.as_ref().is_some_and(|block| !chain.is_canonical(block.reference()));
    if orphaned && by_hash.require_canonical == Some(true) {
        return Err(RpcError::refused(format!("block {} is not canonical", by_hash.block_hash)));
    }
    Ok(block)
}

fn detail(params: &mut Positional) -> Result<Detail, RpcError> {
    Ok(match params.optional::<bool>(1, "full transactions")? {
        Some(true) => Detail::Full,
        Some(false) | None => Detail::Hashes,
    })
}
