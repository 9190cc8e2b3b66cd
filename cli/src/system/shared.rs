//! What a process needs on a log that many processes share: its outbox, what the receivers say, and what it says itself.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use futures::future::try_join_all;
use streambook_log::{
    Log, Retention, TopicSpec,
    fluvio::{FluvioLog, FluvioOptions},
};
use streambook_model::{
    position::Partition,
    topics::{self, Keep, TopicDef},
};
use streambook_runtime::{
    checkpoints::{Board, Checkpoints, Process, View},
    health::{Condition, Health},
    outbox::{Outbox, Room},
    processor::Processor,
};
use tokio_util::sync::CancellationToken;

use super::System;
use crate::config::Config;

/// How often it is looked whether the cluster answers.
const LOOK: Duration = Duration::from_secs(1);
/// Retries that go well at once are no news.
const SHORT: Duration = Duration::from_secs(3);
/// The cluster's name in health.
const NAME: &str = "cluster";
/// How long checkpoints are kept: who was away for longer starts from what its own store says.
const CHECKPOINTS_KEPT: Duration = Duration::from_secs(24 * 3_600);

/// A process's place on the shared log.
pub(super) struct Shared {
    pub(super) board: Board,
    pub(super) room: Room,
    outbox: Outbox,
    view: View,
}

/// Connects to the cluster and makes sure of its topics.
pub(crate) async fn connect(config: &Config) -> anyhow::Result<Arc<FluvioLog>> {
    let log = reach(config).await?;
    let age = u64::try_from(CHECKPOINTS_KEPT.as_millis()).unwrap_or(u64::MAX);
    let retention = config.data.retention_days.saturating_mul(86_400_000);
    let all = topics::ALL.into_iter().map(|topic| ensure(&log, topic, retention));
    // At once: a new topic waits for the servers to take up each of its partitions.
    try_join_all(all.chain([ensure(&log, topics::CHECKPOINTS, age)])).await?;
    Ok(log)
}

/// The cluster's log for a command that looks into it: nothing is made there.
pub(crate) async fn look(config: &Config) -> anyhow::Result<Arc<FluvioLog>> {
    let log = reach(config).await?;
    for topic in topics::ALL {
        let found = log.topic(&topic.topic()).await;
        found.with_context(|| format!("no Streambook has run on the cluster at {}", config.log.endpoint))?;
    }
    Ok(log)
}

async fn reach(config: &Config) -> anyhow::Result<Arc<FluvioLog>> {
    let options = FluvioOptions {
        replication: config.log.replication,
        ..FluvioOptions::new(config.log.endpoint.clone())
    };
    let log = FluvioLog::connect(options).await;
    log.with_context(|| format!("[log] endpoint: no usable cluster at {}", config.log.endpoint))
}

async fn ensure(log: &FluvioLog, topic: TopicDef, age_ms: u64) -> anyhow::Result<()> {
    let retention = match topic.keep {
        Keep::Forever => Retention::Forever,
        Keep::Retention => Retention::Age { max_ms: age_ms },
    };
    let spec = TopicSpec { name: topic.topic(), partitions: topic.partitions, retention };
    log.ensure_topic(&spec).await.with_context(|| format!("topic {}", topic.name))?;
    Ok(())
}

/// Keeps health at what the engine says of the cluster: an outage is no error to those who use it, they wait.
pub(super) async fn watch(log: Arc<FluvioLog>, health: Health, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let lasting = log.troubles().into_iter().filter(|trouble| trouble.since.elapsed() >= SHORT);
        let reasons: Vec<_> = lasting.map(|trouble| format!("{}: {}", trouble.what, trouble.error)).collect();
        let condition = match reasons.is_empty() {
            true => Condition::Running,
            false => Condition::Troubled { reason: reasons.join("; ") },
        };
        health.report(NAME, condition);
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

impl Shared {
    /// The outbox of the system's store, not yet sent.
    pub(super) fn new(system: &System) -> Self {
        let view = View::default();
        let (store, log) = (Arc::clone(&system.store), Arc::clone(&system.log));
        let outbox = Outbox::new(store, log, view.clone(), system.health.clone());
        Self { board: Board::default(), room: outbox.room(), outbox, view }
    }

    /// Sends, listens and tells until all parts have ended.
    pub(super) fn start(
        self,
        system: &mut System,
        process: Process,
        tasks: Vec<(Arc<dyn Processor>, Partition)>,
    ) {
        let (log, health, stop) = (Arc::clone(&system.log), system.health.clone(), system.carry.clone());
        system.carriers.spawn(self.view.run(Arc::clone(&log), health.clone(), stop.clone()));
        system.carriers.spawn(self.outbox.run(stop.clone()));
        let stores = (Arc::clone(&system.store), log);
        let around = (System::clock(), health);
        system.carriers.spawn(Checkpoints::new(process, stores, tasks, self.board, around).run(stop));
    }
}
