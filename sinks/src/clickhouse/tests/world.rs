//! A log with records in it, and the sink between it and the engine.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use streambook_log::{
    Log, NewRecord, ReadLimit, Retention, TopicSpec,
    embedded::{EmbeddedLog, EmbeddedOptions},
};
use streambook_model::{
    bytes::LineageHash,
    codec,
    message::Message,
    meta::Source,
    position::{Partition, TopicPartition},
    topics::{self, TopicDef},
};
use streambook_runtime::{
    clock,
    health::{Condition, Health},
    sink::Sink,
    sink_runner::SinkRunner,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::engine::Engine;
use crate::clickhouse::ClickHouseSink;

/// A log of its own.
pub(super) struct World {
    pub(super) log: Arc<dyn Log>,
    sequences: BTreeMap<TopicPartition, (u64, LineageHash)>,
    // Removes the files when the test ends.
    _folder: TempDir,
}

impl World {
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log =
            tokio::task::block_in_place(|| EmbeddedLog::open(EmbeddedOptions::new(folder.path()))).unwrap();
        for topic in topics::ALL {
            let (name, partitions) = (topic.topic(), topic.partitions);
            log.ensure_topic(&TopicSpec { name, partitions, retention: Retention::Forever }).await.unwrap();
        }
        Self { log, sequences: BTreeMap::new(), _folder: folder }
    }

    /// Appends records of one topic to one of its partitions, with the lineage of one task.
    pub(super) async fn append(
        &mut self,
        topic: TopicDef,
        partition: u16,
        messages: impl IntoIterator<Item = Message>,
    ) {
        let to = TopicPartition::new(topic.topic(), Partition(partition));
        let last = self.sequences.entry(to.clone()).or_insert((0, LineageHash::ZERO));
        let mut records = Vec::new();
        for message in messages {
            let unstamped = codec::encode(&message).unwrap();
            *last = (last.0 + 1, codec::extend_chain(last.1, last.0 + 1, &unstamped));
            let source = Source { task: format!("book/{partition}"), seq: last.0, chain: last.1 };
            records.push(NewRecord::new(b"key".to_vec(), codec::stamp(&unstamped, &source).unwrap()));
        }
        let appended = self.log.append(&to, records).await.unwrap();
        self.log.synced(&appended).await.unwrap();
    }

    /// Appends a record's bytes as they are.
    pub(super) async fn append_as_is(&self, topic: TopicDef, partition: u16, message: &Message) {
        let to = TopicPartition::new(topic.topic(), Partition(partition));
        let record = NewRecord::new(b"key".to_vec(), codec::encode(message).unwrap());
        let appended = self.log.append(&to, vec![record]).await.unwrap();
        self.log.synced(&appended).await.unwrap();
    }

    /// Starts a sink on this log.
    pub(super) fn run(&self, engine: &Engine, database: &str, batch_records: usize) -> Running {
        let sink = self.sink(engine, database);
        let limit = ReadLimit { records: batch_records, ..ReadLimit::default() };
        let (health, stop) = (Health::default(), CancellationToken::new());
        let runner = SinkRunner::new(Arc::clone(&self.log), sink, limit, clock::system(), health.clone());
        Running { health, task: tokio::spawn(runner.run(stop.clone())), stop }
    }

    /// A sink that nobody runs.
    pub(super) fn sink(&self, engine: &Engine, database: &str) -> ClickHouseSink {
        ClickHouseSink::new(&engine.config(database), Arc::clone(&self.log), clock::system()).unwrap()
    }

    /// Runs a sink until it has taken everything.
    pub(super) async fn fill(&self, engine: &Engine, database: &str) {
        let running = self.run(engine, database, 100);
        self.is_taken(engine, database, &running).await;
        running.end().await;
    }

    /// Waits until a sink has taken everything that is in the log, by its own positions.
    pub(super) async fn is_taken(&self, engine: &Engine, database: &str, running: &Running) {
        let wanted = self.ends().await;
        for _ in 0..1_500 {
            assert_eq!(running.stopped(), None);
            if taken(engine, database).await == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("not taken in time: {:?}", running.health.conditions());
    }

    async fn ends(&self) -> String {
        let sink_inputs = self.inputs();
        let mut lines = Vec::new();
        for topic in sink_inputs {
            for number in 0..topic.partitions {
                let partition = TopicPartition::new(topic.topic(), Partition(number));
                let end = self.log.bounds(&partition, streambook_log::Visibility::Synced).await.unwrap().end;
                if end.0 > 0 {
                    lines.push(format!("{}\t{number}\t{end}\n", topic.name));
                }
            }
        }
        lines.sort();
        lines.concat()
    }

    fn inputs(&self) -> Vec<TopicDef> {
        let config =
            crate::clickhouse::ClickHouseConfig { url: "http://127.0.0.1:1".into(), ..Default::default() };
        ClickHouseSink::new(&config, Arc::clone(&self.log), clock::system()).unwrap().inputs()
    }
}

/// What is done, by the sink's own table. A server that is down has nothing.
async fn taken(engine: &Engine, database: &str) -> String {
    let sql = "SELECT topic, toString(log_partition), next_offset FROM sink_ranges FINAL WHERE done = 1 ORDER BY topic, \
               toString(log_partition)";
    let config = engine.config(database);
    let request = reqwest::Client::new()
        .post(format!("{}/?database={database}", config.url))
        .header("X-ClickHouse-User", config.user)
        .header("X-ClickHouse-Key", config.password);
    match request.body(sql).send().await {
        Ok(answer) => answer.text().await.unwrap_or_default(),
        Err(_) => String::new(),
    }
}

/// A sink that is being run.
pub(super) struct Running {
    pub(super) health: Health,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Why the sink has stopped, if it has.
    pub(super) fn stopped(&self) -> Option<String> {
        match self.health.conditions().remove("clickhouse") {
            Some(Condition::Stopped { reason }) => Some(reason),
            _ => None,
        }
    }

    /// Waits until it stops by itself; why.
    pub(super) async fn stops(self) -> String {
        self.task.await.unwrap();
        match self.health.conditions().remove("clickhouse") {
            Some(Condition::Stopped { reason }) => reason,
            other => panic!("expected a stop, found {other:?}"),
        }
    }

    /// Ends it as a shutdown does.
    pub(super) async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// Ends it as a crash does: between any two of its steps, nothing is finished.
    pub(super) async fn kill(self) {
        self.task.abort();
        let _aborted = self.task.await;
    }
}
