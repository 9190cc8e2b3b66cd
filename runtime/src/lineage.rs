//! Exactly once without broker transactions: each output carries `source = {task, seq, chain}`, and the receiver
//! decides from the last one it took from that task.
//!
//! | incoming `seq` | incoming `chain` | verdict |
//! | --- | --- | --- |
//! | next | whatever | taken |
//! | last | the same | a repeat, dropped |
//! | last | another | stop: the sender computed something else this time |
//! | lower | whatever | a repeat, dropped |
//! | beyond the next | whatever | a gap: where senders resend, left out until they do; else stop |

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use streambook_model::{bytes::LineageHash, meta::Source, position::TopicPartition};

use crate::{
    processor::Fault,
    state::{State, StateError},
    table::Table,
};

/// The last number and running hash of a flow of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The last number; 0 before the first.
    pub seq: u64,
    /// The running hash after it.
    pub chain: LineageHash,
}

impl Mark {
    /// Before the first record.
    pub const START: Self = Self { seq: 0, chain: LineageHash::ZERO };
}

/// What was last taken from each task in each partition.
pub type Marks = BTreeMap<(TopicPartition, String), Mark>;

/// What a receiver does with a record that carries lineage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the next one.
    Take,
    /// It was taken before.
    Repeat,
    /// One before it is missing: it is left out, and comes again behind that one.
    Early,
}

/// What a gap means to a receiver.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Gaps {
    /// Log and tasks are one store, so there can be none: what is stored is not what was written.
    #[default]
    Stop,
    /// The log lost what it had acknowledged, or shows it late. The sender keeps its records until the receiver has them,
    /// and sends them again.
    AwaitResend,
}

/// Decides on a record from a task, given the last one taken from it.
pub fn judge(last: Mark, source: &Source, gaps: Gaps) -> Result<Verdict, Fault> {
    if source.seq == last.seq + 1 {
        return Ok(Verdict::Take);
    }
    if source.seq > last.seq {
        return match gaps {
            Gaps::AwaitResend => Ok(Verdict::Early),
            Gaps::Stop => Err(Fault::Stop(format!(
                "a gap from task {}: expected seq {}, found {}",
                source.task,
                last.seq + 1,
                source.seq
            ))),
        };
    }
    if source.seq == last.seq && source.chain != last.chain {
        return Err(Fault::Stop(format!(
            "task {} sent seq {} twice with different content: {} and {}",
            source.task, source.seq, last.chain, source.chain
        )));
    }
    Ok(Verdict::Repeat)
}

/// What has been taken from each task: under (0, task).
const RECEIVED: Table<Mark> = Table::new(0);

/// The lowest number of a task that was early and has not come in order since: under (0, task). It is kept, so that a restart
/// does not forget that something is missing.
const EARLY: Table<u64> = Table::new(0);

/// Decides on a record and remembers it if it is taken, or if it is early.
pub fn receive(state: &mut dyn State, source: &Source, gaps: Gaps) -> Result<Verdict, Fault> {
    let (key, early) = (("in", source.task.as_str()), ("early", source.task.as_str()));
    let verdict = judge(RECEIVED.get(state, key)?.unwrap_or(Mark::START), source, gaps)?;
    match verdict {
        Verdict::Take => {
            RECEIVED.put(state, key, &Mark { seq: source.seq, chain: source.chain })?;
            if gaps == Gaps::AwaitResend && EARLY.get(state, early)?.is_some_and(|early| early <= source.seq)
            {
                EARLY.delete(state, early);
            }
        }
        Verdict::Early if EARLY.get(state, early)?.is_none_or(|known| source.seq < known) => {
            EARLY.put(state, early, &source.seq)?;
        }
        Verdict::Early | Verdict::Repeat => {}
    }
    Ok(verdict)
}

/// More tasks than send to one partition.
const SENDERS_MAX: usize = 10_000;

/// What has been taken, by task.
pub fn received(state: &dyn State) -> Result<BTreeMap<String, Mark>, StateError> {
    let found = RECEIVED.scan_prefix_with_keys(state, "in", SENDERS_MAX)?;
    found.into_iter().map(|(key, mark)| Ok((task_of(&key)?, mark))).collect()
}

/// What is missing: the next number of each task of which later ones have come.
pub fn missing(state: &dyn State) -> Result<BTreeMap<String, u64>, StateError> {
    let mut missing = BTreeMap::new();
    for (key, _) in EARLY.scan_prefix_with_keys(state, "early", SENDERS_MAX)? {
        let task = task_of(&key)?;
        let last = RECEIVED.get(state, ("in", task.as_str()))?.unwrap_or(Mark::START);
        missing.insert(task, last.seq.saturating_add(1));
    }
    Ok(missing)
}

/// A task's name has no zero byte, so its key is the name and its end (`table::Key` of a text).
fn task_of(key: &[u8]) -> Result<String, StateError> {
    let name = key.strip_suffix(&[0, 1]).and_then(|name| std::str::from_utf8(name).ok());
    let broken = || StateError::Decode { key: hex::encode(key), reason: "it names no task".into() };
    Ok(name.ok_or_else(broken)?.to_owned())
}

/// What has been sent to each destination partition.
const SENT: Table<Mark> = Table::new(0);

/// Gives the next output to this destination its lineage, and remembers it.
pub fn send(
    state: &mut dyn State,
    task: &str,
    to: &TopicPartition,
    unstamped: &[u8],
) -> Result<Source, StateError> {
    let key = ("out", to.topic.as_str(), to.partition.0);
    let last = SENT.get(state, key)?.unwrap_or(Mark::START);
    let seq = last.seq + 1;
    let chain = streambook_model::codec::extend_chain(last.chain, seq, unstamped);
    SENT.put(state, key, &Mark { seq, chain })?;
    Ok(Source { task: task.to_owned(), seq, chain })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(seq: u64, chain: u8) -> Source {
        Source { task: "reorg/1".into(), seq, chain: LineageHash::new([chain; 16]) }
    }

    fn check(last: u64, seq: u64, chain: u8, expect: Option<Verdict>) {
        let last = Mark { seq: last, chain: LineageHash::new([1; 16]) };
        assert_eq!(judge(last, &source(seq, chain), Gaps::Stop).ok(), expect);
        let awaited = judge(last, &source(seq, chain), Gaps::AwaitResend).ok();
        let early = (seq > last.seq + 1).then_some(Verdict::Early);
        assert_eq!(awaited, early.or(expect), "only a gap is another matter where senders resend");
    }

    #[test]
    fn what_is_missing_is_known_until_what_was_early_has_come_again() {
        let mut state = crate::state::MemoryState::default();
        let mut receive = |seq| receive(&mut state, &source(seq, 1), Gaps::AwaitResend).unwrap();
        assert_eq!([receive(1), receive(4), receive(3)], [Verdict::Take, Verdict::Early, Verdict::Early]);
        let missing_now = |state: &dyn State| missing(state).unwrap().get("reorg/1").copied();
        assert_eq!(missing_now(&state), Some(2));
        let mut receive = |seq| super::receive(&mut state, &source(seq, 1), Gaps::AwaitResend).unwrap();
        assert_eq!(receive(2), Verdict::Take);
        assert_eq!(missing_now(&state), Some(3), "3 was left out and has to come again");
        super::receive(&mut state, &source(3, 1), Gaps::AwaitResend).unwrap();
        assert_eq!(missing_now(&state), None);
        assert_eq!(received(&state).unwrap()["reorg/1"].seq, 3);
    }

    #[test]
    fn the_next_is_taken_repeats_are_dropped_gaps_and_contradictions_stop() {
        check(0, 1, 9, Some(Verdict::Take));
        check(4, 5, 9, Some(Verdict::Take));
        check(4, 4, 1, Some(Verdict::Repeat));
        check(4, 2, 9, Some(Verdict::Repeat));
        check(4, 4, 2, None);
        check(4, 6, 1, None);
        check(0, 2, 1, None);
    }
}
