//! A partition as this process uses it: one way in, a few readers at different places, and questions about its ends.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use streambook_model::position::Offset;
use tokio::runtime::Handle;

use super::appender::Appender;
use super::backoff::Backoff;
use super::connection::Connection;
use super::follow::Follow;
use super::requests;
use super::source::{OpenError, Source};
use crate::{Appended, Bounds, LogError, NewRecord, ReadLimit, Record};

/// Readers at different places that a partition has at a time, unless more are waiting.
const MOST_READERS: usize = 4;
/// A reader that nobody wants anything of for so long is closed.
const IDLE_AFTER: Duration = Duration::from_secs(60);
/// The ends are believed for so long while a reader asks for them every second.
const FRESH: Duration = Duration::from_millis(1_500);

pub(super) struct PartitionState {
    source: Arc<Source>,
    tasks: Handle,
    positions: Arc<AtomicU64>,
    appender: OnceLock<Appender>,
    readers: Mutex<Vec<Arc<Follow>>>,
    /// Whoever asks holds it.
    questions: tokio::sync::Mutex<Questions>,
}

/// What questions about the ends share.
#[derive(Default)]
struct Questions {
    connection: Option<Connection>,
    /// When the last question was asked that was answered. A stream's own look at the ends is none: with one replica it is told a
    /// mark that may be behind.
    answered: Option<Instant>,
}

impl PartitionState {
    pub(super) fn new(source: Source, tasks: Handle, positions: Arc<AtomicU64>) -> Self {
        Self {
            source: Arc::new(source),
            tasks,
            positions,
            appender: OnceLock::new(),
            readers: Mutex::default(),
            questions: tokio::sync::Mutex::default(),
        }
    }

    pub(super) async fn append(self: &Arc<Self>, records: Vec<NewRecord>) -> Result<Appended, LogError> {
        if records.is_empty() {
            return Ok(Appended { base: self.bounds().await?.end, records: 0, position: 0 });
        }
        let start = || Appender::start(&self.tasks, &self.source, &self.positions);
        self.appender.get_or_init(start).append(records).await
    }

    pub(super) async fn read(
        self: &Arc<Self>,
        offset: Offset,
        limit: ReadLimit,
    ) -> Result<Vec<Record>, LogError> {
        loop {
            if let Some(records) = self.here(offset, limit)? {
                return Ok(records);
            }
            let bounds = self.bounds_lately().await?;
            if offset < bounds.first {
                return Err(self.source.trimmed(offset, bounds.first));
            }
            if offset >= bounds.end || limit.records == 0 {
                return Ok(Vec::new());
            }
            self.reader(offset).filled(offset).await.inspect_err(|_| self.forget_failed())?;
        }
    }

    /// What a reader has in memory from this offset on.
    fn here(&self, offset: Offset, limit: ReadLimit) -> Result<Option<Vec<Record>>, LogError> {
        let readers = self.readers.lock().clone();
        for reader in readers.iter().filter(|reader| reader.serves(offset)) {
            let records = reader.read(offset, limit).inspect_err(|_| self.forget_failed())?;
            if !records.is_empty() {
                return Ok(Some(records));
            }
        }
        Ok(None)
    }

    pub(super) async fn wait(&self, offset: Offset) -> Result<(), LogError> {
        match self.reader(offset).filled(offset).await {
            Ok(()) => Ok(()),
            Err(error) => {
                self.forget_failed();
                or_trimmed(error)
            }
        }
    }

    /// Whether the record of this offset is here, or an error in its place.
    pub(super) fn has(&self, reader: &Follow, offset: Offset) -> Result<bool, LogError> {
        reader.has(offset).or_else(|error| {
            self.forget_failed();
            or_trimmed(error).map(|()| true)
        })
    }

    /// The reader that serves this offset, started if there is none.
    pub(super) fn reader(&self, offset: Offset) -> Arc<Follow> {
        let mut readers = self.readers.lock();
        readers.retain(|reader| !reader.has_failed());
        if let Some(reader) = readers.iter().find(|reader| reader.serves(offset)) {
            return Arc::clone(reader);
        }
        if readers.len() >= MOST_READERS {
            let unused = readers.iter().enumerate().filter(|(_, reader)| Arc::strong_count(reader) == 1);
            let oldest = unused.min_by_key(|(_, reader)| reader.used()).map(|(index, _)| index);
            oldest.map(|index| readers.swap_remove(index));
        }
        let reader = Arc::new(Follow::start(&self.tasks, &self.source, offset));
        readers.push(Arc::clone(&reader));
        reader
    }

    fn forget_failed(&self) {
        self.readers.lock().retain(|reader| !reader.has_failed());
    }

    /// Closes readers that nobody uses any more.
    pub(super) fn tidy(&self) {
        let now = Instant::now();
        let is_idle = |reader: &Arc<Follow>| now.saturating_duration_since(reader.used()) > IDLE_AFTER;
        self.readers.lock().retain(|reader| Arc::strong_count(reader) > 1 || !is_idle(reader));
    }

    /// Where the partition began and ended a moment ago: asked for, unless a reader was told lately.
    pub(super) async fn bounds_lately(self: &Arc<Self>) -> Result<Bounds, LogError> {
        let has_reader = self.readers.lock().iter().any(|reader| !reader.has_failed());
        if let Some(bounds) = self.source.known(FRESH).filter(|_| has_reader) {
            return Ok(bounds);
        }
        self.bounds().await
    }

    /// Where the partition begins and ends now. Those who ask at the same time ask once.
    pub(super) async fn bounds(self: &Arc<Self>) -> Result<Bounds, LogError> {
        // Connections belong to the log's own runtime: a caller's may know no sockets, or be busy.
        let this = Arc::clone(self);
        let asked = self.tasks.spawn(async move { this.asked_bounds().await }).await;
        asked.unwrap_or_else(|error| {
            Err(LogError::Read { what: self.source.partition.to_string(), source: Arc::new(error) })
        })
    }

    async fn asked_bounds(&self) -> Result<Bounds, LogError> {
        let asked = Instant::now();
        let mut questions = self.questions.lock().await;
        // Somebody else may have asked meanwhile.
        if questions.answered.is_some_and(|answered| answered >= asked) {
            return Ok(self.source.bounds());
        }
        let what = format!("find the ends of {}", self.source.partition);
        let (mut backoff, mut failed) = (Backoff::new(), None);
        loop {
            match self.ask(&mut questions, failed).await {
                Ok(bounds) => {
                    self.source.health.well(&what);
                    return Ok(bounds);
                }
                Err(OpenError::Stop(error)) => return Err(error),
                Err(OpenError::Retry(cause)) => {
                    failed = Some(Instant::now());
                    self.source.health.failed(&what, &*cause);
                    backoff.wait().await;
                }
            }
        }
    }

    async fn ask(&self, questions: &mut Questions, failed: Option<Instant>) -> Result<Bounds, OpenError> {
        // Kept only if it answered, and not if whoever asks gives up meanwhile.
        let mut asked = match questions.connection.take() {
            Some(open) => open,
            None => self.source.open(failed).await?,
        };
        let at = Instant::now();
        let ends = requests::ends(&mut asked, &self.source.replica, self.source.isolation).await?;
        (questions.connection, questions.answered) = (Some(asked), Some(at));
        Ok(self.source.saw(ends, at))
    }
}

/// A trimmed offset is below the end: it is for the read to say that it is gone.
fn or_trimmed(error: LogError) -> Result<(), LogError> {
    if matches!(error, LogError::Trimmed { .. }) { Ok(()) } else { Err(error) }
}
