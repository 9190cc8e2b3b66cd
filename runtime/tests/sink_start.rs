//! Where a sink begins, on the real embedded log: not in the middle, not on another log, and not beyond the log's end.
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
    lineage::{Mark, Marks},
    sink::{Batch, Sink, SinkError},
    sink_runner::SinkRunner,
};
use tokio_util::sync::CancellationToken;

const TASK: &str = "book/0";

/// A sink whose database says this.
#[derive(Clone, Default)]
struct Begun {
    positions: BTreeMap<TopicPartition, Offset>,
    marks: Marks,
    needs_all: bool,
    taken: Arc<Mutex<Vec<Offset>>>,
}

#[async_trait]
impl Sink for Begun {
    fn name(&self) -> &'static str {
        "begun"
    }

    fn inputs(&self) -> Vec<TopicDef> {
        vec![topics::PAYMENTS_EVENTS]
    }

    fn needs_all(&self) -> bool {
        self.needs_all
    }

    async fn positions(&mut self) -> Result<BTreeMap<TopicPartition, Offset>, SinkError> {
        Ok(self.positions.clone())
    }

    fn marks(&self) -> Marks {
        self.marks.clone()
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), SinkError> {
        self.taken.lock().unwrap().extend(batch.records.iter().map(|record| record.offset));
        Ok(())
    }
}

fn at() -> TopicPartition {
    TopicPartition::new(topics::PAYMENTS_EVENTS.topic(), Partition(0))
}

async fn log(path: &std::path::Path) -> Arc<EmbeddedLog> {
    let log = EmbeddedLog::open(EmbeddedOptions::new(path)).unwrap();
    let topic = topics::PAYMENTS_EVENTS;
    let spec = TopicSpec { name: topic.topic(), partitions: topic.partitions, retention: Retention::Forever };
    log.ensure_topic(&spec).await.unwrap();
    log
}

/// Appends what one task sends, its numbers from `from` on, each following `last`; gives the last mark.
async fn feed(log: &EmbeddedLog, mut last: Mark, count: u64) -> Mark {
    for _ in 0..count {
        let now = Timestamp::from_millis(i64::try_from(last.seq).unwrap());
        let meta = Meta {
            source: None,
            id: now.to_string(),
            occurred_at: now,
            recorded_at: now,
            cause: None,
            trace: None,
        };
        let unstamped = codec::encode(&Message::from(Tick { meta, now })).unwrap();
        let seq = last.seq + 1;
        let chain = codec::extend_chain(last.chain, seq, &unstamped);
        let source = Source { task: TASK.to_owned(), seq, chain };
        let value = codec::stamp(&unstamped, &source).unwrap();
        let appended = log.append(&at(), vec![NewRecord::new(&b"k"[..], value)]).await.unwrap();
        log.synced(&appended).await.unwrap();
        last = Mark { seq, chain };
    }
    last
}

/// Runs a sink until its condition, or what it has taken, is as it should be; gives the condition.
async fn until(
    log: &Arc<EmbeddedLog>,
    sink: &Begun,
    reached: impl Fn(&Condition, &[Offset]) -> bool,
) -> Condition {
    let (health, stop) = (Health::default(), CancellationToken::new());
    let shared: Arc<dyn Log> = Arc::<EmbeddedLog>::clone(log);
    let runner = SinkRunner::new(shared, sink.clone(), ReadLimit::default(), clock::system(), health.clone());
    let running = tokio::spawn(runner.run(stop.clone()));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let condition = loop {
        let condition = health.conditions().get("begun").cloned().unwrap_or(Condition::Running);
        if reached(&condition, &sink.taken.lock().unwrap()) {
            break condition;
        }
        assert!(tokio::time::Instant::now() < deadline, "{condition:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    stop.cancel();
    running.await.unwrap();
    condition
}

fn stopped(condition: &Condition, _: &[Offset]) -> bool {
    matches!(condition, Condition::Stopped { .. })
}

fn reason(condition: Condition) -> String {
    match condition {
        Condition::Running => String::new(),
        Condition::Troubled { reason } | Condition::Stopped { reason } => reason,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_does_not_begin_where_records_were_trimmed_unless_it_may() {
    let directory = tempfile::tempdir().unwrap();
    let log = log(directory.path()).await;
    feed(&log, Mark::START, 5).await;
    log.trim(&at(), Offset(2)).await.unwrap();
    let all = Begun { needs_all: true, ..Begun::default() };
    let said = reason(until(&log, &all, stopped).await);
    assert!(said.contains("before offset 2 were trimmed") && said.contains("backup"), "{said}");
    assert!(all.taken.lock().unwrap().is_empty());
    let some = Begun::default();
    until(&log, &some, |_, taken| taken == [Offset(2), Offset(3), Offset(4)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_log_is_not_carried_on() {
    let directory = tempfile::tempdir().unwrap();
    let log = log(directory.path()).await;
    let third = feed(&log, Mark::START, 3).await;
    feed(&log, third, 1).await;
    let begun = |mark: Mark| Begun {
        positions: [(at(), Offset(3))].into(),
        marks: [((at(), TASK.to_owned()), mark)].into(),
        ..Begun::default()
    };
    let own = begun(third);
    until(&log, &own, |_, taken| taken == [Offset(3)]).await;
    let other = begun(Mark { chain: LineageHash::new([9; 16]), ..third });
    let said = reason(until(&log, &other, stopped).await);
    assert!(said.contains("number 4 of book/0 does not follow") && said.contains("another log"), "{said}");
    assert!(other.taken.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_ahead_of_the_log_waits_for_it_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let log = log(directory.path()).await;
    let second = feed(&log, Mark::START, 2).await;
    let sink = Begun { positions: [(at(), Offset(3))].into(), ..Begun::default() };
    let said = until(&log, &sink, |condition, _| matches!(condition, Condition::Troubled { .. })).await;
    let said = reason(said);
    assert!(said.contains("records up to offset 3 and the log ends at 2"), "{said}");
    feed(&log, second, 2).await;
    until(&log, &sink, |_, taken| taken == [Offset(3)]).await;
}
