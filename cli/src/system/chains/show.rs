//! What a connector says of itself, for health and metrics.

use std::collections::BTreeMap;

use streambook_connectors::chain::{ChainState, ChainStatus, Marks, Moving, NodeStatus};
use streambook_model::chain::ChainId;
use streambook_runtime::{
    health::{Condition, Health},
    metrics::Metric,
};
use tokio::sync::watch;

/// Keeps health and metrics at what the connector says of itself.
pub(super) async fn show(id: ChainId, mut status: watch::Receiver<ChainStatus>, health: Health) {
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
