//! `bench sql`: the real SQL sink against what the database itself can do with the same rows in the same run: `COPY` in
//! PostgreSQL, `INSERT … SELECT` in SQLite, both into empty tables with the same columns and indexes.
//!
//! The records are those of token payments as the processors write them ([`records`]): created, confirming, completed, each in
//! a batch of its own time, with transfers and postings between. Rows are counted as they are in the end; that a payment's row
//! is written three times on the way there is the sink's trouble. Making the records and reading the rows back is not timed.

mod plain;
pub(super) mod records;

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::Serialize;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use streambook_runtime::sink::Sink;
use streambook_sinks::sql::{Place, SqlConfig, SqlSink, SqlUrl};

use self::records::Feed;
use super::{
    Directory,
    figures::{each, per_second, ratio, seconds},
    usage,
};

/// What is measured.
pub(crate) struct SqlBench {
    pub(crate) payments: u64,
    pub(crate) batch: usize,
    /// A PostgreSQL server's database, beside which one is made for the benchmark; SQLite where there is none.
    pub(crate) url: Option<SqlUrl>,
}

/// Rows and how long they took.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Pace {
    pub(crate) rows_per_second: f64,
    pub(crate) seconds: f64,
}

/// What was found.
#[derive(Debug, Serialize)]
pub(crate) struct SqlReport {
    pub(crate) database: &'static str,
    pub(crate) payments: u64,
    pub(crate) records: u64,
    pub(crate) batches: u64,
    pub(crate) rows: u64,
    pub(crate) sink: Pace,
    pub(crate) plain: Pace,
    /// The sink's rows a second by the plain ones; the goal is 0.5.
    pub(crate) ratio: f64,
    pub(crate) payments_per_second: f64,
    /// Processor time of this process for each payment: SQLite's is in it, a PostgreSQL server's is not.
    pub(crate) cpu_micros_each: f64,
}

/// What the sink took.
struct Written {
    records: u64,
    batches: u64,
    took: Duration,
    cpu: Duration,
}

impl SqlBench {
    /// Measures, and says on the way what is being done.
    pub(crate) async fn run(&self, directory: &Directory, say: impl Fn(&str)) -> anyhow::Result<SqlReport> {
        let Some(server) = &self.url else {
            let config = SqlConfig::at(&directory.path().join("sink.db"));
            let written = self.write(&config, &say).await?;
            say("the same rows by INSERT … SELECT");
            let plain = plain::sqlite(directory.path()).await?;
            return Ok(self.report("SQLite", &written, plain));
        };
        let made = Made::beside(server).await?;
        let measured = self.postgres(&made, &say).await;
        made.drop().await?;
        measured
    }

    async fn postgres(&self, made: &Made, say: &impl Fn(&str)) -> anyhow::Result<SqlReport> {
        let written = self.write(&made.config, say).await?;
        say("the same rows by COPY");
        let plain = plain::postgres(&made.config).await?;
        Ok(self.report("PostgreSQL", &written, plain))
    }

    /// Feeds the sink; only its writes are timed.
    async fn write(&self, config: &SqlConfig, say: &impl Fn(&str)) -> anyhow::Result<Written> {
        let mut sink = SqlSink::open(config).await.context("cannot open the database")?;
        say(&format!("{} payments to the sink", self.payments));
        let mut feed = Feed::new(self.payments);
        let mut written = Written { records: 0, batches: 0, took: Duration::ZERO, cpu: Duration::ZERO };
        while let Some(batch) = feed.batch(self.batch)? {
            let (cpu, began) = (usage::cpu(), Instant::now());
            sink.write(&batch).await?;
            written.took += began.elapsed();
            written.cpu += usage::cpu().saturating_sub(cpu);
            written.batches += 1;
            written.records += batch.records.len() as u64;
        }
        let counts = sink.reads().counts().await?;
        ensure!(counts.payments == self.payments, "SQL holds {} payments", counts.payments);
        ensure!(counts.payment_events == 3 * self.payments, "SQL holds {} events", counts.payment_events);
        sink.close().await;
        Ok(written)
    }

    fn report(&self, database: &'static str, written: &Written, (rows, took): (u64, Duration)) -> SqlReport {
        let pace = |took| Pace { rows_per_second: per_second(rows, took), seconds: seconds(took) };
        let (sink, plain) = (pace(written.took), pace(took));
        SqlReport {
            database,
            payments: self.payments,
            records: written.records,
            batches: written.batches,
            rows,
            sink,
            plain,
            ratio: ratio(sink.rows_per_second, plain.rows_per_second),
            payments_per_second: per_second(self.payments, written.took),
            cpu_micros_each: each(u64::try_from(written.cpu.as_micros()).unwrap_or(u64::MAX), self.payments),
        }
    }
}

/// A database made for the benchmark.
struct Made {
    server: SqlConfig,
    name: String,
    config: SqlConfig,
}

impl Made {
    /// Makes one on the server that holds this one.
    async fn beside(url: &SqlUrl) -> anyhow::Result<Self> {
        let server = SqlConfig { url: url.clone(), ..SqlConfig::default() };
        ensure!(server.place()? == Place::Postgres, "--url: use `postgres://user@host:5432/database`");
        let name = format!("streambook_bench_{}", std::process::id());
        let config = SqlConfig { url: url.of_database(&name), ..SqlConfig::default() };
        let made = Self { server, name, config };
        made.run("CREATE DATABASE").await?;
        Ok(made)
    }

    async fn drop(self) -> anyhow::Result<()> {
        self.run("DROP DATABASE").await
    }

    async fn run(&self, what: &str) -> anyhow::Result<()> {
        let failed = || format!("{what} {} on {}", self.name, self.server.url);
        let options = self.server.postgres()?;
        let mut connection = PgConnection::connect_with(&options).await.with_context(failed)?;
        let text = format!("{what} {}", self.name);
        sqlx::query(AssertSqlSafe(text)).execute(&mut connection).await.with_context(failed)?;
        Ok(connection.close().await?)
    }
}
