//! The sink and the server are killed, and the server misbehaves, at each step of a batch: afterwards everything of the log
//! is in the tables once. The rows are counted without `FINAL`: it is the token that keeps a repeat out, and not the
//! merging of what came twice.

use streambook_model::{
    message::Message,
    records::payment::{PaymentEventType, PaymentStatus},
    topics,
};
use streambook_runtime::sink::{Sink, SinkError};

use super::{
    engine::{Engine, fault},
    records::{amount, by_card, event, merchant, meta, on_chain, settings, transaction},
    world::World,
};

/// The steps of a batch, as the statement that each sends, and how many of such statements are left out: the first two
/// batches go well.
const STEPS: [(&str, u32); 7] = [
    ("INSERT INTO .sink_ranges", 4),
    ("SELECT DISTINCT batch, writer", 2),
    ("INSERT INTO .payment_events", 2),
    ("INSERT INTO .payments", 2),
    ("INSERT INTO .ledger_entries", 2),
    ("SELECT toUInt32", 2),
    ("INSERT INTO .sink_ranges", 5),
];

/// What goes wrong at every step.
const DEATHS: [&str; 3] = ["kill-before", "kill-after", "delay"];
/// What goes wrong where something is stored: an answer that is lost, cut short or untrue, and a refusal.
const ANSWERS: [&str; 4] = ["drop-after", "half-after", "lie", "error"];

const PAYMENTS: u8 = 90;

/// Two events and a transaction of two lines for each payment, spread over three partitions.
async fn filled() -> World {
    let mut world = World::new().await;
    world.append(topics::REGISTRY_EVENTS, 0, [settings()]).await;
    for number in 0..PAYMENTS {
        let partition = u16::from(number % 3);
        let mut payment =
            on_chain(number, merchant(number % 3), i128::from(number) * 1_000 + 1, i64::from(number));
        let first = event(&mut payment, PaymentEventType::Created, PaymentStatus::Pending, i64::from(number));
        payment.amount_confirmed = payment.amount;
        let second = event(&mut payment, PaymentEventType::Completed, PaymentStatus::Completed, 500);
        world.append(topics::PAYMENTS_EVENTS, partition, [first, second]).await;
        let units = i128::from(number) * 1_000 + 1;
        let lines = [("merchant/available", -units, -units, 1), ("platform/deposits", units, units, 1)];
        let posted = transaction(&payment, "transfer.received", &lines, i64::from(number));
        world.append(topics::LEDGER_TRANSACTIONS, partition, [posted]).await;
    }
    world
}

/// Compares counts and sums with what was appended.
async fn is_there_once(engine: &Engine, database: &str) {
    let payments = i128::from(PAYMENTS);
    let total: i128 = (0..payments).map(|number| number * 1_000 + 1).sum();
    for (sql, expected) in [
        ("SELECT count(), sum(amount) FROM payment_events", format!("{}\t{}\n", payments * 2, total * 2)),
        ("SELECT count(), sum(amount_confirmed) FROM payments FINAL", format!("{payments}\t{total}\n")),
        (
            "SELECT count(), sumIf(amount, amount > 0), sum(amount) FROM ledger_entries",
            format!("{}\t{total}\t0\n", payments * 2),
        ),
        ("SELECT uniqExact(log_partition, log_offset) FROM payment_events", format!("{}\n", payments * 2)),
        ("SELECT count() FROM ledger_imbalances", "0\n".to_owned()),
    ] {
        assert_eq!(engine.ask(database, sql).await, expected, "{sql}");
    }
}

/// Everything of the log is in the tables once, after this goes wrong at this step.
async fn survives(engine: &Engine, world: &World, what: &str, (at, skip): (&str, u32), database: &str) {
    engine.plan(fault(what, at, skip)).await;
    let mut running = world.run(engine, database, 60);
    engine.fails().await;
    if what == "delay" {
        // The sink dies while its request is under way; the request is carried out all the same, later.
        running.kill().await;
        running = world.run(engine, database, 60);
    }
    if what.starts_with("kill") {
        while !engine.is_dead() {
            tokio::task::yield_now().await;
        }
        // The server dies alone, or both do.
        if what == "kill-after" {
            running.kill().await;
            engine.restart();
            running = world.run(engine, database, 60);
        } else {
            engine.restart();
        }
    }
    world.is_taken(engine, database, &running).await;
    running.end().await;
    is_there_once(engine, database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_written_twice_whatever_dies_at_whichever_step() {
    let Some(engine) = Engine::own() else { return };
    let world = filled().await;
    for (number, step) in STEPS.iter().enumerate() {
        let stores = step.0.starts_with("INSERT");
        for what in DEATHS.iter().chain(ANSWERS.iter().filter(|_| stores)) {
            let database = format!("at_{number}_{}", what.replace('-', "_"));
            Box::pin(survives(&engine, &world, what, *step, &database)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_is_started_again_takes_nothing_twice_and_goes_on() {
    let Some(engine) = Engine::shared() else { return };
    let mut world = filled().await;
    engine.ask("default", "DROP DATABASE IF EXISTS started_again").await;
    world.fill(engine, "started_again").await;
    is_there_once(engine, "started_again").await;
    let mut payment = by_card(200, merchant(1), 7, 900);
    let more = event(&mut payment, PaymentEventType::Created, PaymentStatus::Pending, 900);
    world.append(topics::PAYMENTS_EVENTS, 1, [more]).await;
    world.fill(engine, "started_again").await;
    let counted = engine.ask("started_again", "SELECT count() FROM payment_events").await;
    assert_eq!(counted, format!("{}\n", u32::from(PAYMENTS) * 2 + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_in_the_log_is_dropped_and_a_gap_stops_the_sink() {
    let Some(engine) = Engine::shared() else { return };
    let mut world = World::new().await;
    let mut payment = on_chain(1, merchant(1), 5, 0);
    let first = event(&mut payment, PaymentEventType::Created, PaymentStatus::Pending, 0);
    world.append(topics::PAYMENTS_EVENTS, 0, [first]).await;
    let from = |seq| streambook_model::meta::Source {
        task: "book/0".to_owned(),
        seq,
        chain: streambook_model::bytes::LineageHash::ZERO,
    };
    let mut second = match event(&mut payment, PaymentEventType::Canceled, PaymentStatus::Canceled, 1) {
        Message::PaymentEvent(event) => event,
        other => panic!("{other:?}"),
    };
    // The same task sends number 2 twice, which is one event, and then number 4.
    second.meta.source = Some(from(2));
    let second = Message::PaymentEvent(second);
    world.append_as_is(topics::PAYMENTS_EVENTS, 0, &second).await;
    world.append_as_is(topics::PAYMENTS_EVENTS, 0, &second).await;
    engine.ask("default", "DROP DATABASE IF EXISTS repeats").await;
    world.fill(engine, "repeats").await;
    assert_eq!(engine.ask("repeats", "SELECT log_offset FROM payment_events ORDER BY 1").await, "0\n1\n");
    let mut fourth = match second {
        Message::PaymentEvent(event) => event,
        other => panic!("{other:?}"),
    };
    fourth.meta = streambook_model::meta::Meta { source: Some(from(4)), ..meta(2) };
    world.append_as_is(topics::PAYMENTS_EVENTS, 0, &fourth.into()).await;
    let reason = world.run(engine, "repeats", 100).stops().await;
    assert!(reason.contains("a gap from task book/0: expected seq 3, found 4"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_find_each_other() {
    let Some(engine) = Engine::shared() else { return };
    let world = filled().await;
    engine.ask("default", "DROP DATABASE IF EXISTS two_writers").await;
    let (mut one, mut two) = (world.sink(engine, "two_writers"), world.sink(engine, "two_writers"));
    assert!(one.positions().await.unwrap().is_empty() && two.positions().await.unwrap().is_empty());
    let batch = |number: u64| {
        use streambook_model::position::{Offset, Partition, TopicPartition};
        let from = TopicPartition::new(topics::DEAD_LETTERS.topic(), Partition(0));
        let (first, next) = (Offset(number), Offset(number + 1));
        let letter = super::records::letter(1, 1);
        let record = streambook_runtime::sink::Delivered {
            from: from.clone(),
            offset: first,
            message: Box::new(letter),
        };
        streambook_runtime::sink::Batch {
            records: vec![record],
            before: [(from.clone(), first)].into(),
            after: [(from, next)].into(),
        }
    };
    one.write(&batch(0)).await.unwrap();
    match two.write(&batch(0)).await {
        Err(SinkError::Stop(reason)) => assert!(reason.contains("another writer"), "{reason}"),
        other => panic!("expected a stop, found {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_filled_from_another_log_is_refused() {
    let Some(engine) = Engine::shared() else { return };
    engine.ask("default", "DROP DATABASE IF EXISTS another_log").await;
    filled().await.fill(engine, "another_log").await;
    let reason = filled().await.run(engine, "another_log", 100).stops().await;
    assert!(reason.contains("filled from another log"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_stops_the_sink_and_is_not_told() {
    let Some(engine) = Engine::own() else { return };
    let world = World::new().await;
    let mut config = engine.config("refused");
    config.password = "hunter2".to_owned();
    let mut sink = crate::clickhouse::ClickHouseSink::new(
        &config,
        world.log.clone(),
        streambook_runtime::clock::system(),
    )
    .unwrap();
    match sink.positions().await {
        Err(SinkError::Stop(reason)) => {
            assert!(reason.contains("Authentication failed") && !reason.contains("hunter2"), "{reason}");
        }
        other => panic!("expected a stop, found {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_is_waited_for() {
    let Some(engine) = Engine::own() else { return };
    let world = filled().await;
    engine.plan(fault("kill-before", "CREATE DATABASE", 0)).await;
    let running = world.run(&engine, "down", 100);
    while !engine.is_dead() {
        tokio::task::yield_now().await;
    }
    engine.restart();
    world.is_taken(&engine, "down", &running).await;
    running.end().await;
    is_there_once(&engine, "down").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_amounts_are_exact() {
    let Some(engine) = Engine::shared() else { return };
    let mut world = World::new().await;
    let largest = 10_i128.pow(38) - 1;
    let mut payment = on_chain(1, merchant(1), largest, 0);
    payment.amount_confirmed = amount(largest);
    let paid = event(&mut payment, PaymentEventType::Completed, PaymentStatus::Completed, 1);
    world.append(topics::PAYMENTS_EVENTS, 0, [paid]).await;
    engine.ask("default", "DROP DATABASE IF EXISTS largest").await;
    world.fill(engine, "largest").await;
    assert_eq!(engine.ask("largest", "SELECT amount FROM payments").await, format!("{largest}\n"));
    let value = engine.ask("largest", "SELECT value FROM payment_volume").await;
    assert_eq!(value, "99999999999999999999999999999999.999999\n");
}
