//! The settings of the SQL sink, and their checks. Reading, checking and connecting are apart: nothing here opens a database.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnectOptions;
use url::Url;

use super::url::SqlUrl;

/// The `[sql]` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SqlConfig {
    /// Where the database is: `sqlite://` and a path, for example `sqlite:///var/lib/streambook/streambook.db`, or
    /// `postgres://user@host:5432/database`.
    pub url: SqlUrl,
    /// A file with PostgreSQL's password, for an address without one.
    pub password_file: Option<PathBuf>,
    /// Whether the database may begin where the log's oldest records are gone already. What they said is not in it then.
    pub begin_late: bool,
    /// Connections for reads, 1 to 64. Writes have one of their own.
    pub read_connections: u32,
    /// The most records of one write, 1 to 50,000. More make throughput, fewer make latency.
    pub batch_records: u32,
    /// How long a write waits for another process's lock before it counts as failed and is tried again, in milliseconds.
    pub busy_timeout_ms: u32,
    /// How long one of PostgreSQL's statements may take, in milliseconds.
    pub statement_timeout_ms: u32,
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

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// SQLite's file.
    Sqlite(PathBuf),
    /// A PostgreSQL server's database.
    Postgres,
}

const URL_REMEDY: &str = "use `sqlite://` and the path of a file, for example `sqlite:///var/lib/streambook/streambook.db`, \
                          or `postgres://user@host:5432/database`";

impl Default for SqlConfig {
    fn default() -> Self {
        Self {
            url: SqlUrl::from("sqlite://streambook.db"),
            password_file: None,
            begin_late: false,
            read_connections: 4,
            batch_records: 5_000,
            busy_timeout_ms: 5_000,
            statement_timeout_ms: 60_000,
        }
    }
}

impl SqlConfig {
    /// The default settings with the database in this file.
    pub fn at(path: &Path) -> Self {
        Self { url: SqlUrl::from(format!("sqlite://{}", path.display())), ..Self::default() }
    }

    /// Checks every key; names the first that cannot be used, and what is allowed.
    pub fn validate(&self) -> Result<(), SqlConfigError> {
        self.place()?;
        within("read_connections", self.read_connections, 1, 64, "use 1 to 64")?;
        within("batch_records", self.batch_records, 1, 50_000, "use 1 to 50000")?;
        let remedy = "use 1 to 600000 (ten minutes)";
        within("busy_timeout_ms", self.busy_timeout_ms, 1, 600_000, remedy)?;
        within("statement_timeout_ms", self.statement_timeout_ms, 1, 600_000, remedy)
    }

    /// Where the database is.
    pub fn place(&self) -> Result<Place, SqlConfigError> {
        let text = self.url.secret();
        if text.starts_with("sqlite://") {
            return self.path().map(Place::Sqlite);
        }
        let url = Url::parse(text).map_err(|error| unusable(format!("not an address ({error})")))?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(unusable(format!("`{}://` is no database this program knows", url.scheme())));
        }
        if url.path().trim_matches('/').is_empty() {
            return Err(unusable("the address names no database".to_owned()));
        }
        Ok(Place::Postgres)
    }

    /// Whether it is a server's, which many processes can share.
    pub fn is_postgres(&self) -> bool {
        matches!(self.place(), Ok(Place::Postgres))
    }

    /// SQLite's file; an error where the database is another.
    pub fn path(&self) -> Result<PathBuf, SqlConfigError> {
        // The whole address is not repeated: it may hold a password.
        let path = self.url.secret().strip_prefix("sqlite://");
        let path = path.ok_or_else(|| unusable("not a `sqlite://` address".to_owned()))?;
        if path.is_empty() || path.ends_with('/') || path.contains(":memory:") {
            return Err(unusable(format!("`{path}` is not the path of a file")));
        }
        Ok(PathBuf::from(path))
    }

    /// How PostgreSQL is connected to, password included. What the address leaves open comes from libpq's variables
    /// (`PGPASSWORD`, `PGSSLROOTCERT`) and password file.
    ///
    /// # Errors
    /// The address cannot be used, or the password's file cannot be read.
    pub fn postgres(&self) -> Result<PgConnectOptions, SqlConfigError> {
        let options = PgConnectOptions::from_str(self.url.secret());
        let options = options.map_err(|error| unusable(format!("not a `postgres://` address ({error})")))?;
        let Some(path) = &self.password_file else { return Ok(options) };
        let password = std::fs::read_to_string(path).map_err(|error| SqlConfigError {
            key: "password_file",
            problem: format!("{} cannot be read ({error})", path.display()),
            remedy: "name a file that holds the password and nothing else",
        })?;
        Ok(options.password(password.trim_end_matches(['\r', '\n'])))
    }
}

const fn unusable(problem: String) -> SqlConfigError {
    SqlConfigError { key: "url", problem, remedy: URL_REMEDY }
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
        for url in [
            "mysql://user:pass@host/db",
            "postgres://user:pass@host",
            "postgres://user:pass@[host/db",
            "pass",
        ] {
            let text = refused(&SqlConfig { url: url.into(), ..SqlConfig::default() });
            assert!(
                text.starts_with("`sql.url`") && text.contains("postgres://") && !text.contains("pass"),
                "{text}"
            );
        }
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
    fn a_password_comes_from_a_file_where_the_address_has_none() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3cret\n").unwrap();
        let url = "postgres://app@localhost/books".into();
        let config = SqlConfig { url, password_file: Some(file.path().to_owned()), ..SqlConfig::default() };
        assert!(config.postgres().is_ok());
        let none = SqlConfig { password_file: Some("/nowhere".into()), ..config };
        let error = none.postgres().expect_err("must be refused");
        assert!(error.to_string().starts_with("`sql.password_file`: /nowhere cannot be read"), "{error}");
    }

    #[test]
    fn unknown_keys_are_errors() {
        let error = toml::from_str::<SqlConfig>("pool = 3").expect_err("must be refused");
        assert!(error.to_string().contains("unknown field `pool`"), "{error}");
    }
}
