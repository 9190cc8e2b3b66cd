//! The schema, in numbered steps that are only ever added to. All steps that a database lacks are applied in one
//! transaction; a step that was applied is known by the hash of its text, so a step that was changed afterwards, or a
//! database of a newer program, is refused rather than worked on.

use sha2::{Digest, Sha256};

use super::{
    error::SqlError,
    query::Query,
    sqlite::{Sqlite, Writing},
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
pub(crate) const SQLITE: [Step; 2] = [
    Step { version: 1, name: "0001_tables", sql: include_str!("sqlite/0001_tables.sql") },
    Step { version: 2, name: "0002_append_only", sql: include_str!("sqlite/0002_append_only.sql") },
];

/// The same in every dialect, so that any program can tell what it has before it.
const STEPS_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_steps (\
    version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL)";

/// Brings a database to this program's schema.
pub(crate) async fn migrate(database: &Sqlite, steps: &'static [Step]) -> Result<(), SqlError> {
    let mut writing = database.begin().await?;
    writing.script("schema_steps", STEPS_TABLE).await?;
    let query = Query::new("SELECT version, checksum FROM schema_steps ORDER BY version");
    let applied = read(writing.fetch("reading the schema's steps", query).await?)?;
    agree(&applied, steps)?;
    for step in steps.iter().skip(applied.len()) {
        apply(&mut writing, step).await?;
    }
    writing.commit().await
}

/// Checks that a database has exactly this program's schema.
pub(crate) async fn check(database: &Sqlite) -> Result<(), SqlError> {
    let query = Query::new("SELECT version, checksum FROM schema_steps ORDER BY version");
    let applied = read(database.fetch("reading the schema's steps", query).await?)?;
    agree(&applied, &SQLITE)?;
    if applied.len() < SQLITE.len() {
        let text = format!(
            "the database has schema step {} of {}; start the SQL sink once",
            applied.len(),
            SQLITE.len()
        );
        return Err(SqlError::Schema(text));
    }
    Ok(())
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
                 the database into a new file",
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
