//! Replays one task: its inbox from the first record up to where it stands, through the same step as in production, into
//! a state of its own. What comes out must be what is in the log, and the state what is stored.
//!
//! Where many processes share the log, it holds what they have sent so far: then the log must hold the beginning of what
//! comes out, and the stored state is elsewhere.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use streambook_log::{Log, LogError, Record, Visibility, embedded::EmbeddedLog};
use streambook_model::{
    peek,
    position::{Offset, Partition, TopicPartition},
    topics::TopicDef,
};
use streambook_runtime::{
    lineage::Mark,
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
    records::{ONE_WRITER, READ, is_sent_once},
    report::{Difference, Halt, VerifyFailure},
    resent::Awaited,
    scratch::Scratch,
    sql::Sql,
    states::{self, Stored},
    told::Told,
    watch::Watch,
    workers::Turn,
};

/// Records of one commit to the scratch store.
const COMMIT: u64 = 1_000;

/// What every replay needs.
pub(crate) struct Shared {
    pub(crate) log: Arc<EmbeddedLog>,
    /// Where what has come since is: the log itself, or the one that it is a copy of.
    pub(crate) origin: Arc<dyn Log>,
    pub(crate) manner: Manner,
    /// How long is waited there for a record that is said to exist.
    pub(crate) patience: Duration,
    pub(crate) scratch: Arc<Scratch>,
    /// What the processes have said before the log was looked at.
    pub(crate) told: Told,
    /// What the log holds of each task, by destination.
    pub(crate) flows: Flows,
    /// The first kept offset of each partition.
    pub(crate) first: BTreeMap<TopicPartition, Offset>,
    /// Where each partition's comparison ends.
    pub(crate) ends: BTreeMap<TopicPartition, Offset>,
    pub(crate) sql: Option<Sql>,
    pub(crate) runtime: tokio::runtime::Handle,
}

impl Shared {
    /// Whether it can be said where in their topics the records of a book are: not on a shared log that has forgotten some.
    pub(crate) fn knows_places(&self, book: Partition) -> bool {
        let is_whole = |topic: &TopicDef| {
            let first = self.first.get(&TopicPartition::new(topic.topic(), book));
            first.is_none_or(|first| *first == Offset(0))
        };
        self.manner != Manner::Shared || ONE_WRITER.iter().all(is_whole)
    }
}

/// One task to replay.
pub(crate) struct Job {
    pub(crate) processor: Arc<dyn Processor>,
    pub(crate) partition: Partition,
    /// The first record that the task has not taken.
    pub(crate) until: Offset,
}

impl Job {
    /// The task, as its log has it.
    pub(crate) fn task(&self, manner: Manner) -> Task<'_> {
        Task::new(&*self.processor, self.partition).with_gaps(manner.gaps())
    }
}

/// What a replay has found to be right.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    pub(crate) records: u64,
    pub(crate) outputs: u64,
    pub(crate) chains: u64,
    pub(crate) state_keys: u64,
    /// Outputs that are not in the log yet.
    pub(crate) unsent: u64,
    /// Those of them that their task had decided before the log was looked at.
    pub(crate) late: Vec<Awaited>,
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
    let task = job.task(shared.manner);
    let state = shared.scratch.task(job.processor.name(), job.partition)?;
    let mut sent = Sent { shared, task: task.name().to_owned(), flows: BTreeMap::new() };
    let told = shared.told.next(task.name(), task.inbox());
    let mut books = Books::new(shared, job)?;
    let mut suspicion = None;
    let mut replay = Replay { log: &shared.log, task, state, next: Offset(0), turn: Some(turn) };
    replay.advance(job.until, |taken| {
        turn.done(1)?;
        let is_due = taken.record.offset < told;
        let numbers: Vec<_> = taken.step.outputs.iter().map(|output| sent.take(output, is_due)).collect();
        if suspicion.is_none() {
            suspicion = only_differences(books.take(&taken, &numbers))?;
        }
        Ok(())
    })?;
    let Compared { outputs, chains, unsent, late } = sent.compare(job, &replay)?;
    let state_keys = match shared.manner {
        Manner::Shared => 0,
        Manner::Alone | Manner::Beside => {
            let stored = Stored::open(&shared.log, job.processor.name(), job.partition)?;
            states::compare(&stored, &mut replay)?
        }
    };
    if let Some(difference) = suspicion {
        return Err(Halt::Differs(difference));
    }
    let books = books.finish()?;
    Ok(Replayed { records: job.until.0, outputs, chains, state_keys, unsent, late, books })
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
    flows: BTreeMap<TopicPartition, SentTo>,
}

/// What it has sent to one destination.
struct SentTo {
    /// The number of the first output that the log still has.
    first: u64,
    count: u64,
    /// The last number that the task had decided before the log was looked at.
    due: u64,
    keys: Keys,
    /// The last number that a shared log has; 0 where everything must be in the log.
    last: u64,
    /// As it was at that number.
    at_last: Option<(Mark, Keys)>,
}

/// How much was compared.
struct Compared {
    outputs: u64,
    chains: u64,
    unsent: u64,
    late: Vec<Awaited>,
}

impl SentTo {
    fn take(&mut self, output: &Output, is_due: bool) -> u64 {
        self.count += 1;
        if is_due {
            self.due = self.count;
        }
        if self.count >= self.first {
            self.keys.add(&output.record.key);
        }
        if self.count == self.last {
            self.at_last = mark(output).map(|mark| (mark, self.keys));
        }
        self.count
    }
}

impl Sent<'_> {
    /// Counts an output, and whether it must be in the log soon; gives its number.
    fn take(&mut self, output: &Output, is_due: bool) -> u64 {
        // A destination is looked up before its name is copied: most have been sent to before.
        if let Some(sent) = self.flows.get_mut(&output.to) {
            return sent.take(output, is_due);
        }
        let kept = self.shared.flows.get(&(self.task.clone(), output.to.clone()));
        let first = kept.map_or(0, |kept| kept.first);
        let last = kept.filter(|_| self.shared.manner == Manner::Shared).map_or(0, |kept| kept.mark.seq);
        let sent = SentTo { first, count: 0, due: 0, keys: Keys::default(), last, at_last: None };
        self.flows.entry(output.to.clone()).or_insert(sent).take(output, is_due)
    }

    /// Compares every destination.
    fn compare(self, job: &Job, replay: &Replay<'_>) -> Result<Compared, Halt> {
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
        let outputs: u64 = self.flows.values().map(|sent| sent.count).sum();
        let unsent = match self.shared.manner {
            Manner::Shared => self.flows.values().map(|sent| sent.count.saturating_sub(sent.last)).sum(),
            Manner::Alone | Manner::Beside => 0,
        };
        let (outputs, chains) = (outputs.saturating_sub(unsent), destinations.len() as u64);
        Ok(Compared { outputs, chains, unsent, late: self.late() })
    }

    /// What the task had decided and the log does not have, where somebody waits for it.
    fn late(&self) -> Vec<Awaited> {
        let late = |(to, sent): (&TopicPartition, &SentTo)| {
            if self.shared.manner != Manner::Shared || sent.due <= sent.last || is_sent_once(to) {
                return None;
            }
            let last = sent.at_last.map_or(Mark::START, |(mark, _)| mark);
            let from = self.shared.ends.get(to).copied().unwrap_or_default();
            let (at, task, until) = (to.clone(), self.task.clone(), sent.due);
            Some(Awaited { at, task, last, until, early: from, from })
        };
        self.flows.iter().filter_map(late).collect()
    }

    fn same(&self, to: &TopicPartition, state: &TaskStore) -> Result<bool, Halt> {
        let kept = self.shared.flows.get(&(self.task.clone(), to.clone()));
        if self.shared.manner == Manner::Shared {
            let sent = self.flows.get(to).and_then(|sent| sent.at_last);
            return Ok(kept.is_none_or(|kept| sent == Some((kept.mark, kept.keys))));
        }
        let Some(kept) = kept else {
            // All of it may have been trimmed, and nothing else.
            let trimmed = self.shared.first.get(to).is_some_and(|first| *first > Offset(0));
            return Ok(trimmed);
        };
        let keys = self.flows.get(to).map_or_else(Keys::default, |sent| sent.keys);
        Ok(cut::sent(state, to)? == kept.mark && keys == kept.keys)
    }
}

/// An output's number and running hash.
fn mark(output: &Output) -> Option<Mark> {
    let source = peek::source(&output.record.value).ok().flatten()?;
    Some(Mark { seq: source.seq, chain: source.chain })
}
