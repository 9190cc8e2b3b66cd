//! `streambook replay sql`: rebuilds the SQL database from the log into an empty one: offline from a data directory, or from a
//! cluster's log beside its processes. What was there before is kept
//! until the operator removes it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use serde::Serialize;
use streambook_log::{Log, Offset, Partition, ReadLimit, TopicPartition, Visibility};
use streambook_runtime::{clock, health::Health, lineage::Gaps, sink::Sink, sink_runner::SinkRunner};
use streambook_sinks::sql::{Place, SqlConfig, SqlSink, SqlUrl};
use tokio_util::sync::CancellationToken;

use super::Source;
use crate::{
    config::Engine,
    output,
    system::{self, Layout},
};

/// How often it is looked how far the sink is.
const LOOK: Duration = Duration::from_millis(50);

/// Rebuild a sink from the log.
#[derive(Subcommand)]
pub(crate) enum Replay {
    /// Rebuild the SQL database. Streambook must not run on the data directory meanwhile; on a cluster it may.
    Sql(ReplaySql),
}

/// Arguments of `replay sql`.
#[derive(Args)]
#[command(
    after_help = "Without --into, the configured SQLite file is replaced when all is rebuilt; the old one stays beside it as \
                  FILE.before. A PostgreSQL database, and any on a cluster, is rebuilt into an empty one, which `[sql] url` is \
                  then set to; on a cluster the processes go on meanwhile.\n\
                  Examples:\n  streambook replay sql --data ./data\n  \
                  streambook replay sql --data ./data --into postgres://streambook@db/streambook_2"
)]
pub(crate) struct ReplaySql {
    #[command(flatten)]
    source: Source,
    /// An empty database to rebuild into, instead of the configured one.
    #[arg(long, value_name = "URL")]
    into: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What was done.
#[derive(Serialize)]
struct Rebuilt {
    records: u64,
    url: String,
    kept: Option<PathBuf>,
}

/// Where each partition of the sink's topics ends.
type Ends = Vec<(TopicPartition, Offset)>;

impl Replay {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let Self::Sql(command) = self;
        command.run().await
    }
}

impl ReplaySql {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.source.load()?;
        let layout = Layout::of(&config);
        let (target, replaced) = self.target(&layout.sql, config.log.engine)?;
        let log = system::log_to_look_into(&config).await?;
        let gaps = match config.log.engine {
            Engine::Embedded => Gaps::Stop,
            Engine::Fluvio => Gaps::AwaitResend,
        };
        let records = Box::pin(rebuild(log, &target, gaps)).await?;
        let mut rebuilt = Rebuilt { records, url: target.url.to_string(), kept: None };
        if let (Some(file), Place::Sqlite(new)) = (replaced, target.place()?) {
            rebuilt.kept = put_in_place(&new, &file)?;
            rebuilt.url = layout.sql.url.to_string();
        }
        match self.json {
            true => output::json(&rebuilt)?,
            false => output::line(format!("rebuilt {} from {records} records", rebuilt.url)),
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Where to rebuild, and the file that is replaced by it.
    fn target(&self, configured: &SqlConfig, engine: Engine) -> anyhow::Result<(SqlConfig, Option<PathBuf>)> {
        if let Some(url) = &self.into {
            let target = SqlConfig { url: SqlUrl::from(url.as_str()), ..configured.clone() };
            target.validate().context("--into")?;
            return Ok((target, None));
        }
        ensure!(
            engine == Engine::Embedded,
            "name an empty database with --into: the process that runs `sql` may have {} open",
            configured.url
        );
        let Place::Sqlite(file) = configured.place()? else {
            bail!("name an empty database with --into: {} is not changed in place", configured.url);
        };
        let new = beside(&file, ".rebuilt");
        // What an interrupted rebuild has left is of no use to anybody.
        for part in files_of(&new).filter(|part| part.exists()) {
            std::fs::remove_file(&part).with_context(|| format!("cannot remove {}", part.display()))?;
        }
        let url = SqlConfig::at(&new).url;
        Ok((SqlConfig { url, ..configured.clone() }, Some(file)))
    }
}

/// Runs the real sink until it has taken everything that the log has.
async fn rebuild(log: Arc<dyn Log>, target: &SqlConfig, gaps: Gaps) -> anyhow::Result<u64> {
    let sink = SqlSink::open(target).await.context("cannot open the database to rebuild into")?;
    let mut sink = sink.with_gaps(gaps);
    ensure!(
        sink.positions().await?.is_empty(),
        "{} is not empty: name an empty database to rebuild into",
        target.url
    );
    let ends = ends(&log, &sink).await?;
    let (reads, stop, health) = (sink.reads(), CancellationToken::new(), Health::default());
    let limit = ReadLimit { records: usize::try_from(target.batch_records)?, ..ReadLimit::default() };
    let runner = SinkRunner::new(log, sink, limit, clock::system(), health.clone());
    let running = tokio::spawn(runner.run(stop.clone()));
    let total: u64 = ends.iter().map(|(_, end)| end.0).sum();
    let bar = indicatif::ProgressBar::new(total);
    loop {
        if let Some((_, reason)) = health.stopped().into_iter().next() {
            bail!("the sink has stopped: {reason}");
        }
        let positions: BTreeMap<_, _> = reads.positions().await?.into_iter().collect();
        let taken = |(at, end): &(TopicPartition, Offset)| {
            positions.get(at).map_or(0, |next: &Offset| next.0.min(end.0))
        };
        // On a cluster the log goes on: what comes after the look at its ends is not waited for.
        let taken: u64 = ends.iter().map(taken).sum();
        bar.set_position(taken);
        if taken >= total {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    bar.finish_and_clear();
    stop.cancel();
    running.await?;
    reads.close().await;
    Ok(total)
}

/// Where the sink's topics end; an error where the log no longer has their beginning.
async fn ends(log: &Arc<dyn Log>, sink: &SqlSink) -> anyhow::Result<Ends> {
    let mut ends = Vec::new();
    for topic in sink.inputs() {
        for number in 0..topic.partitions {
            let at = TopicPartition::new(topic.topic(), Partition(number));
            let bounds = log.bounds(&at, Visibility::Synced).await?;
            ensure!(
                bounds.first == Offset(0),
                "{at}: the records before offset {} were trimmed ([data] retention_days), so the database cannot be rebuilt \
                 whole; restore it from a backup, which the sink then carries on",
                bounds.first
            );
            ends.push((at, bounds.end));
        }
    }
    Ok(ends)
}

/// Puts the rebuilt files in the place of the old ones, which are kept.
fn put_in_place(new: &Path, file: &Path) -> anyhow::Result<Option<PathBuf>> {
    let kept = beside(file, ".before");
    let had_one = file.exists();
    for (from, to) in [(file, kept.as_path()), (new, file)] {
        for (from, to) in files_of(from).zip(files_of(to)) {
            if from.exists() {
                std::fs::rename(&from, &to).with_context(|| format!("cannot rename {}", from.display()))?;
            } else if to.exists() {
                std::fs::remove_file(&to).with_context(|| format!("cannot remove {}", to.display()))?;
            }
        }
    }
    Ok(had_one.then_some(kept))
}

/// SQLite's file, its write-ahead log, and the index of that.
fn files_of(file: &Path) -> impl Iterator<Item = PathBuf> {
    ["", "-wal", "-shm"].map(|suffix| beside(file, suffix)).into_iter()
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
