//! The chain connectors of this process: one for each configured chain, from its nodes to its inbox.

use std::collections::BTreeMap;

use anyhow::Context;
use streambook_connectors::chain::{self, ChainConfig, ChainState, ChainStatus, Feed};
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
        start_one(system, chain).await.with_context(|| format!("[[chain]] {}", chain.id))?;
    }
    Ok(())
}

async fn start_one(system: &mut System, config: &ChainConfig) -> anyhow::Result<()> {
    let id = ChainId(config.id);
    let problems = |errors: Vec<chain::ConfigError>| {
        anyhow::anyhow!(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    };
    let settings = config.check().map_err(problems)?;
    let resume = chain::resume(&*system.log, id).await?;
    let (observations, received) = mpsc::channel(OBSERVATIONS);
    let (status, shown) = watch::channel(ChainStatus::starting(config.id));
    let feed = Feed::new(system.shared_log(), id, System::clock());
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

/// Keeps health and metrics at what the connector says of itself.
async fn show(id: ChainId, mut status: watch::Receiver<ChainStatus>, health: Health) {
    let name = format!("chain/{id}");
    let mut failures: BTreeMap<String, u32> = BTreeMap::new();
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
        }
        if let Some(head) = now.head {
            Metric::ChainHead.set(head, &[("chain", id.to_string())]);
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}

fn condition(status: &ChainStatus) -> Condition {
    let down: Vec<_> = status.nodes.iter().filter(|node| !node.healthy).collect();
    match &status.state {
        ChainState::Stopped { reason } if reason != "asked to stop" => {
            Condition::Stopped { reason: reason.clone() }
        }
        ChainState::Waiting { reason } => Condition::Troubled { reason: reason.clone() },
        _ if !down.is_empty() && down.len() == status.nodes.len() => {
            let last = down.iter().filter_map(|node| node.last_error.clone()).next().unwrap_or_default();
            Condition::Troubled { reason: format!("no node answers: {last}") }
        }
        _ => match &status.finality_problem {
            Some(problem) => Condition::Troubled { reason: problem.clone() },
            None => Condition::Running,
        },
    }
}
