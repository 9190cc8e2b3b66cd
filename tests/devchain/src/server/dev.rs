//! The development methods: what only a chain for tests can be asked to do.
//!
//! Each takes one object. Numbers may be hexadecimal strings or JSON numbers.

use alloy_primitives::{Address, B256, TxHash};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::envelope::{Answer, json};
use super::error::RpcError;
use super::params::object;
use crate::block::BlockRef;
use crate::chain::{BelowFinality, Dropped, ReorgOptions, Token};
use crate::live::{LiveBlock, LiveChain};
use crate::transfer::TransferRequest;

/// The most blocks one call makes.
const BLOCK_LIMIT: u64 = 1_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MineParams {
    /// Queued behind the transactions already waiting.
    #[serde(default)]
    transfers: Vec<TransferRequest>,
    /// Unix seconds of the blocks; left out, now.
    #[serde(default, with = "alloy_serde::quantity::opt")]
    timestamp: Option<u64>,
    /// How many blocks; the first takes what is queued.
    #[serde(default = "one", with = "alloy_serde::quantity")]
    count: u64,
}

const fn one() -> u64 {
    1
}

#[derive(Serialize)]
struct Mined {
    blocks: Vec<BlockRef>,
    /// The hashes of `transfers`, in order.
    transactions: Vec<TxHash>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReorgParams {
    /// How many blocks are replaced.
    #[serde(with = "alloy_serde::quantity")]
    depth: u64,
    /// The blocks that replace them; left out, as many empty ones.
    #[serde(default)]
    blocks: Option<Vec<LiveBlock>>,
    #[serde(default)]
    below_finality: BelowFinality,
    #[serde(default)]
    dropped: Dropped,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SwitchParams {
    /// The block that becomes the head.
    hash: B256,
    #[serde(default)]
    below_finality: BelowFinality,
    #[serde(default)]
    dropped: Dropped,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FinalizeParams {
    /// The block that becomes final; left out with `safe`, the head.
    #[serde(default, with = "alloy_serde::quantity::opt")]
    number: Option<u64>,
    /// The block that becomes safe.
    #[serde(default, with = "alloy_serde::quantity::opt")]
    safe: Option<u64>,
}

#[derive(Serialize)]
struct Tags {
    #[serde(with = "alloy_serde::quantity")]
    safe: u64,
    #[serde(with = "alloy_serde::quantity")]
    finalized: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TokenParams {
    address: Address,
    symbol: String,
    decimals: u8,
}

pub(super) fn transfer(live: &LiveChain, params: Option<Value>) -> Answer {
    json(&live.transfer(&object::<TransferRequest>(params)?)?)
}

pub(super) fn mine(live: &LiveChain, params: Option<Value>) -> Answer {
    let MineParams { transfers, timestamp, count } = object(params)?;
    check_count(count)?;
    let transactions = transfers.iter().map(|request| live.transfer(request)).collect::<Result<_, _>>()?;
    let mine_one = |_| timestamp.map_or_else(|| live.mine(), |timestamp| live.mine_at(timestamp));
    let blocks = (0..count).map(mine_one).collect::<Result<_, _>>()?;
    json(&Mined { blocks, transactions })
}

pub(super) fn reorg(live: &LiveChain, params: Option<Value>) -> Answer {
    let ReorgParams { depth, blocks, below_finality, dropped } = object(params)?;
    let blocks = match blocks {
        Some(blocks) => blocks,
        None => {
            check_count(depth)?;
            (0..depth).map(|_| LiveBlock::default()).collect()
        }
    };
    json(&live.reorg(depth, blocks, ReorgOptions { below_finality, dropped })?)
}

pub(super) fn switch_to(live: &LiveChain, params: Option<Value>) -> Answer {
    let SwitchParams { hash, below_finality, dropped } = object(params)?;
    json(&live.switch_to(hash, ReorgOptions { below_finality, dropped })?)
}

pub(super) fn finalize(live: &LiveChain, params: Option<Value>) -> Answer {
    let FinalizeParams { number, safe } = object(params)?;
    let mut chain = live.chain().lock();
    let head = chain.head().reference().number;
    if let Some(number) = number.or_else(|| safe.is_none().then_some(head)) {
        chain.finalize(number)?;
    }
    if let Some(safe) = safe {
        chain.mark_safe(safe)?;
    }
    json(&Tags { safe: chain.safe(), finalized: chain.finalized() })
}

pub(super) fn declare_token(live: &LiveChain, params: Option<Value>) -> Answer {
    let TokenParams { address, symbol, decimals } = object(params)?;
    live.chain().lock().declare_token(address, Token { symbol, decimals });
    json(&true)
}

fn check_count(count: u64) -> Result<(), RpcError> {
    if count == 0 || count > BLOCK_LIMIT {
        return Err(RpcError::invalid_params(format!("one call makes 1 to {BLOCK_LIMIT} blocks")));
    }
    Ok(())
}
