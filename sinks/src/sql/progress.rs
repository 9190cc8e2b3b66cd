//! What the sink has committed, for reads that must see a write: a command was record N of its inbox, and what followed
//! from it is in the database once the partition's highest cause is N or more. Within one process; it starts from what the
//! database says.

use std::{collections::BTreeMap, time::Duration};

use streambook_model::position::{Offset, TopicPartition};
use tokio::sync::watch;

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
