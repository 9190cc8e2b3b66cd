//! The handle: connecting, and the log's methods.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::RwLock;
use streambook_model::position::{Offset, TopicName, TopicPartition};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::backoff::Backoff;
use super::cluster::Cluster;
use super::frame::Place;
use super::health::{Health, Trouble};
use super::names::Replica;
use super::options::FluvioOptions;
use super::partition::PartitionState;
use super::source::Source;
use super::topics::{self, Found};
use crate::{Appended, Bounds, Log, LogError, NewRecord, ReadLimit, Record, Topic, TopicSpec, Visibility};

/// How often readers that nobody uses are looked for.
const TIDY_INTERVAL: Duration = Duration::from_secs(10);

/// A log on a Fluvio cluster. Its background work runs on the runtime it was connected on and ends with it.
///
/// An outage of the cluster is no error: appends, reads and questions wait until it is over, and [`FluvioLog::troubles`]
/// says what is waited for. What is wrong with the data, or would lose some, is an error.
pub struct FluvioLog {
    shared: Arc<Shared>,
    tidy: JoinHandle<()>,
}

struct Shared {
    cluster: Arc<Cluster>,
    health: Arc<Health>,
    arrivals: watch::Sender<()>,
    positions: Arc<AtomicU64>,
    tasks: Handle,
    topics: RwLock<BTreeMap<TopicName, Arc<TopicState>>>,
}

struct TopicState {
    topic: Topic,
    partitions: Vec<Arc<PartitionState>>,
}

impl FluvioLog {
    /// Connects, and makes sure that there are servers enough for the copies that are asked for.
    ///
    /// # Errors
    /// [`LogError::Unreachable`] and [`LogError::TooFewServers`] when that stays so for [`FluvioOptions::patience`].
    pub async fn connect(options: FluvioOptions) -> Result<Arc<Self>, LogError> {
        let until = Instant::now() + options.patience;
        let cluster = Arc::new(Cluster::new(options));
        let mut backoff = Backoff::new();
        while let Err(error) = enough_servers(&cluster).await {
            if Instant::now() > until {
                return Err(error);
            }
            backoff.wait().await;
        }
        let shared = Arc::new(Shared {
            cluster,
            health: Arc::default(),
            arrivals: watch::Sender::new(()),
            positions: Arc::default(),
            tasks: Handle::current(),
            topics: RwLock::default(),
        });
        let tidy = tokio::spawn(tidy(Arc::clone(&shared)));
        Ok(Arc::new(Self { shared, tidy }))
    }

    /// What does not work at the moment and is being tried again.
    pub fn troubles(&self) -> Vec<Trouble> {
        self.shared.health.troubles()
    }
}

impl Drop for FluvioLog {
    fn drop(&mut self) {
        self.tidy.abort();
    }
}

async fn enough_servers(cluster: &Cluster) -> Result<(), LogError> {
    let (online, needed) = (cluster.servers().await?, usize::from(cluster.options.replication.max(1)));
    if online < needed { Err(LogError::TooFewServers { online, needed }) } else { Ok(()) }
}

/// Closes readers that nobody uses any more, from time to time.
async fn tidy(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(TIDY_INTERVAL).await;
        let topics: Vec<_> = shared.topics.read().values().cloned().collect();
        topics.iter().flat_map(|topic| &topic.partitions).for_each(|partition| partition.tidy());
    }
}

impl Shared {
    /// Remembers a topic. One that was made anew does not take the place of the old one: those who read it would go on at the same
    /// offsets in another topic.
    fn remember(&self, found: Found) -> Result<Arc<TopicState>, LogError> {
        let mut topics = self.topics.write();
        if let Some(known) = topics.get(&found.topic.name) {
            let is_same = known.topic.id == found.topic.id;
            return if is_same {
                Ok(Arc::clone(known))
            } else {
                Err(LogError::TopicReplaced(found.topic.name))
            };
        }
        let state = |partition: TopicPartition| {
            let replica = Replica::of(&partition)?;
            let place = Place { topic: found.topic.id, partition: partition.partition };
            let (cluster, health) = (Arc::clone(&self.cluster), Arc::clone(&self.health));
            let source = Source::new(
                partition,
                replica,
                place,
                found.isolation,
                cluster,
                health,
                self.arrivals.clone(),
            );
            Ok(Arc::new(PartitionState::new(source, self.tasks.clone(), Arc::clone(&self.positions))))
        };
        let partitions = found.topic.partitions().map(state).collect::<Result<_, LogError>>()?;
        let state = Arc::new(TopicState { topic: found.topic, partitions });
        topics.insert(state.topic.name.clone(), Arc::clone(&state));
        Ok(state)
    }

    async fn partition(&self, of: &TopicPartition) -> Result<Arc<PartitionState>, LogError> {
        let known = self.topics.read().get(&of.topic).cloned();
        let topic = match known {
            Some(topic) => topic,
            None => self.remember(topics::find(&self.cluster, &of.topic).await?)?,
        };
        let unknown =
            || LogError::UnknownPartition { partition: of.clone(), partitions: topic.topic.partitions };
        topic.partitions.get(usize::from(of.partition.0)).cloned().ok_or_else(unknown)
    }
}

#[async_trait]
impl Log for FluvioLog {
    async fn ensure_topic(&self, spec: &TopicSpec) -> Result<Topic, LogError> {
        let found = topics::ensure(&self.shared.cluster, spec).await?;
        Ok(self.shared.remember(found)?.topic.clone())
    }

    async fn topics(&self) -> Result<Vec<Topic>, LogError> {
        topics::all(&self.shared.cluster).await
    }

    async fn topic(&self, name: &TopicName) -> Result<Topic, LogError> {
        let found = topics::find(&self.shared.cluster, name).await?;
        Ok(self.shared.remember(found)?.topic.clone())
    }

    async fn append(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Result<Appended, LogError> {
        self.shared.partition(to).await?.append(records).await
    }

    /// Every replica has it when `append` returns.
    async fn synced(&self, _appended: &Appended) -> Result<(), LogError> {
        Ok(())
    }

    async fn read(
        &self,
        from: &TopicPartition,
        offset: Offset,
        limit: ReadLimit,
        _visibility: Visibility,
    ) -> Result<Vec<Record>, LogError> {
        self.shared.partition(from).await?.read(offset, limit).await
    }

    async fn wait(
        &self,
        on: &TopicPartition,
        offset: Offset,
        _visibility: Visibility,
    ) -> Result<(), LogError> {
        self.shared.partition(on).await?.wait(offset).await
    }

    async fn wait_synced(&self, on: &BTreeMap<TopicPartition, Offset>) -> Result<(), LogError> {
        let mut waiting = Vec::with_capacity(on.len());
        for (partition, offset) in on {
            waiting.push((self.shared.partition(partition).await?, *offset));
        }
        // One channel for all partitions, subscribed to before they are looked at.
        let mut arrivals = self.shared.arrivals.subscribe();
        let readers: Vec<_> = waiting.iter().map(|(partition, offset)| partition.reader(*offset)).collect();
        loop {
            arrivals.borrow_and_update();
            for ((partition, offset), reader) in waiting.iter().zip(&readers) {
                if partition.has(reader, *offset)? {
                    return Ok(());
                }
            }
            // The sender lives as long as this log, so the result says only that something changed.
            let _changed = arrivals.changed().await;
        }
    }

    async fn bounds(&self, of: &TopicPartition, _visibility: Visibility) -> Result<Bounds, LogError> {
        self.shared.partition(of).await?.bounds().await
    }

    async fn bounds_lately(&self, of: &TopicPartition, _visibility: Visibility) -> Result<Bounds, LogError> {
        self.shared.partition(of).await?.bounds_lately().await
    }

    /// Not possible here: see [`LogError::TrimmedByRetention`].
    async fn trim(&self, partition: &TopicPartition, _before: Offset) -> Result<(), LogError> {
        Err(LogError::TrimmedByRetention(partition.clone()))
    }
}
