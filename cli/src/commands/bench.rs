//! `streambook bench log / pipeline / http / sql / clickhouse`: reproducible measurements. Results go to standard output, what is being done
//! to standard error.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use serde::Serialize;
use streambook_sinks::{
    clickhouse::{ClickHouseConfig, Compression},
    sql::SqlUrl,
};

use crate::{
    bench::{
        Directory, Latency,
        chain::{ChainBench, ChainReport, Reading},
        clickhouse::{ClickHouseBench, ClickHouseReport},
        http::{HttpBench, HttpReport},
        log::{LogBench, LogReport, Speed},
        pipeline::{ChainPace, ClusterChoice, Level, Measured, PipelineBench, PipelineReport, SqlChoice},
        sql::{Pace, SqlBench, SqlReport},
    },
    config::{LogFormat, LoggingConfig},
    output,
    system::{install_logging, install_metrics},
};

/// Measure.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// The embedded log against plain sequential writes with the same syncs.
    Log(Log),
    /// Payments from the command to the committed row in SQL.
    Pipeline(Pipeline),
    /// POST /v1/payments at a steady rate.
    Http(Http),
    /// The SQL sink against the database's own bulk writes of the same rows.
    Sql(Sql),
    /// The ClickHouse sink against native inserts of the same rows.
    Clickhouse(Clickhouse),
    /// The chain connector against a bare loop over the same node.
    Chain(Chain),
}

/// What every benchmark takes.
#[derive(Args)]
struct Common {
    /// Measure in a new directory below this one, which is deleted afterwards; the system's temporary directory if not given.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `bench log`.
#[derive(Args)]
#[command(after_help = "Example:\n  streambook bench log --records 2000000 --batch 1000")]
pub(crate) struct Log {
    #[command(flatten)]
    common: Common,
    /// Records of each round.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    records: u64,
    /// Bytes of a record, key and value together.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    bytes: u32,
    /// Partitions, each with its own writer.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    partitions: u16,
    /// Records that a writer appends before it waits for the sync.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    batch: u64,
    /// Rounds; the figure is the median one.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
}

/// Arguments of `bench pipeline`.
#[derive(Args)]
#[command(after_help = "Example:\n  streambook bench pipeline --payments 50000 --open 10000,1000000 --json")]
pub(crate) struct Pipeline {
    #[command(flatten)]
    common: Common,
    /// Payments of each throughput measurement.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    payments: u64,
    /// Merchants, spread over the partitions.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    merchants: u32,
    /// Open payments to measure with; several numbers measure one after the other.
    #[arg(long, value_delimiter = ',', default_value = "10000")]
    open: Vec<u64>,
    /// Payments a second while latency is measured; half of the throughput if not given.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rate: Option<u64>,
    /// How long latency is measured; 0 leaves it out.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    latency_seconds: u64,
    /// Where results go: `sqlite`, `none`, or the address of an empty PostgreSQL database.
    #[arg(long, default_value = "sqlite")]
    sql: SqlChoice,
    /// Payments under way at most.
    #[arg(long, default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    in_flight: u32,
    /// Milliseconds between blocks.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    block_ms: u64,
    /// Transfers of a block at most.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    block_transfers: u16,
    /// Blocks until a transfer is confirmed, its own included.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    confirmations: u32,
    /// The chain says that blocks so far below its head are final; 0 for a chain that never says so.
    #[arg(long, default_value_t = 32, value_name = "BLOCKS")]
    finalized_after: u64,
    /// The log's engine. With `fluvio` the books are kept by processes of their own, on a cluster that nothing else uses.
    #[arg(long, value_enum, default_value = "embedded")]
    log: LogEngine,
    /// The cluster's public address (its SC).
    #[arg(long, default_value = "127.0.0.1:9003", value_name = "ADDR")]
    endpoint: String,
    /// Copies of every record on the cluster.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=9))]
    replication: u16,
    /// Processes that share the books on the cluster.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    processes: u16,
}

/// Where the log of a measurement is.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum LogEngine {
    Embedded,
    Fluvio,
}

/// Arguments of `bench http`.
#[derive(Args)]
#[command(after_help = "Example:\n  streambook bench http --rate 100 --seconds 30")]
pub(crate) struct Http {
    #[command(flatten)]
    common: Common,
    /// Payments a second.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rate: u64,
    /// For so long.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
}

/// Arguments of `bench sql`.
#[derive(Args)]
#[command(after_help = "Example:\n  streambook bench sql --url postgres://streambook@127.0.0.1/streambook")]
pub(crate) struct Sql {
    #[command(flatten)]
    common: Common,
    /// Payments, of eleven rows each.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    payments: u64,
    /// Records of one write.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    batch: u32,
    /// A PostgreSQL server's database; the benchmark makes one of its own beside it, and drops it. SQLite if not given.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// Arguments of `bench clickhouse`.
#[derive(Args)]
#[command(
    after_help = "Example:\n  streambook bench clickhouse --url http://127.0.0.1:8123 --payments 100000"
)]
pub(crate) struct Clickhouse {
    #[command(flatten)]
    common: Common,
    /// The server's HTTP address; a database of the benchmark's own is made there and dropped.
    #[arg(long, value_name = "URL")]
    url: String,
    /// The user.
    #[arg(long, default_value = "default")]
    user: String,
    /// The user's password.
    #[arg(
        long,
        env = "CLICKHOUSE_PASSWORD",
        hide_env_values = true,
        default_value = "",
        hide_default_value = true
    )]
    password: String,
    /// Payments.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    payments: u64,
    /// Records of a batch.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..=500_000))]
    batch: u32,
}

/// Arguments of `bench chain`.
#[derive(Args)]
#[command(
    after_help = "Example (make setup brings anvil, tests/setup/env names it):\n  . tests/setup/env && streambook bench chain --blocks 5000 --recorded ../shared/data/chain"
)]
pub(crate) struct Chain {
    #[command(flatten)]
    common: Common,
    /// Blocks of the prepared history.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(10..=1_000_000))]
    blocks: u64,
    /// Transfers of each block.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=400))]
    transfers: u64,
    /// Blocks asked for at once.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=64))]
    in_flight: u16,
    /// Seconds of following at one block a second.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    follow_seconds: u64,
    /// Reorganisations of 1 to 3 blocks in each way of following.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    reorgs: u64,
    /// Chains followed at once.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=200))]
    chains: u16,
    /// The folder of recorded blocks; they are left out where it is missing.
    #[arg(long, default_value = "../shared/data/chain", value_name = "DIR")]
    recorded: PathBuf,
    /// Recorded blocks that are asked for.
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u64).range(5..=1_000_000))]
    recorded_blocks: u64,
}

impl Bench {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        install_logging(&LoggingConfig { format: LogFormat::Text, level: "error".into() })?;
        match self {
            Self::Log(command) => command.run().await?,
            Self::Pipeline(command) => command.run().await?,
            Self::Http(command) => command.run().await?,
            Self::Sql(command) => command.run().await?,
            Self::Clickhouse(command) => command.run().await?,
            Self::Chain(command) => command.run().await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Common {
    fn print<R: Serialize>(&self, report: &R, table: impl FnOnce(&R)) -> anyhow::Result<()> {
        if self.json {
            return output::json(report);
        }
        table(report);
        Ok(())
    }
}

impl Log {
    async fn run(self) -> anyhow::Result<()> {
        let bench = LogBench {
            records: self.records,
            bytes: self.bytes,
            partitions: self.partitions,
            batch: self.batch,
            rounds: usize::from(self.rounds),
        };
        let directory = Directory::below(self.common.data.as_ref())?;
        let report = bench.run(&directory, |what| output::note(what)).await?;
        self.common.print(&report, log_table)
    }
}

impl Pipeline {
    async fn run(mut self) -> anyhow::Result<()> {
        self.open.sort_unstable();
        let (endpoint, replication, processes) = (self.endpoint, self.replication, self.processes);
        let cluster = ClusterChoice { endpoint, replication, processes };
        let bench = PipelineBench {
            payments: self.payments,
            merchants: self.merchants,
            open: self.open,
            rate: self.rate,
            latency_seconds: self.latency_seconds,
            sql: self.sql,
            in_flight: self.in_flight,
            chain: ChainPace {
                block_ms: self.block_ms,
                block_transfers: usize::from(self.block_transfers),
                confirmations: self.confirmations,
                finalized_after: self.finalized_after,
            },
            cluster: (self.log == LogEngine::Fluvio).then_some(cluster),
        };
        let directory = Directory::below(self.common.data.as_ref())?;
        let report = Box::pin(bench.run(&directory, |what| output::note(what))).await?;
        self.common.print(&report, pipeline_table)
    }
}

impl Http {
    async fn run(self) -> anyhow::Result<()> {
        let directory = Directory::below(self.common.data.as_ref())?;
        let bench = HttpBench { rate: self.rate, seconds: self.seconds };
        let report = bench.run(&directory, install_metrics()?, |what| output::note(what)).await?;
        self.common.print(&report, http_table)
    }
}

impl Clickhouse {
    async fn run(self) -> anyhow::Result<()> {
        let directory = Directory::below(self.common.data.as_ref())?;
        let config = ClickHouseConfig {
            url: self.url,
            user: self.user,
            password: self.password,
            compression: Compression::None,
            ..ClickHouseConfig::default()
        };
        let batch = usize::try_from(self.batch)?;
        let bench = ClickHouseBench { payments: self.payments, batch, config };
        let report = Box::pin(bench.run(&directory, |what| output::note(what))).await?;
        self.common.print(&report, clickhouse_table)
    }
}

impl Chain {
    async fn run(self) -> anyhow::Result<()> {
        let directory = Directory::below(self.common.data.as_ref())?;
        let bench = ChainBench {
            blocks: self.blocks,
            transfers: self.transfers,
            in_flight: usize::from(self.in_flight),
            follow_seconds: self.follow_seconds,
            reorgs: self.reorgs,
            chains: usize::from(self.chains),
            recorded: self.recorded,
            recorded_blocks: self.recorded_blocks,
        };
        let report = Box::pin(bench.run(&directory, |what| output::note(what))).await?;
        self.common.print(&report, chain_table)
    }
}

fn chain_table(report: &ChainReport) {
    let row = |what: &str, reading: &Reading| {
        let figures = [
            reading.blocks_per_second,
            reading.transfers_per_second,
            reading.seconds,
            reading.cpu_micros_each,
        ];
        [vec![what.to_owned()], figures.iter().map(ToString::to_string).collect()].concat()
    };
    let mut rows = vec![
        row("bare, whole transactions", &report.bare),
        row("read, nothing verified", &report.unverified),
        row("connector, everything verified", &report.verified),
        row("bare, transaction hashes", &report.bare_hashes),
        row("read, nothing verified", &report.unverified_hashes),
        row("connector, transaction hashes", &report.hashes),
    ];
    if let Some(recorded) = &report.recorded {
        rows.push(row("bare, recorded blocks", &recorded.bare));
        rows.push(row("read, nothing verified", &recorded.unverified));
        rows.push(row("everything verified", &recorded.verified));
    }
    output::table(&["", "blocks/s", "transfers/s", "seconds", "CPU µs a block"], rows);
    output::line(format!(
        "{} blocks, {} transfers; connector by bare {} and {} (the goal is 0.8)",
        report.blocks, report.transfers, report.ratio, report.ratio_hashes
    ));
    output::line(report.recorded.as_ref().map_or_else(
        || "recorded blocks: not measured, the folder is missing (--recorded)".to_owned(),
        |recorded| {
            format!(
                "recorded blocks: {} of real chains, {} bytes together; verified by bare {}",
                recorded.different, recorded.bytes, recorded.ratio
            )
        },
    ));
    chain_latencies(report);
}

fn chain_latencies(report: &ChainReport) {
    let lines = [
        ("mined to observed, polling every 100 ms", &report.polling),
        ("mined to observed, WebSocket", &report.subscribed),
        ("mined to `seen` on chain.transfers, polling every 100 ms", &report.topic_polling.seen),
        ("mined to `seen` on chain.transfers, WebSocket", &report.topic_subscribed.seen),
        ("reorganised (1 to 3 deep) to `orphaned`, polling every 100 ms", &report.topic_polling.orphaned),
        ("reorganised (1 to 3 deep) to `orphaned`, WebSocket", &report.topic_subscribed.orphaned),
    ];
    for (what, latency) in lines {
        output::line(format!("{what}: {}", latency_text(latency)));
    }
    output::line(format!(
        "{} chains at one block a second: {} of a core, {} MiB, mined to observed {}",
        report.many.chains,
        report.many.cpu_of_a_core,
        report.many.resident_mib,
        latency_text(&report.many.latency)
    ));
}

fn clickhouse_table(report: &ClickHouseReport) {
    let row = |what: &str, pace: &Pace| {
        vec![what.to_owned(), pace.rows_per_second.to_string(), pace.seconds.to_string()]
    };
    let rows = [row("sink", &report.sink), row("native INSERT", &report.native)];
    output::table(&["what", "rows/s", "seconds"], rows);
    output::line(format!("sink by native INSERT  {} (the goal is 0.7)", report.ratio));
    output::line(format!(
        "ClickHouse {}: {} payments, {} records in {} batches, {} rows of {} bytes on disk; {} payments/s, {} µs of CPU each",
        report.version,
        report.payments,
        report.records,
        report.batches,
        report.rows,
        report.disk_bytes_each_row,
        report.payments_per_second,
        report.cpu_micros_each
    ));
}

impl Sql {
    async fn run(self) -> anyhow::Result<()> {
        let directory = Directory::below(self.common.data.as_ref())?;
        let (payments, batch) = (self.payments, usize::try_from(self.batch)?);
        let bench = SqlBench { payments, batch, url: self.url.map(SqlUrl::from) };
        let report = Box::pin(bench.run(&directory, |what| output::note(what))).await?;
        self.common.print(&report, sql_table)
    }
}

fn sql_table(report: &SqlReport) {
    let row = |name: &str, pace: &Pace| {
        vec![name.to_owned(), pace.rows_per_second.to_string(), pace.seconds.to_string()]
    };
    let plain = if report.database == "SQLite" { "INSERT … SELECT" } else { "COPY" };
    output::table(&["", "rows/s", "seconds"], [row("the sink", &report.sink), row(plain, &report.plain)]);
    output::line(format!(
        "{}: {} rows of {} payments from {} records; {} payments/s, {} µs of processor time each; sink by {plain} {} (the goal \
         is 0.5)",
        report.database,
        report.rows,
        report.payments,
        report.records,
        report.payments_per_second,
        report.cpu_micros_each,
        report.ratio
    ));
}

fn log_table(report: &LogReport) {
    let speed = |name: &str, speed: &Speed| {
        let figures = [speed.records_per_second, speed.megabytes_per_second, speed.seconds];
        [vec![name.to_owned()], figures.iter().map(ToString::to_string).collect()].concat()
    };
    let mut rows = Vec::new();
    for (number, round) in (1..).zip(&report.rounds) {
        rows.push(speed(&format!("append, synced ({number})"), &round.append));
        rows.push(speed(&format!("plain file ({number}), {} syncs", round.syncs), &round.plain));
    }
    rows.push(speed("read after opening", &report.read_first));
    rows.push(speed("read again", &report.read_again));
    output::table(&["", "records/s", "MB/s", "seconds"], rows);
    output::line(format!("append by plain file     {} (median; the goal is 0.5)", report.median.ratio));
    output::line(format!("written by record bytes  {}", report.written_by_logical));
    output::line(format!("on disk by record bytes  {}", report.disk_by_logical));
    output::line(format!("open                     {} s", report.open_seconds));
    output::line(format!(
        "memory                   {} MiB, {} at most",
        report.resident_mib, report.peak_resident_mib
    ));
}

fn pipeline_table(report: &PipelineReport) {
    let mut rows = Vec::new();
    for level in &report.levels {
        let Level { open, throughput, latency, .. } = level;
        rows.push(measured_row(*open, throughput));
        rows.extend(latency.iter().map(|latency| measured_row(*open, latency)));
    }
    if let Some((cluster, bare)) = &report.cluster {
        output::line(format!(
            "{} copies, {} processes for the books; the cluster's own client: {} produced/s, {} consumed/s ({} of {} records of {} \
             bytes came)",
            cluster.replication,
            cluster.processes,
            bare.produced_per_second,
            bare.consumed_per_second,
            bare.consumed,
            bare.records,
            bare.bytes
        ));
    }
    let header = [
        "open",
        "pace",
        "payments/s",
        "block to row, ms",
        "create to reply, ms",
        "CPU µs",
        "busy cores",
        "syncs/s",
        "disk B",
    ];
    output::table(&header, rows);
    let topics = report.levels.iter().flat_map(|level| &level.throughput.records_per_second);
    let topics = topics.map(|(topic, rate)| vec![topic.clone(), rate.to_string()]);
    output::table(&["topic", "records/s"], topics.take(report.levels.len().min(1) * 12));
    for level in &report.levels {
        if let (Some(rate), Some(seconds)) = (level.opened_per_second, level.seconds_behind) {
            let open = level.open;
            output::line(format!(
                "up to {open} open: {rate} opened a second, the next payment paid and in SQL {seconds} s later"
            ));
        }
    }
    output::line(format!(
        "{} payments, all in SQL; memory {} MiB at most",
        report.payments, report.peak_resident_mib
    ));
}

fn measured_row(open: u64, measured: &Measured) -> Vec<String> {
    vec![
        open.to_string(),
        measured.rate.map_or("as fast as it goes".to_owned(), |rate| format!("{rate}/s")),
        measured.payments_per_second.to_string(),
        latency_text(&measured.block_to_row),
        latency_text(&measured.create_to_reply),
        measured.cpu_micros_each.to_string(),
        measured.busy_cores.to_string(),
        measured.syncs_per_second.to_string(),
        measured.disk_bytes_each.to_string(),
    ]
}

fn http_table(report: &HttpReport) {
    output::table(
        &["payments", "asked/s", "done/s", "latency, ms", "syncs/s", "CPU s"],
        [vec![
            report.payments.to_string(),
            report.rate.to_string(),
            report.payments_per_second.to_string(),
            latency_text(&report.create),
            report.syncs_per_second.to_string(),
            report.cpu_seconds.to_string(),
        ]],
    );
    output::line(format!("p99 {} ms (the goal at 100 a second is below 100)", report.create.p99_ms));
}

fn latency_text(latency: &Latency) -> String {
    format!("p50 {}, p99 {}, max {}", latency.p50_ms, latency.p99_ms, latency.max_ms)
}
