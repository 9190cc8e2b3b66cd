//! Where a task stood at one moment: how much of its inbox it had taken, and how much it had sent. A log that goes on is
//! verified up to there.

use std::collections::BTreeMap;

use streambook_log::embedded::EmbeddedLog;
use streambook_model::position::{Offset, Partition, TopicPartition};
use streambook_runtime::{
    lineage::Mark,
    processor::Processor,
    state::{MemoryState, State},
    step::task_name,
    table::Table,
};

use super::{
    report::Halt,
    states::{Stored, next_offset},
};

/// The runtime's table of what a task has sent: `("out", topic, partition)` gives the last number and running hash.
const SENT: Table<Mark> = Table::new(0);
/// What the runtime keeps of a task has keys from here …
const RUNTIME: &[u8] = &[0];
/// … to here: a few for each destination and each sender.
const RUNTIME_END: &[u8] = &[1];
/// More than a task has destinations and senders.
const RUNTIME_KEYS: usize = 100_000;

/// By task.
pub(crate) type Cuts = BTreeMap<String, Cut>;

/// Where one task stood.
pub(crate) struct Cut {
    /// The first record that it had not taken.
    pub(crate) until: Offset,
    runtime: MemoryState,
}

impl Cut {
    /// Where the task stands now. One scan sees one moment.
    pub(crate) fn now(log: &EmbeddedLog, processor: &dyn Processor, at: Partition) -> Result<Self, Halt> {
        let stored = Stored::open(log, processor.name(), at)?;
        let mut runtime = MemoryState::default();
        for (key, value) in stored.scan(RUNTIME, RUNTIME_END, RUNTIME_KEYS)? {
            runtime.put(key, value);
        }
        Ok(Self { until: next_offset(&runtime)?, runtime })
    }

    /// The number of the last record that it had sent there.
    pub(crate) fn sent(&self, to: &TopicPartition) -> Result<u64, Halt> {
        Ok(sent(&self.runtime, to)?.seq)
    }
}

/// The last number and running hash of what a task has sent there, by its state.
pub(crate) fn sent(state: &dyn State, to: &TopicPartition) -> Result<Mark, Halt> {
    Ok(SENT.get(state, ("out", to.topic.as_str(), to.partition.0))?.unwrap_or(Mark::START))
}

/// Of every task of these processors.
pub(crate) fn cuts<'p>(
    log: &EmbeddedLog,
    tasks: impl Iterator<Item = (&'p dyn Processor, Partition)>,
) -> Result<Cuts, Halt> {
    tasks.map(|(processor, at)| Ok((task_name(processor, at), Cut::now(log, processor, at)?))).collect()
}
