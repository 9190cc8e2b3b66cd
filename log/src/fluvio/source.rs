//! One partition of a topic whose identity is known: how its leader is reached, and what was seen of its ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fluvio::Isolation;
use parking_lot::Mutex;
use streambook_model::position::{Offset, TopicPartition};
use tokio::sync::watch;

use super::cluster::{Cluster, Led, LookupError};
use super::connection::{Connection, ConnectionError};
use super::frame::Place;
use super::health::Health;
use super::names::Replica;
use super::requests::{self, ANSWER_BYTES, Ends, First, from_engine};
use crate::{Bounds, Cause, LogError};

/// What appends to a partition, readers of it and questions about it share.
pub(super) struct Source {
    pub(super) partition: TopicPartition,
    /// The partition as the cluster names it.
    pub(super) replica: Replica,
    pub(super) place: Place,
    /// With several replicas only what all have is shown and acknowledged. With one, everything: the mark of what is
    /// replicated is behind after a crash.
    pub(super) isolation: Isolation,
    pub(super) cluster: Arc<Cluster>,
    pub(super) health: Arc<Health>,
    /// Told when a record of any partition has arrived.
    pub(super) arrivals: watch::Sender<()>,
    ends: Mutex<Known>,
}

/// What was seen of the ends. Neither ever moves back: a server that was just started does not know better.
#[derive(Debug, Default)]
struct Known {
    first: u64,
    end: u64,
    at: Option<Instant>,
}

/// Why there is no connection to a partition's leader.
#[derive(Debug)]
pub(super) enum OpenError {
    /// Another attempt may succeed.
    Retry(Cause),
    /// None will.
    Stop(LogError),
}

impl Source {
    pub(super) fn new(
        partition: TopicPartition,
        replica: Replica,
        place: Place,
        isolation: Isolation,
        cluster: Arc<Cluster>,
        health: Arc<Health>,
        arrivals: watch::Sender<()>,
    ) -> Self {
        Self { partition, replica, place, isolation, cluster, health, arrivals, ends: Mutex::default() }
    }

    /// Connects to the leader, as known after `since` where that is given, and makes sure that the topic is still the
    /// same.
    pub(super) async fn open(&self, since: Option<Instant>) -> Result<Connection, OpenError> {
        let led = self.cluster.leader(&self.replica, since).await.map_err(|error| self.no_leader(error))?;
        self.connect(&led).await
    }

    /// As [`Source::open`], to append: only while the copies are in step.
    pub(super) async fn open_in_step(&self, since: Option<Instant>) -> Result<Connection, OpenError> {
        let led = self.cluster.leader(&self.replica, since).await.map_err(|error| self.no_leader(error))?;
        match &led.not_in_step {
            Some(why) => Err(OpenError::Retry(Arc::new(why.clone()))),
            None => self.connect(&led).await,
        }
    }

    async fn connect(&self, led: &Led) -> Result<Connection, OpenError> {
        let mut connection = Connection::open(&led.address).await?;
        self.check_identity(&mut connection).await?;
        Ok(connection)
    }

    /// Makes sure that the topic is still the same.
    pub(super) async fn check_identity(&self, connection: &mut Connection) -> Result<(), OpenError> {
        match requests::first(connection, &self.replica).await? {
            First::Found(framed) if framed.topic == self.place.topic => Ok(()),
            First::Found(_) => Err(OpenError::Stop(LogError::TopicReplaced(self.partition.topic.clone()))),
            First::Empty => Err(OpenError::Retry(Arc::new(NotLoaded))),
            First::Foreign(error) => Err(OpenError::Stop(self.corrupt(Offset(0), Arc::new(error)))),
        }
    }

    fn no_leader(&self, error: LookupError) -> OpenError {
        match error {
            LookupError::Gone => OpenError::Stop(LogError::UnknownTopic(self.partition.topic.clone())),
            error => OpenError::Retry(Arc::new(error)),
        }
    }

    pub(super) fn corrupt(&self, offset: Offset, source: Cause) -> LogError {
        LogError::CorruptRecord { partition: self.partition.clone(), offset, source }
    }

    pub(super) fn moved_back(&self, seen: Offset, end: Offset) -> LogError {
        LogError::EndMovedBack { partition: self.partition.clone(), seen, end }
    }

    /// Makes sure that what was acknowledged before this offset of Fluvio's is still there.
    pub(super) async fn check_end(&self, connection: &mut Connection, end: i64) -> Result<(), OpenError> {
        let anything = Isolation::ReadUncommitted;
        match requests::fetch(connection, &self.replica, end, ANSWER_BYTES, anything).await {
            Ok(_) => Ok(()),
            Err(error) => Err(match requests::moved_back(&error) {
                Some(now) => OpenError::Stop(self.moved_back(from_engine(end), now)),
                None => error.into(),
            }),
        }
    }

    pub(super) fn trimmed(&self, asked: Offset, first: Offset) -> LogError {
        LogError::Trimmed { partition: self.partition.clone(), asked, first }
    }

    /// Notes what a server said, when it was asked at this time. Returns what is believed.
    pub(super) fn saw(&self, ends: Ends, asked: Instant) -> Bounds {
        let mut known = self.ends.lock();
        known.first = known.first.max(from_engine(ends.first).0);
        known.end = known.end.max(from_engine(ends.end).0);
        known.at = known.at.max(Some(asked));
        Bounds { first: Offset(known.first), end: Offset(known.end) }
    }

    /// Notes that there are records up to here.
    pub(super) fn saw_end(&self, end: Offset) {
        let mut known = self.ends.lock();
        known.end = known.end.max(end.0);
    }

    /// One past the last offset that was ever seen.
    pub(super) fn end(&self) -> Offset {
        Offset(self.ends.lock().end)
    }

    /// What is believed of the ends.
    pub(super) fn bounds(&self) -> Bounds {
        let known = self.ends.lock();
        Bounds { first: Offset(known.first), end: Offset(known.end) }
    }

    /// What was said of the ends when asked not longer ago than this.
    pub(super) fn known(&self, within: Duration) -> Option<Bounds> {
        let known = self.ends.lock();
        let is_fresh = known.at.is_some_and(|at| at.elapsed() <= within);
        is_fresh.then_some(Bounds { first: Offset(known.first), end: Offset(known.end) })
    }
}

impl From<ConnectionError> for OpenError {
    fn from(error: ConnectionError) -> Self {
        Self::Retry(Arc::new(error))
    }
}

/// A server that has just started says that a partition is empty before it has read its files.
#[derive(Debug, thiserror::Error)]
#[error("the server has not loaded the partition yet")]
struct NotLoaded;
