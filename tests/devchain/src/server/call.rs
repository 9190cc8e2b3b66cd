//! `eth_call` for what a reader asks an ERC-20 token: `symbol()`, `decimals()` and `balanceOf(address)`.
//!
//! Only the head has a state. A call to an address without a declared token returns nothing, as a call to
//! an account without code does; a function a token does not have reverts.

use alloy_eips::BlockId;
use alloy_primitives::{Address, Bytes, U256};
use alloy_rpc_types_eth::TransactionRequest;
use serde_json::Value;

use super::envelope::{Answer, json};
use super::error::RpcError;
use super::eth::block_of;
use super::params::Positional;
use crate::chain::{DevChain, Token};
use crate::live::LiveChain;
use crate::transaction::selector;

pub(super) fn call(live: &LiveChain, params: Option<Value>) -> Answer {
    let mut params = Positional::of(params, 2)?;
    let request = params.required::<TransactionRequest>(0, "call")?;
    let at = params.optional::<BlockId>(1, "block")?.unwrap_or_default();
    let chain = live.chain().lock();
    check_is_head(&chain, at)?;
    let target = request.to.and_then(|kind| kind.to().copied());
    let target = target.ok_or_else(|| RpcError::invalid_params("params[0].to is missing"))?;
    let input = request.input.into_input().unwrap_or_default();
    match chain.token(target) {
        None => json(&Bytes::new()),
        Some(token) => json(&ask(&chain, target, token, &input)?),
    }
}

fn check_is_head(chain: &DevChain, at: BlockId) -> Result<(), RpcError> {
    match block_of(chain, at)? {
        Some(block) if block.hash() == chain.head().hash() => Ok(()),
        Some(_) => Err(RpcError::refused("state is kept for the latest block only")),
        None => Err(RpcError::refused("header not found")),
    }
}

fn ask(chain: &DevChain, address: Address, token: &Token, input: &[u8]) -> Result<Bytes, RpcError> {
    let (function, arguments) = input.split_first_chunk::<4>().ok_or_else(RpcError::reverted)?;
    if *function == selector("decimals()") {
        return Ok(word(U256::from(token.decimals)));
    }
    if *function == selector("symbol()") {
        return Ok(text(&token.symbol));
    }
    if *function == selector("balanceOf(address)") {
        let (padded, _) = arguments.split_first_chunk::<32>().ok_or_else(RpcError::reverted)?;
        return Ok(word(chain.balance_of(address, Address::from_word(padded.into()))));
    }
    Err(RpcError::reverted())
}

/// A single number (Solidity ABI).
fn word(value: U256) -> Bytes {
    Bytes::copy_from_slice(&value.to_be_bytes::<32>())
}

/// A single string (Solidity ABI): where it starts, its length in bytes, and the bytes padded to words.
fn text(value: &str) -> Bytes {
    let mut out = Vec::new();
    out.extend(U256::from(32).to_be_bytes::<32>());
    out.extend(U256::from(value.len()).to_be_bytes::<32>());
    out.extend(value.as_bytes());
    out.resize(out.len().next_multiple_of(32), 0);
    out.into()
}
