//! The same with the SQL sink on PostgreSQL: a right database, and one that somebody with its owner's rights has tampered with.

#[path = "../../../../tests/end_to_end/postgres.rs"]
mod server;

use std::io::Write;

use streambook_sinks::sql::SqlConfig;

use self::server::Server;
use super::{World, world::processors};
use crate::verify::{
    progress::Silent,
    report::{Outcome, Report},
};

/// A server, or none and the reason.
fn server() -> Option<Server> {
    if let Some(programs) = server::programs() {
        return Some(Server::start(
            &programs,
            &std::env::temp_dir().join("streambook-tests"),
            &["fsync=off"],
        ));
    }
    let missing = "NOT RUN: verify on PostgreSQL: its server is missing (/usr/lib/postgresql, or the folder \
                   STREAMBOOK_POSTGRES names): run tests/setup/install\n";
    let is_set = |name| std::env::var(name).is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
    assert!(!is_set("CI") && !is_set("STREAMBOOK_REQUIRE_PARTS"), "{missing}");
    // Not `eprintln!`: the harness would keep it to itself, since the test passes.
    std::io::stderr().write_all(missing.as_bytes()).unwrap();
    None
}

async fn verified(world: &World, url: String) -> Report {
    let config = SqlConfig { url: url.into(), ..SqlConfig::default() };
    crate::verify::verify(world.open(), &processors(), Some(&config), &mut Silent).await.unwrap()
}

/// What is done to the database, and what `verify` says of it.
const TAMPERED: [(&str, &str); 14] = [
    ("UPDATE ledger_entries SET amount = amount + 1 WHERE line = 2", "amount of a row of ledger_entries"),
    ("UPDATE ledger_entries SET balance = 0 WHERE balance <> 0", "balance of a row of ledger_entries"),
    ("UPDATE ledger_transactions SET hash = previous_hash", "hash of a row of ledger_transactions"),
    ("UPDATE ledger_transactions SET livemode = NOT livemode", "livemode of a row of ledger_transactions"),
    ("UPDATE payment_events SET moment = (moment::text || ' ')::json", "moment of a row of payment_events"),
    ("UPDATE payments SET status = 'expired'", "status of a row of payments"),
    ("UPDATE payments SET snapshot = (snapshot::text || ' ')::json", "snapshot of a row of payments"),
    ("UPDATE balances SET balance = balance + 1", "balance of a row of balances"),
    ("UPDATE refunds SET amount = 99", "amount of a row of refunds"),
    (
        "UPDATE sink_sources SET seq = seq - 1 WHERE topic = 'ledger.transactions'",
        "seq of a row of sink_sources",
    ),
    (
        "UPDATE sink_offsets SET next_offset = next_offset - 1 WHERE topic = 'payments.events'",
        "comes from no record",
    ),
    ("DELETE FROM ledger_entries WHERE line = 1", "a row of ledger_entries in SQL is missing"),
    ("DELETE FROM payments WHERE id = (SELECT max(id) FROM payments)", "a row of payments in SQL is missing"),
    (
        "INSERT INTO ledger_entries SELECT position, line + 7, account, asset, amount, balance, version \
         FROM ledger_entries LIMIT 1",
        "a row of ledger_entries in SQL comes from no record",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_right_database_is_right_and_a_changed_one_is_found() {
    let Some(server) = server() else { return };
    let world = World::without_sql(12).await;
    let url = server.database("books");
    world.fill(&SqlConfig { url: url.clone().into(), ..SqlConfig::default() }).await;
    let report = verified(&world, url).await;
    assert_eq!(report.outcome(), Outcome::Ok, "{report:#?}");
    assert!(report.notes.is_empty() && report.counts.sql_rows > report.counts.entries, "{report:#?}");
    for (number, (sql, expect)) in TAMPERED.iter().enumerate() {
        let copy = format!("copy_{number}");
        server.sql("postgres", &format!("CREATE DATABASE {copy} TEMPLATE books"));
        // Triggers do not fire for a replica's session, which the owner of a server can make of any.
        server.sql(&copy, &format!("SET session_replication_role = replica; {sql}"));
        let report = verified(&world, server.url(&copy)).await;
        assert_eq!(report.outcome(), Outcome::Differs, "{sql}");
        let difference = report.first_difference.unwrap();
        assert!(difference.what.contains(expect), "{sql}: {difference:#?}");
    }
}
