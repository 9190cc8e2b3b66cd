//! The sink's database, opened to be read and nothing else, in either dialect. Statements are the same in both; what a
//! column is declared as differs, and [`cell`](super::cell) takes the difference away.

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, ConnectOptions, PgPool, Postgres, Sqlite, SqlitePool, pool::PoolOptions,
    sqlite::SqliteConnectOptions,
};
use streambook_sinks::sql::{Place, SqlConfig};

use super::cell::{self, Cell, Row};
use crate::verify::report::VerifyFailure;

/// More than there are threads that read at once.
const CONNECTIONS: u32 = 16;
/// What a transaction of PostgreSQL's begins with that sees one moment and changes nothing.
const ONE_MOMENT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Connections to the database.
#[derive(Debug)]
pub(super) enum Database {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// The database as it stands at one moment. Never committed, since nothing is changed: ended when it is dropped.
pub(super) enum Moment {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Database {
    /// Opens a database that exists.
    pub(super) async fn open(config: &SqlConfig) -> Result<Self, VerifyFailure> {
        let failed = |source| VerifyFailure::Sql { operation: "opening it", source };
        match config.place().map_err(unusable)? {
            Place::Sqlite(path) => {
                let options = SqliteConnectOptions::new()
                    .filename(path)
                    .read_only(true)
                    .busy_timeout(Duration::from_secs(10))
                    .disable_statement_logging();
                let pool = PoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await;
                pool.map(Self::Sqlite).map_err(failed)
            }
            Place::Postgres => {
                let options = config
                    .postgres()
                    .map_err(unusable)?
                    .application_name("streambook verify")
                    .options([("default_transaction_read_only", "on")])
                    .disable_statement_logging();
                let pool = PoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await;
                pool.map(Self::Postgres).map_err(failed)
            }
        }
    }

    /// Runs a query and reads all its rows. Who may get many limits the query.
    pub(super) async fn rows(
        &self,
        operation: &'static str,
        sql: String,
        arguments: &[Cell],
    ) -> Result<Vec<Row>, VerifyFailure> {
        let rows = match self {
            Self::Sqlite(pool) => sqlite_rows(pool, sql, arguments).await,
            Self::Postgres(pool) => postgres_rows(pool, sql, arguments).await,
        };
        rows.map_err(|source| VerifyFailure::Sql { operation, source })
    }

    /// Holds a moment.
    pub(super) async fn moment(&self, operation: &'static str) -> Result<Moment, VerifyFailure> {
        let moment = match self {
            Self::Sqlite(pool) => pool.begin().await.map(Moment::Sqlite),
            Self::Postgres(pool) => pool.begin_with(ONE_MOMENT).await.map(Moment::Postgres),
        };
        moment.map_err(|source| VerifyFailure::Sql { operation, source })
    }

    /// Closes the connections.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Moment {
    /// Runs a query and reads all its rows.
    pub(super) async fn rows(
        &mut self,
        operation: &'static str,
        sql: String,
        arguments: &[Cell],
    ) -> Result<Vec<Row>, VerifyFailure> {
        let rows = match self {
            Self::Sqlite(moment) => sqlite_rows(&mut **moment, sql, arguments).await,
            Self::Postgres(moment) => postgres_rows(&mut **moment, sql, arguments).await,
        };
        rows.map_err(|source| VerifyFailure::Sql { operation, source })
    }
}

fn unusable(error: streambook_sinks::sql::SqlConfigError) -> VerifyFailure {
    VerifyFailure::Sql { operation: "reading its settings", source: sqlx::Error::Configuration(error.into()) }
}

async fn sqlite_rows<'e>(
    from: impl sqlx::SqliteExecutor<'e>,
    sql: String,
    arguments: &[Cell],
) -> Result<Vec<Row>, sqlx::Error> {
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for argument in arguments {
        query = match argument {
            Cell::Null => query.bind(None::<i64>),
            Cell::Integer(value) => query.bind(*value),
            Cell::Text(value) => query.bind(value.clone()),
            Cell::Bytes(value) => query.bind(value.clone()),
        };
    }
    query.fetch_all(from).await?.iter().map(cell::read_sqlite).collect()
}

async fn postgres_rows<'e>(
    from: impl sqlx::PgExecutor<'e>,
    sql: String,
    arguments: &[Cell],
) -> Result<Vec<Row>, sqlx::Error> {
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for argument in arguments {
        query = match argument {
            Cell::Null => query.bind(None::<i64>),
            Cell::Integer(value) => query.bind(*value),
            Cell::Text(value) => query.bind(value.clone()),
            Cell::Bytes(value) => query.bind(value.clone()),
        };
    }
    query.fetch_all(from).await?.iter().map(cell::read_postgres).collect()
}
