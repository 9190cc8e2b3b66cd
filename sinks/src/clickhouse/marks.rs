//! What was last taken from each task in each partition, so that repeats are dropped and a gap stops the sink.

use std::collections::BTreeMap;

use streambook_model::{position::TopicPartition, topics};
use streambook_runtime::{
    lineage::{Gaps, Mark, Verdict, judge},
    processor::Fault,
    sink::{Batch, Delivered},
};

use super::error::ClickHouseError;

/// No task: where a partition was begun is remembered under it, as a number, so that it is stored with the rest.
const BEGINNING: &str = "(beginning)";

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

    /// Those of all tasks.
    pub(crate) fn all(&self) -> streambook_runtime::lineage::Marks {
        let tasks =
            self.0.iter().flat_map(|(from, tasks)| tasks.iter().map(move |(task, mark)| (from, task, mark)));
        let tasks = tasks.filter(|(_, task, _)| *task != BEGINNING);
        tasks.map(|(from, task, mark)| ((from.clone(), task.clone()), *mark)).collect()
    }

    /// Remembers one.
    pub(crate) fn set(&mut self, from: &TopicPartition, task: String, mark: Mark) {
        self.0.entry(from.clone()).or_default().insert(task, mark);
    }

    /// Judges every record of a batch.
    pub(crate) fn judge<'b>(&self, batch: &'b Batch, gaps: Gaps) -> Result<Judged<'b>, ClickHouseError> {
        let mut judged = Judged { taken: Vec::with_capacity(batch.records.len()), after: self.clone() };
        for delivered in &batch.records {
            if gaps == Gaps::AwaitResend {
                judged.after.begin(delivered, batch);
            }
            if judged.after.takes(delivered, gaps)? {
                judged.taken.push(delivered);
            }
        }
        Ok(judged)
    }

    /// In a partition that is read from its start, a task of which nothing is known begins with its number 1: another has been
    /// lost, and comes again. In one that was begun later, any may be the first that is left.
    fn begin(&mut self, delivered: &Delivered, batch: &Batch) {
        let Some(source) = &delivered.message.meta().source else { return };
        let tasks = self.0.entry(delivered.from.clone()).or_default();
        let first = || batch.before.get(&delivered.from).copied().unwrap_or_default();
        let beginning = tasks.entry(BEGINNING.to_owned());
        if beginning.or_insert_with(|| Mark { seq: first().0, ..Mark::START }).seq == 0 {
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
        match judge(*last, source, gaps).map_err(stopped)? {
            Verdict::Take => {}
            Verdict::Early if is_sent_once(&delivered.from) => {}
            Verdict::Early | Verdict::Repeat => return Ok(false),
        }
        *last = mark;
        Ok(true)
    }
}

/// Whether nobody keeps the records of a topic until they have arrived: then what the log has lost does not come again.
fn is_sent_once(from: &TopicPartition) -> bool {
    topics::of(&from.topic).is_some_and(|topic| topic.receiver.is_none())
}

#[cfg(test)]
mod tests {
    use streambook_model::{
        bytes::LineageHash,
        message::Message,
        meta::{Meta, Source},
        position::{Offset, Partition},
        records::book::Tick,
        time::Timestamp,
        topics::TopicDef,
    };

    use super::*;

    fn record(topic: TopicDef, offset: u64, task: &str, seq: u64) -> Delivered {
        let now = Timestamp::from_millis(1);
        let source = Source { task: task.to_owned(), seq, chain: LineageHash::new([1; 16]) };
        let (source, id) = (Some(source), offset.to_string());
        let meta = Meta { source, id, occurred_at: now, recorded_at: now, cause: None, trace: None };
        let from = TopicPartition::new(topic.topic(), Partition(0));
        Delivered { from, offset: Offset(offset), message: Box::new(Message::from(Tick { meta, now })) }
    }

    /// The numbers that are taken of records from this offset on, and what is known after them.
    fn taken(marks: &Marks, topic: TopicDef, first: u64, records: &[(&str, u64)]) -> (Vec<u64>, Marks) {
        let from = TopicPartition::new(topic.topic(), Partition(0));
        let all = (first..).zip(records);
        let all: Vec<_> = all.map(|(offset, (task, seq))| record(topic, offset, task, *seq)).collect();
        let after = Offset(first).plus(records.len() as u64);
        let batch = Batch {
            records: all,
            before: [(from.clone(), Offset(first))].into(),
            after: [(from, after)].into(),
        };
        let judged = marks.judge(&batch, Gaps::AwaitResend).unwrap();
        let seq = |delivered: &&Delivered| delivered.message.meta().source.as_ref().unwrap().seq;
        (judged.taken.iter().map(seq).collect(), judged.after)
    }

    #[test]
    fn read_from_the_start_every_task_begins_with_its_first() {
        let (first, marks) =
            taken(&Marks::default(), topics::DEAD_LETTERS, 0, &[("a", 1), ("b", 2), ("a", 2)]);
        assert_eq!(first, [1, 2]);
        assert_eq!(taken(&marks, topics::DEAD_LETTERS, 3, &[("c", 4), ("b", 1), ("b", 2)]).0, [1, 2]);
    }

    #[test]
    fn begun_after_records_were_trimmed_any_record_of_a_task_may_be_its_first() {
        let (first, marks) = taken(&Marks::default(), topics::DEAD_LETTERS, 10, &[("a", 7), ("a", 8)]);
        assert_eq!(first, [7, 8]);
        let (later, marks) = taken(&marks, topics::DEAD_LETTERS, 12, &[("b", 5), ("a", 8), ("b", 6)]);
        assert_eq!(later, [5, 6], "another task, which nothing was known of");
        assert_eq!(taken(&marks, topics::DEAD_LETTERS, 15, &[("b", 8), ("b", 7)]).0, [7]);
        assert_eq!(marks.all().len(), 2);
    }

    #[test]
    fn what_nobody_sends_again_is_not_waited_for() {
        let (replies, _) = taken(&Marks::default(), topics::API_REPLIES, 0, &[("a", 1), ("a", 3), ("a", 3)]);
        assert_eq!(replies, [1, 3]);
    }
}
