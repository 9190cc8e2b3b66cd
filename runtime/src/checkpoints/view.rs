//! What the receivers of all processes have taken, as they say.
//!
//! The topic is read from near its end: who lives says it again every few seconds, and of who does not, nothing is believed
//! but what was heard, so its senders keep their records. A process's last word is what it has: one that lost its store, or a
//! sink whose database is another, takes back what it said before.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
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

use super::{Heard, Received};
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

/// Of several processes that speak for one receiver, those count that spoke not longer ago than this before the last one: who
/// is silent for longer is dead, or frozen, or has lost what it had, and another carries on from what it has itself.
const SILENT: Duration = Duration::from_secs(30);

/// What every receiver has taken. Cheap to clone; everyone holds the same.
#[derive(Debug, Clone, Default)]
pub struct View {
    words: Arc<RwLock<BTreeMap<(String, TopicPartition), Words>>>,
    caught_up: Arc<watch::Sender<bool>>,
}

/// What the processes say that run one receiver, by their names.
type Words = BTreeMap<String, Word>;

/// What a process said last.
#[derive(Debug, Clone)]
struct Word {
    received: Received,
    goes_on: bool,
    /// When it was appended, in milliseconds since 1970, by the clock of who said it.
    said_ms: u64,
    heard: Instant,
}

impl View {
    /// What a receiver has taken of a partition, if it was heard of.
    pub fn heard(&self, receiver: &str, of: &TopicPartition) -> Option<Heard> {
        let words = self.words.read();
        let mut living = words.get(&(receiver.to_owned(), of.clone()))?.values();
        let first = living.next()?;
        let mut heard =
            Heard { received: first.received.clone(), at: Some(first.heard), goes_on: first.goes_on };
        living.for_each(|word| join(&mut heard, word));
        Some(heard)
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
            None => tail(&**log, &from).await?,
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
                Ok(Message::Checkpoint(checkpoint)) => self.take(checkpoint, record.appended_at_ms),
                // Written by a newer version: it says nothing that this one could use.
                Ok(_) | Err(_) => tracing::warn!(offset = %record.offset, "a checkpoint cannot be read"),
            }
        }
        Ok(())
    }

    fn take(&self, checkpoint: Checkpoint, said_ms: u64) {
        let (heard, goes_on) = (Instant::now(), goes_on(&checkpoint));
        let mut all = self.words.write();
        for input in checkpoint.inputs {
            let Some((at, received)) = taken(&checkpoint.receiver, input) else { continue };
            let words = all.entry((checkpoint.receiver.clone(), at)).or_default();
            words.insert(checkpoint.process.clone(), Word { received, goes_on, said_ms, heard });
            forget_the_silent(words);
        }
    }
}

/// A sink that is troubled waits for its database, with whatever was read; a task (`book/3`) goes on whatever troubles it.
fn goes_on(checkpoint: &Checkpoint) -> bool {
    match checkpoint.condition.as_str() {
        "running" => true,
        "troubled" => checkpoint.receiver.contains('/'),
        _ => false,
    }
}

fn forget_the_silent(words: &mut Words) {
    let silent = u64::try_from(SILENT.as_millis()).unwrap_or(u64::MAX);
    let newest = words.values().map(|word| word.said_ms).max().unwrap_or_default();
    words.retain(|_, word| word.said_ms.saturating_add(silent) >= newest);
}

/// Two processes may run one task for a while: what either has taken is in the log, in the order that both read.
fn join(heard: &mut Heard, word: &Word) {
    heard.at = heard.at.max(Some(word.heard));
    heard.goes_on |= word.goes_on;
    let known = &mut heard.received;
    known.next = known.next.max(word.received.next);
    for (task, mark) in &word.received.marks {
        let known = known.marks.entry(task.clone()).or_insert(*mark);
        if mark.seq > known.seq {
            *known = *mark;
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

async fn tail(log: &dyn Log, from: &TopicPartition) -> Result<Offset, LogError> {
    let bounds = log.bounds(from, Visibility::Synced).await?;
    Ok(bounds.first.max(Offset(bounds.end.0.saturating_sub(TAIL))))
}

/// The last word of every receiver of every process, from the topic's tail; for people who look.
///
/// # Errors
/// As [`Log::read`].
pub async fn latest(log: &dyn Log) -> Result<Vec<Checkpoint>, LogError> {
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

#[cfg(test)]
mod tests {
    use streambook_model::{
        bytes::LineageHash, meta::Meta, records::checkpoint::CheckpointSource, time::Timestamp,
    };

    use super::*;

    const RECEIVER: &str = "book/3";

    fn word(process: &str, next_offset: u64, seq: u64) -> Checkpoint {
        let now = Timestamp::from_millis(0);
        let chain = LineageHash::new([7; 16]);
        Checkpoint {
            meta: Meta {
                source: None,
                id: String::new(),
                occurred_at: now,
                recorded_at: now,
                cause: None,
                trace: None,
            },
            process: process.to_owned(),
            address: String::new(),
            receiver: RECEIVER.to_owned(),
            condition: "running".to_owned(),
            reason: None,
            inputs: vec![CheckpointInput {
                topic: topics::BOOK_INBOX.name.to_owned(),
                partition: 3,
                next_offset,
                sources: vec![CheckpointSource { task: "dedup/1".to_owned(), seq, chain }],
            }],
        }
    }

    fn believed(view: &View) -> (u64, u64) {
        let at = TopicPartition::new(topics::BOOK_INBOX.topic(), Partition(3));
        let received = view.heard(RECEIVER, &at).unwrap().received;
        (received.next.0, received.marks["dedup/1"].seq)
    }

    #[test]
    fn a_sink_that_is_troubled_waits_and_a_task_goes_on() {
        let said = |receiver: &str, condition: &str| {
            goes_on(&Checkpoint {
                receiver: receiver.to_owned(),
                condition: condition.to_owned(),
                ..word("a", 1, 1)
            })
        };
        assert!(said("sql", "running") && said("book/3", "running") && said("book/3", "troubled"));
        assert!(!said("sql", "troubled") && !said("sql", "stopped") && !said("book/3", "stopped"));
    }

    #[test]
    fn a_process_that_lost_its_store_takes_back_what_it_said() {
        let view = View::default();
        view.take(word("a", 10, 9), 1_000);
        view.take(word("a", 2, 1), 2_000);
        assert_eq!(believed(&view), (2, 1));
    }

    #[test]
    fn of_two_that_speak_the_one_that_is_further_counts() {
        let view = View::default();
        view.take(word("a", 10, 9), 1_000);
        view.take(word("b", 2, 1), 2_000);
        assert_eq!(believed(&view), (10, 9));
    }

    #[test]
    fn who_is_silent_while_another_speaks_counts_no_more() {
        let view = View::default();
        view.take(word("a", 10, 9), 1_000);
        view.take(word("b", 2, 1), 31_001);
        assert_eq!(believed(&view), (2, 1));
        view.take(word("a", 10, 9), 32_000);
        assert_eq!(believed(&view), (10, 9), "it was frozen and speaks again");
    }

    #[test]
    fn the_last_word_of_a_receiver_that_nobody_runs_stays() {
        let view = View::default();
        assert!(view.heard("sql", &partition()).is_none());
        view.take(word("a", 10, 9), 1_000);
        assert_eq!(believed(&view), (10, 9));
    }
}
