//! The connector reads the whole history: every block verified, in order, and handed on.

use std::time::Instant;

use anyhow::Context;
use serde_json::json;
use streambook_connectors::chain::{self, ChainStatus, Observation, Resume};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Reading,
    node::{CHAIN, History, Node},
    usage,
};

pub(super) async fn read(
    node: &Node,
    history: &History,
    in_flight: usize,
    whole: bool,
) -> anyhow::Result<Reading> {
    let transactions = if whole { "full" } else { "hashes" };
    let config = node.config(json!({ "max_in_flight": in_flight, "transactions": transactions }))?;
    let settings = config.check().map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let (out, mut observations) = mpsc::channel(256);
    let (status, _shown) = watch::channel(ChainStatus::starting(CHAIN));
    let stop = CancellationToken::new();
    let (begun, cpu) = (Instant::now(), usage::cpu());
    let running = tokio::spawn(chain::run(settings, Resume::default(), out, stop.clone(), status));
    let last = history.hashes.last().context("no blocks were prepared")?;
    let (mut blocks, mut transfers) = (0_u64, 0_u64);
    loop {
        match observations.recv().await.context("the connector ended")? {
            Observation::Block(block) => {
                blocks = blocks.saturating_add(1);
                transfers = transfers.saturating_add(u64::try_from(block.transfers.len())?);
            }
            Observation::Head(head) if head.hash.to_string() == *last => break,
            _ => {}
        }
    }
    let (took, cpu) = (begun.elapsed(), usage::cpu().saturating_sub(cpu));
    stop.cancel();
    running.await??;
    let expected = u64::try_from(history.hashes.len())?;
    anyhow::ensure!(blocks == expected, "{blocks} blocks came of {expected}");
    anyhow::ensure!(
        transfers == history.transfers,
        "{transfers} transfers were found of {}",
        history.transfers
    );
    Ok(Reading::of(blocks, transfers, took, cpu))
}
