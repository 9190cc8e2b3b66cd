//! Writing: all or nothing, once, never backwards.

use std::time::Duration;

use streambook_model::{
    message::Message,
    position::Offset,
    records::{
        chain::TransferStatus,
        payment::{PaymentEventType, PaymentStatus},
    },
    topics,
};
use streambook_runtime::sink::Sink;

use super::{
    Bench, Dialect,
    records::{
        Feed, amount, at_version, attempt, endpoint_changed, endpoint_of, event, head, letter, merchant,
        partition_zero, payment, payment_id, set_source, transaction, transfer,
    },
    retried, scope, stopped,
};
use crate::sql::{Counts, Page, PaymentFilter, Waited, cell::Cell, query::Query, rows::Collector};

fn created(number: u64) -> Message {
    event(&payment(number, merchant(1)), PaymentEventType::Created).into()
}

async fn the_same_batch_again_is_refused_and_changes_nothing(on: Dialect) {
    let mut bench = Bench::new(on).await;
    let batch = bench.write([created(1)]).await;
    let reason = stopped(bench.sink.write(&batch).await);
    assert!(reason.contains("payments.events/0: the database is at offset 1"), "{reason}");
    assert!(reason.contains("this batch starts at 0"), "{reason}");
    assert_eq!(bench.sink.reads().counts().await.unwrap().payment_events, 1);
}

async fn a_batch_from_beyond_the_position_is_refused(on: Dialect) {
    let mut bench = Bench::new(on).await;
    bench.write([created(1)]).await;
    let _skipped = bench.feed.batch([created(2)]);
    let mut ahead = bench.feed.batch([created(3)]);
    for delivered in &mut ahead.records {
        set_source(&mut delivered.message, 2);
    }
    let reason = stopped(bench.sink.write(&ahead).await);
    assert!(reason.contains("at offset 1") && reason.contains("starts at 2"), "{reason}");
}

async fn a_record_sent_again_at_a_later_offset_is_dropped(on: Dialect) {
    let mut bench = Bench::new(on).await;
    let batch = bench.write([created(1), created(2)]).await;
    bench.reopen().await;
    let again: Vec<_> = batch.records.iter().map(|delivered| (*delivered.message).clone()).collect();
    let repeat = bench.feed.batch_as_is(again);
    bench.sink.write(&repeat).await.unwrap();
    assert_eq!(bench.sink.reads().counts().await.unwrap().payment_events, 2);
    let positions = bench.sink.positions().await.unwrap();
    assert_eq!(positions.get(&partition_zero(&topics::PAYMENTS_EVENTS)), Some(&Offset(4)));
}

async fn a_gap_or_a_contradiction_in_the_lineage_stops_the_sink(on: Dialect) {
    let mut bench = Bench::new(on).await;
    bench.write([created(1)]).await;
    let mut gap = created(2);
    set_source(&mut gap, 3);
    let reason = stopped(bench.sink.write(&Feed::default().batch_as_is([gap])).await);
    assert!(reason.contains("expected seq 2, found 3"), "{reason}");
    let mut other = created(2);
    set_source(&mut other, 1);
    let Message::PaymentEvent(changed) = &mut other else { unreachable!("made above") };
    changed.meta.source.as_mut().unwrap().chain = streambook_model::bytes::LineageHash::new([9; 16]);
    let reason = stopped(bench.sink.write(&Feed::default().batch_as_is([other])).await);
    assert!(reason.contains("different content"), "{reason}");
}

async fn a_sink_that_starts_in_a_trimmed_topic_takes_the_first_it_sees(on: Dialect) {
    let mut bench = Bench::new(on).await;
    let _trimmed = bench.feed.batch([created(1), created(2)]);
    bench.write([created(3)]).await;
    assert!(bench.sink.reads().payment(scope(), payment_id(3)).await.unwrap().is_some());
    let positions = bench.sink.positions().await.unwrap();
    assert_eq!(positions.get(&partition_zero(&topics::PAYMENTS_EVENTS)), Some(&Offset(3)));
}

async fn an_older_snapshot_never_overwrites_a_newer_one(on: Dialect) {
    let mut bench = Bench::new(on).await;
    let first = payment(1, merchant(1));
    let third = at_version(&first, 3, PaymentStatus::Completed);
    let second = at_version(&first, 2, PaymentStatus::Confirming);
    bench.write([event(&third, PaymentEventType::Completed).into()]).await;
    // Older ones in a later batch, and out of order within one batch.
    bench.write([event(&first, PaymentEventType::Created).into()]).await;
    let fifth = at_version(&first, 5, PaymentStatus::Reversed);
    bench
        .write([
            event(&fifth, PaymentEventType::Reversed).into(),
            event(&second, PaymentEventType::Confirming).into(),
        ])
        .await;
    let stored = bench.sink.reads().payment(scope(), first.id).await.unwrap();
    assert_eq!(stored, Some(fifth));
}

async fn balances_move_forward_only(on: Dialect) {
    let mut bench = Bench::new(on).await;
    let payment = payment(1, merchant(1));
    bench.write([transaction(&payment, 2, 5, 12).into()]).await;
    bench.write([transaction(&payment, 1, 7, 7).into()]).await;
    let balances = bench.sink.reads().balances(scope()).await.unwrap();
    let stated: Vec<_> = balances.iter().map(|row| (row.name.as_str(), row.balance, row.version)).collect();
    assert_eq!(stated, [("available", amount(-12), 2), ("clearing", amount(12), 2)]);
}

async fn a_batch_that_fails_leaves_nothing_behind(on: Dialect) {
    let mut bench = Bench::new(on).await;
    let owner = payment(1, merchant(1));
    bench.write([transaction(&owner, 1, 5, 5).into()]).await;
    // The same number in the book a second time, in a new record: the database's own constraint.
    let bad = bench.feed.batch([created(1), transaction(&owner, 1, 5, 5).into()]);
    let reason = stopped(bench.sink.write(&bad).await);
    assert!(
        reason.contains("ledger_transactions failed") && reason.to_lowercase().contains("unique"),
        "{reason}"
    );
    let counts = bench.sink.reads().counts().await.unwrap();
    assert_eq!(counts, Counts { ledger_transactions: 1, ledger_entries: 2, ..Counts::default() });
    assert_eq!(bench.sink.positions().await.unwrap().len(), 1);
    // The lineage it saw is not remembered either: the batch without the bad record is taken.
    let mut good = bad.clone();
    good.records.truncate(1);
    good.before.remove(&partition_zero(&topics::LEDGER_TRANSACTIONS));
    good.after.remove(&partition_zero(&topics::LEDGER_TRANSACTIONS));
    bench.sink.write(&good).await.unwrap();
    assert_eq!(bench.sink.reads().counts().await.unwrap().payments, 1);
}

async fn a_crash_before_the_commit_leaves_nothing_and_the_batch_goes_in_afterwards(on: Dialect) {
    let mut bench = Bench::new(on).await;
    let batch = bench.feed.batch([created(1), transaction(&payment(1, merchant(1)), 1, 5, 5).into()]);
    let mut collector = Collector::default();
    for delivered in &batch.records {
        collector.take(delivered).unwrap();
    }
    let mut writing = bench.sink.database.begin().await.unwrap();
    for rows in collector.finish().unwrap() {
        writing.insert(rows).await.unwrap();
    }
    drop(writing);
    bench.reopen().await;
    assert_eq!(bench.sink.reads().counts().await.unwrap(), Counts::default());
    bench.sink.write(&batch).await.unwrap();
    assert_eq!(bench.sink.reads().counts().await.unwrap().ledger_entries, 2);
}

async fn a_commit_that_happened_without_saying_so_is_recognised(on: Dialect) {
    let mut bench = Bench::new(on).await;
    let batch = bench.write([created(1)]).await;
    // As after a commit whose answer was lost: written, but not remembered.
    bench.sink.marks.clear();
    bench.sink.unsure = Some(batch.after.clone());
    bench.sink.write(&batch).await.unwrap();
    assert_eq!(bench.sink.reads().counts().await.unwrap().payment_events, 1);
    bench.write([created(2)]).await;
    stopped(bench.sink.write(&batch).await);
}

#[tokio::test]
async fn a_lock_held_by_another_process_is_waited_for_and_then_tried_again() {
    let mut bench = Bench::new(Dialect::Sqlite).await;
    let batch = bench.feed.batch([created(1)]);
    let other = crate::sql::database::Database::open_for_writing(&bench.config).await.unwrap();
    let lock = other.begin().await.unwrap();
    let text = retried(bench.sink.write(&batch).await);
    assert!(text.contains("locked"), "{text}");
    drop(lock);
    other.close().await;
    bench.sink.write(&batch).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_is_named_and_tried_again() {
    let mut bench = Bench::new(Dialect::Sqlite).await;
    let limit = |sql| Query::new(sql);
    bench.sink.database.fetch("limiting", limit("PRAGMA max_page_count = 1")).await.unwrap();
    let many = bench.feed.batch((0..200).map(created));
    let text = retried(bench.sink.write(&many).await);
    assert!(text.contains("disk that holds the database is full"), "{text}");
    bench.sink.database.fetch("limiting", limit("PRAGMA max_page_count = 1000000")).await.unwrap();
    bench.sink.write(&many).await.unwrap();
    assert_eq!(bench.sink.reads().counts().await.unwrap().payments, 200);
}

async fn what_happened_cannot_be_changed_or_deleted(on: Dialect) {
    let mut bench = Bench::new(on).await;
    let payment = payment(1, merchant(1));
    bench.write([created(1), transaction(&payment, 1, 5, 5).into()]).await;
    bench.write([super::records::merchant_changed(merchant(1), "shop").into()]).await;
    for sql in [
        "UPDATE ledger_transactions SET template = 'x'",
        "DELETE FROM ledger_transactions",
        "UPDATE ledger_entries SET amount = '1'",
        "DELETE FROM ledger_entries",
        "UPDATE payment_events SET moment = '{}'",
        "DELETE FROM payment_events",
        "UPDATE audit_log SET detail = '{}'",
        "DELETE FROM audit_log",
    ] {
        let mut writing = bench.sink.database.begin().await.unwrap();
        let error = writing.execute("changing", Query::new(sql)).await.expect_err(sql);
        // SQLite has no rights, so a trigger refuses; in PostgreSQL the sink's role has none to do it.
        let refusal = if matches!(on, Dialect::Sqlite) { "append-only" } else { "permission denied" };
        assert!(streambook_runtime::step::chain_of(&error).contains(refusal), "{sql}: {error}");
        assert!(!error.may_be_retried());
    }
}

async fn what_is_said_twice_without_lineage_is_kept_once(on: Dialect) {
    let mut bench = Bench::new(on).await;
    let endpoint = endpoint_of(merchant(1));
    bench.write([letter(1).into(), attempt(&endpoint, 1).into()]).await;
    bench.write([letter(1).into(), attempt(&endpoint, 1).into(), attempt(&endpoint, 2).into()]).await;
    let counts = bench.sink.reads().counts().await.unwrap();
    assert_eq!((counts.dead_letters, counts.webhook_attempts), (1, 2));
}

async fn a_transfer_keeps_its_last_status(on: Dialect) {
    let mut bench = Bench::new(on).await;
    let payment = payment(1, merchant(1));
    bench
        .write([
            transfer(&payment, TransferStatus::Seen).into(),
            head(10).into(),
            transfer(&payment, TransferStatus::Confirmed).into(),
        ])
        .await;
    bench.write([transfer(&payment, TransferStatus::Orphaned).into(), head(9).into()]).await;
    let query = Query::new("SELECT status FROM transfers WHERE payment = ").text(payment.id);
    let mut rows = bench.sink.database.fetch("reading", query).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].word::<TransferStatus>().unwrap(), TransferStatus::Orphaned);
    // A head that goes back in a reorganisation is the head.
    let heads = bench.sink.reads().chain_heads().await.unwrap();
    assert_eq!(heads.iter().map(|head| head.number.0).collect::<Vec<_>>(), [9]);
}

#[tokio::test]
async fn sealed_secrets_never_reach_the_database() {
    let mut bench = Bench::new(Dialect::Sqlite).await;
    bench.write([endpoint_changed(endpoint_of(merchant(1))).into()]).await;
    bench.sink.database.fetch("checkpoint", Query::new("PRAGMA wal_checkpoint(TRUNCATE)")).await.unwrap();
    let file = std::fs::read(bench.config.path().unwrap()).unwrap();
    let holds = |text: &[u8]| file.windows(text.len()).any(|window| window == text);
    assert!(holds(b"https://shop.example/hooks"), "the endpoint itself must be there");
    assert!(!holds(b"sealed-secret") && !holds(b"115,101,97,108"), "a secret is in the database");
}

async fn a_record_that_has_no_place_in_sql_stops_the_sink(on: Dialect) {
    let mut bench = Bench::new(on).await;
    let tick = streambook_model::records::book::Tick {
        meta: super::records::meta("tick", 0),
        now: streambook_model::time::Timestamp::default(),
    };
    let batch = bench.feed.batch([Message::from(tick)]);
    let reason = stopped(bench.sink.write(&batch).await);
    assert!(reason.contains("Tick has no place in SQL"), "{reason}");
}

async fn a_read_can_wait_for_the_write_it_follows(on: Dialect) {
    let mut bench = Bench::new(on).await;
    let progress = bench.sink.progress();
    let at = partition_zero(&topics::PAYMENTS_EVENTS);
    let second = Duration::from_millis(20);
    assert_eq!(progress.wait_for(&at, Offset(41), second).await, Waited::TimedOut);
    let waiting = tokio::spawn({
        let (progress, at) = (progress.clone(), at.clone());
        async move { progress.wait_for(&at, Offset(41), Duration::from_secs(30)).await }
    });
    let mut caused = event(&payment(1, merchant(1)), PaymentEventType::Created);
    caused.meta.cause = Some(streambook_model::meta::Cause { partition: 0, offset: 41 });
    bench.write([caused.into()]).await;
    assert_eq!(waiting.await.unwrap(), Waited::Reached);
    bench.reopen().await;
    let progress = bench.sink.progress();
    assert_eq!(progress.cause_offset(&at), Some(Offset(41)), "known again after a restart");
    assert_eq!(progress.wait_for(&at, Offset(42), second).await, Waited::TimedOut);
}

async fn many_rows_of_every_number_are_written_whole(on: Dialect) {
    let mut bench = Bench::new(on).await;
    let mut number = 0;
    for size in [1, 127, 128, 129, 300] {
        let from = number;
        number += size;
        bench.write((from..number).map(created)).await;
    }
    let query = Query::new("SELECT count(*), CAST(sum(position) AS BIGINT) FROM payment_events");
    let mut rows = bench.sink.database.fetch("counting", query).await.unwrap();
    let sum = i64::try_from(number * (number - 1) / 2).unwrap();
    assert_eq!(
        (rows[0].integer().unwrap(), rows[0].integer().unwrap()),
        (i64::try_from(number).unwrap(), sum)
    );
    let listed =
        bench.sink.reads().payments(scope(), &PaymentFilter::default(), Page::first(1_000)).await.unwrap();
    assert_eq!(listed.rows.len(), usize::try_from(number).unwrap());
    assert!(Cell::unsigned(u64::MAX).is_err(), "a number beyond the column is refused, not cut");
}

super::on_both!(
    the_same_batch_again_is_refused_and_changes_nothing,
    a_batch_from_beyond_the_position_is_refused,
    a_record_sent_again_at_a_later_offset_is_dropped,
    a_gap_or_a_contradiction_in_the_lineage_stops_the_sink,
    a_sink_that_starts_in_a_trimmed_topic_takes_the_first_it_sees,
    an_older_snapshot_never_overwrites_a_newer_one,
    balances_move_forward_only,
    a_batch_that_fails_leaves_nothing_behind,
    a_crash_before_the_commit_leaves_nothing_and_the_batch_goes_in_afterwards,
    a_commit_that_happened_without_saying_so_is_recognised,
    what_happened_cannot_be_changed_or_deleted,
    what_is_said_twice_without_lineage_is_kept_once,
    a_transfer_keeps_its_last_status,
    a_record_that_has_no_place_in_sql_stops_the_sink,
    a_read_can_wait_for_the_write_it_follows,
    many_rows_of_every_number_are_written_whole,
);
