//! The settings of the ClickHouse sink, and their checks. Nothing here connects.

use std::{fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use url::Url;

/// How bodies of inserts travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// In LZ4 blocks: for a server behind a network.
    Lz4,
    /// As they are: for a server on the same machine.
    None,
}

/// The `[clickhouse]` section.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClickHouseConfig {
    /// The server's HTTP address, for example `http://127.0.0.1:8123`. Empty: nothing is written to ClickHouse.
    pub url: String,
    /// The database; made if it does not exist.
    pub database: String,
    /// The user.
    pub user: String,
    /// The user's password; from the environment only.
    #[serde(skip_serializing)]
    pub password: String,
    /// A file that holds the password.
    pub password_file: Option<PathBuf>,
    /// The most records of one batch, 1 to 500,000.
    pub batch_records: u32,
    /// The most MiB of records in one batch, 1 to 512. A batch is what the sink holds in memory.
    pub batch_mib: u32,
    /// How long records gather when there are fewer than a batch, in milliseconds: fewer and larger inserts, later rows.
    pub batch_age_ms: u32,
    /// How long one request may take, in seconds.
    pub timeout_seconds: u32,
    /// How bodies travel.
    pub compression: Compression,
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`clickhouse.{key}`: {problem}; {remedy}")]
pub struct ClickHouseConfigError {
    /// The key within `[clickhouse]`.
    pub key: &'static str,
    /// What is wrong with it.
    pub problem: String,
    /// What is allowed.
    pub remedy: &'static str,
}

impl Default for ClickHouseConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            database: "streambook".to_owned(),
            user: "default".to_owned(),
            password: String::new(),
            password_file: None,
            batch_records: 50_000,
            batch_mib: 64,
            batch_age_ms: 1_000,
            timeout_seconds: 60,
            compression: Compression::Lz4,
        }
    }
}

// By hand, so that a password is in no log.
impl fmt::Debug for ClickHouseConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClickHouseConfig")
            .field("url", &self.url)
            .field("database", &self.database)
            .field("user", &self.user)
            .field("password", &if self.password.is_empty() { "none" } else { "set" })
            .field("password_file", &self.password_file)
            .field("batch_records", &self.batch_records)
            .field("batch_mib", &self.batch_mib)
            .field("batch_age_ms", &self.batch_age_ms)
            .field("timeout_seconds", &self.timeout_seconds)
            .field("compression", &self.compression)
            .finish()
    }
}

impl ClickHouseConfig {
    /// Whether anything is written to ClickHouse.
    pub fn is_on(&self) -> bool {
        !self.url.is_empty()
    }

    /// How long one request may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.into())
    }

    /// How long records gather.
    pub fn batch_age(&self) -> Duration {
        Duration::from_millis(self.batch_age_ms.into())
    }

    /// Checks every key; names the first that cannot be used, and what is allowed. What is off needs no check.
    pub fn validate(&self) -> Result<(), ClickHouseConfigError> {
        if !self.is_on() {
            return Ok(());
        }
        self.check_url()?;
        self.check_database()?;
        if !self.password.is_empty() && self.password_file.is_some() {
            let problem = "there is a password and a file for it".to_owned();
            return Err(ClickHouseConfigError {
                key: "password_file",
                problem,
                remedy: "keep one of the two",
            });
        }
        within("batch_records", self.batch_records, 1, 500_000, "use 1 to 500000")?;
        within("batch_mib", self.batch_mib, 1, 512, "use 1 to 512")?;
        within("batch_age_ms", self.batch_age_ms, 0, 60_000, "use 0 to 60000 (a minute)")?;
        within("timeout_seconds", self.timeout_seconds, 1, 3_600, "use 1 to 3600 (an hour)")
    }

    fn check_url(&self) -> Result<(), ClickHouseConfigError> {
        // The address is not repeated: it may hold the password that it is refused for.
        let unusable = |problem: &str, remedy| {
            Err(ClickHouseConfigError { key: "url", problem: problem.to_owned(), remedy })
        };
        let form = "use the server's HTTP address, for example `http://127.0.0.1:8123`";
        let Ok(url) = Url::parse(&self.url) else {
            return unusable("not an address", form);
        };
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() || url.query().is_some() {
            return unusable("not the address of an HTTP server", form);
        }
        if !url.username().is_empty() || url.password().is_some() {
            let remedy = "set `clickhouse.user`, and the password as STREAMBOOK_CLICKHOUSE__PASSWORD or in \
                          `clickhouse.password_file`";
            return unusable("a user or password is part of it", remedy);
        }
        Ok(())
    }

    fn check_database(&self) -> Result<(), ClickHouseConfigError> {
        let first = self.database.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        let rest = self.database.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if first && rest && self.database.len() <= 64 {
            return Ok(());
        }
        let problem = format!("`{}` is not a plain name", self.database);
        Err(ClickHouseConfigError { key: "database", problem, remedy: "use letters, digits and `_`" })
    }
}

fn within(
    key: &'static str,
    value: u32,
    low: u32,
    high: u32,
    remedy: &'static str,
) -> Result<(), ClickHouseConfigError> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(ClickHouseConfigError { key, problem: format!("{value} is out of range"), remedy })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &str) -> ClickHouseConfig {
        ClickHouseConfig { url: url.to_owned(), ..ClickHouseConfig::default() }
    }

    fn refused(config: &ClickHouseConfig) -> String {
        config.validate().map_err(|error| error.to_string()).expect_err("must be refused")
    }

    #[test]
    fn it_is_off_unless_there_is_an_address() {
        assert!(!ClickHouseConfig::default().is_on());
        assert_eq!(ClickHouseConfig::default().validate(), Ok(()));
        assert_eq!(at("https://clickhouse.example:8443").validate(), Ok(()));
    }

    #[test]
    fn a_refusal_names_the_key_and_the_remedy_and_repeats_no_password() {
        let text = refused(&at("http://me:hunter2@localhost:8123"));
        assert!(text.starts_with("`clickhouse.url`") && text.contains("PASSWORD"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        for url in ["clickhouse", "tcp://localhost:9000", "http://localhost:8123/?database=x"] {
            assert!(refused(&at(url)).starts_with("`clickhouse.url`"), "{url}");
        }
        let good = at("http://localhost:8123");
        let name = ClickHouseConfig { database: "a`b".into(), ..good.clone() };
        assert!(refused(&name).starts_with("`clickhouse.database`"));
        let none = ClickHouseConfig { batch_records: 0, ..good.clone() };
        assert!(refused(&none).starts_with("`clickhouse.batch_records`: 0 is out of range; use 1 to 500000"));
        let both = ClickHouseConfig { password: "x".into(), password_file: Some("y".into()), ..good };
        assert!(refused(&both).starts_with("`clickhouse.password_file`"));
    }

    #[test]
    fn a_password_is_neither_printed_nor_written() {
        let config = ClickHouseConfig { password: "hunter2".into(), ..at("http://localhost:8123") };
        assert!(!format!("{config:?}").contains("hunter2"));
        assert!(!toml::to_string(&config).expect("can be written").contains("hunter2"));
    }

    #[test]
    fn unknown_keys_are_errors() {
        let error = toml::from_str::<ClickHouseConfig>("pool = 3").expect_err("must be refused");
        assert!(error.to_string().contains("unknown field `pool`"), "{error}");
    }
}
