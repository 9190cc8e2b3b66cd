//! Compares a task's stored state with the replayed one, byte for byte, page by page.

use streambook_model::position::{Offset, TopicPartition};
use streambook_runtime::{
    state::{Pairs, State},
    store::TaskStore,
};

use super::report::{Difference, Halt};

/// Keys of one page.
const PAGE: usize = 1_000;
/// After every key: no table's key is as long as this and all ones.
const END: [u8; 64] = [0xff; 64];

/// Compares both; gives the number of keys.
pub(crate) fn compare(
    task: &str,
    inbox: &TopicPartition,
    stored: &TaskStore,
    replayed: &TaskStore,
) -> Result<u64, Halt> {
    let (mut from, mut keys) = (Vec::new(), 0_u64);
    loop {
        let (left, right) = (stored.scan(&from, &END, PAGE)?, replayed.scan(&from, &END, PAGE)?);
        if let Some(difference) = first_difference(task, &left, &right) {
            // It is of the state after the last record taken, so no single record is named.
            return Err(Difference { offset: None, ..difference.at(inbox, Offset(0)) }.into());
        }
        keys += left.len() as u64;
        match left.last() {
            Some((last, _)) if left.len() == PAGE => from = [last.as_ref(), &[0]].concat(),
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
