//! Where the records of a book are in their topics. On a log of its own a task's record is where its number says; on a log
//! that many processes share some are there twice, so the numbers are noted while the log is read.
//!
//! Noted is by how much a number and its offset differ, where that changes: a few bytes for each time that something was
//! sent again, in the temporary store.

use std::collections::{BTreeMap, VecDeque};

use streambook_model::position::{Offset, TopicPartition};

use super::{
    records::ONE_WRITER,
    replay::Shared,
    report::VerifyFailure,
    scratch::{Index, Scratch},
};
use crate::verify::manner::Manner;

/// The index's name.
const NAME: &str = "places";
/// Changes read at once.
const PAGE: usize = 1_000;

/// Whether the books' places in a topic are looked for.
pub(crate) fn is_placed(at: &TopicPartition) -> bool {
    ONE_WRITER.iter().any(|topic| topic.name == at.topic.as_str())
}

/// Notes the places of the records of one partition.
pub(crate) struct Notes {
    index: Index,
    prefix: Vec<u8>,
    ahead: Option<u64>,
}

impl Notes {
    /// Nothing noted yet.
    pub(crate) fn new(scratch: &Scratch, at: &TopicPartition) -> Result<Self, VerifyFailure> {
        Ok(Self { index: scratch.index(NAME)?, prefix: prefix(at), ahead: None })
    }

    /// The record of this number is at this offset.
    pub(crate) fn take(&mut self, number: u64, offset: Offset) -> Result<(), VerifyFailure> {
        let ahead = offset.0.wrapping_sub(number);
        if self.ahead.replace(ahead) == Some(ahead) {
            return Ok(());
        }
        let key = [self.prefix.as_slice(), &number.to_be_bytes()].concat();
        self.index.put(key, ahead.to_be_bytes().to_vec())
    }

    /// Stores what was noted.
    pub(crate) fn finish(mut self) -> Result<(), VerifyFailure> {
        self.index.flush()
    }
}

/// The places of one task's records.
pub(crate) struct Places<'a> {
    shared: &'a Shared,
    task: String,
    cursors: BTreeMap<TopicPartition, Cursor>,
}

impl<'a> Places<'a> {
    /// Of this task.
    pub(crate) const fn new(shared: &'a Shared, task: String) -> Self {
        Self { shared, task, cursors: BTreeMap::new() }
    }

    /// Where the record of this number is, if it is in the log and its topic is one of the books'. Numbers are asked for in
    /// their order.
    pub(crate) fn of(&mut self, to: &TopicPartition, number: u64) -> Result<Option<Offset>, VerifyFailure> {
        if self.shared.manner != Manner::Shared {
            // Each of the books' public partitions has one writer, which is checked with the records.
            return Ok(Some(Offset(number.saturating_sub(1))));
        }
        if !is_placed(to) {
            return Ok(None);
        }
        if let Some(cursor) = self.cursors.get_mut(to) {
            return cursor.place(number);
        }
        let kept = self.shared.flows.get(&(self.task.clone(), to.clone()));
        let index = self.shared.scratch.index(NAME)?;
        let read = [prefix(to).as_slice(), &0_u64.to_be_bytes()].concat();
        let (next, last) = (VecDeque::new(), kept.map_or(0, |flow| flow.mark.seq));
        let cursor = Cursor { index, read, next, is_read: false, ahead: None, last };
        self.cursors.entry(to.clone()).or_insert(cursor).place(number)
    }
}

/// Walks what is noted of one partition.
struct Cursor {
    index: Index,
    /// The last key that was read.
    read: Vec<u8>,
    /// What comes next: a number, and the difference from there on.
    next: VecDeque<(u64, u64)>,
    is_read: bool,
    ahead: Option<u64>,
    /// The last number that is in the log.
    last: u64,
}

impl Cursor {
    fn place(&mut self, number: u64) -> Result<Option<Offset>, VerifyFailure> {
        if number > self.last {
            return Ok(None);
        }
        while let Some((_, ahead)) = self.peek()?.filter(|(from, _)| *from <= number) {
            self.ahead = Some(ahead);
            self.next.pop_front();
        }
        Ok(self.ahead.map(|ahead| Offset(number.wrapping_add(ahead))))
    }

    fn peek(&mut self) -> Result<Option<(u64, u64)>, VerifyFailure> {
        if self.next.is_empty() && !self.is_read {
            let page = self.index.after(&self.read, PAGE)?;
            let prefix = self.read.len().saturating_sub(size_of::<u64>());
            let ours = page.iter().take_while(|(key, _)| key.get(..prefix) == self.read.get(..prefix));
            self.next =
                ours.filter_map(|(key, value)| Some((number(key.get(prefix..)?)?, number(value)?))).collect();
            self.is_read = self.next.len() < PAGE;
            if let Some((key, _)) = page.get(self.next.len().saturating_sub(1)).filter(|_| !self.is_read) {
                self.read = key.to_vec();
            }
        }
        Ok(self.next.front().copied())
    }
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

fn prefix(at: &TopicPartition) -> Vec<u8> {
    [at.topic.as_str().as_bytes(), &[0], &at.partition.0.to_be_bytes()].concat()
}
