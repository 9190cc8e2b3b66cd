//! The chain connectors of this process: one for each configured chain, from its nodes to its inbox.

mod connector;
mod show;

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context;
use streambook_connectors::chain::{self, ChainConfig, ChainSettings, Finality, backfill::Lane};
use streambook_model::{chain::ChainId, records::chain::ChainRebuild};
use streambook_runtime::{health::Condition, step::chain_of};
use tokio::sync::{mpsc, oneshot};

use self::connector::{Connector, Rebuild};
use super::System;
use crate::config::Config;

/// The connectors that run here, for who has a chain rebuilt.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connectors(BTreeMap<ChainId, mpsc::Sender<Rebuild>>);

impl Connectors {
    /// Has the command appended while the chain's connector stands still; the connector then begins anew from the log. Returns
    /// once the command is on disk.
    pub(crate) async fn rebuild(&self, record: ChainRebuild) -> anyhow::Result<()> {
        let chain = record.chain;
        let ended = || format!("the connector of chain {chain} does not run: start `streambook up` again");
        let connector = self.0.get(&chain).with_context(ended)?;
        let (done, told) = oneshot::channel();
        connector.send(Rebuild { record, done }).await.ok().with_context(ended)?;
        told.await.ok().with_context(ended)?
    }
}

/// Starts every configured chain.
pub(super) async fn start(system: &mut System, config: &Config) -> anyhow::Result<Connectors> {
    let mut connectors = BTreeMap::new();
    for chain in &config.chain {
        let by_tag = config.needs_finality(chain.id);
        let started = start_one(system, chain, by_tag).await;
        connectors.insert(ChainId(chain.id), started.with_context(|| format!("[[chain]] {}", chain.id))?);
    }
    Ok(Connectors(connectors))
}

/// `by_tag`: some payments wait for the chain's tag, whatever its own policy is, so nodes without one are a problem.
async fn start_one(
    system: &mut System,
    config: &ChainConfig,
    by_tag: bool,
) -> anyhow::Result<mpsc::Sender<Rebuild>> {
    let id = ChainId(config.id);
    let problems = |errors: Vec<chain::ConfigError>| {
        anyhow::anyhow!(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    };
    let mut settings = config.check().map_err(problems)?;
    if by_tag {
        settings.finality = Finality::Finalized;
    }
    let resume = chain::resume(&*system.log, id).await?;
    start_backfills(system, id, settings.clone());
    let connector = Connector {
        id,
        settings,
        log: Arc::clone(&system.log),
        health: system.health.clone(),
        stop: system.stop.clone(),
    };
    // One command at a time: who has sent one waits for its answer.
    let (send, asked) = mpsc::channel(1);
    system.parts.spawn(connector.run(resume, asked));
    Ok(send)
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
