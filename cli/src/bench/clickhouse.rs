//! `bench clickhouse`: the real ClickHouse sink against native inserts of the same rows, in the same batches, over the same
//! HTTP, in the same run.
//!
//! The records are those of [`bench sql`](super::sql). The sink's time has everything that a batch costs: rows made of
//! records, the plan, the inserts, the count, the position. What it wrote is then read back batch by batch as `Native`
//! blocks in the order it was sent, which is not timed, and inserted into empty tables of the same kind: no part of the sink, and nothing to parse.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde::Serialize;
use streambook_log::{
    Log, Retention, TopicSpec,
    embedded::{EmbeddedLog, EmbeddedOptions},
};
use streambook_model::topics;
use streambook_runtime::{clock, sink::Sink};
use streambook_sinks::clickhouse::{ClickHouseConfig, ClickHouseSink};

use super::{
    Directory,
    figures::{each, per_second, ratio, seconds},
    sql::{Pace, records::Feed},
    usage,
};

/// The tables that these records reach.
const TABLES: [&str; 4] = ["payment_events", "payments", "ledger_entries", "chain_transfers"];

/// The order in which the sink sends a table's rows: as they come, and payments by their ids.
fn order(table: &str) -> &'static str {
    if table == "payments" { "payment" } else { "log_offset" }
}

/// What is measured.
pub(crate) struct ClickHouseBench {
    pub(crate) payments: u64,
    pub(crate) batch: usize,
    /// The server; two databases are made for the benchmark and dropped after it.
    pub(crate) config: ClickHouseConfig,
}

/// What was found.
#[derive(Debug, Serialize)]
pub(crate) struct ClickHouseReport {
    pub(crate) version: String,
    pub(crate) payments: u64,
    pub(crate) records: u64,
    pub(crate) batches: u64,
    pub(crate) rows: u64,
    pub(crate) sink: Pace,
    pub(crate) native: Pace,
    /// The sink's rows a second by the native ones; the goal is 0.7.
    pub(crate) ratio: f64,
    pub(crate) payments_per_second: f64,
    /// Processor time of this process for each payment; the server's is not in it.
    pub(crate) cpu_micros_each: f64,
    pub(crate) disk_bytes_each_row: f64,
}

/// What the sink took.
#[derive(Default)]
struct Written {
    records: u64,
    batches: u64,
    took: Duration,
    cpu: Duration,
}

impl ClickHouseBench {
    /// Measures, and says on the way what is being done.
    pub(crate) async fn run(
        mut self,
        directory: &Directory,
        say: impl Fn(&str),
    ) -> anyhow::Result<ClickHouseReport> {
        self.config.database = format!("streambook_bench_{}", std::process::id());
        self.config.validate()?;
        let server =
            Server { http: reqwest::Client::builder().no_proxy().build()?, config: self.config.clone() };
        let measured = self.measure(directory, &server, &say).await;
        for database in [server.filled(), server.twin()] {
            server.ask("", &format!("DROP DATABASE IF EXISTS {database}")).await?;
        }
        measured
    }

    async fn measure(
        &self,
        directory: &Directory,
        server: &Server,
        say: &impl Fn(&str),
    ) -> anyhow::Result<ClickHouseReport> {
        let version = server.text("", "SELECT version()").await?;
        say(&format!("{} payments to the sink", self.payments));
        let written = self.write(directory).await?;
        let (filled, mut rows, mut bytes) = (server.filled(), 0, 0);
        for table in TABLES {
            rows += server.count(&filled, &format!("SELECT count() FROM {table}")).await?;
            let size = "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase() AND table";
            bytes += server.count(&filled, &format!("{size} = '{table}'")).await?;
        }
        let events = server.count(&filled, "SELECT count() FROM payment_events").await?;
        ensure!(events == 3 * self.payments, "ClickHouse holds {events} events");
        say("the same rows as native blocks");
        let native = server.insert_again(written.batches).await?;
        let pace = |took| Pace { rows_per_second: per_second(rows, took), seconds: seconds(took) };
        let (sink, native) = (pace(written.took), pace(native));
        Ok(ClickHouseReport {
            version,
            payments: self.payments,
            records: written.records,
            batches: written.batches,
            rows,
            sink,
            native,
            ratio: ratio(sink.rows_per_second, native.rows_per_second),
            payments_per_second: per_second(self.payments, written.took),
            cpu_micros_each: each(u64::try_from(written.cpu.as_micros()).unwrap_or(u64::MAX), self.payments),
            disk_bytes_each_row: each(bytes, rows),
        })
    }

    /// Feeds the sink; only its writes are timed.
    async fn write(&self, directory: &Directory) -> anyhow::Result<Written> {
        let options = EmbeddedOptions::new(directory.path().join("log"));
        let log: Arc<dyn Log> = tokio::task::block_in_place(|| EmbeddedLog::open(options))?;
        for topic in topics::ALL {
            let (name, partitions) = (topic.topic(), topic.partitions);
            log.ensure_topic(&TopicSpec { name, partitions, retention: Retention::Forever }).await?;
        }
        let mut sink = ClickHouseSink::new(&self.config, log, clock::system())?;
        sink.positions().await?;
        let (mut feed, mut written) = (Feed::new(self.payments), Written::default());
        while let Some(batch) = feed.batch(self.batch)? {
            let (cpu, began) = (usage::cpu(), Instant::now());
            sink.write(&batch).await?;
            written.took += began.elapsed();
            written.cpu += usage::cpu().saturating_sub(cpu);
            written.batches += 1;
            written.records += batch.records.len() as u64;
        }
        Ok(written)
    }
}

/// The server, asked without any part of the sink.
struct Server {
    http: reqwest::Client,
    config: ClickHouseConfig,
}

impl Server {
    /// The database the sink fills.
    fn filled(&self) -> String {
        self.config.database.clone()
    }

    /// The one beside it.
    fn twin(&self) -> String {
        format!("{}_native", self.config.database)
    }

    /// Inserts what the sink wrote into empty tables; how long the inserts took.
    async fn insert_again(&self, batches: u64) -> anyhow::Result<Duration> {
        let (filled, twin) = (self.filled(), self.twin());
        self.ask("", &format!("CREATE DATABASE {twin}")).await?;
        for table in TABLES {
            self.ask(&twin, &format!("CREATE TABLE {table} AS {filled}.{table}")).await?;
        }
        let mut took = Duration::ZERO;
        for batch in 1..=batches {
            let mut blocks = Vec::new();
            for table in TABLES {
                let order = order(table);
                let rows =
                    format!("SELECT * FROM {table} WHERE batch = {batch} ORDER BY {order} FORMAT Native");
                let block = self.ask(&filled, &rows).await?.bytes().await?;
                blocks.extend((!block.is_empty()).then_some((table, block)));
            }
            let began = Instant::now();
            let inserts = blocks.into_iter().map(|(table, block)| self.insert(&twin, table, block));
            futures::future::try_join_all(inserts).await?;
            took += began.elapsed();
        }
        Ok(took)
    }

    async fn insert(&self, database: &str, table: &str, block: bytes::Bytes) -> anyhow::Result<()> {
        let query = format!("query=INSERT%20INTO%20{table}%20FORMAT%20Native");
        self.post(&format!("database={database}&{query}"), block).await.map(drop)
    }

    async fn count(&self, database: &str, sql: &str) -> anyhow::Result<u64> {
        let text = self.text(database, sql).await?;
        text.parse().with_context(|| format!("{sql}: answered {text:?}"))
    }

    async fn text(&self, database: &str, sql: &str) -> anyhow::Result<String> {
        Ok(self.ask(database, sql).await?.text().await?.trim().to_owned())
    }

    async fn ask(&self, database: &str, sql: &str) -> anyhow::Result<reqwest::Response> {
        let parameters = if database.is_empty() { String::new() } else { format!("database={database}") };
        self.post(&parameters, bytes::Bytes::from(sql.to_owned())).await
    }

    async fn post(&self, parameters: &str, body: bytes::Bytes) -> anyhow::Result<reqwest::Response> {
        let url = format!("{}/?{parameters}", self.config.url.trim_end_matches('/'));
        let request = self.http.post(url).header("X-ClickHouse-User", &self.config.user);
        let answer = request.header("X-ClickHouse-Key", &self.config.password).body(body).send().await;
        let answer = answer.context("ClickHouse does not answer")?;
        if !answer.status().is_success() {
            bail!("ClickHouse: {}", answer.text().await?.trim());
        }
        Ok(answer)
    }
}
