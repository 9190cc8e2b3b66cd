//! Reading one partition from an offset on, in the background: a stream from its leader, opened again at the right offset after
//! whatever happens, filling a window of records.
//!
//! The server sends an answer and waits until it is told how far that was taken, so a full window holds it back. What
//! was taken is what arrived whole and in order. A gap, a record that is not what was appended and an end that moved back are
//! looked at once more through a new stream, and if they stay, the reader gets the error. A server that stands still is
//! noticed: it is asked for the ends of the partition every second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fluvio::Isolation;
use fluvio::dataplane::link::ErrorCode;
use fluvio_spu_schema::fetch::FetchablePartitionResponse;
use parking_lot::Mutex;
use streambook_model::position::Offset;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::backoff::Backoff;
use super::connection::{Connection, ConnectionError, PATIENCE, Sent};
use super::frame::{self, Content, FrameError};
use super::requests::{self, ANSWER_BYTES, Ends, LARGEST_ANSWER, Stream, from_engine, to_engine};
use super::source::{OpenError, Source};
use super::window::{Arrival, Window};
use super::wire::{self, Batches};
use crate::{Cause, LogError, ReadLimit, Record};

/// How often the server is asked for the ends.
const BEAT: Duration = Duration::from_secs(1);
/// A stream that brings nothing for so long though there is more is opened again.
const STALLED_AFTER: Duration = Duration::from_secs(3);

/// A reader in the background. It ends with this handle.
pub(super) struct Follow {
    source: Arc<Source>,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<()>,
    room: Notify,
}

struct State {
    window: Window,
    failure: Option<LogError>,
    used: Instant,
}

impl Follow {
    pub(super) fn start(tasks: &Handle, source: &Arc<Source>, from: Offset) -> Self {
        let state = State { window: Window::new(from), failure: None, used: Instant::now() };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: watch::Sender::new(()),
            room: Notify::new(),
        });
        let work = Work { source: Arc::clone(source), shared: Arc::clone(&shared), max_bytes: ANSWER_BYTES };
        Self { source: Arc::clone(source), shared, task: tasks.spawn(work.run()) }
    }

    /// Whether a reader at this offset is served by this one.
    pub(super) fn serves(&self, offset: Offset) -> bool {
        self.shared.state.lock().window.serves(offset)
    }

    /// Whether it has ended with an error.
    pub(super) fn has_failed(&self) -> bool {
        self.shared.state.lock().failure.is_some()
    }

    /// When somebody last wanted something of it.
    pub(super) fn used(&self) -> Instant {
        self.shared.state.lock().used
    }

    /// What is here from an offset on; an error where it is not here and will not come.
    pub(super) fn read(&self, offset: Offset, limit: ReadLimit) -> Result<Vec<Record>, LogError> {
        let mut state = self.shared.state.lock();
        state.used = Instant::now();
        let records = state.window.read(offset, limit);
        let has_room = state.window.has_room();
        let failure = if records.is_empty() { state.failure.clone() } else { None };
        drop(state);
        if has_room {
            self.shared.room.notify_one();
        }
        failure.map_or(Ok(records), Err)
    }

    /// Whether the record of this offset is here, or an error in its place. Whoever asks has read everything before.
    pub(super) fn has(&self, offset: Offset) -> Result<bool, LogError> {
        let mut state = self.shared.state.lock();
        state.used = Instant::now();
        if state.window.next() > offset {
            return Ok(true);
        }
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        state.window.advance(offset);
        drop(state);
        self.shared.room.notify_one();
        Ok(false)
    }

    /// Waits until the record of this offset is here.
    pub(super) async fn filled(&self, offset: Offset) -> Result<(), LogError> {
        let mut changed = self.shared.changed.subscribe();
        while !self.has(offset)? {
            // The sender lives as long as this handle, so the result says only that something changed.
            let _changed = changed.changed().await;
        }
        Ok(())
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.task.abort();
        self.source.health.well(&what(&self.source));
    }
}

fn what(source: &Source) -> String {
    format!("read {}", source.partition)
}

/// What runs in the background.
struct Work {
    source: Arc<Source>,
    shared: Arc<Shared>,
    max_bytes: i32,
}

/// Why a stream ended.
enum Ended {
    /// Something that passes.
    Retry(Cause),
    /// What came is wrong. If it stays so, it is an error.
    Suspect(LogError),
    /// The batch that comes next does not fit into an answer.
    Larger,
    /// No other stream will do better.
    Stop(LogError),
}

impl From<ConnectionError> for Ended {
    fn from(error: ConnectionError) -> Self {
        Self::Retry(Arc::new(error))
    }
}

impl From<OpenError> for Ended {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Retry(cause) => Self::Retry(cause),
            OpenError::Stop(error) => Self::Stop(error),
        }
    }
}

/// A stream that is open.
struct Session {
    connection: Connection,
    sent: Sent,
    id: u32,
    /// How far the server must be told that was taken, when there is room for more.
    owed: Option<i64>,
    /// The question that was not answered yet.
    asked: Option<(Sent, Instant)>,
    /// When something last came, or was asked for.
    moved: Instant,
}

impl Work {
    async fn run(mut self) {
        let what = what(&self.source);
        let (mut backoff, mut failed, mut suspect) = (Backoff::new(), None, None);
        loop {
            let before = self.next();
            let ended = self.follow(failed).await;
            failed = Some(Instant::now());
            if self.next() > before {
                backoff.reset();
            }
            match ended {
                Ended::Retry(cause) => self.source.health.failed(&what, &*cause),
                Ended::Larger => {
                    self.max_bytes = LARGEST_ANSWER;
                    continue;
                }
                Ended::Suspect(error) if suspect != Some(self.next()) => {
                    suspect = Some(self.next());
                    self.source.health.failed(&what, &error);
                }
                Ended::Suspect(error) | Ended::Stop(error) => return self.fail(error),
            }
            backoff.wait().await;
        }
    }

    fn next(&self) -> Offset {
        self.shared.state.lock().window.next()
    }

    fn fail(&self, error: LogError) {
        tracing::error!(partition = %self.source.partition, error = super::health::chain(&error), "reading stops");
        self.source.health.well(&what(&self.source));
        self.shared.state.lock().failure = Some(error);
        self.told();
    }

    fn told(&self) {
        self.shared.changed.send_replace(());
        self.source.arrivals.send_replace(());
    }

    /// One stream, from its opening to its end.
    async fn follow(&mut self, failed: Option<Instant>) -> Ended {
        match self.stream(failed).await {
            Ok(never) => match never {},
            Err(ended) => ended,
        }
    }

    async fn stream(&mut self, failed: Option<Instant>) -> Result<std::convert::Infallible, Ended> {
        let source = Arc::clone(&self.source);
        let mut connection = source.open(failed).await?;
        let asked = Instant::now();
        let ends = requests::offsets(&mut connection, &source.replica).await?;
        self.check_first(ends)?;
        source.saw(ends, asked);
        let from = to_engine(self.next());
        // Beyond what is replicated a server looks for records for ever, and answers nobody else meanwhile.
        if source.isolation == Isolation::ReadCommitted && ends.end < from {
            return Err(self.beyond(&mut connection, ends).await);
        }
        let sent =
            requests::open_stream(&mut connection, &source.replica, from, self.max_bytes, source.isolation)
                .await?;
        let mut session = Session { connection, sent, id: 0, owed: None, asked: None, moved: Instant::now() };
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_full = session.owed.is_some();
            tokio::select! {
                // What was sent before this machine stood still is looked at before time is.
                biased;
                received = session.connection.receive() => {
                    let (number, answer) = received?;
                    self.received(&mut session, number, answer)?;
                }
                _ = beat.tick() => self.beat(&mut session).await?,
                () = self.shared.room.notified(), if is_full => {}
            }
            self.acknowledge(&mut session).await?;
        }
    }

    fn check_first(&self, ends: Ends) -> Result<(), Ended> {
        let (next, first) = (self.next(), from_engine(ends.first));
        if next < first { Err(Ended::Stop(self.source.trimmed(next, first))) } else { Ok(()) }
    }

    fn received(&mut self, session: &mut Session, number: i32, answer: bytes::Bytes) -> Result<(), Ended> {
        if number == session.sent.number {
            let answer = session.connection.read::<Stream>(session.sent, answer)?;
            session.id = answer.stream_id;
            session.moved = Instant::now();
            self.take(session, answer.partition)?;
            session.owed = Some(to_engine(self.next()));
            self.source.health.well(&what(&self.source));
        } else if let Some((sent, at)) = session.asked.filter(|(sent, _)| sent.number == number) {
            session.asked = None;
            let ends = requests::read_offsets(&session.connection, sent, answer)?;
            self.said(session, ends, at)?;
        }
        Ok(())
    }

    /// The server said where the partition begins and ends, asked at this time.
    fn said(&self, session: &Session, ends: Ends, asked: Instant) -> Result<(), Ended> {
        self.check_first(ends)?;
        self.source.saw(ends, asked);
        let there_is_more = ends.end > to_engine(self.next());
        if there_is_more && session.owed.is_none() && session.moved.elapsed() > STALLED_AFTER {
            return Err(Ended::Retry(Arc::new(Stalled)));
        }
        if from_engine(ends.end) < self.source.end() && self.next() < self.source.end() {
            self.source.health.failed(&what(&self.source), &self.hidden(ends));
        } else {
            self.source.health.well(&what(&self.source));
        }
        Ok(())
    }

    /// The mark of what is replicated is before what was read: it is behind, or the records are gone.
    async fn beyond(&self, connection: &mut Connection, ends: Ends) -> Ended {
        let from = to_engine(self.next());
        let (replica, anything) = (&self.source.replica, Isolation::ReadUncommitted);
        match requests::fetch(connection, replica, from, ANSWER_BYTES, anything).await {
            Ok(_) => Ended::Retry(Arc::new(self.hidden(ends))),
            Err(error) => self.refused(error),
        }
    }

    fn hidden(&self, ends: Ends) -> Hidden {
        Hidden { end: from_engine(ends.end), seen: self.source.end() }
    }

    async fn beat(&self, session: &mut Session) -> Result<(), Ended> {
        match session.asked {
            Some((_, at)) if at.elapsed() > PATIENCE => Err(session.connection.silent(PATIENCE).into()),
            Some(_) => Ok(()),
            None => {
                let sent = requests::ask_offsets(&mut session.connection, &self.source.replica).await?;
                session.asked = Some((sent, Instant::now()));
                Ok(())
            }
        }
    }

    async fn acknowledge(&self, session: &mut Session) -> Result<(), Ended> {
        let has_room = self.shared.state.lock().window.has_room();
        if let Some(offset) = session.owed.filter(|_| has_room) {
            requests::took(&mut session.connection, session.id, offset).await?;
            session.owed = None;
            session.moved = Instant::now();
        }
        Ok(())
    }

    /// Takes in an answer.
    fn take(&mut self, session: &Session, answer: FetchablePartitionResponse<Batches>) -> Result<(), Ended> {
        if answer.error_code != ErrorCode::None {
            return Err(self.refused(session.connection.refused(answer.error_code)));
        }
        let before = self.next();
        let unpacked = wire::unpack(&answer.records);
        let taken = self.take_records(unpacked.records);
        let next = self.next();
        if next > before {
            self.source.saw_end(next);
            self.told();
        }
        taken?;
        if let Some(damage) = unpacked.damage {
            return Err(Ended::Suspect(self.source.corrupt(next, Arc::new(damage))));
        }
        if next > before {
            return Ok(());
        }
        let is_largest = self.max_bytes >= LARGEST_ANSWER;
        if unpacked.cut && !is_largest {
            Err(Ended::Larger)
        } else {
            Err(Ended::Suspect(self.gap(before, None)))
        }
    }

    fn take_records(&self, records: Vec<(i64, bytes::Bytes)>) -> Result<(), Ended> {
        let mut state = self.shared.state.lock();
        for (offset, value) in records {
            if offset < 1 {
                continue;
            }
            let offset = from_engine(offset);
            match state.window.arrival(offset) {
                Arrival::Older => continue,
                Arrival::Gap(expected) => return Err(Ended::Suspect(self.gap(expected, Some(offset)))),
                Arrival::Next => {}
            }
            let (appended_at_ms, key, value) = self.open_frame(offset, &value)?;
            state.window.push(appended_at_ms, key, value);
        }
        Ok(())
    }

    fn open_frame(
        &self,
        offset: Offset,
        value: &bytes::Bytes,
    ) -> Result<(u64, bytes::Bytes, bytes::Bytes), Ended> {
        let corrupt = |error: FrameError| Ended::Suspect(self.source.corrupt(offset, Arc::new(error)));
        let framed = frame::read(self.source.place.partition, value).map_err(corrupt)?;
        if framed.topic != self.source.place.topic {
            return Err(Ended::Suspect(LogError::TopicReplaced(self.source.partition.topic.clone())));
        }
        match framed.content {
            Content::Record { key, value } => Ok((framed.appended_at_ms, key, value)),
            Content::Header(_) => Err(corrupt(FrameError::UnexpectedHeader)),
        }
    }

    fn gap(&self, expected: Offset, found: Option<Offset>) -> LogError {
        LogError::Gap { partition: self.source.partition.clone(), expected, found }
    }

    fn refused(&self, error: ConnectionError) -> Ended {
        if let Some(end) = requests::moved_back(&error) {
            return Ended::Suspect(self.source.moved_back(self.next(), end));
        }
        match &error {
            ConnectionError::Refused { source, .. }
                if let ErrorCode::OffsetEvicted { next_available, .. } = **source =>
            {
                Ended::Stop(self.source.trimmed(self.next(), from_engine(next_available)))
            }
            _ => error.into(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the stream stands still though there is more")]
struct Stalled;

/// After a crash of all servers the mark of what is replicated is behind until the next append.
#[derive(Debug, thiserror::Error)]
#[error(
    "the partition shows records up to {end} and had them up to {seen}: the next append may show them again"
)]
struct Hidden {
    end: Offset,
    seen: Offset,
}
