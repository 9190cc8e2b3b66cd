//! `streambook bench chain`: how fast the chain connector reads a local node, next to what the node gives to a bare loop that
//! sends the same requests through the same HTTP client and looks at nothing, and to one that reads the answers and verifies
//! nothing; the same with recorded blocks of real chains served from memory; how long a new block takes to be handed on, and
//! until `chain.transfers` says what was in it, or that it was taken back; and what twenty chains at once cost.
//!
//! The node is anvil with a history that is prepared first: blocks of single-transfer transactions. Every run checks that
//! all blocks came and all transfers were found.

mod bare;
mod catch_up;
mod follow;
mod node;
mod recorded;
mod topic;

use std::{path::PathBuf, time::Duration};

use serde::Serialize;

use self::{bare::Work, node::Node, recorded::Recorded, topic::OnTopic};
use super::{Directory, Latency, figures, usage};

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
    /// Reorganisations in each way of following.
    pub(crate) reorgs: u64,
    /// Chains followed at once.
    pub(crate) chains: usize,
    /// Where the recorded blocks are.
    pub(crate) recorded: PathBuf,
    /// Recorded blocks that are asked for.
    pub(crate) recorded_blocks: u64,
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
    /// The answers read, nothing recomputed.
    pub(crate) unverified: Reading,
    /// The connector, everything recomputed.
    pub(crate) verified: Reading,
    /// The connector with `transactions = "hashes"`: the transactions root is not recomputed.
    pub(crate) hashes: Reading,
    /// The bare loop with that setting's requests.
    pub(crate) bare_hashes: Reading,
    /// Those answers read, nothing recomputed.
    pub(crate) unverified_hashes: Reading,
    /// The verified rate by the bare one.
    pub(crate) ratio: f64,
    /// The same with `transactions = "hashes"`.
    pub(crate) ratio_hashes: f64,
    /// Recorded blocks of real chains; nothing where the data is not there.
    pub(crate) recorded: Option<Recorded>,
    /// From mined to handed on by polling ten times a second.
    pub(crate) polling: Latency,
    /// From mined to handed on by WebSocket.
    pub(crate) subscribed: Latency,
    /// What the public topic says, by polling ten times a second.
    pub(crate) topic_polling: OnTopic,
    /// What the public topic says, by WebSocket.
    pub(crate) topic_subscribed: OnTopic,
    /// Many chains at once, each polled once a second.
    pub(crate) many: Many,
}

/// The three readings of one kind of requests.
struct Readings {
    bare: Reading,
    unverified: Reading,
    verified: Reading,
}

impl Readings {
    fn ratio(&self) -> f64 {
        figures::ratio(self.verified.blocks_per_second, self.bare.blocks_per_second)
    }
}

impl ChainBench {
    pub(crate) async fn run(self, directory: &Directory, say: impl Fn(&str)) -> anyhow::Result<ChainReport> {
        say("starting anvil and preparing the history");
        let node = Node::start().await?;
        let history = node.prepare(self.blocks, self.transfers).await?;
        let whole = self.readings(&node, &history, true, &say).await?;
        let hashes = self.readings(&node, &history, false, &say).await?;
        say("reading recorded blocks");
        let recorded = recorded::measure(&self.recorded, self.recorded_blocks, self.in_flight).await?;
        say("following at one block a second");
        let polling = follow::latency(&node, follow::By::Polling, self.follow_seconds).await?;
        let subscribed = follow::latency(&node, follow::By::WebSocket, self.follow_seconds).await?;
        say("following to the public topic, with reorganisations");
        let rounds = (self.follow_seconds, self.reorgs);
        let folder = |name: &str| directory.path().join(name);
        let topic_polling = topic::measure(&node, follow::By::Polling, rounds, &folder("polling")).await?;
        let topic_subscribed =
            topic::measure(&node, follow::By::WebSocket, rounds, &folder("subscribed")).await?;
        say(&format!("following {} chains at once", self.chains));
        let many = follow::many(&node, self.chains, self.follow_seconds).await?;
        Ok(ChainReport {
            blocks: u64::try_from(history.hashes.len())?,
            transfers: history.transfers,
            ratio: whole.ratio(),
            ratio_hashes: hashes.ratio(),
            bare: whole.bare,
            unverified: whole.unverified,
            verified: whole.verified,
            bare_hashes: hashes.bare,
            unverified_hashes: hashes.unverified,
            hashes: hashes.verified,
            recorded,
            polling,
            subscribed,
            topic_polling,
            topic_subscribed,
            many,
        })
    }

    async fn readings(
        &self,
        node: &Node,
        history: &node::History,
        whole: bool,
        say: &impl Fn(&str),
    ) -> anyhow::Result<Readings> {
        let (blocks, what) = (history.hashes.len(), if whole { "whole transactions" } else { "hashes only" });
        say(&format!("reading {blocks} blocks bare, {what}"));
        let bare = bare::read(node, history, self.in_flight, (whole, Work::Nothing)).await?;
        say(&format!("reading {blocks} blocks unverified, {what}"));
        let unverified = bare::read(node, history, self.in_flight, (whole, Work::Reading)).await?;
        say(&format!("reading {blocks} blocks with the connector, {what}"));
        let verified = catch_up::read(node, history, self.in_flight, whole).await?;
        Ok(Readings { bare, unverified, verified })
    }
}
