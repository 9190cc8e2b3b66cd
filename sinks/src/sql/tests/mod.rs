//! The sink on real databases: one suite, run on SQLite and on a PostgreSQL server of its own.

mod outages;
mod postgres;
mod reads;
mod records;
mod schema;
mod server;
mod writes;

use streambook_model::message::Message;
use streambook_runtime::sink::{Batch, Sink, SinkError};
use tempfile::TempDir;

use super::{Scope, SqlConfig, SqlSink};

/// Which database a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Sqlite,
    Postgres,
}

/// Makes two tests of each function, one for each dialect.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test] async fn $name() { super::$name($crate::sql::tests::Dialect::Sqlite).await; })*
        }
        mod on_postgres {
            $(#[tokio::test] async fn $name() {
                if $crate::sql::tests::server::is_there() {
                    super::$name($crate::sql::tests::Dialect::Postgres).await;
                }
            })*
        }
    };
}
use on_both;

/// A sink on a database of its own.
struct Bench {
    config: SqlConfig,
    sink: SqlSink,
    feed: records::Feed,
    // Removes SQLite's files when the test ends.
    _folder: TempDir,
}

impl Bench {
    async fn new(on: Dialect) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = match on {
            Dialect::Sqlite => {
                SqlConfig { busy_timeout_ms: 50, ..SqlConfig::at(&folder.path().join("test.db")) }
            }
            Dialect::Postgres => SqlConfig { url: server::database().into(), ..SqlConfig::default() },
        };
        let sink = SqlSink::open(&config).await.unwrap();
        Self { config, sink, feed: records::Feed::default(), _folder: folder }
    }

    /// Writes records as the next ones of their topics.
    async fn write(&mut self, messages: impl IntoIterator<Item = Message>) -> Batch {
        let batch = self.feed.batch(messages);
        self.sink.write(&batch).await.unwrap();
        batch
    }

    /// Opens the database again, as after a crash: nothing is closed in between.
    async fn reopen(&mut self) {
        self.sink = SqlSink::open(&self.config).await.unwrap();
    }
}

/// Merchant 1's test data.
fn scope() -> Scope {
    Scope { merchant: records::merchant(1), livemode: false }
}

/// The reason a write stopped for.
fn stopped(result: Result<(), SinkError>) -> String {
    match result {
        Err(SinkError::Stop(reason)) => reason,
        other => panic!("expected a stop, found {other:?}"),
    }
}

/// What a write that is tried again says, causes included.
fn retried(result: Result<(), SinkError>) -> String {
    match result {
        Err(error @ SinkError::Retry { .. }) => streambook_runtime::step::chain_of(&error),
        other => panic!("expected a retry, found {other:?}"),
    }
}
