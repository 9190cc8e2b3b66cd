//! A processor under test: feed it records, look at what it says. It runs the runtime's own step, so lineage, dead
//! letters and rollback are the real ones.

use bytes::Bytes;
use streambook_log::Record;
use streambook_model::{
    codec,
    message::Message,
    meta::Meta,
    position::{Offset, Partition, TopicPartition},
    time::Timestamp,
};
use streambook_runtime::{
    processor::Processor,
    state::MemoryState,
    step::{Step, Stopped, Task},
};

/// One task with its state in memory.
pub(crate) struct Bench<'p> {
    task: Task<'p>,
    /// The state, to look into.
    pub(crate) state: MemoryState,
    next: u64,
    now: i64,
}

impl<'p> Bench<'p> {
    pub(crate) fn new(processor: &'p dyn Processor, partition: u16) -> Self {
        let task = Task::new(processor, Partition(partition));
        Self { task, state: MemoryState::default(), next: 0, now: 1_700_000_000_000 }
    }

    /// The meta of the next input: its time is the bench's clock, which a test moves with [`Bench::at`].
    pub(crate) fn meta(&self) -> Meta {
        let now = Timestamp::from_millis(self.now);
        let id = format!("test-{}", self.next);
        Meta { source: None, id, occurred_at: now, recorded_at: now, cause: None, trace: None }
    }

    /// Moves the clock of the inputs that follow.
    pub(crate) fn at(&mut self, millis: i64) {
        self.now = millis;
    }

    /// Feeds one record; gives what it led to, decoded, with its destination.
    pub(crate) fn feed(&mut self, message: impl Into<Message>) -> Vec<(TopicPartition, Message)> {
        let step = self.try_feed(message).unwrap();
        step.outputs.iter().map(|o| (o.to.clone(), codec::decode(&o.record.value).unwrap())).collect()
    }

    /// Feeds one record; gives the step or why the task stopped.
    pub(crate) fn try_feed(&mut self, message: impl Into<Message>) -> Result<Step, Stopped> {
        let value = codec::encode(&message.into()).unwrap();
        let appended_at_ms = u64::try_from(self.now).unwrap();
        let record =
            Record { offset: Offset(self.next), appended_at_ms, key: Bytes::new(), value: value.into() };
        self.next += 1;
        self.task.step(&record, &mut self.state)
    }
}
