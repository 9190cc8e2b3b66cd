//! The second, detailed look at a task and a destination whose running hashes differ: replays the task once more and
//! compares record by record, to name the first one.

use bytes::Bytes;
use streambook_log::{Record, Visibility, embedded::EmbeddedLog};
use streambook_model::{
    codec,
    meta::Source,
    position::{Offset, TopicPartition},
};
use streambook_runtime::step::Output;

use super::{
    manner::Manner,
    records::READ,
    replay::{Job, Replay, Shared},
    report::{Difference, Halt},
    scratch::Scratch,
};

/// Bytes of a record shown in a difference.
const SHOWN: usize = 2_000;

/// The first record of this destination that is not what the task sends.
pub(crate) fn first_difference(shared: &Shared, job: &Job, to: &TopicPartition) -> Result<Difference, Halt> {
    let scratch = Scratch::new()?;
    let task = job.task(shared.manner);
    let name = task.name().to_owned();
    let state = scratch.task(job.processor.name(), job.partition)?;
    let flow = shared.flows.get(&(name.clone(), to.clone()));
    let first = flow.map_or(1, |flow| flow.first);
    // A shared log holds the beginning of what the task sends, with records that are left out in between.
    let last = flow.filter(|_| shared.manner == Manner::Shared).map(|flow| flow.mark.seq);
    let next = shared.first.get(to).copied().unwrap_or_default();
    let numbers = last.map(|last| (first, last));
    let mut stored =
        Stored { log: &shared.log, at: to, task: &name, next, read: Vec::new().into_iter(), numbers };
    let mut seq = 0;
    let inbox = task.inbox().clone();
    let mut replay = Replay { log: &shared.log, task, state, next: Offset(0), turn: None };
    let compared = replay.advance(job.until, |taken| {
        let cause = (&*name, &inbox, taken.record.offset);
        for output in taken.step.outputs.iter().filter(|output| output.to == *to) {
            seq += 1;
            if seq >= first && last.is_none_or(|last| seq <= last) {
                compare(output, stored.next()?, cause, &stored)?;
            }
        }
        Ok(())
    });
    match compared {
        Ok(()) => Ok(match stored.next()? {
            // Of a log that goes on there are more, beyond where the replay ends.
            Some(extra) if shared.manner != Manner::Beside => stored.extra(&extra),
            _ => whole(&name, to),
        }),
        Err(halt) => into_difference(halt),
    }
}

fn into_difference(halt: Halt) -> Result<Difference, Halt> {
    match halt {
        Halt::Differs(difference) => Ok(*difference),
        failed => Err(failed),
    }
}

fn compare(
    output: &Output,
    stored: Option<Record>,
    (task, inbox, cause): (&str, &TopicPartition, Offset),
    at: &Stored<'_>,
) -> Result<(), Halt> {
    let what = format!("an output of {task} (of {inbox} offset {cause}) is not what was recorded");
    let expected = describe(&output.record.key, &output.record.value);
    match stored {
        None => {
            Err(Difference::new(what, expected, "nothing: the record is missing").at(at.at, at.next).into())
        }
        Some(record) if record.key == output.record.key && record.value == output.record.value => Ok(()),
        Some(record) => {
            let found = describe(&record.key, &record.value);
            Err(Difference::new(what, expected, found).at(at.at, record.offset).into())
        }
    }
}

/// The hashes differ and the records do not: only possible when the log changes meanwhile.
fn whole(task: &str, to: &TopicPartition) -> Difference {
    let what = format!("the outputs of {task} have another running hash than a replay");
    Difference { offset: None, ..Difference::new(what, "the same", "another").at(to, Offset(0)) }
}

/// The records of one task in a partition, one after the other.
struct Stored<'a> {
    log: &'a EmbeddedLog,
    at: &'a TopicPartition,
    task: &'a str,
    next: Offset,
    read: std::vec::IntoIter<Record>,
    /// On a shared log: the number that is next, and the last one.
    numbers: Option<(u64, u64)>,
}

impl Stored<'_> {
    fn next(&mut self) -> Result<Option<Record>, Halt> {
        if self.numbers.is_some_and(|(next, last)| next > last) {
            return Ok(None);
        }
        loop {
            while let Some(record) = self.read.next() {
                self.next = record.offset.plus(1);
                if self.is_next(&record.value) {
                    return Ok(Some(record));
                }
            }
            let records = self.log.read_blocking(self.at, self.next, READ, Visibility::Written)?;
            if records.is_empty() {
                return Ok(None);
            }
            self.read = records.into_iter();
        }
    }

    fn is_next(&mut self, value: &[u8]) -> bool {
        let Some(source) = source(value).filter(|source| source.task == self.task) else { return false };
        match &mut self.numbers {
            None => true,
            Some((next, _)) if *next == source.seq => {
                *next += 1;
                true
            }
            Some(_) => false,
        }
    }

    fn extra(&self, record: &Record) -> Difference {
        let what = format!("a record states {} as its source, which has never sent it", self.task);
        Difference::new(what, "nothing", describe(&record.key, &record.value)).at(self.at, record.offset)
    }
}

fn source(value: &[u8]) -> Option<Source> {
    codec::decode(value).ok().and_then(|message| message.meta().source.clone())
}

/// A record for people: its key and its JSON, or its bytes where it has none.
fn describe(key: &Bytes, value: &Bytes) -> String {
    let decoded = codec::decode(value).ok().and_then(|message| serde_json::to_string(&message).ok());
    let text = decoded.unwrap_or_else(|| hex::encode(value));
    let shown: String = text.chars().take(SHOWN).collect();
    format!("key {}: {shown}", String::from_utf8_lossy(key))
}
