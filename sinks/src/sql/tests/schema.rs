//! The schema's steps.

use streambook_runtime::sink::Sink;

use super::{Bench, Dialect};
use crate::sql::{
    Page, SqlConfig, SqlError, SqlReads, SqlSink,
    database::Database,
    query::Query,
    schema::{self, SQLITE, Step},
    sqlite::Sqlite,
};

static FIRST: [Step; 1] = [SQLITE[0]];
static NEWER: [Step; 4] =
    [SQLITE[0], SQLITE[1], SQLITE[2], Step { version: 4, name: "0004_more", sql: "CREATE TABLE more (a)" }];
static BROKEN: [Step; 4] = [
    SQLITE[0],
    SQLITE[1],
    SQLITE[2],
    Step { version: 4, name: "0004_broken", sql: "CREATE TABLE half (a); CREATE nonsense" },
];

#[tokio::test]
async fn a_database_of_an_older_schema_is_brought_forward_with_its_data() {
    let folder = tempfile::tempdir().unwrap();
    let config = SqlConfig::at(&folder.path().join("old.db"));
    let old = Database::Sqlite(Sqlite::open_for_writing(&config).await.unwrap());
    schema::migrate(&old, &FIRST).await.unwrap();
    let mut writing = old.begin().await.unwrap();
    let sql =
        "INSERT INTO merchants VALUES ('mer_00000000000000000000000000000000', 'old', 'custodial', 1, 0)";
    writing.execute("adding", Query::new(sql)).await.unwrap();
    writing.commit().await.unwrap();
    let error = SqlReads::open(&config).await.expect_err("reads do not change a schema");
    assert!(error.to_string().contains("schema step 1 of 3"), "{error}");
    old.close().await;
    let mut sink = SqlSink::open(&config).await.unwrap();
    let merchants = sink.reads().merchants(Page::first(10)).await.unwrap().rows;
    assert_eq!((merchants.len(), &merchants[0].addresses, &merchants[0].tolerance), (1, &Vec::new(), &None));
    assert!(sink.positions().await.unwrap().is_empty());
    assert!(SqlReads::open(&config).await.is_ok());
}

#[tokio::test]
async fn a_database_of_a_newer_or_another_program_is_refused() {
    let bench = Bench::new(Dialect::Sqlite).await;
    schema::migrate(&bench.sink.database, &NEWER).await.unwrap();
    let error = SqlSink::open(&bench.config).await.expect_err("must be refused");
    assert!(error.to_string().contains("use a newer program"), "{error}");
    let mut writing = bench.sink.database.begin().await.unwrap();
    writing.execute("changing", Query::new("DELETE FROM schema_steps WHERE version = 4")).await.unwrap();
    writing
        .execute("changing", Query::new("UPDATE schema_steps SET checksum = 'x' WHERE version = 2"))
        .await
        .unwrap();
    writing.commit().await.unwrap();
    let error = SqlSink::open(&bench.config).await.expect_err("must be refused");
    assert!(error.to_string().contains("made by another program"), "{error}");
}

#[tokio::test]
async fn a_step_that_fails_leaves_the_schema_as_it_was() {
    let bench = Bench::new(Dialect::Sqlite).await;
    let error = schema::migrate(&bench.sink.database, &BROKEN).await.expect_err("must fail");
    assert!(matches!(error, SqlError::Migrate { step: "0004_broken", .. }), "{error}");
    let query = Query::new("SELECT count(*) FROM sqlite_master WHERE name = 'half'");
    let mut rows = bench.sink.database.fetch("looking", query).await.unwrap();
    assert_eq!(rows[0].integer().unwrap(), 0);
    SqlSink::open(&bench.config).await.unwrap();
}

#[tokio::test]
async fn a_missing_database_is_not_made_by_a_read() {
    let folder = tempfile::tempdir().unwrap();
    let config = SqlConfig::at(&folder.path().join("none.db"));
    let error = SqlReads::open(&config).await.expect_err("must be refused");
    assert!(error.to_string().contains("none.db cannot be opened"), "{error}");
    assert!(!folder.path().join("none.db").exists());
}

#[tokio::test]
async fn the_database_is_durable_and_concurrent() {
    let bench = Bench::new(Dialect::Sqlite).await;
    for (pragma, value) in [("PRAGMA journal_mode", "wal"), ("PRAGMA synchronous", "2")] {
        let mut rows = bench.sink.database.fetch("reading a setting", Query::new(pragma)).await.unwrap();
        let found =
            if value == "wal" { rows[0].text().unwrap() } else { rows[0].integer().unwrap().to_string() };
        assert_eq!(found, value, "{pragma}");
    }
}
