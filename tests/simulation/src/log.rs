//! The [`Log`] trait over the simulated disk, so that the connector's real feed and its real resumption from the log run
//! unchanged. Its futures are ready at once.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use streambook_log::{
    Appended, Bounds, Log, LogError, NewRecord, ReadLimit, Record, Topic, TopicSpec, Visibility,
};
use streambook_model::position::{Offset, TopicName, TopicPartition};

use crate::disk::Disk;

/// The log on a simulated disk.
#[derive(Clone)]
pub struct SimulatedLog(pub Arc<Mutex<Disk>>);

#[async_trait]
impl Log for SimulatedLog {
    async fn ensure_topic(&self, spec: &TopicSpec) -> Result<Topic, LogError> {
        Err(LogError::UnknownTopic(spec.name.clone()))
    }

    async fn topics(&self) -> Result<Vec<Topic>, LogError> {
        Ok(Vec::new())
    }

    async fn topic(&self, name: &TopicName) -> Result<Topic, LogError> {
        Err(LogError::UnknownTopic(name.clone()))
    }

    async fn append(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Result<Appended, LogError> {
        let mut disk = self.0.lock();
        let (base, count) = (Offset(disk.end(to)), records.len() as u64);
        let position = disk.commit(records.into_iter().map(|record| (to.clone(), record)).collect(), None);
        Ok(Appended { base, records: count, position })
    }

    async fn synced(&self, _: &Appended) -> Result<(), LogError> {
        Ok(())
    }

    async fn read(
        &self,
        from: &TopicPartition,
        offset: Offset,
        limit: ReadLimit,
        visibility: Visibility,
    ) -> Result<Vec<Record>, LogError> {
        let disk = self.0.lock();
        let end = match visibility {
            Visibility::Written => disk.end(from),
            Visibility::Synced => disk.synced_end(from),
        };
        let left = usize::try_from(end.saturating_sub(offset.0)).unwrap_or(usize::MAX);
        Ok(disk.read(from, offset.0, limit.records.min(left)))
    }

    async fn wait(&self, _: &TopicPartition, _: Offset, _: Visibility) -> Result<(), LogError> {
        Ok(())
    }

    async fn wait_synced(&self, _: &BTreeMap<TopicPartition, Offset>) -> Result<(), LogError> {
        Ok(())
    }

    async fn bounds(&self, of: &TopicPartition, visibility: Visibility) -> Result<Bounds, LogError> {
        let disk = self.0.lock();
        let end = match visibility {
            Visibility::Written => disk.end(of),
            Visibility::Synced => disk.synced_end(of),
        };
        Ok(Bounds { first: Offset(0), end: Offset(end) })
    }

    async fn trim(&self, _: &TopicPartition, _: Offset) -> Result<(), LogError> {
        Ok(())
    }
}

/// Runs a future whose parts are all ready; `None` where it waits for something, which nothing here would end.
pub fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..1_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Some(value);
        }
    }
    None
}
