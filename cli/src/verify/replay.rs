//! Replays one task: its inbox from the first record up to where it stands, through the same step as in production, into
//! a state of its own. What comes out must be what is in the log, and the state what is stored.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use streambook_log::{Log as _, LogError, Record, Visibility, embedded::EmbeddedLog};
use streambook_model::position::{Offset, Partition, TopicPartition};
use streambook_runtime::{
    processor::Processor,
    step::{Output, Step, Task},
    store::TaskStore,
};

use super::{
    books::{Books, BooksFound},
    cut,
    flow::{Flow, Flows, Keys},
    manner::Manner,
    outputs,
    records::READ,
    report::{Difference, Halt, VerifyFailure},
    scratch::Scratch,
    sql::Sql,
    states::{self, Stored},
    watch::Watch,
    workers::Turn,
};

/// Records of one commit to the scratch store.
const COMMIT: u64 = 1_000;

/// What every replay needs.
pub(crate) struct Shared {
    pub(crate) log: Arc<EmbeddedLog>,
    pub(crate) manner: Manner,
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

/// What a record leads to.
pub(crate) struct Taken<'r> {
    pub(crate) record: &'r Record,
    pub(crate) step: &'r Step,
    /// The first key that it changed, outside the runtime's own table.
    pub(crate) changed: Option<Bytes>,
}

/// Replays a task and compares. Of several differences the one that explains the others comes first: an output, the state,
/// then what follows from them.
pub(crate) fn replay(shared: &Shared, job: &Job, turn: Turn<'_>) -> Result<Replayed, Halt> {
    let task = Task::new(&*job.processor, job.partition);
    let state = shared.scratch.task(job.processor.name(), job.partition)?;
    let mut sent = Sent { shared, task: task.name().to_owned(), flows: BTreeMap::new() };
    let mut books = Books::new(shared, job)?;
    let mut suspicion = None;
    let mut replay = Replay { log: &shared.log, task, state, next: Offset(0), turn: Some(turn) };
    replay.advance(job.until, |taken| {
        turn.done(1)?;
        let numbers: Vec<_> = taken.step.outputs.iter().map(|output| sent.take(output)).collect();
        if suspicion.is_none() {
            suspicion = only_differences(books.take(&taken, &numbers))?;
        }
        Ok(())
    })?;
    let (outputs, chains) = sent.compare(job, &replay)?;
    let stored = Stored::open(&shared.log, job.processor.name(), job.partition)?;
    let state_keys = states::compare(&stored, &mut replay)?;
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

/// A task on its way through its inbox.
pub(crate) struct Replay<'a> {
    pub(crate) log: &'a EmbeddedLog,
    pub(crate) task: Task<'a>,
    pub(crate) state: TaskStore,
    /// The next record.
    pub(crate) next: Offset,
    /// Says whether the result is still wanted.
    pub(crate) turn: Option<Turn<'a>>,
}

impl Replay<'_> {
    /// Steps through the inbox up to `until`, and hands over what each record leads to.
    pub(crate) fn advance(
        &mut self,
        until: Offset,
        mut each: impl FnMut(Taken<'_>) -> Result<(), Halt>,
    ) -> Result<(), Halt> {
        while self.next < until {
            let inbox = self.task.inbox();
            let records = self.log.read_blocking(inbox, self.next, READ, Visibility::Written)?;
            if records.is_empty() {
                let found = format!("it has {} records", self.next);
                let expected = format!("at least the {until} that the task has taken");
                let lost = Difference::new("an inbox has lost records", expected, found);
                return Err(lost.at(inbox, self.next).into());
            }
            for record in records.iter().take_while(|record| record.offset < until) {
                let mut watch = Watch::over(&mut self.state);
                let step = self.task.step(record, &mut watch)?;
                let changed = watch.changed();
                each(Taken { record, step: &step, changed })?;
                self.next = record.offset.plus(1);
                if self.next.0.is_multiple_of(COMMIT) || self.next == until {
                    self.state.commit(self.next, Vec::new()).map_err(VerifyFailure::ScratchStore)?;
                }
            }
        }
        Ok(())
    }

    /// Goes on to where the task stands by now. What it sends on the way is beyond what is compared.
    pub(crate) fn follow(&mut self, until: Offset) -> Result<(), Halt> {
        let turn = self.turn;
        self.advance(until, |_| Ok(turn.map_or(Ok(()), |turn| turn.done(0))?))
    }
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
    task: String,
    flows: BTreeMap<TopicPartition, (u64, Keys)>,
}

impl Sent<'_> {
    /// Counts an output; gives its number.
    fn take(&mut self, output: &Output) -> u64 {
        let (seq, keys) = self.flows.entry(output.to.clone()).or_default();
        *seq += 1;
        let kept = self.shared.flows.get(&(self.task.clone(), output.to.clone()));
        if kept.is_none_or(|kept| *seq >= kept.first) {
            keys.add(&output.record.key);
        }
        *seq
    }

    /// Compares every destination; gives the number of outputs and of chains.
    fn compare(self, job: &Job, replay: &Replay<'_>) -> Result<(u64, u64), Halt> {
        let of_this =
            |((name, to), _): (&(String, TopicPartition), &Flow)| (*name == self.task).then(|| to.clone());
        let mut destinations: Vec<_> = self.shared.flows.iter().filter_map(of_this).collect();
        destinations.extend(self.flows.keys().cloned());
        destinations.sort();
        destinations.dedup();
        for to in &destinations {
            if !self.same(to, &replay.state)? {
                return Err(outputs::first_difference(self.shared, job, to)?.into());
            }
        }
        Ok((self.flows.values().map(|(count, _)| count).sum(), destinations.len() as u64))
    }

    fn same(&self, to: &TopicPartition, state: &TaskStore) -> Result<bool, Halt> {
        let kept = self.shared.flows.get(&(self.task.clone(), to.clone()));
        let Some(kept) = kept else {
            // All of it may have been trimmed, and nothing else.
            let trimmed = self.shared.first.get(to).is_some_and(|first| *first > Offset(0));
            return Ok(trimmed);
        };
        let keys = self.flows.get(to).map_or_else(Keys::default, |(_, keys)| *keys);
        Ok(cut::sent(state, to)? == kept.mark && keys == kept.keys)
    }
}
