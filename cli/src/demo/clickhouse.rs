//! `demo --clickhouse`: what the running system has not carried to ClickHouse yet when it stops is carried there before the
//! demo ends, so that who asks there sees all of it.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail};
use streambook_log::{Log, Partition, ReadLimit, TopicPartition, Visibility};
use streambook_runtime::{clock, health::Health, lineage::Gaps, sink::Sink, sink_runner::SinkRunner};
use streambook_sinks::clickhouse::{ClickHouseConfig, ClickHouseSink};
use tokio_util::sync::CancellationToken;

/// How long the rest may take.
const WAIT: Duration = Duration::from_secs(60);

/// Runs the sink until it has taken everything of the log. Nothing else may run it meanwhile.
pub(super) async fn catch_up(
    log: &Arc<dyn Log>,
    config: &ClickHouseConfig,
    gaps: Gaps,
) -> anyhow::Result<()> {
    if !config.is_on() {
        return Ok(());
    }
    let sink = ClickHouseSink::new(config, Arc::clone(log), clock::system())?.with_gaps(gaps);
    let mut ends = Vec::new();
    for topic in sink.inputs() {
        for number in 0..topic.partitions {
            let partition = TopicPartition::new(topic.topic(), Partition(number));
            let end = log.bounds(&partition, Visibility::Synced).await?.end;
            ends.extend((end.0 > 0).then_some((partition, end)));
        }
    }
    let (mut progress, health, stop) = (sink.progress(), Health::default(), CancellationToken::new());
    let runner =
        SinkRunner::new(Arc::clone(log), sink, ReadLimit::default(), clock::system(), health.clone());
    let running = tokio::spawn(runner.run(stop.clone()));
    let taken = progress.wait_for(|positions| {
        ends.iter().all(|(partition, end)| positions.get(partition).is_some_and(|next| next >= end))
    });
    let taken = tokio::time::timeout(WAIT, taken).await.map(|taken| taken.is_ok());
    let stopped = health.stopped().into_iter().next();
    stop.cancel();
    running.await.context("the ClickHouse sink")?;
    match (taken, stopped) {
        (Ok(true), _) => Ok(()),
        (_, Some((_, reason))) => bail!("ClickHouse: {reason}"),
        _ => bail!("ClickHouse has not taken everything after {} s", WAIT.as_secs()),
    }
}
