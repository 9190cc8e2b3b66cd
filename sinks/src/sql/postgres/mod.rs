//! The PostgreSQL dialect: connections and their roles, transactions, the insert of many rows, and which errors pass.
//!
//! - A commit is on disk when it returns (`synchronous_commit = on`), whatever the database's default is.
//! - The sink writes as `streambook_writer` and the reads read as `streambook_reader`: neither may change or delete what the
//!   ledger says. Only a schema step runs as the user of the address.
//! - Every statement ends: by the server's timeouts, and where no server is left to keep them, by a timeout here.

mod array;
mod kind;
pub(crate) mod numeric;

use std::{future::Future, sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Decode, Executor, PgPool, Postgres as Dialect, Row as _,
    TypeInfo, ValueRef,
    pool::{PoolConnection, PoolOptions},
    postgres::{
        PgArguments, PgConnectOptions, PgConnection, PgDatabaseError, PgRow, PgValueFormat, PgValueRef,
    },
    query::Query as Statement,
};

use self::{
    array::Column,
    kind::{Kind, Kinds},
};
use super::{
    cell::{Cell, Row},
    config::SqlConfig,
    error::SqlError,
    query::Query,
    table::{Rows, Table},
};

/// The oldest server that the schema was written for.
const OLDEST_SERVER: i64 = 150_000;
/// How long a connection is waited for.
const ACQUIRE: Duration = Duration::from_secs(5);
/// How long a read waits for one: whoever asked is better told soon that there is no database.
const ACQUIRE_FOR_READING: Duration = Duration::from_secs(2);
/// What a network may take beyond the server's own timeout.
const GRACE: Duration = Duration::from_secs(10);
/// How long the server keeps a transaction of which nothing more is heard: its process died.
const IDLE_TRANSACTION_MS: u32 = 60_000;

/// As whom a connection works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The user of the address, who owns the schema.
    Owner,
    /// `streambook_writer`: adds to the ledger, and changes what is no ledger.
    Writer,
    /// `streambook_reader`: reads.
    Reader,
}

/// A pool of connections to one database. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Postgres {
    pool: PgPool,
    kinds: Kinds,
    role: Role,
    /// The address without its password, for errors.
    url: String,
    /// The longest that a statement may take.
    patience: Duration,
}

impl Postgres {
    /// Opens a database that exists and can be reached.
    pub(crate) async fn open(config: &SqlConfig, role: Role) -> Result<Self, SqlError> {
        let database = Self::later(config, role)?;
        database.reach().await?;
        if role == Role::Owner {
            database.is_usable().await?;
        }
        Ok(database)
    }

    /// A database that need not be there yet: nothing is connected before it is asked for something.
    pub(crate) fn later(config: &SqlConfig, role: Role) -> Result<Self, SqlError> {
        let patience = Duration::from_millis(config.statement_timeout_ms.into()) + GRACE;
        let (connections, acquire) = match role {
            Role::Reader => (config.read_connections, ACQUIRE_FOR_READING),
            Role::Owner | Role::Writer => (1, ACQUIRE),
        };
        let pool = PoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(acquire)
            .after_connect(move |connection: &mut PgConnection, _| {
                Box::pin(async move { connection.execute(become_text(role)).await.map(drop) })
            })
            .connect_lazy_with(options(config, role)?);
        Ok(Self { pool, kinds: Kinds::default(), role, url: config.url.to_string(), patience })
    }

    /// Makes one connection and closes it. Unlike the pool, which tries for a while and then says that it has, this says at
    /// once why there is none.
    async fn reach(&self) -> Result<(), SqlError> {
        let options = self.pool.connect_options();
        let attempt = async {
            let mut connection = options.connect().await?;
            connection.execute(become_text(self.role)).await?;
            connection.close().await
        };
        let silent = |_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()));
        let reached = tokio::time::timeout(ACQUIRE, attempt).await.unwrap_or_else(silent);
        reached.map_err(|source| SqlError::Open { url: self.url.clone(), source })
    }

    /// One of the pool's connections.
    async fn acquire(&self, operation: &'static str) -> Result<PoolConnection<Dialect>, SqlError> {
        let acquired = within(self.patience, operation, self.pool.acquire()).await;
        if let Err(SqlError::Statement { source: sqlx::Error::PoolTimedOut, .. }) = &acquired {
            self.reach().await?;
        }
        acquired
    }

    async fn is_usable(&self) -> Result<(), SqlError> {
        let query = Query::new(
            "SELECT current_setting('server_version_num')::bigint, current_setting('server_encoding')",
        );
        let operation = "asking the server's version";
        for mut row in self.fetch(operation, query).await? {
            let (version, encoding) = (row.integer()?, row.text()?);
            if version < OLDEST_SERVER {
                let text = format!("the server is PostgreSQL {}: use 15 or newer", version / 10_000);
                return Err(SqlError::Schema(text));
            }
            if encoding != "UTF8" {
                let text = format!(
                    "the database's encoding is {encoding}: make one with `CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0`"
                );
                return Err(SqlError::Schema(text));
            }
        }
        Ok(())
    }

    /// Runs a query and reads all its rows. Who lists limits its query.
    pub(crate) async fn fetch(&self, operation: &'static str, query: Query) -> Result<Vec<Row>, SqlError> {
        let mut connection = self.acquire(operation).await?;
        let rows = within(self.patience, operation, statement(query).fetch_all(&mut *connection)).await;
        if rows.is_err() {
            connection.close_on_drop();
        }
        rows?.iter().map(|row| cells(operation, row)).collect()
    }

    /// Begins a transaction. Dropped, it is undone.
    pub(crate) async fn begin(&self) -> Result<PostgresWriting, SqlError> {
        let operation = "beginning a write";
        let mut connection = self.acquire(operation).await?;
        let begun = within(self.patience, operation, connection.execute("BEGIN")).await;
        let kinds = self.kinds.clone();
        let writing = PostgresWriting { connection, kinds, is_open: true, patience: self.patience };
        begun.map(|_| writing)
    }

    /// Closes all connections.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

/// A write transaction. One that does not come to its commit takes its connection with it: the server then undoes it, and
/// nothing of a broken conversation is left for the next.
pub(crate) struct PostgresWriting {
    connection: PoolConnection<Dialect>,
    kinds: Kinds,
    is_open: bool,
    patience: Duration,
}

impl Drop for PostgresWriting {
    fn drop(&mut self) {
        if self.is_open {
            self.connection.close_on_drop();
        }
    }
}

impl PostgresWriting {
    /// Runs a statement; gives the number of rows it changed.
    pub(crate) async fn execute(&mut self, operation: &'static str, query: Query) -> Result<u64, SqlError> {
        let done = statement(query).execute(&mut *self.connection);
        within(self.patience, operation, done).await.map(|done| done.rows_affected())
    }

    /// Runs a query within the transaction.
    pub(crate) async fn fetch(
        &mut self,
        operation: &'static str,
        query: Query,
    ) -> Result<Vec<Row>, SqlError> {
        let rows =
            within(self.patience, operation, statement(query).fetch_all(&mut *self.connection)).await?;
        rows.iter().map(|row| cells(operation, row)).collect()
    }

    /// Runs the statements of a schema step. It may take as long as it takes.
    pub(crate) async fn script(&mut self, step: &'static str, sql: &'static str) -> Result<(), SqlError> {
        let done = sqlx::raw_sql(sql).execute(&mut *self.connection).await;
        done.map(drop).map_err(|source| SqlError::Migrate { step, source })
    }

    /// Writes the rows of a table with one statement, in which each column is one argument. In one message and one answer:
    /// `COPY` takes the server less work for a row, but its end is a small message of its own, which waits for the other
    /// side's delayed acknowledgement (up to 40 ms) over TCP, and it needs a table in between where a row may exist.
    pub(crate) async fn insert(&mut self, rows: Rows) -> Result<(), SqlError> {
        let (name, columns) = (rows.table.name, rows.table.columns);
        let kinds = self.kinds_of(rows.table).await?;
        let arguments: Vec<_> = (1..=columns.len()).map(|number| format!("${number}")).collect();
        let text = format!(
            "INSERT INTO {name} ({}) SELECT * FROM unnest({}){}",
            columns.join(", "),
            arguments.join(", "),
            rows.table.conflict_clause()
        );
        let mut statement = sqlx::query(AssertSqlSafe(text));
        for (number, kind) in kinds.iter().enumerate() {
            let cells = rows.cells.iter().skip(number).step_by(columns.len().max(1));
            let column = Column::of(*kind, cells).ok_or_else(|| unfit(name, columns.get(number)))?;
            statement = statement.bind(column);
        }
        within(self.patience, name, statement.execute(&mut *self.connection)).await.map(drop)
    }

    async fn kinds_of(&mut self, table: &Table) -> Result<Arc<[Kind]>, SqlError> {
        if let Some(known) = self.kinds.of(table) {
            return Ok(known);
        }
        let asked = sqlx::query(Kinds::QUERY).bind(table.name).fetch_all(&mut *self.connection);
        let rows = within(self.patience, table.name, asked).await?;
        let named = |row: &PgRow| Ok((row.try_get(0)?, row.try_get(1)?));
        let found = rows.iter().map(named).collect::<Result<_, sqlx::Error>>();
        self.kinds.learn(table, &found.map_err(|source| SqlError::statement(table.name, source))?)
    }

    /// Commits: on disk when it returns.
    pub(crate) async fn commit(mut self) -> Result<(), SqlError> {
        let done = self.connection.execute("COMMIT");
        within(self.patience, "committing a write", done).await?;
        self.is_open = false;
        Ok(())
    }
}

/// Whether the server's disk is full (<https://www.postgresql.org/docs/15/errcodes-appendix.html>).
pub(crate) fn is_disk_full(error: &PgDatabaseError) -> bool {
    error.code() == "53100"
}

/// Whether the same may go well another time: connection trouble (08), a transaction rolled back for others' sake (40), no
/// room (53), a lock or a statement that took too long, a server that stops, starts, or has become a replica for now
/// (57, 25006), or whose system failed (58).
pub(crate) fn is_temporary(error: &PgDatabaseError) -> bool {
    let code = error.code();
    matches!(code.get(..2), Some("08" | "40" | "53" | "57" | "58"))
        || matches!(code, "25P03" | "25P02" | "25006" | "55006" | "55P03")
}

/// Waits no longer than a server that is there takes to answer. What did not answer is not asked again: its connection is
/// closed with the transaction.
async fn within<T>(
    patience: Duration,
    operation: &'static str,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, SqlError> {
    match tokio::time::timeout(patience, work).await {
        Ok(done) => done.map_err(|source| SqlError::statement(operation, source)),
        Err(_) => Err(SqlError::Silent { operation, seconds: patience.as_secs() }),
    }
}

fn unfit(table: &str, column: Option<&&str>) -> SqlError {
    SqlError::Unfit(format!(
        "a value of {table}.{} is too long or of another kind than its column",
        column.copied().unwrap_or_default()
    ))
}

/// The first statement of a connection.
const fn become_text(role: Role) -> &'static str {
    match role {
        Role::Owner => "SELECT 1",
        Role::Writer => "SET ROLE streambook_writer",
        Role::Reader => "SET ROLE streambook_reader",
    }
}

fn options(config: &SqlConfig, role: Role) -> Result<PgConnectOptions, SqlError> {
    let options = config.postgres().map_err(|error| SqlError::Schema(error.to_string()))?;
    // A schema step builds indexes, which may take long; that it waits for others' locks may not.
    let statement = if role == Role::Owner { 0 } else { config.statement_timeout_ms };
    let options = options
        .application_name("streambook")
        .options([
            ("statement_timeout", statement),
            ("lock_timeout", config.busy_timeout_ms),
            ("idle_in_transaction_session_timeout", IDLE_TRANSACTION_MS),
        ])
        .options([("synchronous_commit", "on"), ("client_min_messages", "warning")])
        .disable_statement_logging();
    Ok(match role {
        Role::Reader => options.options([("default_transaction_read_only", "on")]),
        Role::Owner | Role::Writer => options,
    })
}

fn statement(query: Query) -> Statement<'static, Dialect, PgArguments> {
    let (sql, arguments) = query.into_parts();
    // The text only ever comes from the code (see `Query`).
    arguments.into_iter().fold(sqlx::query(AssertSqlSafe(sql)), |statement, cell| match cell {
        Cell::Null => statement.bind(None::<i64>),
        Cell::Integer(value) => statement.bind(value),
        Cell::Flag(value) => statement.bind(value),
        Cell::Amount(value) => statement.bind(value.to_string()),
        Cell::Text(value) => statement.bind(value),
        Cell::Bytes(value) => statement.bind(value),
    })
}

/// A row's values, by their columns' types.
fn cells(operation: &'static str, row: &PgRow) -> Result<Row, SqlError> {
    let cells = (0..row.len()).map(|column| cell(row, column)).collect::<Result<_, sqlx::Error>>();
    cells.map(|cells| Row::new(operation, cells)).map_err(|source| SqlError::statement(operation, source))
}

fn cell(row: &PgRow, column: usize) -> Result<Cell, sqlx::Error> {
    let value = row.try_get_raw(column)?;
    if value.is_null() {
        return Ok(Cell::Null);
    }
    let kind = value.type_info().name().to_owned();
    let undecodable = |source| sqlx::Error::ColumnDecode { index: column.to_string(), source };
    match kind.as_str() {
        "INT8" => <i64 as Decode<Dialect>>::decode(value).map(Cell::Integer),
        "BOOL" => <bool as Decode<Dialect>>::decode(value).map(Cell::Flag),
        "BYTEA" => <Vec<u8> as Decode<Dialect>>::decode(value).map(Cell::Bytes),
        "NUMERIC" => amount(&value),
        // Text and JSON, whose binary form is the text.
        _ => value.as_str().map(|text| Cell::Text(text.to_owned())),
    }
    .map_err(undecodable)
}

fn amount(value: &PgValueRef<'_>) -> Result<Cell, sqlx::error::BoxDynError> {
    let bytes = value.as_bytes()?;
    let amount = if value.format() == PgValueFormat::Binary { numeric::decode(bytes) } else { None };
    amount.map(Cell::Amount).ok_or_else(|| "the number is no amount".into())
}
