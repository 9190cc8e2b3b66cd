//! The SQLite dialect: connections, transactions, the bulk insert, and which errors pass.
//!
//! A commit is on disk when it returns (WAL with `synchronous = FULL`). Readers never wait for the writer nor it for them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;

use sqlx::{
    AssertSqlSafe, ConnectOptions, Decode, Row as _, Sqlite as Dialect, SqlitePool, TypeInfo, Value,
    ValueRef,
    error::DatabaseError,
    query::Query as Statement,
    sqlite::{
        SqliteArguments, SqliteConnectOptions, SqliteError, SqliteJournalMode, SqlitePoolOptions, SqliteRow,
        SqliteSynchronous,
    },
};

use super::{
    cell::{Cell, Row},
    config::SqlConfig,
    error::SqlError,
    query::Query,
    table::{Existing, Rows, Table},
};

/// Rows of one `INSERT`: beyond this nothing is gained, and the number of different statements stays small.
const ROWS_PER_STATEMENT: usize = 128;
/// Pages of the write-ahead log between checkpoints (64 MB): a page that many batches change is copied back once.
const CHECKPOINT_PAGES: &str = "16384";
/// The write-ahead log's file is cut back to this after a checkpoint (128 MB).
const JOURNAL_BYTES: &str = "134217728";
/// Memory for pages of the writer's connection (64 MB; negative: in KiB).
const WRITER_CACHE: &str = "-65536";
/// Memory for pages of each reader's connection (8 MB).
const READER_CACHE: &str = "-8192";
/// Statements a connection keeps prepared: all that the writer uses, at every number of rows.
const STATEMENTS: usize = 256;

/// A pool of connections to one database file. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Sqlite {
    pool: SqlitePool,
    inserts: Inserts,
}

/// The texts of inserts by table and number of rows, each made once.
type Inserts = Arc<Mutex<BTreeMap<(&'static str, usize), Arc<str>>>>;

impl Sqlite {
    /// Opens the database, making it if it does not exist, with the one connection that writes.
    pub(crate) async fn open_for_writing(config: &SqlConfig) -> Result<Self, SqlError> {
        let options = options(config)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
            .pragma("journal_size_limit", JOURNAL_BYTES)
            .pragma("cache_size", WRITER_CACHE);
        Self::connect(config, options, 1).await
    }

    /// Opens a database that exists, with connections that cannot write.
    pub(crate) async fn open_for_reading(config: &SqlConfig) -> Result<Self, SqlError> {
        let options = options(config)?.pragma("query_only", "ON").pragma("cache_size", READER_CACHE);
        Self::connect(config, options, config.read_connections).await
    }

    async fn connect(
        config: &SqlConfig,
        options: SqliteConnectOptions,
        connections: u32,
    ) -> Result<Self, SqlError> {
        let pool = SqlitePoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(Duration::from_secs(10))
            .connect_with(options)
            .await
            .map_err(|source| SqlError::Open { url: config.url.to_string(), source })?;
        Ok(Self { pool, inserts: Inserts::default() })
    }

    /// Runs a query and reads all its rows. Who lists limits its query.
    pub(crate) async fn fetch(&self, operation: &'static str, query: Query) -> Result<Vec<Row>, SqlError> {
        let rows = statement(query).fetch_all(&self.pool).await;
        let rows = rows.map_err(|source| SqlError::statement(operation, source))?;
        rows.iter().map(|row| cells(operation, row)).collect()
    }

    /// Begins a transaction that holds the database's write lock from its first moment. Dropped, it is undone.
    pub(crate) async fn begin(&self) -> Result<SqliteWriting, SqlError> {
        let transaction = self.pool.begin_with("BEGIN IMMEDIATE").await;
        let transaction = transaction.map_err(|source| SqlError::statement("beginning a write", source))?;
        Ok(SqliteWriting { transaction, inserts: Arc::clone(&self.inserts) })
    }

    /// Closes all connections.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

/// A write transaction.
pub(crate) struct SqliteWriting {
    transaction: sqlx::Transaction<'static, Dialect>,
    inserts: Inserts,
}

impl SqliteWriting {
    /// Runs a statement; gives the number of rows it changed.
    pub(crate) async fn execute(&mut self, operation: &'static str, query: Query) -> Result<u64, SqlError> {
        let done = statement(query).execute(&mut *self.transaction).await;
        done.map(|done| done.rows_affected()).map_err(|source| SqlError::statement(operation, source))
    }

    /// Runs a query within the transaction.
    pub(crate) async fn fetch(
        &mut self,
        operation: &'static str,
        query: Query,
    ) -> Result<Vec<Row>, SqlError> {
        let rows = statement(query).fetch_all(&mut *self.transaction).await;
        let rows = rows.map_err(|source| SqlError::statement(operation, source))?;
        rows.iter().map(|row| cells(operation, row)).collect()
    }

    /// Runs the statements of a schema step.
    pub(crate) async fn script(&mut self, step: &'static str, sql: &'static str) -> Result<(), SqlError> {
        let done = sqlx::raw_sql(sql).execute(&mut *self.transaction).await;
        done.map(drop).map_err(|source| SqlError::Migrate { step, source })
    }

    /// Writes rows, in statements of a power of two of rows, so that few statements are ever prepared.
    pub(crate) async fn insert(&mut self, rows: Rows) -> Result<(), SqlError> {
        let width = rows.table.columns.len();
        let mut left = rows.cells.len() / width;
        let mut cells = rows.cells.into_iter();
        while left > 0 {
            let count = largest_power_of_two_in(left.min(ROWS_PER_STATEMENT));
            let mut statement = sqlx::query(AssertSqlSafe(self.insert_text(rows.table, count)));
            for cell in cells.by_ref().take(count * width) {
                statement = bind(statement, cell);
            }
            let done = statement.execute(&mut *self.transaction).await;
            done.map_err(|source| SqlError::statement(rows.table.name, source))?;
            left -= count;
        }
        Ok(())
    }

    fn insert_text(&self, table: &Table, rows: usize) -> Arc<str> {
        let mut inserts = self.inserts.lock();
        Arc::clone(inserts.entry((table.name, rows)).or_insert_with(|| insert_text(table, rows).into()))
    }

    /// Commits: on disk when it returns.
    pub(crate) async fn commit(self) -> Result<(), SqlError> {
        self.transaction.commit().await.map_err(|source| SqlError::statement("committing a write", source))
    }
}

/// Whether the disk is full.
pub(crate) fn is_disk_full(error: &SqliteError) -> bool {
    primary_code(error) == Some(13)
}

/// Whether the same may go well another time (<https://www.sqlite.org/rescode.html>): busy, locked, out of memory, an I/O
/// error, a full disk, a file that cannot be opened just now, a race for the lock.
pub(crate) fn is_temporary(error: &SqliteError) -> bool {
    matches!(primary_code(error), Some(5 | 6 | 7 | 10 | 13 | 14 | 15))
}

/// SQLite's primary result code: the low byte of the extended one.
fn primary_code(error: &SqliteError) -> Option<u32> {
    let code = error.code()?;
    code.parse::<u32>().ok().map(|code| code & 0xff)
}

fn options(config: &SqlConfig) -> Result<SqliteConnectOptions, SqlError> {
    let path = config.path().map_err(|error| SqlError::Schema(error.to_string()))?;
    Ok(SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(Duration::from_millis(config.busy_timeout_ms.into()))
        .statement_cache_capacity(STATEMENTS)
        .pragma("temp_store", "MEMORY")
        .disable_statement_logging())
}

fn statement(query: Query) -> Statement<'static, Dialect, SqliteArguments> {
    let (sql, arguments) = query.into_parts();
    // The text only ever comes from the code (see `Query`).
    arguments.into_iter().fold(sqlx::query(AssertSqlSafe(sql)), bind)
}

fn bind(
    statement: Statement<'static, Dialect, SqliteArguments>,
    cell: Cell,
) -> Statement<'static, Dialect, SqliteArguments> {
    match cell {
        Cell::Null => statement.bind(None::<i64>),
        Cell::Integer(value) => statement.bind(value),
        Cell::Flag(value) => statement.bind(i64::from(value)),
        Cell::Amount(value) => statement.bind(value.to_string()),
        Cell::Text(value) => statement.bind(value),
        Cell::Bytes(value) => statement.bind(value),
    }
}

fn insert_text(table: &Table, rows: usize) -> String {
    let row = format!("({})", vec!["?"; table.columns.len()].join(", "));
    let values = vec![row.as_str(); rows].join(", ");
    let columns = table.columns.join(", ");
    // A failure undoes the whole transaction. That a statement can be undone by itself as well would cost a copy of each
    // page it touches.
    let insert = if matches!(table.existing, Existing::Refuse) { "INSERT OR FAIL" } else { "INSERT" };
    format!("{insert} INTO {} ({columns}) VALUES {values}{}", table.name, table.conflict_clause())
}

fn largest_power_of_two_in(number: usize) -> usize {
    1 << number.max(1).ilog2()
}

/// A row's values, by what each is rather than by what its column was declared as.
fn cells(operation: &'static str, row: &SqliteRow) -> Result<Row, SqlError> {
    let cell = |column: usize| {
        let value = row.try_get_raw(column)?;
        if value.is_null() {
            return Ok(Cell::Null);
        }
        let kind = value.type_info().name().to_owned();
        let value = ValueRef::to_owned(&value);
        let undecodable = |source| sqlx::Error::ColumnDecode { index: column.to_string(), source };
        match kind.as_str() {
            "INTEGER" => {
                <i64 as Decode<Dialect>>::decode(value.as_ref()).map(Cell::Integer).map_err(undecodable)
            }
            "BLOB" => {
                <Vec<u8> as Decode<Dialect>>::decode(value.as_ref()).map(Cell::Bytes).map_err(undecodable)
            }
            _ => <String as Decode<Dialect>>::decode(value.as_ref()).map(Cell::Text).map_err(undecodable),
        }
    };
    let cells = (0..row.len()).map(cell).collect::<Result<_, sqlx::Error>>();
    cells.map(|cells| Row::new(operation, cells)).map_err(|source| SqlError::statement(operation, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_written_in_powers_of_two() {
        assert_eq!([1, 2, 3, 127, 128].map(largest_power_of_two_in), [1, 2, 2, 64, 128]);
    }
}
