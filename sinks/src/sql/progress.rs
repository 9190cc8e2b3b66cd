//! What the sink has committed, for reads that must see a write: a command was record N of its inbox, and what followed
//! from it is in the database once the partition's highest cause is N or more. Within one process; it starts from what the
//! database says.

use std::{collections::BTreeMap, future::Future, time::Duration};

use streambook_model::position::{Offset, TopicPartition};
use tokio::sync::watch;

use super::{reads::SqlReads, service};

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// The database holds what followed from the record.
    Reached,
    /// It did not within the time; a read may be older than the write.
    TimedOut,
    /// The sink has ended and will write no more.
    Ended,
}

/// Follows the sink's commits. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Progress {
    causes: watch::Receiver<Causes>,
}

/// For each partition the sink reads: the highest inbox offset whose consequences are committed.
pub(crate) type Causes = BTreeMap<TopicPartition, Offset>;

/// The sink's end of [`Progress`].
#[derive(Debug)]
pub(crate) struct Committed {
    causes: watch::Sender<Causes>,
}

impl Committed {
    /// Starts from what the database says.
    pub(crate) fn starting_at(causes: Causes) -> Self {
        Self { causes: watch::Sender::new(causes) }
    }

    /// The reading end.
    pub(crate) fn follow(&self) -> Progress {
        Progress { causes: self.causes.subscribe() }
    }

    /// What is committed.
    pub(crate) fn all(&self) -> Causes {
        self.causes.borrow().clone()
    }

    /// Makes a commit known.
    pub(crate) fn advance(&self, committed: &Causes) {
        self.causes.send_modify(|causes| {
            for (at, cause) in committed {
                let known = causes.entry(at.clone()).or_insert(*cause);
                *known = (*known).max(*cause);
            }
        });
    }
}

impl Progress {
    /// Follows a sink that runs in another process, by asking its database every so often, for as long as the future runs.
    /// While the database cannot be asked, waits end without having seen anything.
    pub fn elsewhere(reads: SqlReads, every: Duration) -> (Self, impl Future<Output = ()> + Send) {
        let committed = Committed::starting_at(Causes::new());
        let progress = committed.follow();
        let asking = async move {
            loop {
                if let Ok((_, causes)) = service::positions(&reads.database).await {
                    committed.advance(&causes);
                }
                tokio::time::sleep(every).await;
            }
        };
        (progress, asking)
    }

    /// The highest inbox offset whose consequences in this partition are committed.
    pub fn cause_offset(&self, at: &TopicPartition) -> Option<Offset> {
        self.causes.borrow().get(at).copied()
    }

    /// Waits until what followed from the inbox's record `cause` in this partition (for example of `payments.events`) is
    /// committed, but no longer than `timeout`.
    pub async fn wait_for(&self, at: &TopicPartition, cause: Offset, timeout: Duration) -> Waited {
        let mut causes = self.causes.clone();
        let reached = causes.wait_for(|causes| causes.get(at).is_some_and(|known| *known >= cause));
        match tokio::time::timeout(timeout, reached).await {
            Ok(Ok(_)) => Waited::Reached,
            Ok(Err(_)) => Waited::Ended,
            Err(_) => Waited::TimedOut,
        }
    }
}
