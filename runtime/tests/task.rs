//! A task on the real embedded log: commits, restarts, ticks, dead letters, stops.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{path::Path, sync::Arc, time::Duration};

use streambook_log::{
    Log, NewRecord, ReadLimit, Retention, TopicSpec, Visibility,
    embedded::{EmbeddedLog, EmbeddedOptions},
};
use streambook_model::{
    bytes::LineageHash,
    codec,
    message::Message,
    meta::{Meta, Source},
    position::{Offset, Partition, TopicPartition},
    records::book::Tick,
    time::Timestamp,
    topics::{self, TopicDef},
};
use streambook_runtime::{
    clock,
    health::{Condition, Health},
    processor::{Context, Fault, Processor},
    runner::{Runner, supervise},
    state::{State, StateError},
    table::Table,
};
use tokio_util::sync::CancellationToken;

/// Counts ticks by their `now`: 13 is unusable, 99 stops it, 7 asks for a tick at time 1,000.
struct Counter;

const COUNT: Table<u64> = Table::new(1);
const WANTED: Table<Timestamp> = Table::new(2);

impl Processor for Counter {
    fn name(&self) -> &'static str {
        "counter"
    }

    fn inbox(&self) -> TopicDef {
        topics::BOOK_INBOX
    }

    fn process(&self, message: Message, context: &mut Context<'_>) -> Result<(), Fault> {
        let Message::Tick(tick) = message else { return Err(Fault::dead_letter("unexpected", "not a tick")) };
        let count = COUNT.get(&context.state, ())?.unwrap_or(0) + 1;
        COUNT.put(&mut context.state, (), &count)?;
        match tick.now.millis() {
            13 => return Err(Fault::dead_letter("unlucky", "thirteen")),
            99 => return Err(Fault::Stop("ninety-nine".into())),
            7 => WANTED.put(&mut context.state, (), &Timestamp::from_millis(1_000))?,
            _ => WANTED.delete(&mut context.state, ()),
        }
        let meta = context.meta(tick.now);
        let now = Timestamp::from_millis(i64::try_from(count).unwrap());
        context.emit(topics::PAYMENTS_EVENTS, b"one key", Tick { meta, now });
        Ok(())
    }

    fn next_deadline(&self, state: &dyn State) -> Result<Option<Timestamp>, StateError> {
        WANTED.get(state, ())
    }
}

fn open(path: &Path) -> Arc<EmbeddedLog> {
    EmbeddedLog::open(EmbeddedOptions::new(path)).unwrap()
}

async fn with_topics(path: &Path) -> Arc<EmbeddedLog> {
    let log = open(path);
    for def in topics::ALL {
        let spec = TopicSpec { name: def.topic(), partitions: def.partitions, retention: Retention::Forever };
        log.ensure_topic(&spec).await.unwrap();
    }
    log
}

fn inbox() -> TopicPartition {
    TopicPartition::new(topics::BOOK_INBOX.topic(), Partition(3))
}

fn tick(now: i64, source: Option<Source>) -> NewRecord {
    let zero = Timestamp::from_millis(0);
    let meta =
        Meta { source, id: now.to_string(), occurred_at: zero, recorded_at: zero, cause: None, trace: None };
    let message = Message::from(Tick { meta, now: Timestamp::from_millis(now) });
    NewRecord::new(&b"k"[..], codec::encode(&message).unwrap())
}

async fn feed(log: &EmbeddedLog, nows: &[i64]) {
    log.append(&inbox(), nows.iter().map(|now| tick(*now, None)).collect()).await.unwrap();
}

/// Everything on a topic, decoded.
async fn all(log: &EmbeddedLog, topic: TopicDef) -> Vec<Message> {
    let mut found = Vec::new();
    for number in 0..topic.partitions {
        let partition = TopicPartition::new(topic.topic(), Partition(number));
        let records =
            log.read(&partition, Offset(0), ReadLimit::default(), Visibility::Written).await.unwrap();
        found.extend(records.iter().map(|record| codec::decode(&record.value).unwrap()));
    }
    found
}

/// What the counter said, with the numbers its lineage carries.
async fn counts(log: &EmbeddedLog) -> Vec<(i64, u64)> {
    let counted = |message: Message| match message {
        Message::Tick(tick) => (tick.now.millis(), tick.meta.source.unwrap().seq),
        other => panic!("{other:?}"),
    };
    all(log, topics::PAYMENTS_EVENTS).await.into_iter().map(counted).collect()
}

struct Running {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    health: Health,
}

fn start(log: &Arc<EmbeddedLog>) -> Running {
    let (stop, health) = (CancellationToken::new(), Health::default());
    let runner =
        Runner::new(Arc::clone(log), Arc::new(Counter), Partition(3), clock::system(), health.clone());
    let task = tokio::spawn(supervise(runner, stop.clone()));
    Running { stop, task, health }
}

impl Running {
    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// Waits until a state is reached; a minute without it is a failure.
async fn until<F: Future<Output = bool>>(mut reached: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !reached().await {
        assert!(tokio::time::Instant::now() < deadline, "not reached");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn offset_state_and_outputs_survive_a_restart_together() {
    let dir = tempfile::tempdir().unwrap();
    let log = with_topics(dir.path()).await;
    feed(&log, &[1, 2]).await;
    let running = start(&log);
    until(async || counts(&log).await.len() == 2).await;
    running.end().await;
    drop(log);

    let log = open(dir.path());
    feed(&log, &[3]).await;
    let running = start(&log);
    until(async || counts(&log).await.len() >= 3).await;
    running.end().await;
    assert_eq!(counts(&log).await, [(1, 1), (2, 2), (3, 3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_record_is_a_dead_letter_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = with_topics(dir.path()).await;
    feed(&log, &[1, 13]).await;
    log.append(&inbox(), vec![NewRecord::new(&b"k"[..], &b"not avro"[..])]).await.unwrap();
    feed(&log, &[2]).await;
    let running = start(&log);
    until(async || counts(&log).await.len() == 2).await;
    running.end().await;
    assert_eq!(counts(&log).await, [(1, 1), (2, 2)]);
    let letters = all(&log, topics::DEAD_LETTERS).await;
    let described = |letter: &Message| match letter {
        Message::DeadLetter(letter) => (letter.code.clone(), letter.offset, letter.record.len()),
        other => panic!("{other:?}"),
    };
    let [unlucky, undecodable] = letters.iter().map(described).collect::<Vec<_>>().try_into().unwrap();
    assert_eq!((unlucky.0.as_str(), unlucky.1), ("unlucky", 1));
    assert_eq!(undecodable, ("undecodable".into(), 2, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_must_not_guess_stops_with_its_reason_and_stays_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let log = with_topics(dir.path()).await;
    feed(&log, &[1, 2, 99, 3]).await;
    for _ in 0..2 {
        let running = start(&log);
        until(async || !running.health.stopped().is_empty()).await;
        let Some(Condition::Stopped { reason }) = running.health.conditions().remove("counter/3") else {
            panic!()
        };
        assert_eq!(reason, "book.inbox/3 offset 2: ninety-nine");
        assert_eq!(counts(&log).await, [(1, 1), (2, 2)], "the records before it are committed, once");
        running.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_are_dropped_and_a_gap_stops_the_task() {
    let dir = tempfile::tempdir().unwrap();
    let log = with_topics(dir.path()).await;
    let from = |seq| Some(Source { task: "sender/1".into(), seq, chain: LineageHash::new([1; 16]) });
    let sent = [1, 2, 2, 1, 3, 5].map(|seq| tick(i64::try_from(seq).unwrap(), from(seq)));
    log.append(&inbox(), sent.to_vec()).await.unwrap();
    let running = start(&log);
    until(async || !running.health.stopped().is_empty()).await;
    assert!(
        running.health.stopped()[0].1.contains("expected seq 4, found 5"),
        "{:?}",
        running.health.stopped()
    );
    assert_eq!(counts(&log).await.len(), 3);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_deadline_becomes_one_tick_in_the_inbox() {
    let dir = tempfile::tempdir().unwrap();
    let log = with_topics(dir.path()).await;
    feed(&log, &[7]).await;
    let running = start(&log);
    until(async || counts(&log).await.len() == 2).await;
    running.end().await;
    assert_eq!(
        log.written_end(&inbox()).unwrap(),
        Offset(2),
        "the tick is a record of the inbox, appended once"
    );
}
