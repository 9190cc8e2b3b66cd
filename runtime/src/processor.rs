//! What a processor is: a pure function from (state, record) to (state, outputs).
//!
//! It reads no clock, draws no random number and does no I/O; time is the time on the record. The same inbox therefore
//! always gives the same state and the same outputs, ids included, and a replay proves it.

use std::collections::BTreeMap;

use bytes::Bytes;
use streambook_model::{
    message::Message,
    meta::{Cause, Meta},
    money::AmountError,
    position::{Offset, Partition},
    time::Timestamp,
    topics::TopicDef,
};

use crate::{
    checks::Checks,
    state::{Overlay, State, StateError},
};

/// A stateful step of the pipeline. It reads one inbox; a task runs it for each partition.
pub trait Processor: Send + Sync + 'static {
    /// Its name, the first part of its tasks' names: `book` for `book/3`.
    fn name(&self) -> &'static str;

    /// The topic it reads.
    fn inbox(&self) -> TopicDef;

    /// Takes one record: changes the state and emits through the context. On a [`Fault`] both are as they were.
    fn process(&self, message: Message, context: &mut Context<'_>) -> Result<(), Fault>;

    /// The earliest time at which it wants a tick. Ticks are records, appended to its inbox by the task's owner.
    fn next_deadline(&self, state: &dyn State) -> Result<Option<Timestamp>, StateError> {
        let _ = state;
        Ok(None)
    }

    /// What an operator must know of this state, for example that a chain is halted. Empty when all is well.
    fn alarms(&self, state: &dyn State) -> Result<Vec<String>, StateError> {
        let _ = state;
        Ok(Vec::new())
    }
}

/// Why a record was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The record can never be used: it goes to `dead.letters` and the task goes on.
    #[error("{code}: {reason}")]
    DeadLetter {
        /// A stable code, for example `unknown_payment`.
        code: &'static str,
        /// The reason in words, and the remedy where there is one.
        reason: String,
    },
    /// Going on would be guessing: the task stops, with nothing of this record done.
    #[error("{0}")]
    Stop(String),
    /// What must always hold does not: the task stops, with nothing of this record done.
    #[error("the invariant {invariant} does not hold: {detail}")]
    Violated {
        /// The invariant's name.
        invariant: &'static str,
        /// What was found.
        detail: String,
    },
    /// The state could not be read: the task stops.
    #[error(transparent)]
    State(#[from] StateError),
}

impl Fault {
    /// A record that can never be used.
    pub fn dead_letter(code: &'static str, reason: impl Into<String>) -> Self {
        Self::DeadLetter { code, reason: reason.into() }
    }
}

impl From<AmountError> for Fault {
    /// An amount that cannot be computed exactly is never rounded or cut; the record that leads to it is put aside.
    fn from(error: AmountError) -> Self {
        Self::dead_letter("amount_out_of_range", error.to_string())
    }
}

/// Where an output goes within its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// To the partition that its key hashes to.
    ByKey,
    /// To a partition that was named, for example by who waits for an answer.
    To(Partition),
}

/// A record a processor has emitted, not yet encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emitted {
    /// The topic.
    pub topic: TopicDef,
    /// The partition in it.
    pub route: Route,
    /// The record's key.
    pub key: Bytes,
    /// The record. In a box, since a block leads to thousands and the largest kind takes most of a kilobyte.
    pub message: Box<Message>,
}

/// What a processor may see and do while it takes one record.
pub struct Context<'a> {
    /// The state, with this record's changes.
    pub state: Overlay<'a>,
    task: &'a str,
    partition: Partition,
    offset: Offset,
    input: Meta,
    emitted: Vec<Emitted>,
    checks: Checks,
}

impl<'a> Context<'a> {
    /// For the record at this position, whose meta is `input`.
    pub fn new(state: Overlay<'a>, task: &'a str, partition: Partition, offset: Offset, input: Meta) -> Self {
        Self { state, task, partition, offset, input, emitted: Vec::new(), checks: Checks::default() }
    }

    /// The partition the task reads: sub-accounts and counters that are kept for each task are named by it.
    pub const fn partition(&self) -> Partition {
        self.partition
    }

    /// What the input record says about itself.
    pub const fn input(&self) -> &Meta {
        &self.input
    }

    /// The time of the step: when the input was first written to the log.
    pub const fn now(&self) -> Timestamp {
        self.input.recorded_at
    }

    /// The meta of the next output. Its id is made of the task, the input's offset and the output's number, so a
    /// replay gives the same.
    pub fn meta(&self, occurred_at: Timestamp) -> Meta {
        Meta {
            source: None,
            id: format!("{}:{}:{}", self.task, self.offset, self.emitted.len()),
            occurred_at,
            recorded_at: self.input.recorded_at,
            cause: Some(Cause { partition: self.partition.0, offset: self.offset.0 }),
            trace: self.input.trace.clone(),
        }
    }

    /// Emits a record to the partition its key hashes to.
    pub fn emit(&mut self, topic: TopicDef, key: impl AsRef<[u8]>, message: impl Into<Message>) {
        self.emit_routed(topic, Route::ByKey, key, message);
    }

    /// Emits a record to a named partition.
    pub fn emit_to(
        &mut self,
        topic: TopicDef,
        to: Partition,
        key: impl AsRef<[u8]>,
        message: impl Into<Message>,
    ) {
        self.emit_routed(topic, Route::To(to), key, message);
    }

    fn emit_routed(
        &mut self,
        topic: TopicDef,
        route: Route,
        key: impl AsRef<[u8]>,
        message: impl Into<Message>,
    ) {
        let key = Bytes::copy_from_slice(key.as_ref());
        self.emitted.push(Emitted { topic, route, key, message: Box::new(message.into()) });
    }

    /// What was emitted so far.
    pub fn emitted(&self) -> &[Emitted] {
        &self.emitted
    }

    /// Counts the check of an invariant; gives its result back.
    pub fn checked<E: Into<Fault>>(
        &mut self,
        invariant: &'static str,
        holds: Result<(), E>,
    ) -> Result<(), Fault> {
        self.checks.add(invariant, 1);
        holds.map_err(Into::into)
    }

    /// The checks that were counted so far.
    pub const fn checks(&self) -> &Checks {
        &self.checks
    }

    /// Ends the step: the state's changes and the outputs.
    pub fn finish(self) -> (BTreeMap<Bytes, Option<Bytes>>, Vec<Emitted>) {
        (self.state.into_changes(), self.emitted)
    }
}
