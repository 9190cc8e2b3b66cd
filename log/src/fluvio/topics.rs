//! Topics on the cluster: made once, by one process, and known by the header that is the first record of each partition.
//!
//! Only the process whose request made the topic writes the headers, partition 0 last; everybody else waits for them. A
//! topic without them was made by somebody who was interrupted: nothing can be in it, and it is refused with that remedy.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fluvio::Isolation;
use fluvio::metadata::objects::Metadata;
use fluvio::metadata::topic::TopicSpec as Spec;
use streambook_model::position::{Offset, Partition, TopicName, TopicPartition};
use uuid::Uuid;

use super::backoff::Backoff;
use super::cluster::Cluster;
use super::connection::Connection;
use super::frame::{self, Content, FrameError, Framed, Header, Place};
use super::names::{self, Replica};
use super::requests::{self, First, Produced};
use super::settings;
use super::wire::BatchWriter;
use crate::{Cause, LogError, Retention, Topic, TopicId, TopicSpec};

/// A topic that has no header for so long is left out of lists: nobody is making it.
const UNFINISHED_AFTER: Duration = Duration::from_secs(1);

/// A topic as found on the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) topic: Topic,
    pub(super) isolation: Isolation,
}

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// For a leader that answers.
    leader: Instant,
    /// For a header to be written.
    header: Instant,
}

impl Patience {
    fn of(cluster: &Cluster) -> Self {
        let until = Instant::now() + cluster.options.patience;
        Self { leader: until, header: until }
    }
}

/// Makes the topic if it is absent, and returns it as it is.
pub(super) async fn ensure(cluster: &Cluster, spec: &TopicSpec) -> Result<Found, LogError> {
    if spec.partitions == 0 {
        return Err(LogError::NoPartitions(spec.name.clone()));
    }
    let replication = cluster.options.replication.max(1);
    let until = Patience::of(cluster);
    let made = match look(cluster, &spec.name).await? {
        Some(_) => false,
        None => make(cluster, spec, replication).await?,
    };
    let found = look(cluster, &spec.name).await?.ok_or_else(|| LogError::UnknownTopic(spec.name.clone()))?;
    settings::check(&found.spec, spec, replication)?;
    let isolation = isolation(&found.spec);
    if made {
        finish(cluster, spec, isolation, until).await?;
    }
    let topic = describe(cluster, &found, &spec.name, until).await?;
    for partition in topic.partitions() {
        same_identity(cluster, &topic, &partition, until).await?;
    }
    Ok(Found { topic, isolation })
}

/// The topic of this name.
pub(super) async fn find(cluster: &Cluster, name: &TopicName) -> Result<Found, LogError> {
    let found = look(cluster, name).await?.ok_or_else(|| LogError::UnknownTopic(name.clone()))?;
    let topic = describe(cluster, &found, name, Patience::of(cluster)).await?;
    Ok(Found { topic, isolation: isolation(&found.spec) })
}

/// Every topic that is one of this program's.
pub(super) async fn all(cluster: &Cluster) -> Result<Vec<Topic>, LogError> {
    let mut topics = Vec::new();
    for found in cluster.list::<Spec>().await? {
        let Some(name) = names::here(&found.name) else { continue };
        let header = Instant::now() + UNFINISHED_AFTER;
        match describe(cluster, &found, &name, Patience { header, ..Patience::of(cluster) }).await {
            Ok(topic) => topics.push(topic),
            Err(LogError::ForeignTopic { .. } | LogError::UnfinishedTopic(_)) => {}
            Err(error) => return Err(error),
        }
    }
    topics.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(topics)
}

async fn look(cluster: &Cluster, name: &TopicName) -> Result<Option<Metadata<Spec>>, LogError> {
    let there = names::on_cluster(name)?;
    Ok(cluster.list::<Spec>().await?.into_iter().find(|topic| topic.name == there))
}

/// With several replicas, what all have counts; with one, everything.
fn isolation(spec: &Spec) -> Isolation {
    if spec.replication_factor().unwrap_or(1) > 1 {
        Isolation::ReadCommitted
    } else {
        Isolation::ReadUncommitted
    }
}

/// Whether this call made it.
async fn make(cluster: &Cluster, spec: &TopicSpec, replication: u16) -> Result<bool, LogError> {
    let online = cluster.servers().await?;
    let needed = usize::from(replication);
    if online < needed {
        return Err(LogError::TooFewServers { online, needed });
    }
    match cluster.create(&names::on_cluster(&spec.name)?, settings::wanted(spec, replication)).await {
        Ok(()) => Ok(true),
        // Somebody else may have been faster; and if this call made it and cannot know, it is an unfinished topic.
        Err(_) if look(cluster, &spec.name).await?.is_some() => Ok(false),
        Err(source) => Err(LogError::Refused { what: format!("make topic {}", spec.name), source }),
    }
}

/// Writes the headers.
async fn finish(
    cluster: &Cluster,
    spec: &TopicSpec,
    isolation: Isolation,
    until: Patience,
) -> Result<(), LogError> {
    let topic = TopicId(*Uuid::new_v4().as_bytes());
    for number in (0..spec.partitions).rev() {
        let place = Place { topic, partition: Partition(number) };
        let at = TopicPartition::new(spec.name.clone(), place.partition);
        let header = Header {
            topic: spec.name.clone(),
            partition: place.partition,
            partitions: spec.partitions,
            retention: spec.retention,
        };
        let replica = Replica::of(&at)?;
        let mut attempts =
            Attempts::new(cluster, &replica, until.leader, format!("write the header of {at}"));
        loop {
            let mut connection = attempts.connection().await?;
            match write_header(&mut connection, &replica, &place, &header, isolation).await {
                Ok(()) => break,
                Err(cause) => attempts.failed(cause).await?,
            }
        }
    }
    Ok(())
}

/// Writes a header, unless an earlier attempt that seemed to fail did.
async fn write_header(
    connection: &mut Connection,
    at: &Replica,
    place: &Place,
    header: &Header,
    isolation: Isolation,
) -> Result<(), Cause> {
    let first = requests::first(connection, at).await;
    match first.map_err(|error| Arc::new(error) as Cause)? {
        First::Found(framed) if framed.topic == place.topic => return Ok(()),
        First::Empty => {}
        First::Found(_) | First::Foreign(_) => return Err(Arc::new(Written)),
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let now = u64::try_from(now).unwrap_or(u64::MAX);
    let frame = frame::header(place, now, header).map_err(|error| Arc::new(error) as Cause)?;
    let mut writer = BatchWriter::new(now);
    writer.push(frame.len(), |to| to.extend_from_slice(&frame));
    let produced = requests::produce(connection, at, writer.finish(), isolation).await;
    match produced.map_err(|error| Arc::new(error) as Cause)? {
        Produced::At(0) => Ok(()),
        Produced::At(_) => Err(Arc::new(Written)),
        Produced::Unreplicated(_, code) => Err(Arc::new(code)),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("somebody else has written to a topic that was just made")]
struct Written;

/// What a topic is, by its header, or where that is gone with its retention, by its oldest record and its settings.
async fn describe(
    cluster: &Cluster,
    found: &Metadata<Spec>,
    name: &TopicName,
    until: Patience,
) -> Result<Topic, LogError> {
    let at = TopicPartition::new(name.clone(), Partition(0));
    let framed = first(cluster, &at, until).await?;
    let partitions = u16::try_from(found.spec.partitions()).unwrap_or(u16::MAX);
    let retention = match framed.content {
        Content::Header(header) if header.topic != *name => {
            return Err(LogError::ForeignTopic {
                topic: name.clone(),
                source: Arc::new(Named(header.topic)),
            });
        }
        Content::Header(header) => header.retention,
        Content::Record { .. } => {
            Retention::Age { max_ms: u64::from(found.spec.retention_secs()).saturating_mul(1_000) }
        }
    };
    Ok(Topic { name: name.clone(), id: framed.topic, partitions, retention })
}

#[derive(Debug, thiserror::Error)]
#[error("it says that it is `{0}`")]
struct Named(TopicName);

async fn same_identity(
    cluster: &Cluster,
    topic: &Topic,
    at: &TopicPartition,
    until: Patience,
) -> Result<(), LogError> {
    let framed = first(cluster, at, until).await?;
    if framed.topic == topic.id { Ok(()) } else { Err(LogError::TopicReplaced(topic.name.clone())) }
}

/// The first record that is left of a partition, waited for.
async fn first(cluster: &Cluster, at: &TopicPartition, until: Patience) -> Result<Framed, LogError> {
    let what = format!("find out whose topic {} is", at.topic);
    let replica = Replica::of(at)?;
    let mut attempts = Attempts::new(cluster, &replica, until.leader, what);
    loop {
        let mut connection = attempts.connection().await?;
        let source = match requests::first(&mut connection, &replica).await {
            Ok(First::Found(framed)) => return Ok(framed),
            Ok(First::Foreign(error @ (FrameError::Short(_) | FrameError::Kind(_)))) => {
                return Err(LogError::ForeignTopic { topic: at.topic.clone(), source: Arc::new(error) });
            }
            Ok(First::Foreign(error)) => {
                let (partition, source) = (at.clone(), Arc::new(error));
                return Err(LogError::CorruptRecord { partition, offset: Offset(0), source });
            }
            Ok(First::Empty) if Instant::now() > until.header => {
                return Err(LogError::UnfinishedTopic(at.topic.clone()));
            }
            Ok(First::Empty) => Arc::new(Unfinished) as Cause,
            Err(error) => Arc::new(error),
        };
        attempts.failed(source).await?;
    }
}

#[derive(Debug, thiserror::Error)]
#[error("nothing was written to it yet")]
struct Unfinished;

/// Attempts at the leader of a partition, until time is up.
struct Attempts<'a> {
    cluster: &'a Cluster,
    at: &'a Replica,
    until: Instant,
    what: String,
    failed: Option<Instant>,
    backoff: Backoff,
}

impl<'a> Attempts<'a> {
    fn new(cluster: &'a Cluster, at: &'a Replica, until: Instant, what: String) -> Self {
        Self { cluster, at, until, what, failed: None, backoff: Backoff::new() }
    }

    async fn connection(&mut self) -> Result<Connection, LogError> {
        loop {
            let led = self.cluster.leader(self.at, self.failed).await;
            let cause: Cause = match led {
                Ok(led) => match Connection::open(&led.address).await {
                    Ok(connection) => return Ok(connection),
                    Err(error) => Arc::new(error),
                },
                Err(error) => Arc::new(error),
            };
            self.failed(cause).await?;
        }
    }

    /// Waits for the next attempt; when there is none, that is the error.
    async fn failed(&mut self, source: Cause) -> Result<(), LogError> {
        if Instant::now() > self.until {
            return Err(LogError::Refused { what: self.what.clone(), source });
        }
        self.failed = Some(Instant::now());
        self.backoff.wait().await;
        Ok(())
    }
}
