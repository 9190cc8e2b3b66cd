//! Appends to one partition: those who wait go together, in one request at a time.
//!
//! A request whose outcome is unknown is sent again until it is acknowledged, whole and before anything else, so order
//! never changes and nothing is left out; repeats are dropped above by their lineage. An outage is waited out for as long as
//! it lasts, and is visible in the log's health.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fluvio::dataplane::link::ErrorCode;
use streambook_model::position::Offset;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::backoff::Backoff;
use super::cluster::NotInStep;
use super::connection::{Connection, ConnectionError};
use super::frame;
use super::requests::{self, LARGEST_RECORD, Produced, from_engine, to_engine};
use super::source::{OpenError, Source};
use super::wire::{BatchWriter, Batches};
use crate::{Appended, Cause, LogError, NewRecord};

/// Appends that wait for their turn.
const QUEUE: usize = 1_024;
/// Bytes of records that wait or are on their way. A larger append waits until it is alone.
const QUEUE_BYTES: u32 = 16 << 20;
/// A request takes records up to this many bytes, or a single larger one.
const REQUEST_BYTES: usize = 2 << 20;
/// An append is preceded by a look at the topic's identity, unless there was one just now: a connection outlives the
/// topic, and an append would go to another of the same name.
const IDENTITY_FRESH: Duration = Duration::from_millis(100);
/// How often the leader is asked whether the replicas have come after.
const REPLICA_INTERVAL: Duration = Duration::from_millis(500);
/// A leader that is not followed for so long though all servers are online never will be: followers say every minute how far
/// they are.
const APART_AFTER: Duration = Duration::from_secs(90);

/// The way into a partition. What was not acknowledged when it is dropped may or may not be appended.
pub(super) struct Appender {
    source: Arc<Source>,
    queue: mpsc::Sender<Waiting>,
    bytes: Arc<Semaphore>,
    task: JoinHandle<()>,
}

/// An append that waits, or of which a part is done.
struct Waiting {
    records: Vec<NewRecord>,
    /// How many of the records are acknowledged.
    sent: usize,
    /// The offset of the first, once it is.
    base: Option<Offset>,
    done: oneshot::Sender<Result<Appended, LogError>>,
    _bytes: OwnedSemaphorePermit,
}

impl Waiting {
    fn size(&self) -> usize {
        self.records.iter().map(frame::size).sum()
    }

    fn tell(self, result: Result<Appended, LogError>) {
        // Whoever asked may have gone.
        let _told = self.done.send(result);
    }
}

impl Appender {
    /// `positions` counts the acknowledged appends of the whole log.
    pub(super) fn start(tasks: &Handle, source: &Arc<Source>, positions: &Arc<AtomicU64>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let work = Work {
            source: Arc::clone(source),
            positions: Arc::clone(positions),
            waiting,
            connection: None,
            failed: None,
            stamp_ms: 0,
            end: 0,
        };
        let bytes = Arc::new(Semaphore::new(usize::try_from(QUEUE_BYTES).unwrap_or(usize::MAX)));
        Self { source: Arc::clone(source), queue, bytes, task: tasks.spawn(work.run()) }
    }

    /// Appends at least one record, and returns when all replicas have them.
    pub(super) async fn append(&self, records: Vec<NewRecord>) -> Result<Appended, LogError> {
        if let Some(record) = records.iter().find(|record| record.size() > LARGEST_RECORD) {
            return Err(LogError::TooLarge { what: "a record", bytes: record.size(), max: LARGEST_RECORD });
        }
        let bytes: usize = records.iter().map(frame::size).sum();
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).clamp(1, QUEUE_BYTES);
        // Neither the semaphore nor the task ends before this handle, unless the task panicked.
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(bytes).await.map_err(|_| self.ended())?;
        let (done, result) = oneshot::channel();
        let waiting = Waiting { records, sent: 0, base: None, done, _bytes: bytes };
        self.queue.send(waiting).await.map_err(|_| self.ended())?;
        result.await.map_err(|_| self.ended())?
    }

    fn ended(&self) -> LogError {
        let what = format!("append to {}", self.source.partition);
        LogError::Refused { what, source: Arc::new(Ended) }
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        self.task.abort();
        self.source.health.well(&what(&self.source));
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the log was closed")]
struct Ended;

fn what(source: &Source) -> String {
    format!("append to {}", source.partition)
}

/// What runs in the background.
struct Work {
    source: Arc<Source>,
    positions: Arc<AtomicU64>,
    waiting: mpsc::Receiver<Waiting>,
    /// The connection, and when the topic's identity was last looked at.
    connection: Option<(Connection, Instant)>,
    /// When an attempt last failed: a leader known from before is not asked again.
    failed: Option<Instant>,
    /// The newest time given to a record.
    stamp_ms: u64,
    /// One past the last offset given to a record, as Fluvio counts.
    end: i64,
}

impl Work {
    async fn run(mut self) {
        while let Some(first) = self.waiting.recv().await {
            let group = self.group(first);
            self.append(group).await;
        }
    }

    /// Everybody who waits, up to what fits into a request.
    fn group(&mut self, first: Waiting) -> VecDeque<Waiting> {
        let mut bytes = first.size();
        let mut group = VecDeque::from([first]);
        while bytes < REQUEST_BYTES
            && let Ok(next) = self.waiting.try_recv()
        {
            bytes += next.size();
            group.push_back(next);
        }
        group
    }

    /// Appends a group, in as many requests as it takes, and tells everybody in it.
    async fn append(&mut self, mut open: VecDeque<Waiting>) {
        while !open.is_empty() {
            let (batches, sizes) = self.request(&open);
            match self.send(batches, sizes.iter().sum()).await {
                Ok(base) => self.sent(&mut open, base, &sizes),
                Err(error) => return open.into_iter().for_each(|waiting| waiting.tell(Err(error.clone()))),
            }
        }
    }

    /// The next request: records from the front, and how many of each append are in it.
    fn request(&mut self, open: &VecDeque<Waiting>) -> (Batches, Vec<u64>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        self.stamp_ms = self.stamp_ms.max(u64::try_from(now).unwrap_or(u64::MAX));
        let (mut writer, mut counts) = (BatchWriter::new(self.stamp_ms), Vec::with_capacity(open.len()));
        for waiting in open {
            let before = writer.records();
            for record in waiting.records.iter().skip(waiting.sent) {
                let size = frame::size(record);
                if writer.records() > 0 && writer.len() + size > REQUEST_BYTES {
                    counts.push(writer.records() - before);
                    return (writer.finish(), counts);
                }
                writer.push(size, |to| frame::write(to, &self.source.place, self.stamp_ms, record));
            }
            counts.push(writer.records() - before);
        }
        (writer.finish(), counts)
    }

    /// A request is done: tells those that are complete.
    fn sent(&mut self, open: &mut VecDeque<Waiting>, base: i64, counts: &[u64]) {
        let mut at = base;
        for count in counts {
            let Some(mut first) = open.pop_front() else { return };
            first.base.get_or_insert(from_engine(at));
            first.sent += usize::try_from(*count).unwrap_or(usize::MAX);
            at = at.saturating_add_unsigned(*count);
            self.source.saw_end(from_engine(at));
            if first.sent < first.records.len() {
                open.push_front(first);
                return;
            }
            let appended = Appended {
                base: first.base.unwrap_or_default(),
                records: u64::try_from(first.records.len()).unwrap_or(u64::MAX),
                position: self.positions.fetch_add(1, Ordering::Relaxed) + 1,
            };
            first.tell(Ok(appended));
        }
    }

    /// Sends until it is acknowledged. Returns the offset of the first record.
    async fn send(&mut self, batches: Batches, records: u64) -> Result<i64, LogError> {
        let (what, mut backoff) = (what(&self.source), Backoff::new());
        loop {
            match self.attempt(batches.clone(), records).await {
                Ok(base) => {
                    self.source.health.well(&what);
                    return self.check(base, records);
                }
                Err(OpenError::Stop(error)) => return Err(error),
                Err(OpenError::Retry(cause)) => {
                    self.connection = None;
                    self.failed = Some(Instant::now());
                    self.source.health.failed(&what, &*cause);
                    backoff.wait().await;
                }
            }
        }
    }

    async fn attempt(&mut self, batches: Batches, records: u64) -> Result<i64, OpenError> {
        let (mut connection, checked) = self.checked().await?;
        let source = &self.source;
        let produced = requests::produce(&mut connection, &source.replica, batches, source.isolation).await;
        let base = match produced.map_err(|error| self.refused(error))? {
            Produced::At(base) => base,
            Produced::Unreplicated(base, code) => {
                let end = base.saturating_add_unsigned(records);
                self.replicated(&mut connection, end, code).await?;
                base
            }
        };
        self.connection = Some((connection, checked));
        Ok(base)
    }

    /// A connection on which the topic was the same a moment ago.
    async fn checked(&mut self) -> Result<(Connection, Instant), OpenError> {
        let now = Instant::now();
        match self.connection.take() {
            None => {
                let mut connection = self.source.open_in_step(self.failed).await?;
                self.source.check_end(&mut connection, self.end).await?;
                Ok((connection, now))
            }
            Some((connection, checked)) if checked.elapsed() < IDENTITY_FRESH => Ok((connection, checked)),
            Some((mut connection, _)) => {
                self.source.check_identity(&mut connection).await?;
                Ok((connection, now))
            }
        }
    }

    /// The leader has the records and another replica not yet: waits for it, since sending again would only append
    /// them again.
    async fn replicated(
        &self,
        connection: &mut Connection,
        end: i64,
        late: ErrorCode,
    ) -> Result<(), OpenError> {
        let (what, since) = (what(&self.source), Instant::now());
        let late = connection.refused(late);
        loop {
            match self.apart(since).await {
                Some(why) => self.source.health.failed(&what, &why),
                None => self.source.health.failed(&what, &late),
            }
            if requests::offsets(connection, &self.source.replica).await?.end >= end {
                return Ok(());
            }
            tokio::time::sleep(REPLICA_INTERVAL).await;
        }
    }

    /// What keeps the replicas from coming after.
    async fn apart(&self, since: Instant) -> Option<NotInStep> {
        // Without an answer nothing is known of it, and the question is asked again.
        let led = self.source.cluster.leader(&self.source.replica, Some(Instant::now())).await.ok()?;
        let is_over = || {
            let other = led.other.filter(|_| since.elapsed() > APART_AFTER)?;
            Some(NotInStep::Apart { leader: led.leader, other })
        };
        led.not_in_step.clone().or_else(is_over)
    }

    /// An error of the server that another attempt would meet as well.
    fn refused(&self, error: ConnectionError) -> OpenError {
        let is_final = matches!(
            &error,
            ConnectionError::Refused { source, .. }
                if matches!(**source, ErrorCode::MessageTooLarge | ErrorCode::CompressionError)
        );
        if is_final {
            OpenError::Stop(LogError::Refused { what: what(&self.source), source: Arc::new(error) as Cause })
        } else {
            error.into()
        }
    }

    /// Offsets only grow: a lower one than before means that records were lost.
    fn check(&mut self, base: i64, records: u64) -> Result<i64, LogError> {
        if base < self.end.max(to_engine(Offset(0))) {
            return Err(self.source.moved_back(from_engine(self.end), from_engine(base)));
        }
        self.end = base.saturating_add_unsigned(records);
        Ok(base)
    }
}
