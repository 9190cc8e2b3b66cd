//! `streambook bench chain`: how fast the chain connector reads a local node, next to what the node gives to a bare loop that
//! sends the same requests through the same HTTP client and looks at nothing; how long a new block takes to be handed on; and
//! what twenty chains at once cost.
//!
//! The node is anvil with a history that is prepared first: blocks of single-transfer transactions. Every run checks that
//! all blocks came and all transfers were found.

mod bare;
mod catch_up;
mod follow;
mod node;

use std::time::Duration;

use serde::Serialize;

use self::node::Node;
use super::{Latency, figures, usage};

/// What is measured.
pub(crate) struct ChainBench {
    /// Blocks of the prepared history.
    pub(crate) blocks: u64,
    /// Transfers of each, one transaction each.
    pub(crate) transfers: u64,
    /// Blocks asked for at once.
    pub(crate) in_flight: usize,
    /// Seconds of following at one block a second.
    pub(crate) follow_seconds: u64,
    /// Chains followed at once.
    pub(crate) chains: usize,
}

/// Blocks, and the transfers in them, over time.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Reading {
    /// Blocks a second.
    pub(crate) blocks_per_second: f64,
    /// Transfers a second.
    pub(crate) transfers_per_second: f64,
    /// Seconds it took.
    pub(crate) seconds: f64,
    /// Processor time of this process for each block, in microseconds.
    pub(crate) cpu_micros_each: f64,
}

impl Reading {
    fn of(blocks: u64, transfers: u64, took: Duration, cpu: Duration) -> Self {
        let micros = u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX);
        Self {
            blocks_per_second: figures::per_second(blocks, took),
            transfers_per_second: figures::per_second(transfers, took),
            seconds: figures::seconds(took),
            cpu_micros_each: figures::each(micros, blocks),
        }
    }
}

/// What many chains at once cost.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Many {
    /// How many.
    pub(crate) chains: usize,
    /// Processor time as a part of one core.
    pub(crate) cpu_of_a_core: f64,
    /// Memory of this process, in MiB.
    pub(crate) resident_mib: u64,
    /// From a block's being mined to its being handed on, of all chains.
    pub(crate) latency: Latency,
}

/// The figures.
#[derive(Debug, Serialize)]
pub(crate) struct ChainReport {
    /// Blocks that were read in each run.
    pub(crate) blocks: u64,
    /// Transfers in them.
    pub(crate) transfers: u64,
    /// The same requests with nothing done.
    pub(crate) bare: Reading,
    /// The connector, everything recomputed.
    pub(crate) verified: Reading,
    /// The connector with `transactions = "hashes"`: the transactions root is not recomputed.
    pub(crate) hashes: Reading,
    /// The bare loop with that setting's requests.
    pub(crate) bare_hashes: Reading,
    /// The verified rate by the bare one.
    pub(crate) ratio: f64,
    /// The same with `transactions = "hashes"`.
    pub(crate) ratio_hashes: f64,
    /// From mined to handed on by polling ten times a second.
    pub(crate) polling: Latency,
    /// From mined to handed on by WebSocket.
    pub(crate) subscribed: Latency,
    /// Many chains at once, each polled once a second.
    pub(crate) many: Many,
}

impl ChainBench {
    pub(crate) async fn run(self, say: impl Fn(&str)) -> anyhow::Result<ChainReport> {
        say("starting anvil and preparing the history");
        let node = Node::start().await?;
        let history = node.prepare(self.blocks, self.transfers).await?;
        let transfers = history.transfers;
        let blocks = u64::try_from(history.hashes.len())?;
        let mut measured = Vec::new();
        for (kind, what) in [(true, "whole transactions"), (false, "hashes only")] {
            say(&format!("reading {blocks} blocks bare, {what}"));
            let bare = bare::read(&node, &history, self.in_flight, kind).await?;
            say(&format!("reading {blocks} blocks with the connector, {what}"));
            let verified = catch_up::read(&node, &history, self.in_flight, kind).await?;
            measured.push((bare, verified));
        }
        let [(bare, verified), (bare_hashes, hashes)] = measured.as_slice() else {
            anyhow::bail!("a measurement is missing");
        };
        say("following at one block a second");
        let polling = follow::latency(&node, follow::By::Polling, self.follow_seconds).await?;
        let subscribed = follow::latency(&node, follow::By::WebSocket, self.follow_seconds).await?;
        say(&format!("following {} chains at once", self.chains));
        let many = follow::many(&node, self.chains, self.follow_seconds).await?;
        Ok(ChainReport {
            blocks,
            transfers,
            bare: *bare,
            verified: *verified,
            hashes: *hashes,
            bare_hashes: *bare_hashes,
            ratio: figures::ratio(verified.blocks_per_second, bare.blocks_per_second),
            ratio_hashes: figures::ratio(hashes.blocks_per_second, bare_hashes.blocks_per_second),
            polling,
            subscribed,
            many,
        })
    }
}
