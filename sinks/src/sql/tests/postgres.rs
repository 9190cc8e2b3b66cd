//! What only PostgreSQL has: roles, partitions, exact numbers, several programs at one schema.

use streambook_model::{
    message::Message,
    records::payment::{PaymentEventType, PaymentStatus},
};
use streambook_runtime::sink::Sink;

use super::{
    Bench, Dialect,
    records::{at_version, event, merchant, merchant_changed, payment, transaction},
    server, stopped,
};
use crate::sql::{SqlConfig, SqlError, SqlReads, SqlSink, database::Database, query::Query, schema};

fn created(number: u64) -> Message {
    event(&payment(number, merchant(1)), PaymentEventType::Created).into()
}

fn name_of(config: &SqlConfig) -> String {
    config.url.secret().rsplit('/').next().unwrap().to_owned()
}

#[tokio::test]
async fn the_sinks_and_the_readers_roles_cannot_rewrite_what_happened_and_neither_can_the_owner() {
    if !server::is_there() {
        return;
    }
    let mut bench = Bench::new(Dialect::Postgres).await;
    let paid = payment(1, merchant(1));
    bench
        .write([created(1), transaction(&paid, 1, 5, 5).into(), merchant_changed(merchant(1), "shop").into()])
        .await;
    let name = name_of(&bench.config);
    let refused = |role: &str, sql: &str| {
        let whole = format!("DO $$ BEGIN SET LOCAL ROLE {role}; {sql}; END $$");
        server::shared().refusal(&name, &whole)
    };
    for table in ["payment_events", "ledger_transactions", "ledger_entries", "audit_log", "ledger_entries_00"]
    {
        for sql in [
            format!("UPDATE {table} SET position = position"),
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table}"),
        ] {
            for role in ["streambook_writer", "streambook_reader"] {
                let said = refused(role, &sql);
                assert!(said.contains("permission denied"), "{role}: {sql}: {said}");
            }
            let said = refused("streambook", &sql);
            assert!(said.contains("append-only"), "the owner: {sql}: {said}");
        }
    }
    for sql in
        ["UPDATE payments SET fee = 0", "INSERT INTO balances DEFAULT VALUES", "DELETE FROM sink_offsets"]
    {
        assert!(refused("streambook_reader", sql).contains("permission denied"), "{sql}");
    }
    for sql in ["DELETE FROM payments", "TRUNCATE payments", "DROP TABLE refunds", "DELETE FROM schema_steps"]
    {
        let said = refused("streambook_writer", sql);
        assert!(said.contains("permission denied") || said.contains("must be owner"), "{sql}: {said}");
    }
}

#[tokio::test]
async fn amounts_are_numbers_that_sum_exactly() {
    if !server::is_there() {
        return;
    }
    let mut bench = Bench::new(Dialect::Postgres).await;
    let most = 10_i128.pow(38) - 1;
    let (one, two) = (payment(1, merchant(1)), payment(2, merchant(1)));
    bench.write([transaction(&one, 1, most, most).into(), transaction(&two, 2, 10_000, most).into()]).await;
    let name = name_of(&bench.config);
    let told = server::shared().sql(
        &name,
        "SELECT max(amount), min(amount), sum(amount), pg_typeof(max(amount)) FROM ledger_entries",
    );
    assert_eq!(told, format!("{most}|-{most}|0|numeric"));
}

#[tokio::test]
async fn rows_are_in_the_part_their_partition_of_the_log_says() {
    if !server::is_there() {
        return;
    }
    let mut bench = Bench::new(Dialect::Postgres).await;
    bench.write([created(1), created(2), transaction(&payment(1, merchant(1)), 1, 5, 5).into()]).await;
    let name = name_of(&bench.config);
    let count = |table: &str| server::shared().sql(&name, &format!("SELECT count(*) FROM {table}"));
    assert_eq!((count("payment_events_00"), count("payment_events_01")), ("2".into(), "0".into()));
    assert_eq!((count("ledger_entries_00"), count("ledger_transactions_00")), ("2".into(), "1".into()));
    let bound = "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'ledger_entries_15'";
    let (from, to) = (15_u64 << 48, 16_u64 << 48);
    assert_eq!(server::shared().sql(&name, bound), format!("FOR VALUES FROM ('{from}') TO ('{to}')"));
    let parts = "SELECT count(*) FROM pg_partition_tree('payments') WHERE isleaf";
    assert_eq!(server::shared().sql(&name, parts), "16");
}

#[tokio::test]
async fn several_programs_that_start_at_once_make_the_schema_once() {
    if !server::is_there() {
        return;
    }
    let config = SqlConfig { url: server::database().into(), ..SqlConfig::default() };
    let starts = (0..4).map(|_| {
        let config = config.clone();
        tokio::spawn(async move { SqlSink::open(&config).await.map(drop) })
    });
    for start in starts.collect::<Vec<_>>() {
        start.await.unwrap().unwrap();
    }
    let steps = server::shared().sql(&name_of(&config), "SELECT count(*) FROM schema_steps");
    assert_eq!(steps, schema::POSTGRES.len().to_string());
}

#[tokio::test]
async fn a_schema_goes_forward_while_it_is_read_and_written() {
    static NEWER: [schema::Step; 4] = [
        schema::POSTGRES[0],
        schema::POSTGRES[1],
        schema::POSTGRES[2],
        schema::Step { version: 4, name: "0004_more", sql: "ALTER TABLE payments ADD COLUMN more TEXT" },
    ];
    static BROKEN: [schema::Step; 5] = [
        NEWER[0],
        NEWER[1],
        NEWER[2],
        NEWER[3],
        schema::Step { version: 5, name: "0005_broken", sql: "CREATE TABLE half (a INT); CREATE nonsense" },
    ];
    if !server::is_there() {
        return;
    }
    let mut bench = Bench::new(Dialect::Postgres).await;
    bench.write([created(1)]).await;
    let owner = crate::sql::postgres::Postgres::open(&bench.config, crate::sql::postgres::Role::Owner);
    let owner = Database::Postgres(owner.await.unwrap());
    let error = schema::migrate(&owner, &BROKEN).await.expect_err("must fail");
    assert!(matches!(error, SqlError::Migrate { step: "0005_broken", .. }), "{error}");
    let name = name_of(&bench.config);
    assert_eq!(
        server::shared().sql(&name, "SELECT to_regclass('half') IS NULL, count(*) FROM schema_steps"),
        "t|4"
    );
    // The sink that was open goes on; one of the older program does not start.
    bench.write([created(2)]).await;
    assert_eq!(bench.sink.reads().counts().await.unwrap().payments, 2);
    let error = SqlSink::open(&bench.config).await.expect_err("must be refused");
    assert!(error.to_string().contains("use a newer program"), "{error}");
    server::shared().sql(&name, "DELETE FROM schema_steps WHERE version = 4");
    server::shared().sql(&name, "UPDATE schema_steps SET checksum = 'x' WHERE version = 2");
    let error = SqlReads::open(&bench.config).await.expect_err("must be refused");
    assert!(error.to_string().contains("made by another program"), "{error}");
}

#[tokio::test]
async fn a_user_without_rights_to_the_schema_runs_the_sink_on_a_finished_one() {
    if !server::is_there() {
        return;
    }
    let bench = Bench::new(Dialect::Postgres).await;
    let name = name_of(&bench.config);
    let user = format!("plain_{name}");
    let grant = format!("CREATE ROLE {user} LOGIN; GRANT streambook_writer, streambook_reader TO {user}");
    server::shared().sql(&name, &grant);
    let url = bench.config.url.secret().replace("//streambook@", &format!("//{user}@"));
    let plain = SqlConfig { url: url.into(), ..SqlConfig::default() };
    let mut sink = SqlSink::open(&plain).await.unwrap();
    let mut feed = super::records::Feed::default();
    sink.write(&feed.batch([created(1)])).await.unwrap();
    assert_eq!(sink.reads().counts().await.unwrap().payments, 1);
    let empty =
        SqlConfig { url: server::database().replace("//streambook@", &format!("//{user}@")).into(), ..plain };
    let error = SqlSink::open(&empty).await.expect_err("it may not make a schema");
    assert!(streambook_runtime::step::chain_of(&error).contains("permission denied"), "{error}");
}

#[tokio::test]
async fn of_two_writers_one_goes_on() {
    if !server::is_there() {
        return;
    }
    let mut bench = Bench::new(Dialect::Postgres).await;
    bench.write([created(1)]).await;
    let mut other = SqlSink::open(&bench.config).await.unwrap();
    let batch = bench.feed.batch([created(2), transaction(&payment(2, merchant(1)), 1, 5, 5).into()]);
    let (mine, others) = tokio::join!(bench.sink.write(&batch), other.write(&batch));
    let reason = match (mine, others) {
        (Ok(()), lost) | (lost, Ok(())) => stopped(lost),
        both => panic!("one of the two must be written: {both:?}"),
    };
    assert!(reason.contains("another writer has moved it") || reason.contains("unique"), "{reason}");
    let counts = bench.sink.reads().counts().await.unwrap();
    assert_eq!((counts.payment_events, counts.ledger_entries), (2, 2));
}

#[tokio::test]
async fn a_lock_of_others_is_waited_for_and_then_tried_again() {
    if !server::is_there() {
        return;
    }
    let mut bench = Bench::new(Dialect::Postgres).await;
    bench.write([created(1)]).await;
    let hasty = SqlConfig { busy_timeout_ms: 50, ..bench.config.clone() };
    let mut sink = SqlSink::open(&hasty).await.unwrap();
    let mut other = bench.sink.database.begin().await.unwrap();
    other.execute("locking", Query::new("UPDATE sink_offsets SET next_offset = next_offset")).await.unwrap();
    let batch = bench.feed.batch([created(2)]);
    let text = super::retried(sink.write(&batch).await);
    assert!(text.contains("lock timeout"), "{text}");
    drop(other);
    let mut tries = 0;
    while sink.write(&batch).await.is_err() {
        tries += 1;
        assert!(tries < 100, "the lock is never released");
    }
    assert_eq!(sink.reads().counts().await.unwrap().payments, 2);
}

#[tokio::test]
async fn lists_walk_the_index_that_was_made_for_them() {
    use crate::sql::{EventFilter, Page, PaymentFilter, PaymentKey, PositionKey, SequenceKey, reads};
    if !server::is_there() {
        return;
    }
    let bench = Bench::new(Dialect::Postgres).await;
    // The tables are empty, where reading them whole would be cheapest.
    let url =
        format!("{}?options[enable_seqscan]=off&options[enable_bitmapscan]=off", bench.config.url.secret());
    let reader = SqlReads::open(&SqlConfig { url: url.into(), ..SqlConfig::default() }).await.unwrap();
    let check = async |query: Query, index: &str| {
        let rows = reader.database.fetch("explaining", query.planned()).await.unwrap();
        let plan: Vec<_> = rows.into_iter().map(|mut row| row.text().unwrap()).collect();
        let plan = plan.join("\n");
        assert!(plan.contains(index) && !plan.contains("Seq Scan"), "{index}: {plan}");
    };
    let scope = super::scope();
    let (one, page) = (payment(1, merchant(1)).id, Page::after(10, PositionKey(5)));
    let of_one = EventFilter { event_type: None, payment: Some(one) };
    check(reads::events::list(scope, EventFilter::default(), page), "merchant_livemode_position_idx").await;
    check(reads::events::list(scope, of_one, page), "payment_position_idx").await;
    let some = event(&payment(1, merchant(1)), PaymentEventType::Created).event;
    check(reads::events::one(scope, some), "payment_position_idx").await;
    let page = Page::after(10, SequenceKey(5));
    check(reads::ledger::list(scope, None, page).unwrap(), "_by_sequence").await;
    check(reads::ledger::list(scope, Some(one), page).unwrap(), "payment_sequence_idx").await;
    let page = Page::after(10, PaymentKey { created_at_ms: 5, id: one });
    let all = PaymentFilter::default();
    check(reads::payments::list(scope, &all, page).unwrap(), "merchant_livemode_created_at_id_idx").await;
    let open = PaymentFilter { status: Some(PaymentStatus::Disputed), ..all.clone() };
    check(reads::payments::list(scope, &open, page).unwrap(), "_status_created_at_id_idx").await;
    let named = PaymentFilter { reference_id: Some("ORDER_1".into()), ..all };
    check(reads::payments::list(scope, &named, page).unwrap(), "_reference_id_created_at_id_idx").await;
}

#[tokio::test]
async fn a_zero_character_is_no_reason_to_stop() {
    if !server::is_there() {
        return;
    }
    let mut bench = Bench::new(Dialect::Postgres).await;
    let mut paid = at_version(&payment(1, merchant(1)), 2, PaymentStatus::Completed);
    paid.reference_id = Some("a\0b".to_owned());
    bench.write([event(&paid, PaymentEventType::Completed).into()]).await;
    let stored = bench.sink.reads().payment(super::scope(), paid.id).await.unwrap();
    assert_eq!(stored, Some(paid));
}
