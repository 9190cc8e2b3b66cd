//! `bench pipeline`: payments from the command to the committed row: created, answered, paid in a block, confirmed,
//! completed, posted, in SQL. Every part is the real one (the tasks, the embedded log with its syncs, the SQL sink with
//! full synchronous commits) except what talks to the outside: commands are appended as the API appends them and answers
//! read as it reads them, and blocks are appended as the chain connector's feed appends them.
//!
//! - Throughput: as fast as it goes with a bounded number of payments under way; a payment is done when its rows are
//!   committed.
//! - Latency: at a steady rate, by default half of that throughput; from the append of the block that confirms a payment
//!   to the commit of the rows that say it is completed and posted, and from a command to its synced answer.
//!
//! On a cluster the books are kept by processes of their own, and this one is everybody else: merchants, chain and SQL sink.
//!
//! Payments that stay open are made before either is measured, so that the state's size is what it says. One payment more
//! is made after them and awaited: it waits behind whatever the parts have not done yet, so nothing of the opening is left
//! to be measured.

mod books;
mod commands;
mod done;
mod measure;
mod miner;
mod plant;

use std::time::Duration;

use anyhow::ensure;
use indicatif::ProgressBar;
use serde::Serialize;
use streambook_log::{
    Retention, TopicName, TopicSpec,
    fluvio::{FluvioOptions, bare},
};
use streambook_model::topics;

pub(crate) use self::{books::ClusterChoice, measure::Measured, plant::SqlChoice};
use self::{
    measure::{Course, Pace},
    plant::Plant,
};
use super::{Directory, figures::per_second, usage};

/// Partitions, records of each, and bytes of each, that the cluster's own client is measured with.
const BARE_PARTITIONS: u16 = 4;
const BARE_RECORDS: u64 = 25_000;
const BARE_BYTES: usize = 300;

/// What is measured.
#[derive(Debug, Clone)]
pub(crate) struct PipelineBench {
    /// Payments of a throughput measurement.
    pub(crate) payments: u64,
    pub(crate) merchants: u32,
    /// Numbers of open payments to measure at, ascending.
    pub(crate) open: Vec<u64>,
    /// Payments a second of the latency measurements; half of the throughput where it is not given.
    pub(crate) rate: Option<u64>,
    /// How long latency is measured.
    pub(crate) latency_seconds: u64,
    pub(crate) sql: SqlChoice,
    /// Payments under way at most.
    pub(crate) in_flight: u32,
    pub(crate) chain: ChainPace,
    /// The log is there, and not embedded.
    pub(crate) cluster: Option<ClusterChoice>,
}

/// How the chain goes.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct ChainPace {
    /// Milliseconds from block to block.
    pub(crate) block_ms: u64,
    /// Transfers of a block at most.
    pub(crate) block_transfers: usize,
    /// Blocks until a transfer is confirmed, its own included.
    pub(crate) confirmations: u32,
    /// The chain reports finality this many blocks below its head; never where it is 0.
    pub(crate) finalized_after: u64,
}

/// What was found.
#[derive(Debug, Serialize)]
pub(crate) struct PipelineReport {
    pub(crate) merchants: u32,
    pub(crate) sql: SqlChoice,
    pub(crate) in_flight: u32,
    pub(crate) chain: ChainPace,
    /// Where the log was, if not embedded, and how fast the cluster's own client was there just before.
    pub(crate) cluster: Option<(ClusterChoice, Bare)>,
    pub(crate) levels: Vec<Level>,
    pub(crate) peak_resident_mib: u64,
    /// Payments that were made in all, each of them checked to be in SQL.
    pub(crate) payments: u64,
}

/// The figures with so many open payments.
#[derive(Debug, Serialize)]
pub(crate) struct Level {
    pub(crate) open: u64,
    /// Payments a second while the open ones were made, where any were: created, answered and in SQL.
    pub(crate) opened_per_second: Option<f64>,
    /// How long after that a new payment took to be paid and in SQL, behind all that had not been done yet.
    pub(crate) seconds_behind: Option<f64>,
    pub(crate) throughput: Measured,
    pub(crate) latency: Option<Measured>,
}

impl PipelineBench {
    /// Measures, and says on the way what is being done.
    pub(crate) async fn run(
        &self,
        directory: &Directory,
        say: impl Fn(&str),
    ) -> anyhow::Result<PipelineReport> {
        let cluster = match &self.cluster {
            None => None,
            Some(cluster) => {
                say("the cluster's own client");
                Some((cluster.clone(), bare(cluster).await?))
            }
        };
        let plant = Plant::start(directory.path(), self).await?;
        let mut course = Course::new(&plant, self, directory.path());
        let mut levels = Vec::new();
        for open in &self.open {
            levels.push(self.level(&mut course, *open, &say).await?);
        }
        let payments = course.payments();
        course.stop();
        check(&plant, payments).await?;
        plant.stop().await;
        Ok(PipelineReport {
            merchants: self.merchants,
            sql: self.sql.clone(),
            in_flight: self.in_flight,
            chain: self.chain,
            cluster,
            levels,
            peak_resident_mib: usage::peak_resident_bytes() >> 20,
            payments,
        })
    }

    async fn level(&self, course: &mut Course<'_>, open: u64, say: &impl Fn(&str)) -> anyhow::Result<Level> {
        let more = open.saturating_sub(course.open());
        let (mut opened_per_second, mut seconds_behind) = (None, None);
        if more > 0 {
            say(&format!("opening {more} payments"));
            opened_per_second = Some(with_bar(more, |bar| course.open_more(more, bar)).await?);
            let next = with_bar(1, |bar| course.measure(1, Pace::Fast, bar)).await?;
            seconds_behind = Some(next.seconds);
        }
        say(&format!("{} payments as fast as they go, {open} open", self.payments));
        let throughput =
            with_bar(self.payments, |bar| course.measure(self.payments, Pace::Fast, bar)).await?;
        let mut latency = None;
        if self.latency_seconds > 0 {
            let rate = self.rate.unwrap_or(throughput.half_of_its_rate()).max(1);
            let payments = rate.saturating_mul(self.latency_seconds);
            say(&format!("{payments} payments, {rate} a second, {open} open"));
            latency = Some(with_bar(payments, |bar| course.measure(payments, Pace::Rate(rate), bar)).await?);
        }
        Ok(Level { open, opened_per_second, seconds_behind, throughput, latency })
    }
}

/// How fast a cluster is for its own client.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Bare {
    pub(crate) records: u64,
    pub(crate) bytes: usize,
    pub(crate) produced_per_second: f64,
    pub(crate) consumed: u64,
    pub(crate) consumed_per_second: f64,
}

/// Moves records through a topic of its own, which stays.
async fn bare(cluster: &ClusterChoice) -> anyhow::Result<Bare> {
    let replication = cluster.replication;
    let options = FluvioOptions { replication, ..FluvioOptions::new(cluster.endpoint.clone()) };
    let name = TopicName::new(format!("bench.{:08x}", rand::random::<u32>()))?;
    let spec = TopicSpec { name, partitions: BARE_PARTITIONS, retention: Retention::Forever };
    let run = bare::run(options, &spec, BARE_RECORDS, BARE_BYTES).await?;
    let records = BARE_RECORDS * u64::from(BARE_PARTITIONS);
    Ok(Bare {
        records,
        bytes: BARE_BYTES,
        produced_per_second: per_second(records, run.produce),
        consumed: run.consumed,
        consumed_per_second: per_second(run.consumed, run.consume),
    })
}

/// Shows progress on a terminal, and nothing elsewhere.
async fn with_bar<T, F>(total: u64, work: impl FnOnce(ProgressBar) -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let bar = ProgressBar::new(total);
    bar.enable_steady_tick(Duration::from_millis(200));
    let result = work(bar.clone()).await;
    bar.finish_and_clear();
    result
}

/// Nothing stopped, nothing was put aside, and SQL holds what was made.
async fn check(plant: &Plant, payments: u64) -> anyhow::Result<()> {
    plant.check()?;
    let dead = plant.records(topics::DEAD_LETTERS).await?;
    ensure!(dead == 0, "{dead} records were put aside: see dead.letters");
    let Some(reads) = &plant.reads else { return Ok(()) };
    let (rows, posted) = (reads.counts().await?, plant.records(topics::LEDGER_TRANSACTIONS).await?);
    ensure!(rows.payments == payments, "{payments} payments were made, SQL holds {}", rows.payments);
    ensure!(
        rows.ledger_transactions == posted,
        "{posted} transactions were posted, SQL holds {}",
        rows.ledger_transactions
    );
    Ok(())
}
