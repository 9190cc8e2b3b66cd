//! The chain connectors of this process: one for each configured chain, from its nodes to its inbox.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context;
use streambook_connectors::chain::{
    self, ChainConfig, ChainSettings, ChainState, ChainStatus, Feed, Finality, Marks, Moving, NodeStatus,
    backfill::Lane,
};
use streambook_model::chain::ChainId;
use streambook_runtime::{
    health::{Condition, Health},
    metrics::Metric,
    step::chain_of,
};
use tokio::sync::{mpsc, watch};

use super::System;
use crate::config::Config;

/// Observations on their way to the log; a slow log slows the connector down.
const OBSERVATIONS: usize = 256;

/// Starts every configured chain.
pub(super) async fn start(system: &mut System, config: &Config) -> anyhow::Result<()> {
    for chain in &config.chain {
        let by_tag = config.needs_finality(chain.id);
        start_one(system, chain, by_tag).await.with_context(|| format!("[[chain]] {}", chain.id))?;
    }
    Ok(())
}

/// `by_tag`: some payments wait for the chain's tag, whatever its own policy is, so nodes without one are a problem.
async fn start_one(system: &mut System, config: &ChainConfig, by_tag: bool) -> anyhow::Result<()> {
    let id = ChainId(config.id);
    let problems = |errors: Vec<chain::ConfigError>| {
        anyhow::anyhow!(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    };
    let mut settings = config.check().map_err(problems)?;
    if by_tag {
        settings.finality = Finality::Finalized;
    }
    let resume = chain::resume(&*system.log, id).await?;
    let (observations, received) = mpsc::channel(OBSERVATIONS);
    let (status, shown) = watch::channel(ChainStatus::starting(config.id));
    let feed = Feed::new(Arc::clone(&system.log), id, System::clock());
    start_backfills(system, id, settings.clone());
    let (health, stop) = (system.health.clone(), system.stop.clone());
    system.parts.spawn(show(id, shown, health.clone()));
    system.parts.spawn(async move {
        let name = format!("chain/{id}/feed");
        if let Err(error) = feed.run(received).await {
            health.report(&name, Condition::Stopped { reason: chain_of(&error) });
        }
    });
    system.parts.spawn(async move {
        // Why it ended is in the status, which `show` reports.
        let _ = chain::run(settings, resume, observations, stop, status).await;
    });
    Ok(())
}

/// Searches old blocks on request, beside the connector.
fn start_backfills(system: &mut System, id: ChainId, settings: ChainSettings) {
    let (log, health, stop) = (Arc::clone(&system.log), system.health.clone(), system.stop.clone());
    system.parts.spawn(async move {
        let name = format!("chain/{id}/backfill");
        let trouble = |lane: Lane, reason: Option<String>| {
            let condition = reason.map_or(Condition::Running, |reason| Condition::Troubled { reason });
            let of_lane = if lane == Lane::Walk { name.clone() } else { format!("chain/{id}/look_up") };
            health.report(&of_lane, condition);
        };
        let searches = chain::backfill::run(log, settings, System::clock(), trouble);
        if let Some(Err(error)) = stop.run_until_cancelled(searches).await {
            health.report(&name, Condition::Stopped { reason: chain_of(&error) });
        }
    });
}

/// Keeps health and metrics at what the connector says of itself.
async fn show(id: ChainId, mut status: watch::Receiver<ChainStatus>, health: Health) {
    let name = format!("chain/{id}");
    let mut failures: BTreeMap<String, u32> = BTreeMap::new();
    let mut marks: BTreeMap<String, Marks> = BTreeMap::new();
    loop {
        let now = status.borrow_and_update().clone();
        health.report(&name, condition(&now));
        for node in &now.nodes {
            let labels = [("chain", id.to_string()), ("node", node.url.clone())];
            Metric::NodeUp.set(u64::from(node.healthy), &labels);
            // The status counts failures in a row; a lower number is a new row.
            let before = failures.insert(node.url.clone(), node.failures).unwrap_or(0);
            let more = node.failures.checked_sub(before).unwrap_or(node.failures);
            Metric::NodeFailures.count(u64::from(more), &labels);
            let before = marks.insert(node.url.clone(), node.marks).unwrap_or_default();
            measure_node(id, node, before);
        }
        measure_chain(id, &now);
        if let Some(head) = now.head {
            Metric::ChainHead.set(head, &[("chain", id.to_string())]);
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}

/// What the node did wrong since `before`, and how it does now.
fn measure_node(id: ChainId, node: &NodeStatus, before: Marks) {
    let labels = [("chain", id.to_string()), ("node", node.url.clone())];
    Metric::NodeScore.set(u64::from(node.score), &labels);
    if let Some(latency) = node.latency_ms {
        Metric::NodeLatency.set(latency, &labels);
    }
    let now = node.marks;
    for (kind, now, before) in [
        ("lie", now.lies, before.lies),
        ("lag", now.lags, before.lags),
        ("contradiction", now.contradictions, before.contradictions),
        ("error", now.errors, before.errors),
        ("throttled", now.throttled, before.throttled),
        ("slow", now.slow, before.slow),
    ] {
        let [chain, node] = labels.clone();
        Metric::NodeFaults.count(now.saturating_sub(before), &[chain, node, ("kind", kind.to_owned())]);
    }
}

fn measure_chain(id: ChainId, status: &ChainStatus) {
    let chain = ("chain", id.to_string());
    for what in Moving::ALL {
        let stall = status.stalls.iter().find(|stall| stall.what == what);
        let labels = [chain.clone(), ("what", what.name().to_owned())];
        Metric::ChainStalled.set(stall.map_or(0, |stall| stall.seconds), &labels);
    }
    let labels = [chain];
    Metric::ChainCatchUpRate.set(status.speed.map_or(0, |speed| speed.blocks_per_second), &labels);
    Metric::ChainCatchUpSeconds.set(status.speed.map_or(0, |speed| speed.seconds_left), &labels);
    Metric::ChainSubscriptions.set(status.subscriptions, &labels);
}

/// What an operator should look at although the chain goes on: finality that cannot be had, and what stands still. One node
/// that is wrong while others are right is in the metrics alone: the chain is as ready as it was.
fn trouble(status: &ChainStatus) -> Option<String> {
    let stalls = status.stalls.iter();
    let stalls = stalls.map(|stall| {
        format!("{} has stood still at block {} for {} s", stall.what.name(), stall.number, stall.seconds)
    });
    let all: Vec<_> = status.finality_problem.iter().cloned().chain(stalls).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// The reason, and what may be behind it: the nodes that were wrong of late.
fn with_nodes(reason: &str, status: &ChainStatus) -> Condition {
    let wrong = status.nodes.iter().filter(|node| node.score < 100).map(|node| {
        let last = node.last_error.as_deref().unwrap_or("outvoted by the others, or slow");
        format!("node {} scores {} of 100: {last}", node.url, node.score)
    });
    let all: Vec<_> = std::iter::once(reason.to_owned()).chain(wrong).collect();
    Condition::Troubled { reason: all.join("; ") }
}

fn condition(status: &ChainStatus) -> Condition {
    let down: Vec<_> = status.nodes.iter().filter(|node| !node.healthy).collect();
    match &status.state {
        ChainState::Stopped { reason } if reason != "asked to stop" => {
            Condition::Stopped { reason: reason.clone() }
        }
        ChainState::Waiting { reason } => with_nodes(reason, status),
        _ if !down.is_empty() && down.len() == status.nodes.len() => {
            let last = down.iter().filter_map(|node| node.last_error.clone()).next().unwrap_or_default();
            Condition::Troubled { reason: format!("no node answers: {last}") }
        }
        _ => trouble(status).map_or(Condition::Running, |reason| with_nodes(&reason, status)),
    }
}
