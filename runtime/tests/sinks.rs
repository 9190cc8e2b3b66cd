//! A sink on the real embedded log: nothing starves, failures are tried again, a refusal stops it with its reason.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use streambook_log::{
    Log, NewRecord, ReadLimit, Retention, TopicSpec,
    embedded::{EmbeddedLog, EmbeddedOptions},
};
use streambook_model::{
    codec,
    message::Message,
    meta::Meta,
    position::{Offset, Partition, TopicPartition},
    records::book::Tick,
    time::Timestamp,
    topics::{self, TopicDef},
};
use streambook_runtime::{
    clock,
    health::{Condition, Health},
    sink::{Batch, Sink, SinkError},
    sink_runner::SinkRunner,
};
use tokio_util::sync::CancellationToken;

/// Remembers its batches; answers with what it was told to before it accepts.
#[derive(Clone, Default)]
struct Recorder {
    batches: Arc<Mutex<Vec<Batch>>>,
    refusals: Arc<Mutex<Vec<SinkError>>>,
}

#[async_trait]
impl Sink for Recorder {
    fn name(&self) -> &'static str {
        "recorder"
    }

    fn inputs(&self) -> Vec<TopicDef> {
        vec![topics::CHAIN_TRANSFERS, topics::PAYMENTS_EVENTS]
    }

    async fn positions(&mut self) -> Result<BTreeMap<TopicPartition, Offset>, SinkError> {
        Ok(BTreeMap::new())
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), SinkError> {
        if let Some(refusal) = self.refusals.lock().unwrap().pop() {
            return Err(refusal);
        }
        self.batches.lock().unwrap().push(batch.clone());
        Ok(())
    }
}

async fn log(path: &std::path::Path) -> Arc<EmbeddedLog> {
    let log = EmbeddedLog::open(EmbeddedOptions::new(path)).unwrap();
    for def in topics::ALL {
        let spec = TopicSpec { name: def.topic(), partitions: def.partitions, retention: Retention::Forever };
        log.ensure_topic(&spec).await.unwrap();
    }
    log
}

fn at(topic: TopicDef, partition: u16) -> TopicPartition {
    TopicPartition::new(topic.topic(), Partition(partition))
}

async fn feed(log: &EmbeddedLog, to: &TopicPartition, count: i64) {
    let zero = Timestamp::from_millis(0);
    let record = |number: i64| {
        let meta = Meta {
            source: None,
            id: number.to_string(),
            occurred_at: zero,
            recorded_at: zero,
            cause: None,
            trace: None,
        };
        let tick = Message::from(Tick { meta, now: Timestamp::from_millis(number) });
        NewRecord::new(&b"k"[..], codec::encode(&tick).unwrap())
    };
    let appended = log.append(to, (0..count).map(record).collect()).await.unwrap();
    log.synced(&appended).await.unwrap();
}

/// Runs the sink until it has taken so many records or has stopped.
async fn run(log: Arc<EmbeddedLog>, sink: &Recorder, limit: usize, until: usize) -> Health {
    let (health, stop) = (Health::default(), CancellationToken::new());
    let limit = ReadLimit { records: limit, ..ReadLimit::default() };
    let runner = SinkRunner::new(log, sink.clone(), limit, clock::system(), health.clone());
    let running = tokio::spawn(runner.run(stop.clone()));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let taken: usize = sink.batches.lock().unwrap().iter().map(|batch| batch.records.len()).sum();
        if taken >= until || !health.stopped().is_empty() {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{taken} of {until} records");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.cancel();
    running.await.unwrap();
    health
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_in_one_partition_starves_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path()).await;
    for partition in 0..8 {
        feed(&log, &at(topics::CHAIN_TRANSFERS, partition), 500).await;
    }
    feed(&log, &at(topics::PAYMENTS_EVENTS, 15), 5).await;
    let sink = Recorder::default();
    run(log, &sink, 90, 4_005).await;
    let batches = sink.batches.lock().unwrap();
    let first = &batches[0];
    assert_eq!(first.after[&at(topics::PAYMENTS_EVENTS, 15)], Offset(5), "{:?}", first.after);
    assert!(batches.iter().all(|batch| batch.records.len() <= 90));
    let mut next: BTreeMap<TopicPartition, Offset> = BTreeMap::new();
    for record in batches.iter().flat_map(|batch| &batch.records) {
        let expected = next.entry(record.from.clone()).or_default();
        assert_eq!(record.offset, *expected, "in order, each once");
        *expected = expected.plus(1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_batch_is_written_again_after_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path()).await;
    feed(&log, &at(topics::PAYMENTS_EVENTS, 0), 3).await;
    let sink = Recorder::default();
    for _ in 0..2 {
        let source = "the database is away".into();
        sink.refusals.lock().unwrap().push(SinkError::Retry { operation: "a write", source });
    }
    let health = run(log, &sink, 10, 3).await;
    assert_eq!(sink.batches.lock().unwrap()[0].records.len(), 3);
    assert_eq!(health.conditions()["recorder"], Condition::Running);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_stops_the_sink_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path()).await;
    feed(&log, &at(topics::PAYMENTS_EVENTS, 0), 3).await;
    let sink = Recorder::default();
    sink.refusals.lock().unwrap().push(SinkError::Stop("another writer moved the offsets".into()));
    let health = run(log, &sink, 10, 3).await;
    assert_eq!(health.stopped(), [("recorder".to_owned(), "another writer moved the offsets".to_owned())]);
    assert!(sink.batches.lock().unwrap().is_empty());
}
