//! What the processes of a shared log have said of themselves before it was looked at: what they have taken was in the log, and
//! what they have made of it is on its way there. A record that was lost after that must not look like one that is still to
//! come.

use std::collections::BTreeMap;

use streambook_log::{Log, LogError};
use streambook_model::position::{Offset, Partition, TopicName, TopicPartition};
use streambook_runtime::checkpoints;

use super::{
    flow::Flows,
    report::{Difference, Halt},
};

/// What was said.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// The first record of its input that a receiver has not taken.
    next: BTreeMap<(String, TopicPartition), Offset>,
    /// The number of the last record that anybody has taken from a task.
    taken: BTreeMap<(String, TopicPartition), (u64, String)>,
}

impl Told {
    /// Reads the checkpoints; a log without them says nothing.
    pub(crate) async fn of(log: &dyn Log) -> Result<Self, Halt> {
        let words = match checkpoints::latest(log).await {
            Err(LogError::UnknownTopic(_)) => Vec::new(),
            words => words?,
        };
        let mut told = Self::default();
        for word in words {
            for input in word.inputs {
                let Ok(topic) = TopicName::new(input.topic) else { continue };
                let at = TopicPartition::new(topic, Partition(input.partition));
                for source in input.sources {
                    let taken = told.taken.entry((source.task, at.clone())).or_default();
                    if source.seq > taken.0 {
                        *taken = (source.seq, word.receiver.clone());
                    }
                }
                let next = told.next.entry((word.receiver.clone(), at)).or_default();
                *next = Offset(input.next_offset).max(*next);
            }
        }
        Ok(told)
    }

    /// How far a task has said that it is in its inbox.
    pub(crate) fn next(&self, task: &str, inbox: &TopicPartition) -> Offset {
        self.next.get(&(task.to_owned(), inbox.clone())).copied().unwrap_or_default()
    }

    /// Whether everything that was said to be taken is in the log, as it was read afterwards.
    pub(crate) fn check(
        &self,
        flows: &Flows,
        (first, ends): (&BTreeMap<TopicPartition, Offset>, &BTreeMap<TopicPartition, Offset>),
    ) -> Result<(), Halt> {
        for ((receiver, at), next) in &self.next {
            if let Some(end) = ends.get(at).filter(|end| next > end) {
                let expected = format!("{next} records, which {receiver} has taken");
                let lost = Difference::new("the log has lost records at its end", expected, end.to_string());
                return Err(lost.at(at, *end).into());
            }
        }
        for ((task, at), (number, receiver)) in &self.taken {
            let has = flows.get(&(task.clone(), at.clone())).map_or(0, |flow| flow.mark.seq);
            // Of a partition of which records were trimmed, a task's may be among them.
            let is_whole = first.get(at).is_some_and(|first| *first == Offset(0));
            if *number > has && (is_whole || has > 0) {
                let what = format!("a record of {task} that {receiver} has taken is missing");
                let lost = Difference::new(what, format!("number {number}"), format!("numbers up to {has}"));
                return Err(lost.at(at, ends.get(at).copied().unwrap_or_default()).into());
            }
        }
        Ok(())
    }
}
