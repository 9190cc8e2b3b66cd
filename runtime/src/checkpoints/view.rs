//! What the receivers of all processes have taken, as they say.
//!
//! The topic is read from near its end: who lives says it again every few seconds, and of who does not, nothing is believed
//! but what was heard, so its senders keep their records.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use parking_lot::RwLock;
use streambook_log::{Log, LogError, ReadLimit, Visibility};
use streambook_model::{
    codec,
    message::Message,
    position::{Offset, Partition, TopicName, TopicPartition},
    records::checkpoint::{Checkpoint, CheckpointInput},
    topics,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Received;
use crate::{
    health::{Condition, Health},
    lineage::Mark,
    step::chain_of,
};

/// Records before the end that are read at the start: minutes of a hundred receivers.
const TAIL: u64 = 20_000;
/// The pause after a failed read.
const PAUSE: Duration = Duration::from_millis(500);
/// The view's name in health.
const NAME: &str = "checkpoints.view";

/// What every receiver has taken. Cheap to clone; everyone holds the same.
#[derive(Debug, Clone, Default)]
pub struct View {
    received: Arc<RwLock<BTreeMap<(String, TopicPartition), Received>>>,
    caught_up: Arc<watch::Sender<bool>>,
}

impl View {
    /// What a receiver has taken of a partition, if it was heard of.
    pub fn received(&self, receiver: &str, of: &TopicPartition) -> Option<Received> {
        self.received.read().get(&(receiver.to_owned(), of.clone())).cloned()
    }

    /// Waits until what was in the topic at the start was read.
    pub async fn caught_up(&self) {
        // The sender lives as long as the view, so there is no error to see.
        let _ = self.caught_up.subscribe().wait_for(|caught_up| *caught_up).await;
    }

    /// Follows the topic until it is told to stop.
    pub async fn run(self, log: Arc<dyn Log>, health: Health, stop: CancellationToken) {
        let mut next = None;
        while !stop.is_cancelled() {
            let followed = tokio::select! {
                () = stop.cancelled() => return,
                followed = self.follow(&log, &mut next) => followed,
            };
            let condition = match followed {
                Ok(()) => Condition::Running,
                Err(error) => Condition::Troubled { reason: chain_of(&error) },
            };
            let failed = condition != Condition::Running;
            health.report(NAME, condition);
            if failed {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Reads what there is, or waits for more.
    async fn follow(&self, log: &Arc<dyn Log>, next: &mut Option<Offset>) -> Result<(), LogError> {
        let from = partition();
        let at = match *next {
            Some(at) => at,
            None => tail(log, &from).await?,
        };
        let records = log.read(&from, at, ReadLimit::default(), Visibility::Synced).await?;
        let Some(last) = records.last() else {
            *next = Some(at);
            self.caught_up.send_replace(true);
            return log.wait(&from, at, Visibility::Synced).await;
        };
        *next = Some(last.offset.plus(1));
        for record in &records {
            match codec::decode(&record.value) {
                Ok(Message::Checkpoint(checkpoint)) => self.take(checkpoint),
                // Written by a newer version: it says nothing that this one could use.
                Ok(_) | Err(_) => tracing::warn!(offset = %record.offset, "a checkpoint cannot be read"),
            }
        }
        Ok(())
    }

    fn take(&self, checkpoint: Checkpoint) {
        let mut received = self.received.write();
        for input in checkpoint.inputs {
            let Some((at, taken)) = taken(&checkpoint.receiver, input) else { continue };
            match received.entry((checkpoint.receiver.clone(), at)) {
                Entry::Vacant(entry) => drop(entry.insert(taken)),
                Entry::Occupied(mut entry) => advance(entry.get_mut(), taken),
            }
        }
    }
}

/// Two processes may run one task for a while: what either has taken is in the log, in the order that both read.
fn advance(known: &mut Received, taken: Received) {
    known.next = known.next.max(taken.next);
    for (task, mark) in taken.marks {
        let known = known.marks.entry(task).or_insert(mark);
        if mark.seq > known.seq {
            *known = mark;
        }
    }
}

fn taken(receiver: &str, input: CheckpointInput) -> Option<(TopicPartition, Received)> {
    let at = TopicPartition::new(TopicName::new(input.topic).ok()?, Partition(input.partition));
    let marks = input.sources.into_iter();
    let marks = marks.map(|source| (source.task, Mark { seq: source.seq, chain: source.chain })).collect();
    Some((at, Received { receiver: receiver.to_owned(), next: Offset(input.next_offset), marks }))
}

fn partition() -> TopicPartition {
    TopicPartition::new(topics::CHECKPOINTS.topic(), Partition(0))
}

async fn tail(log: &Arc<dyn Log>, from: &TopicPartition) -> Result<Offset, LogError> {
    let bounds = log.bounds(from, Visibility::Synced).await?;
    Ok(bounds.first.max(Offset(bounds.end.0.saturating_sub(TAIL))))
}

/// The last word of every receiver of every process, from the topic's tail; for people who look.
///
/// # Errors
/// As [`Log::read`].
pub async fn latest(log: &Arc<dyn Log>) -> Result<Vec<Checkpoint>, LogError> {
    let (from, mut words) = (partition(), BTreeMap::new());
    let end = log.bounds(&from, Visibility::Synced).await?.end;
    let mut at = tail(log, &from).await?;
    while at < end {
        let records = log.read(&from, at, ReadLimit::default(), Visibility::Synced).await?;
        let Some(last) = records.last() else { break };
        at = last.offset.plus(1);
        for record in &records {
            if let Ok(Message::Checkpoint(checkpoint)) = codec::decode(&record.value) {
                words.insert((checkpoint.process.clone(), checkpoint.receiver.clone()), checkpoint);
            }
        }
    }
    Ok(words.into_values().collect())
}
