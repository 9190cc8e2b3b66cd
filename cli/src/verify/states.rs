//! Compares a task's stored state with the replayed one, byte for byte, page by page. A task that goes on changes its state
//! meanwhile: each page is read at one offset of its inbox, and the replay follows to that offset before it is compared.

use bytes::Bytes;
use streambook_log::{
    LogError,
    embedded::{EmbeddedLog, StateKeyspace},
};
use streambook_model::position::{Offset, Partition};
use streambook_runtime::state::{Pairs, State, StateError};

use super::{
    replay::Replay,
    report::{Difference, Halt, VerifyFailure},
};

/// Keys of one page.
const PAGE: usize = 1_000;
/// Keys of the smallest page: one of which a busy task leaves time to read.
const LEAST: usize = 16;
/// Looks at a page of a task that commits faster than it can be read.
const LOOKS: u32 = 10_000;
/// After every key: no table's key is as long as this and all ones.
const END: [u8; 64] = [0xff; 64];
/// The runtime's key of a task's next offset.
const NEXT_OFFSET: &[u8] = b"\0next-offset";

/// A task's state as it is stored now, without a memory of its own: another writes it.
pub(crate) struct Stored {
    keyspace: StateKeyspace,
    prefix: [u8; 2],
}

/// Pairs as they stood at an offset of the inbox, and how many were asked for.
struct Page {
    at: Offset,
    asked: usize,
    pairs: Pairs,
}

impl Stored {
    /// The state of a processor's task.
    pub(crate) fn open(log: &EmbeddedLog, processor: &str, at: Partition) -> Result<Self, LogError> {
        Ok(Self { keyspace: log.state(&format!("task.{processor}"))?, prefix: at.0.to_be_bytes() })
    }

    fn page(&self, from: &[u8]) -> Result<Page, Halt> {
        let mut asked = PAGE;
        for _ in 0..LOOKS {
            let before = next_offset(self)?;
            let pairs = self.scan(from, &END, asked)?;
            // Every commit moves the offset, so nothing was committed between two looks that see the same one.
            if before == next_offset(self)? {
                return Ok(Page { at: before, asked, pairs });
            }
            asked = (asked / 2).max(LEAST);
        }
        Err(VerifyFailure::NeverStill.into())
    }
}

impl State for Stored {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        self.keyspace.get(&[&self.prefix, key].concat()).map_err(StateError::Read)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Pairs, StateError> {
        let (from, to) = ([&self.prefix, from].concat(), [&self.prefix, to].concat());
        let pairs = self.keyspace.range(&from, Some(&to), limit).map_err(StateError::Read)?;
        Ok(pairs.into_iter().map(|(key, value)| (key.slice(self.prefix.len()..), value)).collect())
    }

    /// Nothing is written here.
    fn put(&mut self, _: Bytes, _: Bytes) {}

    /// Nothing is written here.
    fn delete(&mut self, _: Bytes) {}
}

/// The first record that a task has not taken, by its state.
pub(crate) fn next_offset(state: &dyn State) -> Result<Offset, StateError> {
    let Some(bytes) = state.get(NEXT_OFFSET)? else { return Ok(Offset(0)) };
    let bytes: [u8; 8] = bytes.as_ref().try_into().map_err(|_| StateError::Decode {
        key: hex::encode(NEXT_OFFSET),
        reason: "an offset has 8 bytes".into(),
    })?;
    Ok(Offset(u64::from_be_bytes(bytes)))
}

/// Compares both; gives the number of keys.
pub(crate) fn compare(stored: &Stored, replay: &mut Replay<'_>) -> Result<u64, Halt> {
    let (mut from, mut keys) = (Vec::new(), 0_u64);
    loop {
        let Page { at, asked, pairs: left } = stored.page(&from)?;
        replay.follow(at)?;
        let right = replay.state.scan(&from, &END, asked)?;
        if let Some(difference) = first_difference(replay.task.name(), &left, &right) {
            // It is of the state after the last record taken, so no single record is named.
            let inbox = replay.task.inbox();
            return Err(Difference { offset: None, ..difference.at(inbox, Offset(0)) }.into());
        }
        keys += left.len() as u64;
        match left.last() {
            Some((last, _)) if left.len() == asked => from = [last.as_ref(), &[0]].concat(),
            _ => return Ok(keys),
        }
    }
}

fn first_difference(task: &str, stored: &Pairs, replayed: &Pairs) -> Option<Difference> {
    let same = stored.iter().zip(replayed).take_while(|(stored, replayed)| stored == replayed).count();
    let (stored, replayed) = (stored.get(same), replayed.get(same));
    let (key, found, expected) = match (stored, replayed) {
        (None, None) => return None,
        (Some((key, value)), None) => (key, value_text(value), nothing()),
        (None, Some((key, value))) => (key, nothing(), value_text(value)),
        (Some((key, value)), Some((other, expected))) if key == other => {
            (key, value_text(value), value_text(expected))
        }
        (Some((key, value)), Some((other, _))) if key < other => (key, value_text(value), nothing()),
        (Some(_), Some((key, expected))) => (key, nothing(), value_text(expected)),
    };
    let what = format!("the stored state of {task} is not what its inbox leads to: {}", name(key));
    Some(Difference::new(what, expected, found))
}

fn nothing() -> String {
    "no such key".to_owned()
}

/// Long values are cut: what matters is which key it is.
fn value_text(value: &[u8]) -> String {
    const SHOWN: usize = 200;
    let shown = hex::encode(value.get(..SHOWN).unwrap_or(value));
    if value.len() > SHOWN { format!("{shown}… ({} bytes)", value.len()) } else { shown }
}

fn name(key: &[u8]) -> String {
    match key.split_first() {
        Some((table, rest)) => format!("table {table}, key {}", hex::encode(rest)),
        None => "an empty key".to_owned(),
    }
}
