//! What was last taken from each task in each partition, so that repeats are dropped and a gap stops the sink.

use std::collections::BTreeMap;

use streambook_model::position::{Offset, TopicPartition};
use streambook_runtime::{
    lineage::{Gaps, Mark, Verdict, judge},
    processor::Fault,
    sink::{Batch, Delivered},
};

use super::error::ClickHouseError;

/// The last record taken, by partition and task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Marks(BTreeMap<TopicPartition, BTreeMap<String, Mark>>);

/// What a batch comes to: the records that are not repeats, and what is remembered after it.
pub(crate) struct Judged<'b> {
    pub(crate) taken: Vec<&'b Delivered>,
    pub(crate) after: Marks,
}

impl Marks {
    /// Those of one partition.
    pub(crate) fn of(&self, from: &TopicPartition) -> impl Iterator<Item = (&String, &Mark)> {
        self.0.get(from).into_iter().flatten()
    }

    /// Remembers one.
    pub(crate) fn set(&mut self, from: &TopicPartition, task: String, mark: Mark) {
        self.0.entry(from.clone()).or_default().insert(task, mark);
    }

    /// Judges every record of a batch.
    pub(crate) fn judge<'b>(&self, batch: &'b Batch, gaps: Gaps) -> Result<Judged<'b>, ClickHouseError> {
        let mut judged = Judged { taken: Vec::with_capacity(batch.records.len()), after: self.clone() };
        for delivered in &batch.records {
            if gaps == Gaps::AwaitResend && self.follows_start(&delivered.from, batch) {
                judged.after.begin(delivered);
            }
            if judged.after.takes(delivered, gaps)? {
                judged.taken.push(delivered);
            }
        }
        Ok(judged)
    }

    /// Whether everything of a partition has been read from its start, as far as is known: a task's first record is then its
    /// number 1, and another has been lost and comes again.
    fn follows_start(&self, from: &TopicPartition, batch: &Batch) -> bool {
        self.0.contains_key(from) || batch.before.get(from).is_none_or(|before| *before == Offset(0))
    }

    /// A task of which nothing is known begins with its number 1.
    fn begin(&mut self, delivered: &Delivered) {
        if let Some(source) = &delivered.message.meta().source {
            let tasks = self.0.entry(delivered.from.clone()).or_default();
            tasks.entry(source.task.clone()).or_insert(Mark::START);
        }
    }

    /// Whether a record is new. The first of a task of which nothing is known is accepted whatever its number, since what was
    /// before it may have been trimmed.
    fn takes(&mut self, delivered: &Delivered, gaps: Gaps) -> Result<bool, ClickHouseError> {
        let Some(source) = &delivered.message.meta().source else { return Ok(true) };
        let mark = Mark { seq: source.seq, chain: source.chain };
        let Some(last) = self.0.get_mut(&delivered.from).and_then(|tasks| tasks.get_mut(&source.task)) else {
            self.set(&delivered.from, source.task.clone(), mark);
            return Ok(true);
        };
        let stopped = |fault: Fault| ClickHouseError::Lineage {
            partition: delivered.from.to_string(),
            offset: delivered.offset.0,
            reason: fault.to_string(),
        };
        if judge(*last, source, gaps).map_err(stopped)? != Verdict::Take {
            return Ok(false);
        }
        *last = mark;
        Ok(true)
    }
}
