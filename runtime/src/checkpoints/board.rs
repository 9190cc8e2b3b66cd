//! Where the sinks of a process say how far they are.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use streambook_model::position::{Offset, TopicPartition};

use super::{Inputs, Received};
use crate::lineage::Marks;

/// A sink says how far it is so often at most.
const EVERY: Duration = Duration::from_millis(500);

/// How far the sinks of this process are, by name. Cheap to clone; everyone holds the same.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<BTreeMap<&'static str, Entry>>>);

#[derive(Debug)]
struct Entry {
    inputs: Inputs,
    at: Instant,
}

impl Board {
    /// Whether a sink should say again how far it is.
    pub(crate) fn is_due(&self, sink: &'static str) -> bool {
        self.0.lock().get(sink).is_none_or(|entry| entry.at.elapsed() >= EVERY)
    }

    /// A sink has taken this and will not forget it.
    pub(crate) fn put(&self, sink: &'static str, next: &BTreeMap<TopicPartition, Offset>, marks: Marks) {
        let received =
            |next: &Offset| Received { receiver: sink.to_owned(), next: *next, marks: BTreeMap::new() };
        let mut inputs: Inputs = next.iter().map(|(at, next)| (at.clone(), received(next))).collect();
        for ((at, task), mark) in marks {
            if let Some(received) = inputs.get_mut(&at) {
                received.marks.insert(task, mark);
            }
        }
        self.0.lock().insert(sink, Entry { inputs, at: Instant::now() });
    }

    pub(super) fn all(&self) -> Vec<(String, Inputs)> {
        self.0.lock().iter().map(|(sink, entry)| ((*sink).to_owned(), entry.inputs.clone())).collect()
    }
}
