//! What is asked for and not closed, read from `chain.requests`. Guarantee: there is no cursor; each start reads the partition
//! anew, and a request is open until the log says that its answer was taken.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use streambook_log::{Log, LogError, ReadLimit, Visibility, partitioner::partition_of};
use streambook_model::{
    chain::ChainId,
    codec::{self, CodecError},
    message::Message,
    position::{Offset, TopicPartition},
    records::backfill::{BackfillClosed, BackfillRequested},
    topics,
};

/// When an answer that was not taken is searched for again: its chain was halted, or the log lost it.
const ASK_AGAIN: Duration = Duration::from_secs(600);

/// The requests cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RequestsError {
    /// The log failed.
    #[error("cannot read the chain's requests")]
    Read(#[from] LogError),
    /// A record cannot be decoded.
    #[error("a record of the chain's requests cannot be decoded")]
    Decode(#[from] CodecError),
}

/// A chain's requests as far as they were read.
#[derive(Debug)]
pub struct Requests {
    chain: ChainId,
    from: TopicPartition,
    next: Option<Offset>,
    open: BTreeMap<u64, BackfillRequested>,
    closed: BTreeMap<u64, BackfillClosed>,
    /// Answered by this process, and when; the log has not said so yet.
    answered: BTreeMap<u64, Instant>,
}

impl Requests {
    /// Of a chain, before anything was read.
    pub fn new(chain: ChainId) -> Self {
        let partition = partition_of(chain.to_string().as_bytes(), topics::CHAIN_REQUESTS.partitions);
        let from = TopicPartition::new(topics::CHAIN_REQUESTS.topic(), partition);
        Self {
            chain,
            from,
            next: None,
            open: BTreeMap::new(),
            closed: BTreeMap::new(),
            answered: BTreeMap::new(),
        }
    }

    /// Reads all there is.
    ///
    /// # Errors
    /// [`RequestsError`].
    pub async fn read(&mut self, log: &dyn Log) -> Result<(), RequestsError> {
        loop {
            let first = log.bounds(&self.from, Visibility::Written).await?.first;
            let next = self.next.unwrap_or(first).max(first);
            let records = log.read(&self.from, next, ReadLimit::default(), Visibility::Written).await?;
            self.next = Some(records.last().map_or(next, |last| Offset(last.offset.0.saturating_add(1))));
            if records.is_empty() {
                return Ok(());
            }
            for record in &records {
                self.take(codec::decode(&record.value)?);
            }
        }
    }

    /// Waits for more than was read, and not for longer than until an answer may have to be given again.
    ///
    /// # Errors
    /// [`RequestsError`].
    pub async fn wait(&self, log: &dyn Log) -> Result<(), RequestsError> {
        let next = self.next.unwrap_or(Offset(0));
        let waited = tokio::time::timeout(ASK_AGAIN, log.wait(&self.from, next, Visibility::Written)).await;
        // The end of the pause is a reason to look, like a record.
        Ok(waited.unwrap_or(Ok(()))?)
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::BackfillRequested(asked)
                if asked.chain == self.chain && !self.closed.contains_key(&asked.request) =>
            {
                self.open.insert(asked.request, asked);
            }
            Message::BackfillClosed(closed) if closed.chain == self.chain => {
                self.open.remove(&closed.request);
                self.answered.remove(&closed.request);
                self.closed.insert(closed.request, closed);
            }
            _ => {}
        }
    }

    /// The open requests, oldest first.
    pub fn open(&self) -> impl Iterator<Item = &BackfillRequested> {
        let waits = |asked: &u64| self.answered.get(asked).is_none_or(|at| at.elapsed() >= ASK_AGAIN);
        self.open.values().filter(move |asked| waits(&asked.request))
    }

    /// Those that are closed, oldest first.
    pub fn closed(&self) -> impl Iterator<Item = &BackfillClosed> {
        self.closed.values()
    }

    /// The answer to a request was appended.
    pub fn answered(&mut self, request: u64) {
        self.answered.insert(request, Instant::now());
    }
}
