//! One request to ClickHouse: a statement, a query, or an insert under a token, each with a time limit. Whether its
//! failure may be retried is [`ClickHouseError::may_be_retried`].

use std::{
    collections::BTreeMap,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use clickhouse::{Client, Row, RowOwned, RowRead, RowWrite, error::Error};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use streambook_runtime::metrics::Metric;

use super::{
    config::{ClickHouseConfig, Compression},
    error::ClickHouseError,
    native::{Block, Types},
};

/// What every insert says of itself: it is one insert (`async_insert` would acknowledge or deduplicate otherwise), a
/// repeated token is dropped, it is answered when it is done, and it may reach into any number of months, as it does
/// when a sink is rebuilt.
const INSERT_SETTINGS: [(&str, &str); 4] = [
    ("async_insert", "0"),
    ("insert_deduplicate", "1"),
    ("wait_end_of_query", "1"),
    ("max_partitions_per_insert_block", "0"),
];

/// Bytes of an insert that are compressed and sent at once.
const PIECE_BYTES: usize = 1 << 20;

/// A column as the server states it.
#[derive(Debug, Row, Deserialize)]
struct ColumnRow {
    name: String,
    r#type: String,
}

/// An insert that only has to be sent.
pub(crate) struct Prepared {
    table: &'static str,
    rows: usize,
    sql: String,
    body: Bytes,
}

/// The server, as one user in one database. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Service {
    client: Client,
    /// The types of the columns of the tables that were written to.
    tables: Arc<Mutex<BTreeMap<&'static str, Arc<Types>>>>,
    timeout: Duration,
    database: String,
}

impl Service {
    /// Prepares the requests; nothing is sent.
    pub(crate) fn new(config: &ClickHouseConfig) -> Result<Self, ClickHouseError> {
        let compression = match config.compression {
            Compression::Lz4 => clickhouse::Compression::Lz4,
            Compression::None => clickhouse::Compression::None,
        };
        let client = Client::default()
            .with_url(&config.url)
            .with_user(&config.user)
            .with_password(password(config)?)
            .with_compression(compression)
            .with_product_info("streambook", env!("CARGO_PKG_VERSION"));
        let (timeout, database) = (config.timeout(), config.database.clone());
        Ok(Self { client, tables: Arc::default(), timeout, database })
    }

    /// Makes the database if it does not exist. Its name was checked to be a plain one.
    pub(crate) async fn make_database(&self) -> Result<(), ClickHouseError> {
        let operation = "making the database";
        let sql = format!("CREATE DATABASE IF NOT EXISTS `{}`", self.database);
        self.within(operation, self.client.query_raw(&sql).execute()).await
    }

    /// Executes a statement.
    pub(crate) async fn execute(&self, operation: &'static str, sql: &str) -> Result<(), ClickHouseError> {
        self.within(operation, self.in_database().query_raw(sql).execute()).await
    }

    /// All rows of a query.
    pub(crate) async fn fetch<T>(&self, operation: &'static str, sql: &str) -> Result<Vec<T>, ClickHouseError>
    where
        T: RowOwned + RowRead,
    {
        self.within(operation, self.in_database().query(sql).fetch_all::<T>()).await
    }

    /// The rows of one insert, column by column.
    pub(crate) async fn prepare<R: Serialize>(
        &self,
        table: &'static str,
        rows: &[R],
    ) -> Result<Prepared, ClickHouseError> {
        let types = self.types(table).await?;
        let block = Block::of(&types, rows).map_err(|source| ClickHouseError::Unfit { table, source })?;
        let sql = format!("INSERT INTO `{table}` ({}) FORMAT Native", block.names());
        Ok(Prepared { table, rows: rows.len(), sql, body: Bytes::from(block.encode(rows.len())) })
    }

    /// Inserts rows; the same token inserts once.
    pub(crate) async fn insert_prepared(
        self,
        insert: Prepared,
        token: String,
    ) -> Result<(), ClickHouseError> {
        let Prepared { table, rows, sql, body } = insert;
        let began = Instant::now();
        self.send(&sql, body, token).await.map_err(ClickHouseError::request(table))?;
        let label = || ("table", table.to_owned());
        Metric::ClickHouseRows.count(rows as u64, &[label()]);
        Metric::ClickHouseInsertSeconds.observe(began.elapsed(), &[label()]);
        Ok(())
    }

    async fn send(&self, sql: &str, mut body: Bytes, token: String) -> Result<(), Error> {
        let mut insert = self
            .in_database()
            .insert_formatted_with(sql)
            .with_setting("insert_deduplication_token", token)
            .with_timeouts(Some(self.timeout), Some(self.timeout));
        for (name, value) in INSERT_SETTINGS {
            insert = insert.with_setting(name, value);
        }
        while !body.is_empty() {
            insert.send(body.split_to(body.len().min(PIECE_BYTES))).await?;
        }
        insert.end().await
    }

    /// The types of a table's columns, asked for once: only a start changes the schema.
    async fn types(&self, table: &'static str) -> Result<Arc<Types>, ClickHouseError> {
        if let Some(types) = self.tables.lock().get(table) {
            return Ok(Arc::clone(types));
        }
        let sql = format!(
            "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = '{table}' AND \
             default_kind IN ('', 'DEFAULT')"
        );
        let columns: Vec<ColumnRow> = self.fetch("reading a table's columns", &sql).await?;
        let types: Arc<Types> =
            Arc::new(columns.into_iter().map(|column| (column.name, column.r#type)).collect());
        self.tables.lock().insert(table, Arc::clone(&types));
        Ok(types)
    }

    /// Inserts a few rows of the sink's own, row by row. Each value's type is compared with its column's.
    pub(crate) async fn insert<T: RowOwned + RowWrite>(
        &self,
        table: &'static str,
        rows: &[T],
    ) -> Result<(), ClickHouseError> {
        self.insert_rows(table, rows).await.map_err(ClickHouseError::request(table))
    }

    async fn insert_rows<T: RowOwned + RowWrite>(
        &self,
        table: &'static str,
        rows: &[T],
    ) -> Result<(), Error> {
        let mut insert = self.in_database().insert::<T>(table).await?;
        for (name, value) in INSERT_SETTINGS {
            insert = insert.with_setting(name, value);
        }
        insert = insert.with_timeouts(Some(self.timeout), Some(self.timeout));
        for row in rows {
            insert.write(row).await?;
        }
        insert.end().await
    }

    fn in_database(&self) -> Client {
        self.client.clone().with_database(&self.database)
    }

    async fn within<T>(
        &self,
        operation: &'static str,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, ClickHouseError> {
        match tokio::time::timeout(self.timeout, request).await {
            Ok(answer) => answer.map_err(ClickHouseError::request(operation)),
            Err(_) => Err(ClickHouseError::NoAnswer { operation, seconds: self.timeout.as_secs() }),
        }
    }
}

fn password(config: &ClickHouseConfig) -> Result<String, ClickHouseError> {
    let Some(file) = &config.password_file else { return Ok(config.password.clone()) };
    let text = std::fs::read_to_string(file);
    text.map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
        .map_err(|source| ClickHouseError::PasswordFile { path: file.display().to_string(), source })
}
