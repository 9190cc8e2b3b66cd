//! The settings of the SQL sink, and their checks. Reading, checking and connecting are apart: nothing here opens a file.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The `[sql]` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SqlConfig {
    /// Where the database is: `sqlite://` and a path, for example `sqlite:///var/lib/streambook/streambook.db`.
    pub url: String,
    /// Connections for reads, 1 to 64. Writes have one of their own.
    pub read_connections: u32,
    /// The most records of one write, 1 to 50,000. More make throughput, fewer make latency.
    pub batch_records: u32,
    /// How long a write waits for another process's lock before it counts as failed and is tried again, in milliseconds.
    pub busy_timeout_ms: u32,
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`sql.{key}`: {problem}; {remedy}")]
pub struct SqlConfigError {
    /// The key within `[sql]`.
    pub key: &'static str,
    /// What is wrong with it.
    pub problem: String,
    /// What is allowed.
    pub remedy: &'static str,
}

impl Default for SqlConfig {
    fn default() -> Self {
        Self {
            url: "sqlite://streambook.db".to_owned(),
            read_connections: 4,
            batch_records: 5_000,
            busy_timeout_ms: 5_000,
        }
    }
}

impl SqlConfig {
    /// The default settings with the database in this file.
    pub fn at(path: &Path) -> Self {
        Self { url: format!("sqlite://{}", path.display()), ..Self::default() }
    }

    /// Checks every key; names the first that cannot be used, and what is allowed.
    pub fn validate(&self) -> Result<(), SqlConfigError> {
        self.path()?;
        within("read_connections", self.read_connections, 1, 64, "use 1 to 64")?;
        within("batch_records", self.batch_records, 1, 50_000, "use 1 to 50000")?;
        within("busy_timeout_ms", self.busy_timeout_ms, 1, 600_000, "use 1 to 600000 (ten minutes)")
    }

    /// The database's file.
    pub fn path(&self) -> Result<PathBuf, SqlConfigError> {
        let remedy = "use `sqlite://` and the path of a file, for example `sqlite:///var/lib/streambook/streambook.db`";
        let unusable = |problem: String| SqlConfigError { key: "url", problem, remedy };
        // The whole address is not repeated: one day it holds a password.
        let path = self
            .url
            .strip_prefix("sqlite://")
            .ok_or_else(|| unusable("not a `sqlite://` address".to_owned()))?;
        if path.is_empty() || path.ends_with('/') || path.contains(":memory:") {
            return Err(unusable(format!("`{path}` is not the path of a file")));
        }
        Ok(PathBuf::from(path))
    }
}

fn within(
    key: &'static str,
    value: u32,
    low: u32,
    high: u32,
    remedy: &'static str,
) -> Result<(), SqlConfigError> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(SqlConfigError { key, problem: format!("{value} is out of range"), remedy })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(config: &SqlConfig) -> String {
        config.validate().map_err(|error| error.to_string()).expect_err("must be refused")
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(SqlConfig::default().validate(), Ok(()));
    }

    #[test]
    fn a_refusal_names_the_key_and_the_remedy() {
        let default = SqlConfig::default();
        let postgres = SqlConfig { url: "postgres://user:pass@host/db".into(), ..SqlConfig::default() };
        let text = refused(&postgres);
        assert!(
            text.starts_with("`sql.url`") && text.contains("sqlite://") && !text.contains("pass"),
            "{text}"
        );
        let none = SqlConfig { read_connections: 0, ..default.clone() };
        assert!(refused(&none).starts_with("`sql.read_connections`: 0 is out of range; use 1 to 64"));
        for url in ["sqlite://", "sqlite://:memory:", "sqlite:///tmp/"] {
            assert!(
                refused(&SqlConfig { url: url.into(), ..default.clone() }).starts_with("`sql.url`"),
                "{url}"
            );
        }
    }

    #[test]
    fn unknown_keys_are_errors() {
        let error = toml::from_str::<SqlConfig>("pool = 3").expect_err("must be refused");
        assert!(error.to_string().contains("unknown field `pool`"), "{error}");
    }
}
