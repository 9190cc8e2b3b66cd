//! A cluster, and logs on it.

use std::{sync::Arc, time::Duration};

use streambook_fluvio_cluster::{Cluster, Reached, program};
use streambook_log::{
    Log, LogError, NewRecord, Offset, Partition, ReadLimit, Record, Retention, TopicName, TopicPartition,
    TopicSpec, Visibility,
    fluvio::{FluvioLog, FluvioOptions},
};
use tokio::sync::{Semaphore, SemaphorePermit};

/// How long anything may take, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// Clusters that run at a time: more only keep each other from working.
static CLUSTERS: Semaphore = Semaphore::const_new(2);

pub(crate) struct World {
    pub(crate) cluster: Cluster,
    copies: u16,
    _turn: SemaphorePermit<'static>,
}

impl World {
    /// A cluster of two servers, and two copies of everything.
    pub(crate) async fn new() -> Option<Self> {
        Self::with(2, 2, Reached::Directly).await
    }

    pub(crate) async fn with(servers: usize, copies: u16, reached: Reached) -> Option<Self> {
        let program = program()?;
        let turn = CLUSTERS.acquire().await.unwrap();
        let cluster = Cluster::start(&program, servers, reached).await;
        Some(Self { cluster, copies, _turn: turn })
    }

    pub(crate) fn options(&self) -> FluvioOptions {
        FluvioOptions { replication: self.copies, ..FluvioOptions::new(self.cluster.endpoint()) }
    }

    /// A handle of its own, as another process has.
    pub(crate) async fn log(&self) -> Arc<FluvioLog> {
        FluvioLog::connect(self.options()).await.unwrap()
    }

    /// A handle, and a topic that is there.
    pub(crate) async fn with_topic(&self, partitions: u16) -> Arc<FluvioLog> {
        let log = self.log().await;
        within("the topic is made", log.ensure_topic(&spec(partitions))).await.unwrap();
        log
    }
}

pub(crate) fn name() -> TopicName {
    TopicName::new("book.inbox").unwrap()
}

/// What the topic is called on the cluster.
pub(crate) const THERE: &str = "book-inbox";

pub(crate) fn spec(partitions: u16) -> TopicSpec {
    TopicSpec { name: name(), partitions, retention: Retention::Forever }
}

pub(crate) fn at(partition: u16) -> TopicPartition {
    TopicPartition::new(name(), Partition(partition))
}

/// The result of something that must not take for ever.
pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, work).await;
    done.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}

pub(crate) async fn append(log: &FluvioLog, partition: u16, values: &[&str]) -> Offset {
    let records = values.iter().map(|value| NewRecord::new("", (*value).to_owned())).collect();
    within("an append", log.append(&at(partition), records)).await.unwrap().base
}

/// What is read from an offset on, up to the end.
pub(crate) async fn read_all(log: &FluvioLog, partition: u16) -> Result<Vec<Record>, LogError> {
    let at = at(partition);
    let end = within("the end", log.bounds(&at, Visibility::Synced)).await?.end;
    let mut records: Vec<Record> = Vec::new();
    while records.len() < usize::try_from(end.0).unwrap() {
        let from = Offset(u64::try_from(records.len()).unwrap());
        let read = log.read(&at, from, ReadLimit::default(), Visibility::Synced);
        let read = within("a read", read).await?;
        assert!(!read.is_empty(), "nothing at {from} though the end is {end}");
        assert!(read.iter().zip(from.0..).all(|(record, offset)| record.offset.0 == offset), "from {from}");
        records.extend(read);
    }
    Ok(records)
}
