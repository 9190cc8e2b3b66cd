//! Answers to commands: who waits for which, and the task that reads them from this instance's partition of `api.replies`.
//!
//! Only synced replies are read. One write-ahead log orders everything, so whatever led to a reply is on disk with it: an
//! answer that is given is never forgotten.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use streambook_log::{Log, LogError, Offset, ReadLimit, TopicPartition, Visibility};
use streambook_model::{codec, id::RequestId, message::Message, records::reply::CommandReply};
use streambook_runtime::{
    health::{Condition, Health},
    step::chain_of,
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::problem::Problem;

/// The part's name in health.
pub(crate) const PART: &str = "api/replies";

/// The requests that wait for a reply; never more than a limit.
#[derive(Debug, Clone)]
pub(crate) struct Waiters {
    waiting: Arc<Mutex<Waiting>>,
    most: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    senders: HashMap<RequestId, oneshot::Sender<CommandReply>>,
    closed: bool,
}

/// One wait. Dropping it ends the wait.
#[derive(Debug)]
pub(crate) struct Waiter {
    waiters: Waiters,
    request: RequestId,
    reply: oneshot::Receiver<CommandReply>,
}

impl Waiters {
    /// At most so many.
    pub(crate) fn new(most: usize) -> Self {
        Self { waiting: Arc::default(), most }
    }

    /// Begins to wait for a request's reply. Done before the command is appended, or the reply could come first.
    pub(crate) fn register(&self, request: RequestId) -> Result<Waiter, Problem> {
        let (sender, reply) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            let detail = "answers to commands are not read any more, so nothing was done: watch /readyz";
            return Err(Problem::unavailable("not_ready", detail));
        }
        if waiting.senders.len() >= self.most {
            let detail = "too many commands wait for their answers: try again";
            return Err(Problem::unavailable("overloaded", detail));
        }
        waiting.senders.insert(request, sender);
        Ok(Waiter { waiters: self.clone(), request, reply })
    }

    /// Ends every wait and takes no more: nobody reads replies any longer. Those who waited are told where to look.
    fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        waiting.senders.clear();
    }

    fn resolve(&self, reply: CommandReply) {
        let waiter = self.waiting.lock().senders.remove(&reply.request);
        // Nobody waits any more for a reply that came after its time limit; the caller was told where to look.
        let Some(waiter) = waiter else {
            return tracing::debug!(request_id = %reply.request, "a late reply");
        };
        if waiter.send(reply).is_err() {
            tracing::debug!("the caller of a reply has gone");
        }
    }
}

impl Waiter {
    /// The reply, whenever it comes.
    pub(crate) async fn reply(&mut self) -> Option<CommandReply> {
        (&mut self.reply).await.ok()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.waiters.waiting.lock().senders.remove(&self.request);
    }
}

/// Reads replies and hands them to those who wait.
pub(crate) struct Replies {
    log: Arc<dyn Log>,
    from: TopicPartition,
    next: Offset,
    waiters: Waiters,
}

impl Replies {
    /// Starts at the partition's end: older replies are of requests nobody waits for.
    pub(crate) async fn open(
        log: Arc<dyn Log>,
        from: TopicPartition,
        waiters: Waiters,
    ) -> Result<Self, LogError> {
        let next = log.bounds(&from, Visibility::Synced).await?.end;
        Ok(Self { log, from, next, waiters })
    }

    /// Reads until it is told to stop, or the log fails.
    pub(crate) async fn run(mut self, health: Health, stop: CancellationToken) {
        health.report(PART, Condition::Running);
        let ended = tokio::select! {
            () = stop.cancelled() => Ok(()),
            ended = self.read() => ended,
        };
        self.waiters.close();
        if let Err(error) = ended {
            health.report(PART, Condition::Stopped { reason: chain_of(&error) });
        }
    }

    async fn read(&mut self) -> Result<(), LogError> {
        loop {
            self.log.wait(&self.from, self.next, Visibility::Synced).await?;
            let read = self.log.read(&self.from, self.next, ReadLimit::default(), Visibility::Synced).await;
            let records = match read {
                // Retention overtook a reader that was behind; what is gone is too old to be waited for.
                Err(LogError::Trimmed { first, .. }) => {
                    self.next = first;
                    continue;
                }
                read => read?,
            };
            for record in records {
                self.next = record.offset.plus(1);
                match codec::decode(&record.value) {
                    Ok(Message::CommandReply(reply)) => self.waiters.resolve(reply),
                    Ok(other) => {
                        tracing::error!(record = other.name(), "a record that is no reply, in the replies");
                    }
                    Err(error) => tracing::error!(error = chain_of(&error), "a reply cannot be decoded"),
                }
            }
        }
    }
}
