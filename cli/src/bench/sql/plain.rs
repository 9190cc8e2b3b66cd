//! The same rows without the sink: read back, and written by what the database has for bulk.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use futures::TryStreamExt;
use sqlx::{
    AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteSynchronous},
};
use streambook_sinks::sql::{SqlConfig, SqlSink};

/// The tables that payments fill.
const TABLES: [&str; 6] =
    ["payments", "payment_events", "ledger_transactions", "ledger_entries", "transfers", "balances"];

/// Copies the rows of `sink.db` into an empty database of the same schema; gives their number and how long it took.
pub(super) async fn sqlite(folder: &Path) -> anyhow::Result<(u64, Duration)> {
    let file = folder.join("plain.db");
    SqlSink::open(&SqlConfig::at(&file)).await?.close().await;
    let options = SqliteConnectOptions::new().filename(&file).synchronous(SqliteSynchronous::Full);
    let mut plain = SqliteConnection::connect_with(&options).await?;
    let attach = format!("ATTACH '{}' AS sink", folder.join("sink.db").display());
    plain.execute(sqlx::query(AssertSqlSafe(attach))).await?;
    let (mut rows, began) = (0, Instant::now());
    plain.execute("BEGIN IMMEDIATE").await?;
    for table in TABLES {
        let text = format!("INSERT INTO main.{table} SELECT * FROM sink.{table}");
        rows += plain.execute(sqlx::query(AssertSqlSafe(text))).await?.rows_affected();
    }
    plain.execute("COMMIT").await?;
    let took = began.elapsed();
    plain.close().await?;
    Ok((rows, took))
}

/// Copies the rows into tables with the same columns and indexes in a schema of their own; gives their number and how long
/// it took, reading them not counted.
pub(super) async fn postgres(config: &SqlConfig) -> anyhow::Result<(u64, Duration)> {
    let mut connection = PgConnection::connect_with(&config.postgres()?).await?;
    connection.execute("CREATE SCHEMA plain").await?;
    let mut tables = Vec::new();
    for table in TABLES {
        let text = format!("CREATE TABLE plain.{table} (LIKE {table} INCLUDING ALL)");
        connection.execute(sqlx::query(AssertSqlSafe(text))).await?;
        let text = format!("COPY (SELECT * FROM {table}) TO STDOUT (FORMAT binary)");
        let bytes: Vec<_> = connection.copy_out_raw(&text).await?.try_collect().await?;
        tables.push((table, bytes.concat()));
    }
    let (mut rows, began) = (0, Instant::now());
    connection.execute("BEGIN").await?;
    for (table, bytes) in tables {
        let text = format!("COPY plain.{table} FROM STDIN (FORMAT binary)");
        let mut copy = connection.copy_in_raw(&text).await?;
        copy.send(bytes).await?;
        rows += copy.finish().await.with_context(|| format!("COPY {table}"))?;
    }
    connection.execute("COMMIT").await?;
    let took = began.elapsed();
    connection.close().await?;
    Ok((rows, took))
}
