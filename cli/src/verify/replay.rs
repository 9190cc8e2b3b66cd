//! Replays one task: its inbox from the first record up to where it stands, through the same step as in production, into
//! a state of its own. What comes out must be what is in the log, and the state what is stored.

use std::{collections::BTreeMap, sync::Arc};

use streambook_log::{Log as _, LogError, Visibility, embedded::EmbeddedLog};
use streambook_model::position::{Offset, Partition, TopicPartition};
use streambook_runtime::{
    lineage::Mark,
    processor::Processor,
    step::{Output, Task},
    store::TaskStore,
    table::Table,
};

use super::{
    books::{Books, BooksFound},
    flow::{Flow, Flows, Keys},
    outputs,
    records::READ,
    report::{Difference, Halt},
    scratch::Scratch,
    sql::Sql,
    states,
    workers::Turn,
};

/// Records of one commit to the scratch store.
const COMMIT: usize = 1_000;
/// The runtime's table of what a task has sent: `("out", topic, partition)` gives the last number and running hash.
const SENT: Table<Mark> = Table::new(0);

/// What every replay needs.
pub(crate) struct Shared {
    pub(crate) log: Arc<EmbeddedLog>,
    pub(crate) scratch: Scratch,
    /// What the log holds of each task, by destination.
    pub(crate) flows: Flows,
    /// The first kept offset of each partition.
    pub(crate) first: BTreeMap<TopicPartition, Offset>,
    pub(crate) sql: Option<Sql>,
    pub(crate) runtime: tokio::runtime::Handle,
}

/// One task to replay.
pub(crate) struct Job {
    pub(crate) processor: Arc<dyn Processor>,
    pub(crate) partition: Partition,
    /// The first record that the task has not taken.
    pub(crate) until: Offset,
}

/// What a replay has found to be right.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    pub(crate) records: u64,
    pub(crate) outputs: u64,
    pub(crate) chains: u64,
    pub(crate) state_keys: u64,
    pub(crate) books: BooksFound,
}

/// Replays a task and compares. Of several differences the one that explains the others comes first: an output, the state,
/// then what follows from them.
pub(crate) fn replay(shared: &Shared, job: &Job, turn: Turn<'_>) -> Result<Replayed, Halt> {
    let task = Task::new(&*job.processor, job.partition);
    let mut state = shared.scratch.task(job.processor.name(), job.partition)?;
    let mut sent = Sent { shared, task: task.name(), flows: BTreeMap::new() };
    let mut books = Books::new(shared, job)?;
    let mut suspicion = None;
    run(&shared.log, &task, job.until, &mut state, |_, outputs| {
        turn.done(1)?;
        for output in outputs {
            let seq = sent.take(output);
            if suspicion.is_none() {
                suspicion = only_differences(books.take(output, seq))?;
            }
        }
        Ok(())
    })?;
    let (outputs, chains) = sent.compare(&task, job, &state)?;
    let stored = TaskStore::open(Arc::clone(&shared.log), job.processor.name(), job.partition)?;
    let state_keys = states::compare(task.name(), task.inbox(), &stored, &state)?;
    match suspicion {
        Some(difference) => Err(Halt::Differs(difference)),
        None => Ok(Replayed { records: job.until.0, outputs, chains, state_keys, books: books.finish()? }),
    }
}

/// Keeps a difference for later; a failure ends the work at once.
fn only_differences(result: Result<(), Halt>) -> Result<Option<Box<Difference>>, Halt> {
    match result {
        Ok(()) => Ok(None),
        Err(Halt::Differs(difference)) => Ok(Some(difference)),
        Err(failed) => Err(failed),
    }
}

/// Steps through the inbox up to `until`, and hands over what each record leads to.
pub(crate) fn run(
    log: &EmbeddedLog,
    task: &Task<'_>,
    until: Offset,
    state: &mut TaskStore,
    mut each: impl FnMut(Offset, &[Output]) -> Result<(), Halt>,
) -> Result<(), Halt> {
    let mut next = Offset(0);
    while next < until {
        let records = log.read_blocking(task.inbox(), next, READ, Visibility::Written)?;
        if records.is_empty() {
            let found = format!("it has {next} records");
            let expected = format!("at least the {until} that the task has taken");
            return Err(Difference::new("an inbox has lost records", expected, found)
                .at(task.inbox(), next)
                .into());
        }
        for record in records.iter().take_while(|record| record.offset < until) {
            let step = task.step(record, state)?;
            each(record.offset, &step.outputs)?;
            next = record.offset.plus(1);
            if next.0.is_multiple_of(COMMIT as u64) || next == until {
                state.commit(next, Vec::new()).map_err(super::report::VerifyFailure::ScratchStore)?;
            }
        }
    }
    Ok(())
}

/// The first kept offset of an inbox; `None` where the topic does not exist.
pub(crate) async fn first_of(log: &EmbeddedLog, inbox: &TopicPartition) -> Result<Option<Offset>, Halt> {
    match log.bounds(inbox, Visibility::Written).await {
        Ok(bounds) => Ok(Some(bounds.first)),
        Err(LogError::UnknownTopic(_) | LogError::UnknownPartition { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What the replayed task has sent, by destination.
struct Sent<'a> {
    shared: &'a Shared,
    task: &'a str,
    flows: BTreeMap<TopicPartition, (u64, Keys)>,
}

impl Sent<'_> {
    /// Counts an output; gives its number.
    fn take(&mut self, output: &Output) -> u64 {
        let (seq, keys) = self.flows.entry(output.to.clone()).or_default();
        *seq += 1;
        let kept = self.shared.flows.get(&(self.task.to_owned(), output.to.clone()));
        if kept.is_none_or(|kept| *seq >= kept.first) {
            keys.add(&output.record.key);
        }
        *seq
    }

    /// Compares every destination; gives the number of outputs and of chains.
    fn compare(self, task: &Task<'_>, job: &Job, state: &TaskStore) -> Result<(u64, u64), Halt> {
        let of_this =
            |((name, to), _): (&(String, TopicPartition), &Flow)| (name == self.task).then(|| to.clone());
        let mut destinations: Vec<_> = self.shared.flows.iter().filter_map(of_this).collect();
        destinations.extend(self.flows.keys().cloned());
        destinations.sort();
        destinations.dedup();
        for to in &destinations {
            if !self.same(to, state)? {
                return Err(outputs::first_difference(self.shared, task, job, to)?.into());
            }
        }
        Ok((self.flows.values().map(|(count, _)| count).sum(), destinations.len() as u64))
    }

    fn same(&self, to: &TopicPartition, state: &TaskStore) -> Result<bool, Halt> {
        let kept = self.shared.flows.get(&(self.task.to_owned(), to.clone()));
        let Some(kept) = kept else {
            // All of it may have been trimmed, and nothing else.
            let trimmed = self.shared.first.get(to).is_some_and(|first| *first > Offset(0));
            return Ok(trimmed);
        };
        let mark = SENT.get(state, ("out", to.topic.as_str(), to.partition.0))?.unwrap_or(Mark::START);
        let keys = self.flows.get(to).map_or_else(Keys::default, |(_, keys)| *keys);
        Ok(mark == kept.mark && keys == kept.keys)
    }
}
