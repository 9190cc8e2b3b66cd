//! A copy of a log that many processes share, every record at its own offset, in a temporary store. What comes after the
//! copy was begun is not looked at.
//!
//! Partitions cannot be seen at one moment, and every record that is compared must have its cause in the copy. So it is
//! looked twice where the partitions end: records are compared up to the first look, and inboxes are replayed up to the
//! second.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use streambook_log::{
    Bounds, Log, LogError, NewRecord, Record, Retention, Topic, TopicSpec, Visibility, embedded::EmbeddedLog,
};
use streambook_model::{
    codec,
    position::{Offset, TopicPartition},
    topics,
};

use super::{
    progress::{Progress, Stage},
    records::READ,
    report::{Difference, Halt, VerifyFailure},
    scratch::Scratch,
};

/// How long is waited for others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Between two looks at where partitions end: an engine may state an end that it was told so long ago.
    pub(crate) settle: Duration,
    /// For a record that is stated to exist, and for one that has to be sent again.
    pub(crate) arrival: Duration,
}

impl Patience {
    /// More than the engines' own times: `log/src/fluvio/partition.rs` and `runtime/src/outbox/pending.rs`.
    pub(crate) const USUAL: Self = Self { settle: Duration::from_secs(2), arrival: Duration::from_secs(30) };
}

/// The copy.
pub(crate) struct Mirror {
    store: Scratch,
    /// Where the comparison of each partition ends.
    compared: BTreeMap<TopicPartition, Offset>,
}

/// A partition to copy.
struct Span {
    at: TopicPartition,
    bounds: Bounds,
    is_inbox: bool,
}

/// The way from one log to the other.
struct Copy<'a> {
    origin: &'a dyn Log,
    to: &'a EmbeddedLog,
    /// When the next records were appended to the shared log.
    clock: &'a AtomicU64,
    patience: Duration,
    progress: &'a mut dyn Progress,
    done: u64,
    total: u64,
}

impl Mirror {
    /// Copies the topics of the books; `inboxes` are those that are replayed.
    pub(crate) async fn of(
        origin: &dyn Log,
        inboxes: &BTreeSet<&'static str>,
        patience: Patience,
        progress: &mut dyn Progress,
    ) -> Result<Self, Halt> {
        let clock = Arc::new(AtomicU64::new(0));
        let stamps = Arc::clone(&clock);
        let store = Scratch::stamped_by(Arc::new(move || stamps.load(Relaxed)))?;
        let mut topics = origin.topics().await?;
        topics.retain(|topic| topics::ALL.iter().any(|def| def.topic() == topic.name));
        for topic in &topics {
            let (name, partitions) = (topic.name.clone(), topic.partitions);
            let spec = TopicSpec { name, partitions, retention: Retention::Forever };
            store.log().ensure_topic(&spec).await.map_err(VerifyFailure::ScratchStore)?;
        }
        let (spans, compared) = spans(origin, (&topics, inboxes), patience.settle).await?;
        let total = spans.iter().map(|span| span.bounds.records()).sum();
        let (to, patience) = (&**store.log(), patience.arrival);
        let mut copy = Copy { origin, to, clock: &clock, patience, progress, done: 0, total };
        for span in &spans {
            copy.partition(span).await?;
        }
        Ok(Self { store, compared })
    }

    /// The copied records.
    pub(crate) const fn log(&self) -> &Arc<EmbeddedLog> {
        self.store.log()
    }

    /// What is compared of a partition.
    pub(crate) fn compared(&self, at: &TopicPartition, bounds: Bounds) -> Bounds {
        let end = self.compared.get(at).copied().unwrap_or_default();
        Bounds { end: end.max(bounds.first).min(bounds.end), ..bounds }
    }
}

/// The records from an offset on, once there is one; none after so long.
pub(crate) async fn arrived(
    log: &dyn Log,
    (at, from): (&TopicPartition, Offset),
    patience: Duration,
) -> Result<Vec<Record>, LogError> {
    match tokio::time::timeout(patience, log.wait(at, from, Visibility::Synced)).await {
        Ok(arrived) => arrived?,
        Err(_) => return Ok(Vec::new()),
    }
    log.read(at, from, READ, Visibility::Synced).await
}

/// What is copied, and where each partition ended at the first look.
async fn spans(
    origin: &dyn Log,
    (topics, inboxes): (&[Topic], &BTreeSet<&'static str>),
    settle: Duration,
) -> Result<(Vec<Span>, BTreeMap<TopicPartition, Offset>), Halt> {
    let partitions = || topics.iter().flat_map(Topic::partitions);
    // What is in SQL by now must be seen by the first look, and what led to that by the second.
    tokio::time::sleep(settle).await;
    let mut spans = Vec::new();
    for at in partitions() {
        let bounds = origin.bounds(&at, Visibility::Synced).await?;
        let is_inbox = inboxes.contains(at.topic.as_str());
        spans.push(Span { at, bounds, is_inbox });
    }
    let compared = spans.iter().map(|span| (span.at.clone(), span.bounds.end)).collect();
    tokio::time::sleep(settle).await;
    for span in spans.iter_mut().filter(|span| span.is_inbox) {
        let end = origin.bounds(&span.at, Visibility::Synced).await?.end;
        span.bounds.end = end.max(span.bounds.end);
    }
    Ok((spans, compared))
}

impl Copy<'_> {
    async fn partition(&mut self, span: &Span) -> Result<(), Halt> {
        self.leave_out(span).await.map_err(VerifyFailure::ScratchStore)?;
        let mut next = span.bounds.first;
        while next < span.bounds.end {
            let mut records = self.read(&span.at, next).await?;
            records.retain(|record| record.offset < span.bounds.end);
            let places = records.iter().zip(next.0..).find(|(record, place)| record.offset.0 != *place);
            if let Some((record, place)) = places {
                let found = format!("offset {}", record.offset);
                let gap = Difference::new("the log's offsets have a gap", "the next offset", found);
                return Err(gap.at(&span.at, Offset(place)).into());
            }
            let count = records.len() as u64;
            self.append(span, records).await.map_err(VerifyFailure::ScratchStore)?;
            next = next.plus(count);
            self.done += count;
            self.progress.update(Stage::Copy, self.done, self.total);
        }
        Ok(())
    }

    /// Records that were trimmed keep their places, so that all others have theirs.
    async fn leave_out(&self, span: &Span) -> Result<(), LogError> {
        let mut missing = span.bounds.first.0;
        while missing > 0 {
            let count = usize::try_from(missing).unwrap_or(usize::MAX).min(READ.records);
            self.to.append(&span.at, vec![NewRecord::new("", ""); count]).await?;
            missing = missing.saturating_sub(count as u64);
        }
        self.to.trim(&span.at, span.bounds.first).await
    }

    async fn read(&self, at: &TopicPartition, next: Offset) -> Result<Vec<Record>, Halt> {
        let records = arrived(self.origin, (at, next), self.patience).await?;
        if records.is_empty() {
            let lost = Difference::new("a record of the log is missing", "a record", "nothing");
            return Err(lost.at(at, next).into());
        }
        Ok(records)
    }

    /// A record that cannot be decoded becomes a dead letter, which states when it was appended: so it keeps its time. Nobody
    /// looks at the others' times.
    async fn append(&self, span: &Span, records: Vec<Record>) -> Result<(), LogError> {
        let is_timed = |record: &Record| span.is_inbox && codec::decode(&record.value).is_err();
        let records: Vec<_> = records.into_iter().map(|record| (is_timed(&record), record)).collect();
        for run in records.chunk_by(|(is_timed, _), (is_next_timed, _)| !is_timed && !is_next_timed) {
            let time = run.first().map_or(0, |(_, record)| record.appended_at_ms);
            self.clock.store(time, Relaxed);
            let copy =
                |(_, record): &(bool, Record)| NewRecord::new(record.key.clone(), record.value.clone());
            self.to.append(&span.at, run.iter().map(copy).collect()).await?;
        }
        Ok(())
    }
}
