//! The sink on real database files.

mod reads;
mod records;
mod schema;
mod writes;

use streambook_model::message::Message;
use streambook_runtime::sink::{Batch, Sink, SinkError};
use tempfile::TempDir;

use super::{Scope, SqlConfig, SqlSink};

/// A sink on a database of its own.
struct Bench {
    config: SqlConfig,
    sink: SqlSink,
    feed: records::Feed,
    // Removes the files when the test ends.
    _folder: TempDir,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = SqlConfig { busy_timeout_ms: 50, ..SqlConfig::at(&folder.path().join("test.db")) };
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
