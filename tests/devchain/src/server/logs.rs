//! `eth_getLogs`: logs of one block by hash, or of a range of the canonical branch.
//!
//! A query that would look at too many blocks, at pruned ones, or return too many logs is refused, never
//! cut short.

use std::sync::Arc;

use alloy_rpc_types_eth::{Filter, FilterBlockOption, Log};
use serde_json::Value;

use super::envelope::{Answer, json};
use super::error::RpcError;
use super::eth::number_of;
use super::params::Positional;
use crate::block::DevBlock;
use crate::chain::DevChain;
use crate::live::LiveChain;
use crate::render::rpc_logs;

/// The most blocks a query may span.
const BLOCK_LIMIT: u64 = 10_000;
/// The most logs a query may return.
const LOG_LIMIT: usize = 20_000;

pub(super) fn get_logs(live: &LiveChain, params: Option<Value>) -> Answer {
    let filter = Positional::of(params, 1)?.required::<Filter>(0, "filter")?;
    let blocks = blocks_of(&live.chain().lock(), &filter)?;
    json(&matching(&filter, &blocks)?)
}

/// The blocks the filter names and whose bloom does not rule it out.
fn blocks_of(chain: &DevChain, filter: &Filter) -> Result<Vec<Arc<DevBlock>>, RpcError> {
    match filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => {
            let unknown = || RpcError::refused(format!("unknown block {hash}"));
            Ok(vec![chain.block(hash).ok_or_else(unknown)?])
        }
        FilterBlockOption::Range { from_block, to_block } => {
            let from = number_of(chain, from_block.unwrap_or_default());
            let to = number_of(chain, to_block.unwrap_or_default());
            check_kept(chain, from)?;
            let to = check_range(from, to)?.min(chain.head().reference().number);
            let blocks = chain.canonical_blocks(from).take_while(|block| block.reference().number <= to);
            Ok(blocks.filter(|block| filter.matches_bloom(block.header().logs_bloom)).cloned().collect())
        }
    }
}

/// The genesis block has no logs, so a range may start there when only that one is left.
fn check_kept(chain: &DevChain, from: u64) -> Result<(), RpcError> {
    let first = chain.first_kept();
    if from.max(1) < first {
        return Err(RpcError::refused(format!("blocks before {first} are pruned")));
    }
    Ok(())
}

fn check_range(from: u64, to: u64) -> Result<u64, RpcError> {
    let span = to
        .checked_sub(from)
        .ok_or_else(|| RpcError::invalid_params(format!("fromBlock {from} is after toBlock {to}")))?;
    if span >= BLOCK_LIMIT {
        return Err(RpcError::limit_exceeded(format!("a query spans at most {BLOCK_LIMIT} blocks")));
    }
    Ok(to)
}

fn matching(filter: &Filter, blocks: &[Arc<DevBlock>]) -> Result<Vec<Log>, RpcError> {
    let all = blocks.iter().flat_map(|block| rpc_logs(block));
    let logs: Vec<_> = all.filter(|log| filter.matches(&log.inner)).take(LOG_LIMIT + 1).collect();
    if logs.len() > LOG_LIMIT {
        return Err(RpcError::limit_exceeded(format!("query returned more than {LOG_LIMIT} results")));
    }
    Ok(logs)
}
