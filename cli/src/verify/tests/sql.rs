//! Tampering with the SQL sink's database.

use std::sync::Arc;

use streambook_log::embedded::EmbeddedLog;
use streambook_sinks::sql::SqlConfig;

use super::{
    World, verified,
    world::{processors, tamper},
};
use crate::verify::{progress::Silent, report::Outcome};

/// A directory of which the database is tampered with, a new copy each time.
struct Tampered {
    world: World,
    log: Arc<EmbeddedLog>,
}

impl Tampered {
    async fn new() -> Self {
        let world = World::without_sql(12).await;
        world.fill_sql().await;
        let log = world.open();
        Self { world, log }
    }

    /// Tampers, and looks at what is said of it.
    async fn found(&self, sql: &str, expect: &str) {
        let copy = self.world.copy_database();
        let database = copy.path().join("books.db");
        tamper(&database, sql).await;
        let log = Arc::clone(&self.log);
        let report = crate::verify::verify(log, &processors(), Some(&SqlConfig::at(&database)), &mut Silent)
            .await
            .unwrap();
        assert_eq!(report.outcome(), Outcome::Differs, "{sql}");
        let difference = report.first_difference.unwrap();
        assert!(difference.what.contains(expect), "{sql}: {difference:#?}");
        assert_ne!(difference.expected, difference.found);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_row_is_found_and_its_column_named() {
    let tampered = Tampered::new().await;
    let one = "rowid = (SELECT max(rowid) FROM ledger_transactions)";
    let last = "position = (SELECT max(position) FROM ledger_entries) AND line = 2";
    let entry = |set: &str| format!("UPDATE ledger_entries SET {set} WHERE {last}");
    let transaction = |set: &str| format!("UPDATE ledger_transactions SET {set} WHERE {one}");
    tampered
        .found(&entry("amount = replace(amount, '1', '2') || '1'"), "amount of a row of ledger_entries")
        .await;
    tampered.found(&entry("amount = ' ' || amount"), "amount of a row of ledger_entries").await;
    tampered.found(&entry("balance = '0'"), "balance of a row of ledger_entries").await;
    tampered.found(&entry("account = account || 'x'"), "account of a row of ledger_entries").await;
    tampered.found(&entry("version = version + 1"), "version of a row of ledger_entries").await;
    tampered.found(&transaction("event = 'other'"), "event of a row of ledger_transactions").await;
    tampered
        .found(&transaction("occurred_at = occurred_at + 1"), "occurred_at of a row of ledger_transactions")
        .await;
    tampered.found(&transaction("hash = previous_hash"), "hash of a row of ledger_transactions").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_last_state_is_found() {
    let tampered = Tampered::new().await;
    tampered
        .found("UPDATE balances SET balance = '1' WHERE version > 1", "balance of a row of balances")
        .await;
    tampered
        .found(
            "UPDATE balances SET merchant = NULL WHERE merchant IS NOT NULL",
            "merchant of a row of balances",
        )
        .await;
    tampered.found("UPDATE payments SET status = 'expired'", "status of a row of payments").await;
    tampered.found("UPDATE payments SET snapshot = snapshot || ' '", "snapshot of a row of payments").await;
    tampered.found("UPDATE refunds SET amount = '99'", "amount of a row of refunds").await;
    tampered
        .found(
            "UPDATE payment_events SET moment = replace(moment, '\"v\":2', '\"v\":3')",
            "moment of a row of payment_",
        )
        .await;
    tampered
        .found(
            "UPDATE sink_sources SET seq = seq - 1 WHERE topic = 'ledger.transactions'",
            "seq of a row of sink_",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_row_is_found() {
    let tampered = Tampered::new().await;
    for table in ["ledger_entries", "ledger_transactions", "payment_events"] {
        let sql = format!("DELETE FROM {table} WHERE position = (SELECT max(position) FROM {table})");
        tampered.found(&sql, &format!("a row of {table} in SQL is missing")).await;
        let sql = format!("DELETE FROM {table} WHERE position = (SELECT min(position) FROM {table})");
        tampered.found(&sql, &format!("a row of {table} in SQL is missing")).await;
    }
    for (table, key) in [("payments", "id"), ("refunds", "id"), ("balances", "account")] {
        for which in ["min", "max"] {
            let sql = format!("DELETE FROM {table} WHERE {key} = (SELECT {which}({key}) FROM {table})");
            tampered.found(&sql, &format!("a row of {table} in SQL is missing")).await;
        }
    }
}

/// Copies a row under another key.
fn copied(table: &str, columns: &str, key: &str) -> String {
    let changed = columns.replacen("position", key, 1);
    format!("INSERT INTO {table} ({columns}) SELECT {changed} FROM {table} ORDER BY position DESC LIMIT 1")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inserted_row_is_found() {
    let tampered = Tampered::new().await;
    let entries = "position, line, account, asset, amount, balance, version";
    let extra = "a row of ledger_entries in SQL comes from no record";
    tampered.found(&copied("ledger_entries", entries, "position + 1"), extra).await;
    tampered.found(&copied("ledger_entries", entries, "-1"), extra).await;
    tampered.found(&copied("ledger_entries", entries, "(1 << 60)"), extra).await;
    let line = entries.replacen("line", "line + 7", 1);
    let sql = format!("INSERT INTO ledger_entries ({entries}) SELECT {line} FROM ledger_entries LIMIT 1");
    tampered.found(&sql, extra).await;
    let transactions = "position, id, merchant, livemode, sequence, template, template_version, event, occurred_at, \
                        previous_hash, hash";
    let sql =
        copied("ledger_transactions", transactions, "position + 1").replacen("sequence, template", "§", 1);
    let sql = sql.replacen("sequence, template", "sequence + 1, template", 1).replacen(
        '§',
        "sequence, template",
        1,
    );
    tampered.found(&sql, "a row of ledger_transactions in SQL comes from no record").await;
    let balance = "INSERT INTO balances SELECT account || 'x', asset, livemode, merchant, name, balance, version \
                   FROM balances LIMIT 1";
    tampered.found(balance, "a row of balances in SQL comes from no record").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rows_in_each_others_place_are_found() {
    let tampered = Tampered::new().await;
    let swap = "CREATE TEMP TABLE pair AS SELECT rowid AS here, * FROM ledger_transactions ORDER BY position LIMIT 2; \
                UPDATE ledger_transactions SET position = -9 WHERE position = (SELECT min(here) FROM pair); \
                UPDATE ledger_transactions SET position = (SELECT min(here) FROM pair) \
                    WHERE position = (SELECT max(here) FROM pair); \
                UPDATE ledger_transactions SET position = (SELECT max(here) FROM pair) WHERE position = -9";
    tampered.found(swap, "id of a row of ledger_transactions").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_moved_in_either_direction_is_found() {
    let tampered = Tampered::new().await;
    let moved = |by: &str| {
        format!("UPDATE sink_offsets SET next_offset = next_offset {by} WHERE topic = 'ledger.transactions'")
    };
    tampered.found(&moved("+ 1"), "is past the records").await;
    tampered.found(&moved("- 1"), "comes from no record").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_lags_is_compared_as_far_as_it_is() {
    let world = World::without_sql(4).await;
    world.fill_sql().await;
    world.trade_on(9).await;
    let report = verified(&world).await;
    assert_eq!(report.outcome(), Outcome::Ok, "{report:#?}");
    assert!(report.notes.iter().any(|note| note.starts_with("SQL has not taken the last")), "{report:#?}");
    assert_eq!(report.counts.payments, 9);
}
