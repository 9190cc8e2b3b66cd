//! The second, detailed look at a task and a destination whose running hashes differ: replays the task once more and
//! compares record by record, to name the first one.

use bytes::Bytes;
use streambook_log::{Record, Visibility, embedded::EmbeddedLog};
use streambook_model::{
    codec,
    position::{Offset, TopicPartition},
};
use streambook_runtime::step::{Output, Task};

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
    let task = Task::new(&*job.processor, job.partition);
    let name = task.name().to_owned();
    let state = scratch.task(job.processor.name(), job.partition)?;
    let first = shared.flows.get(&(name.clone(), to.clone())).map_or(1, |flow| flow.first);
    let next = shared.first.get(to).copied().unwrap_or_default();
    let mut stored = Stored { log: &shared.log, at: to, task: &name, next, read: Vec::new().into_iter() };
    let mut seq = 0;
    let inbox = task.inbox().clone();
    let mut replay = Replay { log: &shared.log, task, state, next: Offset(0), turn: None };
    let compared = replay.advance(job.until, |taken| {
        let cause = (&*name, &inbox, taken.record.offset);
        for output in taken.step.outputs.iter().filter(|output| output.to == *to) {
            seq += 1;
            if seq >= first {
                compare(output, stored.next()?, cause, &stored)?;
            }
        }
        Ok(())
    });
    match compared {
        Ok(()) => Ok(match stored.next()? {
            // Of a log that goes on there are more, beyond where the replay ends.
            Some(extra) if shared.manner == Manner::Alone => stored.extra(&extra),
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
}

impl Stored<'_> {
    fn next(&mut self) -> Result<Option<Record>, Halt> {
        loop {
            for record in self.read.by_ref() {
                self.next = record.offset.plus(1);
                if is_from(&record.value, self.task) {
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

    fn extra(&self, record: &Record) -> Difference {
        let what = format!("a record states {} as its source, which has never sent it", self.task);
        Difference::new(what, "nothing", describe(&record.key, &record.value)).at(self.at, record.offset)
    }
}

fn is_from(value: &[u8], task: &str) -> bool {
    let message = codec::decode(value).ok();
    message.and_then(|message| message.meta().source.clone()).is_some_and(|source| source.task == task)
}

/// A record for people: its key and its JSON, or its bytes where it has none.
fn describe(key: &Bytes, value: &Bytes) -> String {
    let decoded = codec::decode(value).ok().and_then(|message| serde_json::to_string(&message).ok());
    let text = decoded.unwrap_or_else(|| hex::encode(value));
    let shown: String = text.chars().take(SHOWN).collect();
    format!("key {}: {shown}", String::from_utf8_lossy(key))
}
