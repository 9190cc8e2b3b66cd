//! The schema, in numbered steps that are only ever added to. A step that was applied is known by the hash of its text, so a
//! step that was changed afterwards, or a database of a newer program, is refused rather than worked on.
//!
//! Each step is a transaction of its own. Before it looks at what there is, that transaction holds a lock that every other
//! program's step waits for (in SQLite the database's write lock), so of several that start at once one applies a step and
//! the others find it applied; readers and an older program's writer go on meanwhile. A database that has all steps is not
//! written to, so a user who may not change the schema can run the sink on it.

use sha2::{Digest, Sha256};

use super::{
    database::{Database, Writing},
    error::SqlError,
    query::Query,
};

/// One step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    /// Its number, from 1.
    pub(crate) version: i64,
    /// Its name.
    pub(crate) name: &'static str,
    /// Its statements.
    pub(crate) sql: &'static str,
}

/// The steps of the SQLite dialect.
pub(crate) const SQLITE: [Step; 3] = [
    Step { version: 1, name: "0001_tables", sql: include_str!("sqlite/0001_tables.sql") },
    Step { version: 2, name: "0002_append_only", sql: include_str!("sqlite/0002_append_only.sql") },
    Step { version: 3, name: "0003_merchants", sql: include_str!("sqlite/0003_merchants.sql") },
];

/// The steps of the PostgreSQL dialect.
pub(crate) const POSTGRES: [Step; 3] = [
    Step { version: 1, name: "0001_tables", sql: include_str!("postgres/0001_tables.sql") },
    Step { version: 2, name: "0002_append_only", sql: include_str!("postgres/0002_append_only.sql") },
    Step { version: 3, name: "0003_merchants", sql: include_str!("postgres/0003_merchants.sql") },
];

/// The same in every dialect, so that any program can tell what it has before it.
const STEPS_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_steps (\
    version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL)";
const APPLIED: &str = "SELECT version, checksum FROM schema_steps ORDER BY version";
/// PostgreSQL's lock of schema steps, released at the end of the transaction. How long others' steps take is not limited;
/// how long a step then waits for a table is.
const LOCK: &str =
    "SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock(7236831504219); SET LOCAL lock_timeout = '10s'";

/// Brings a database to this program's schema.
pub(crate) async fn migrate(database: &Database, steps: &'static [Step]) -> Result<(), SqlError> {
    if has_steps(database).await? && applied(database).await?.len() >= steps.len() {
        return agree(&applied(database).await?, steps);
    }
    for _ in steps {
        next_step(database, steps).await?;
    }
    Ok(())
}

/// Checks that a database has exactly this program's schema.
pub(crate) async fn check(database: &Database) -> Result<(), SqlError> {
    let steps = database.steps();
    let applied = if has_steps(database).await? { applied(database).await? } else { Vec::new() };
    agree(&applied, steps)?;
    if applied.len() < steps.len() {
        let (found, known) = (applied.len(), steps.len());
        let text = format!("the database has schema step {found} of {known}; start the SQL sink once");
        return Err(SqlError::Schema(text));
    }
    Ok(())
}

/// Applies the first step that is missing, if one is.
async fn next_step(database: &Database, steps: &'static [Step]) -> Result<(), SqlError> {
    let mut writing = database.begin().await?;
    if matches!(database, Database::Postgres(_)) {
        writing.script("schema_steps", LOCK).await?;
    }
    writing.script("schema_steps", STEPS_TABLE).await?;
    let applied = read(writing.fetch("reading the schema's steps", Query::new(APPLIED)).await?)?;
    agree(&applied, steps)?;
    if let Some(step) = steps.get(applied.len()) {
        apply(&mut writing, step).await?;
    }
    writing.commit().await
}

async fn has_steps(database: &Database) -> Result<bool, SqlError> {
    let query = Query::new(match database {
        Database::Sqlite(_) => "SELECT 1 FROM sqlite_master WHERE name = 'schema_steps'",
        Database::Postgres(_) => "SELECT 1::bigint WHERE to_regclass('schema_steps') IS NOT NULL",
    });
    Ok(!database.fetch("looking for the schema", query).await?.is_empty())
}

async fn applied(database: &Database) -> Result<Vec<(i64, String)>, SqlError> {
    read(database.fetch("reading the schema's steps", Query::new(APPLIED)).await?)
}

async fn apply(writing: &mut Writing, step: &'static Step) -> Result<(), SqlError> {
    writing.script(step.name, step.sql).await?;
    let query = Query::new("INSERT INTO schema_steps (version, name, checksum) VALUES (")
        .arg(step.version)
        .sql(", ")
        .text(step.name)
        .sql(", ")
        .text(checksum(step))
        .sql(")");
    writing.execute("noting a schema step", query).await.map(drop)
}

fn read(rows: Vec<super::cell::Row>) -> Result<Vec<(i64, String)>, SqlError> {
    rows.into_iter().map(|mut row| Ok((row.integer()?, row.text()?))).collect()
}

/// Checks that what was applied is the beginning of the steps.
fn agree(applied: &[(i64, String)], steps: &[Step]) -> Result<(), SqlError> {
    if applied.len() > steps.len() {
        let (found, known) = (applied.len(), steps.len());
        let text =
            format!("the database has schema step {found}, this program knows {known}: use a newer program");
        return Err(SqlError::Schema(text));
    }
    for ((version, found), step) in applied.iter().zip(steps) {
        if *version != step.version || *found != checksum(step) {
            let text = format!(
                "the database's schema step {version} is not this program's {}: it was made by another program; rebuild \
                 the database with `streambook replay sql`",
                step.name
            );
            return Err(SqlError::Schema(text));
        }
    }
    Ok(())
}

fn checksum(step: &Step) -> String {
    hex::encode(Sha256::digest(step.sql.as_bytes()))
}
