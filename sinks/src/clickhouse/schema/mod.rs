//! The schema, in numbered steps that are only ever added to, and the views, which hold nothing and are made anew at each
//! start. ClickHouse has no transactions over statements, so every statement of a step may be executed twice; a step is
//! noted once all of it was. A step that was applied is known by the hash of its text: one that was changed afterwards, or
//! a database of a newer program, is refused rather than worked on.

mod views;

use clickhouse::Row;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{error::ClickHouseError, service::Service};

/// One step.
#[derive(Debug, Clone, Copy)]
struct Step {
    name: &'static str,
    sql: &'static str,
}

/// The steps; the first is number 1.
const STEPS: [Step; 1] = [Step { name: "0001_tables", sql: include_str!("0001_tables.sql") }];

const STEPS_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_steps (\
    version UInt32, name String, checksum String) \
    ENGINE = ReplacingMergeTree ORDER BY version SETTINGS fsync_after_insert = 1";

/// A step that was applied.
#[derive(Debug, Row, Serialize, Deserialize)]
struct Applied {
    version: u32,
    name: String,
    checksum: String,
}

/// Brings the database to this program's schema.
pub(crate) async fn migrate(service: &Service) -> Result<(), ClickHouseError> {
    service.make_database().await?;
    service.execute("making the table of schema steps", STEPS_TABLE).await?;
    let sql = "SELECT ?fields FROM schema_steps FINAL ORDER BY version";
    let applied: Vec<Applied> = service.fetch("reading the schema's steps", sql).await?;
    agree(&applied, &STEPS)?;
    for (step, version) in STEPS.iter().zip(1_u32..).skip(applied.len()) {
        apply(service, step, version).await?;
    }
    for view in views::ALL {
        service.execute("making a view", &view.statement()).await?;
    }
    Ok(())
}

async fn apply(service: &Service, step: &Step, version: u32) -> Result<(), ClickHouseError> {
    for statement in statements(step.sql) {
        service.execute("changing the schema", statement).await?;
    }
    let applied = Applied { version, name: step.name.to_owned(), checksum: checksum(step) };
    service.insert("schema_steps", &[applied]).await
}

/// Checks that what was applied is the beginning of the steps.
fn agree(applied: &[Applied], steps: &[Step]) -> Result<(), ClickHouseError> {
    if applied.len() > steps.len() {
        return Err(ClickHouseError::Schema(format!(
            "the ClickHouse database has schema step {}, this program knows {}: use a newer program",
            applied.len(),
            steps.len()
        )));
    }
    for (found, step) in applied.iter().zip(steps) {
        if found.checksum != checksum(step) {
            return Err(ClickHouseError::Schema(format!(
                "the ClickHouse database's schema step {} is not this program's {}: it was made by another program; \
                 name another `clickhouse.database` and let it be filled from the log",
                found.version, step.name
            )));
        }
    }
    Ok(())
}

/// The statements of a text: each ends with a semicolon at the end of a line.
fn statements(sql: &'static str) -> impl Iterator<Item = &'static str> {
    sql.split(";\n").map(str::trim).filter(|statement| !statement.is_empty())
}

fn checksum(step: &Step) -> String {
    hex::encode(Sha256::digest(step.sql.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(version: u32, checksum: String) -> Applied {
        Applied { version, name: "step".to_owned(), checksum }
    }

    #[test]
    fn a_newer_database_or_another_step_is_refused() {
        let known = |version| applied(version, checksum(&STEPS[0]));
        assert!(agree(&[], &STEPS).is_ok() && agree(&[known(1)], &STEPS).is_ok());
        let newer = agree(&[known(1), known(2)], &STEPS).unwrap_err();
        assert!(newer.to_string().contains("use a newer program"), "{newer}");
        let other = agree(&[applied(1, "other".to_owned())], &STEPS).unwrap_err();
        assert!(other.to_string().contains("made by another program"), "{other}");
    }

    #[test]
    fn every_statement_may_be_executed_twice() {
        for statement in STEPS.iter().flat_map(|step| statements(step.sql)) {
            let text: Vec<_> = statement.lines().filter(|line| !line.starts_with("--")).collect();
            let text = text.join(" ");
            assert!(text.contains("IF NOT EXISTS") || text.contains("IF EXISTS"), "{text}");
        }
    }
}
