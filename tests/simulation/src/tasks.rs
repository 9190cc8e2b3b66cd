//! The runtime of both engines, around the real [`Task::step`]. What it promises is what production does: in the embedded
//! engine a batch's offset, state and outputs are one commit; in the distributed one outputs wait in the task's own
//! store, leave in order for each destination, perhaps twice, and a task that moves goes on from its last snapshot.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use streambook_log::{NewRecord, Record};
use streambook_model::{
    codec,
    message::Message,
    position::{Offset, Partition, TopicPartition},
    records::{book::Tick, reply::CommandOutcome},
    topics,
};
use streambook_processors::invariants::rejected_command_changes_nothing;
use streambook_runtime::{
    processor::Processor,
    step::{Output, Step, Task, chain_of},
};

use crate::{
    disk::StoreUndo,
    machine::{Engine, Machine},
    mutants::{self, BOOK, Processors},
    mutation::Mutation,
    store::Store,
    violation::{Check, Violation},
};

/// Most records of one batch.
const BATCH: u64 = 12;

/// Outputs by destination, in order.
type Outbox = BTreeMap<TopicPartition, VecDeque<NewRecord>>;

/// Somebody who runs a task.
#[derive(Debug, Clone, Default)]
pub struct Owner {
    /// The task's state and offset.
    pub store: Store,
    outbox: Outbox,
    /// The last outputs delivered to each destination, which may be delivered again.
    delivered: Outbox,
    ticked_to: u64,
}

/// One task and whoever runs it.
pub struct Slot {
    /// Which processor.
    pub kind: usize,
    /// Its inbox.
    pub inbox: TopicPartition,
    /// Who runs it.
    pub owner: Owner,
    /// An old owner that does not know that it lost the task.
    pub zombie: Option<Owner>,
    /// The step of the schedule until which the task's owner does nothing.
    pub stuck_until: u64,
    snapshot: Owner,
}

/// How a batch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// There was nothing to do.
    Idle,
    /// Something was done.
    Worked,
    /// The machine stopped in the middle of it.
    Crashed,
}

/// All tasks of a run.
pub struct Tasks {
    /// The processors, perhaps with a defect.
    pub processors: Processors,
    others: Processors,
    /// The tasks.
    pub slots: Vec<Slot>,
}

impl Tasks {
    /// No tasks yet.
    pub fn new(mutation: Option<Mutation>) -> Self {
        // A zombie that runs other code has a processor of its own; everybody else runs the same.
        let (own, others) = match mutation {
            Some(Mutation::ZombieRunsOtherCode) => (None, mutation),
            _ => (mutation, mutation),
        };
        Self { processors: mutants::processors(own), others: mutants::processors(others), slots: Vec::new() }
    }

    /// Adds the task of a processor at a partition, unless it is there.
    pub fn add(&mut self, kind: usize, partition: Partition) {
        let Some(processor) = self.processors.get(kind) else { return };
        let inbox = TopicPartition::new(processor.inbox().topic(), partition);
        if self.slots.iter().all(|slot| slot.inbox != inbox) {
            let (owner, snapshot) = (Owner::default(), Owner::default());
            self.slots.push(Slot { kind, inbox, owner, zombie: None, stuck_until: 0, snapshot });
        }
    }

    /// Lets a task take some records, or a tick that is due.
    pub fn work(&mut self, index: usize, machine: &mut Machine) -> Result<Outcome, Violation> {
        let processors = self.processors.clone();
        let Some(slot) = self.slots.get_mut(index) else { return Ok(Outcome::Idle) };
        let Some(processor) = processors.get(slot.kind) else { return Ok(Outcome::Idle) };
        let hand = Hand::of(&**processor, index, slot);
        match machine.engine {
            Engine::Embedded => embedded(&hand, &mut slot.owner, machine),
            Engine::Distributed => {
                let worked = distributed(&hand, &mut slot.owner, machine)?;
                if machine.fault("snapshot", 12) {
                    slot.snapshot = slot.owner.clone();
                    if machine.has(Mutation::SnapshotWithoutOutbox) {
                        slot.snapshot.outbox.clear();
                    }
                }
                Ok(worked)
            }
        }
    }

    /// Lets a task's old owner go on for a while.
    pub fn work_as_zombie(&mut self, index: usize, machine: &mut Machine) -> Check {
        let processors = self.others.clone();
        let Some(slot) = self.slots.get_mut(index) else { return Ok(()) };
        let Some(processor) = processors.get(slot.kind) else { return Ok(()) };
        let hand = Hand::of(&**processor, index, slot);
        let Some(zombie) = &mut slot.zombie else { return Ok(()) };
        machine.faults.count("zombie went on");
        if distributed(&hand, zombie, machine)? == Outcome::Crashed {
            slot.zombie = None;
            return Ok(());
        }
        deliver(zombie, machine);
        if machine.random.chance(25) {
            slot.zombie = None;
        }
        Ok(())
    }

    /// Delivers some of the outputs that wait (distributed engine). Says whether there were any.
    pub fn deliver(&mut self, index: usize, machine: &mut Machine) -> bool {
        self.slots.get_mut(index).is_some_and(|slot| deliver(&mut slot.owner, machine))
    }

    /// A task moves to another machine (distributed engine), and the old owner may not notice.
    pub fn move_task(&mut self, index: usize, machine: &mut Machine) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let old = std::mem::replace(&mut slot.owner, slot.snapshot.clone());
        restored(&mut slot.owner, &slot.inbox, machine);
        slot.zombie = machine.fault("two owners", 50).then_some(old);
    }

    /// Every task stops (embedded engine): what was not committed is gone, and so is what was committed and lost.
    pub fn crash(&mut self, undone: Vec<StoreUndo>, machine: &Machine) {
        for slot in &mut self.slots {
            let changes = slot.owner.store.take_changes();
            slot.owner.store.revert(changes);
            slot.owner.ticked_to = 0;
        }
        for undo in undone {
            if let Some(slot) = self.slots.get_mut(undo.slot) {
                slot.owner.store.revert(undo.changes);
                slot.owner.store.next = undo.next;
            }
        }
        for slot in &mut self.slots {
            restored(&mut slot.owner, &slot.inbox, machine);
        }
    }
}

/// A deliberate defect in how an offset is restored.
fn restored(owner: &mut Owner, inbox: &TopicPartition, machine: &Machine) {
    let next = owner.store.next;
    if machine.has(Mutation::OffsetOneTooHigh) && next > 0 && next < machine.disk.lock().end(inbox) {
        owner.store.next = next + 1;
    }
    if machine.has(Mutation::OffsetOneTooLow) {
        owner.store.next = next.saturating_sub(1);
    }
}

/// A task in somebody's hands.
struct Hand<'p> {
    task: Task<'p>,
    processor: &'p dyn Processor,
    kind: usize,
    index: usize,
}

impl<'p> Hand<'p> {
    fn of(processor: &'p dyn Processor, index: usize, slot: &Slot) -> Self {
        Self { task: Task::new(processor, slot.inbox.partition), processor, kind: slot.kind, index }
    }
}

fn embedded(hand: &Hand<'_>, owner: &mut Owner, machine: &mut Machine) -> Result<Outcome, Violation> {
    let before = owner.store.next;
    let records = batch(&hand.task, owner, machine);
    if records.is_empty() {
        return tick(hand, owner, machine);
    }
    let mut outputs = Vec::new();
    for record in &records {
        if machine.fault("crash between steps", 1) {
            return Ok(Outcome::Crashed);
        }
        outputs.extend(step(hand, record, &mut owner.store, machine)?.outputs);
    }
    owner.store.next = before + records.len() as u64;
    let undo = StoreUndo { slot: hand.index, next: before, changes: owner.store.take_changes() };
    Ok(commit(undo, outputs, machine))
}

fn commit(undo: StoreUndo, outputs: Vec<Output>, machine: &mut Machine) -> Outcome {
    let appends: Vec<_> = outputs.into_iter().map(|output| (output.to, output.record)).collect();
    let (first, second) = match machine.mutation {
        Some(Mutation::CommitStateBeforeOutputs) => ((Vec::new(), Some(undo)), (appends, None)),
        Some(Mutation::CommitOutputsBeforeState) => ((appends, None), (Vec::new(), Some(undo))),
        _ => {
            machine.disk.lock().commit(appends, Some(undo));
            return Outcome::Worked;
        }
    };
    let mut disk = machine.disk.lock();
    disk.commit(first.0, first.1);
    disk.commit(second.0, second.1);
    Outcome::Worked
}

fn distributed(hand: &Hand<'_>, owner: &mut Owner, machine: &mut Machine) -> Result<Outcome, Violation> {
    let records = batch(&hand.task, owner, machine);
    if records.is_empty() {
        return tick(hand, owner, machine);
    }
    for record in &records {
        if machine.fault("crash between steps", 1) {
            return Ok(Outcome::Crashed);
        }
        let step = step(hand, record, &mut owner.store, machine)?;
        owner.keep(step.outputs);
        owner.store.next += 1;
    }
    drop(owner.store.take_changes());
    Ok(Outcome::Worked)
}

fn batch(task: &Task<'_>, owner: &Owner, machine: &mut Machine) -> Vec<Record> {
    let limit = usize::try_from(machine.random.between(1, BATCH)).unwrap_or(1);
    machine.disk.lock().read(task.inbox(), owner.store.next, limit)
}

/// One step, and what must hold of it at once: a task never stops, and a rejected command changes nothing.
fn step(hand: &Hand<'_>, record: &Record, store: &mut Store, machine: &Machine) -> Result<Step, Violation> {
    let unchecked = machine.has(Mutation::DropReceiverCheck).then(|| without_lineage(record));
    let change = store.changes();
    let stopped = |error| Violation::new("no_task_stops", chain_of(&error));
    let step = hand.task.step(unchecked.as_ref().unwrap_or(record), store).map_err(stopped)?;
    if hand.kind == BOOK && step.outputs.iter().any(is_rejection) {
        let changed = store.first_difference_since(change).map(|key| &key[..]);
        rejected_command_changes_nothing(CommandOutcome::Rejected, changed)?;
    }
    Ok(step)
}

fn is_rejection(output: &Output) -> bool {
    output.to.topic == topics::API_REPLIES.topic()
        && matches!(codec::decode(&output.record.value), Ok(Message::CommandReply(reply)) if reply.outcome == CommandOutcome::Rejected)
}

fn without_lineage(record: &Record) -> Record {
    let source = codec::decode(&record.value).ok().and_then(|message| message.meta().source.clone());
    let value = source.and_then(|source| codec::unstamp(&record.value, &source).ok());
    Record { value: value.map_or_else(|| record.value.clone(), Bytes::from), ..record.clone() }
}

/// As the production runner: a tick is appended once the inbox is empty and the state's earliest deadline is due.
fn tick(hand: &Hand<'_>, owner: &mut Owner, machine: &mut Machine) -> Result<Outcome, Violation> {
    let now = machine.now();
    if owner.store.next < owner.ticked_to {
        return Ok(Outcome::Idle);
    }
    let due = hand.processor.next_deadline(&owner.store);
    let due = due.map_err(|error| Violation::new("no_task_stops", chain_of(&error)))?;
    let Some(due) = due.filter(|due| *due <= now) else { return Ok(Outcome::Idle) };
    let mut meta = machine.meta(format!("tick:{}:{}", hand.task.name(), due.millis()));
    meta.occurred_at = due;
    let value = codec::encode(&Message::from(Tick { meta, now }));
    let value = Bytes::from(value.map_err(|error| Violation::new("simulator", error.to_string()))?);
    if machine.has(Mutation::TickOutsideTheLog) {
        let offset = Offset(owner.store.next);
        let record = Record { offset, appended_at_ms: 0, key: Bytes::new(), value };
        let outputs = step(hand, &record, &mut owner.store, machine)?.outputs;
        let undo =
            StoreUndo { slot: hand.index, next: owner.store.next, changes: owner.store.take_changes() };
        if machine.engine == Engine::Distributed {
            owner.keep(outputs);
            return Ok(Outcome::Worked);
        }
        return Ok(commit(undo, outputs, machine));
    }
    let mut disk = machine.disk.lock();
    disk.commit(vec![(hand.task.inbox().clone(), NewRecord::new(&b"tick"[..], value))], None);
    owner.ticked_to = disk.end(hand.task.inbox());
    Ok(Outcome::Worked)
}

impl Owner {
    fn keep(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            self.outbox.entry(output.to).or_default().push_back(output.record);
        }
    }
}

/// Delivers some outputs to one destination, in order. The acknowledgement may get lost, and what was delivered before
/// may be delivered again, from any point on.
fn deliver(owner: &mut Owner, machine: &mut Machine) -> bool {
    let waiting: Vec<_> =
        owner.outbox.iter().filter(|(_, queue)| !queue.is_empty()).map(|(to, _)| to.clone()).collect();
    let Some(to) = machine.random.pick(&waiting).cloned() else { return false };
    let Some(queue) = owner.outbox.get_mut(&to) else { return false };
    let count = machine.random.index(queue.len().min(8)) + 1;
    if machine.has(Mutation::DeliverOutOfOrder) && queue.len() > 1 {
        queue.rotate_left(1);
    }
    let mut batch: Vec<NewRecord> = queue.drain(..count).collect();
    let delivered = owner.delivered.entry(to.clone()).or_default();
    let again = if machine.fault("outputs delivered again", 6) {
        machine.random.index(delivered.len() + 1)
    } else {
        0
    };
    let repeats: Vec<_> = delivered.iter().skip(delivered.len() - again).cloned().collect();
    let sent = repeats.into_iter().chain(batch.iter().cloned());
    machine.disk.lock().commit(sent.map(|record| (to.clone(), record)).collect(), None);
    if machine.fault("acknowledgement lost", 4) {
        batch.drain(..).rev().for_each(|record| queue.push_front(record));
    }
    delivered.extend(batch);
    let old = delivered.len().saturating_sub(16);
    delivered.drain(..old);
    true
}
