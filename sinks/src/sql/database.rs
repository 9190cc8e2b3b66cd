//! A database of either dialect. What differs between them is behind these two types; above them there is one design.

use sqlx::{error::DatabaseError, postgres::PgDatabaseError, sqlite::SqliteError};

use super::{
    cell::Row,
    config::{Place, SqlConfig},
    error::SqlError,
    postgres::{self, Postgres, PostgresWriting, Role},
    query::Query,
    schema,
    sqlite::{self, Sqlite, SqliteWriting},
    table::Rows,
};

/// A pool of connections to one database. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) enum Database {
    /// SQLite.
    Sqlite(Sqlite),
    /// PostgreSQL.
    Postgres(Postgres),
}

/// A write transaction.
pub(crate) enum Writing {
    /// SQLite's.
    Sqlite(SqliteWriting),
    /// PostgreSQL's. It is large, and there is one at a time.
    Postgres(Box<PostgresWriting>),
}

impl Database {
    /// Opens the database with the one connection that writes, after its schema was made or brought up to date.
    pub(crate) async fn open_for_writing(config: &SqlConfig) -> Result<Self, SqlError> {
        match place(config)? {
            Place::Sqlite(_) => {
                let database = Self::Sqlite(Sqlite::open_for_writing(config).await?);
                schema::migrate(&database, &schema::SQLITE).await?;
                Ok(database)
            }
            Place::Postgres => {
                let owner = Self::Postgres(Postgres::open(config, Role::Owner).await?);
                let migrated = schema::migrate(&owner, &schema::POSTGRES).await;
                owner.close().await;
                migrated?;
                Postgres::open(config, Role::Writer).await.map(Self::Postgres)
            }
        }
    }

    /// A server's database, for writing and for reading, that need not be there yet; none where the database is a file.
    pub(crate) fn later(config: &SqlConfig) -> Result<Option<(Self, Self)>, SqlError> {
        match place(config)? {
            Place::Sqlite(_) => Ok(None),
            Place::Postgres => {
                let open = |role| Postgres::later(config, role).map(Self::Postgres);
                Ok(Some((open(Role::Writer)?, open(Role::Reader)?)))
            }
        }
    }

    /// Opens a database that exists, with connections that cannot write.
    pub(crate) async fn open_for_reading(config: &SqlConfig) -> Result<Self, SqlError> {
        match place(config)? {
            Place::Sqlite(_) => Sqlite::open_for_reading(config).await.map(Self::Sqlite),
            Place::Postgres => Postgres::open(config, Role::Reader).await.map(Self::Postgres),
        }
    }

    /// The steps of its dialect's schema.
    pub(crate) const fn steps(&self) -> &'static [schema::Step] {
        match self {
            Self::Sqlite(_) => &schema::SQLITE,
            Self::Postgres(_) => &schema::POSTGRES,
        }
    }

    /// Runs a query and reads all its rows. Who lists limits its query.
    pub(crate) async fn fetch(&self, operation: &'static str, query: Query) -> Result<Vec<Row>, SqlError> {
        match self {
            Self::Sqlite(database) => database.fetch(operation, query).await,
            Self::Postgres(database) => database.fetch(operation, query).await,
        }
    }

    /// Begins a write transaction. Dropped, it is undone.
    pub(crate) async fn begin(&self) -> Result<Writing, SqlError> {
        match self {
            Self::Sqlite(database) => database.begin().await.map(Writing::Sqlite),
            Self::Postgres(database) => database.begin().await.map(Box::new).map(Writing::Postgres),
        }
    }

    /// Closes all connections.
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(database) => database.close().await,
            Self::Postgres(database) => database.close().await,
        }
    }
}

impl Writing {
    /// Runs a statement; gives the number of rows it changed.
    pub(crate) async fn execute(&mut self, operation: &'static str, query: Query) -> Result<u64, SqlError> {
        match self {
            Self::Sqlite(writing) => writing.execute(operation, query).await,
            Self::Postgres(writing) => writing.execute(operation, query).await,
        }
    }

    /// Runs a query within the transaction.
    pub(crate) async fn fetch(
        &mut self,
        operation: &'static str,
        query: Query,
    ) -> Result<Vec<Row>, SqlError> {
        match self {
            Self::Sqlite(writing) => writing.fetch(operation, query).await,
            Self::Postgres(writing) => writing.fetch(operation, query).await,
        }
    }

    /// Runs the statements of a schema step.
    pub(crate) async fn script(&mut self, step: &'static str, sql: &'static str) -> Result<(), SqlError> {
        match self {
            Self::Sqlite(writing) => writing.script(step, sql).await,
            Self::Postgres(writing) => writing.script(step, sql).await,
        }
    }

    /// Writes rows in bulk.
    pub(crate) async fn insert(&mut self, rows: Rows) -> Result<(), SqlError> {
        match self {
            Self::Sqlite(writing) => writing.insert(rows).await,
            Self::Postgres(writing) => writing.insert(rows).await,
        }
    }

    /// Commits: on disk when it returns.
    pub(crate) async fn commit(self) -> Result<(), SqlError> {
        match self {
            Self::Sqlite(writing) => writing.commit().await,
            Self::Postgres(writing) => writing.commit().await,
        }
    }
}

/// Whether the database's disk is full.
pub(crate) fn is_disk_full(error: &sqlx::Error) -> bool {
    match Refusal::of(error) {
        Some(Refusal::Sqlite(error)) => sqlite::is_disk_full(error),
        Some(Refusal::Postgres(error)) => postgres::is_disk_full(error),
        None => false,
    }
}

/// Whether the same may go well another time: the connection was lost, or the database says so of its error.
pub(crate) fn is_temporary(error: &sqlx::Error) -> bool {
    use sqlx::Error::{Io, PoolTimedOut, Protocol, Tls, WorkerCrashed};
    match (error, Refusal::of(error)) {
        (_, Some(Refusal::Sqlite(error))) => sqlite::is_temporary(error),
        (_, Some(Refusal::Postgres(error))) => postgres::is_temporary(error),
        // A server that dies in the middle of an answer is a broken protocol.
        (Io(_) | PoolTimedOut | Protocol(_) | Tls(_) | WorkerCrashed, None) => true,
        _ => false,
    }
}

/// What a database has refused with.
enum Refusal<'e> {
    Sqlite(&'e SqliteError),
    Postgres(&'e PgDatabaseError),
}

impl<'e> Refusal<'e> {
    fn of(error: &'e sqlx::Error) -> Option<Self> {
        let error: &'e (dyn DatabaseError + 'static) = error.as_database_error()?;
        let sqlite = error.try_downcast_ref::<SqliteError>().map(Self::Sqlite);
        sqlite.or_else(|| error.try_downcast_ref::<PgDatabaseError>().map(Self::Postgres))
    }
}

fn place(config: &SqlConfig) -> Result<Place, SqlError> {
    config.place().map_err(|error| SqlError::Schema(error.to_string()))
}
