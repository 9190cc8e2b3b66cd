//! One step of a task: take one record of its inbox. Pure, so that production, `verify` and the simulation run the very
//! same code; what differs is only where the state lives and where the outputs go.
//!
//! A step decodes the record, drops a repeat, runs the processor on an overlay of the state, gives every output its
//! lineage, and turns a record that cannot be used into a dead letter. Either all of it happens or none.

use bytes::Bytes;
use streambook_log::{NewRecord, Record, partitioner::partition_of};
use streambook_model::{
    codec::{self, CodecError},
    id::DeadLetterId,
    message::Message,
    meta::{Cause, Meta},
    position::{Partition, TopicPartition},
    records::dead_letter::DeadLetter,
    time::Timestamp,
    topics::{self, TopicDef},
};

use crate::{
    checks::Checks,
    lineage::{self, Gaps, Verdict},
    processor::{Context, Emitted, Fault, Processor, Route},
    state::{Overlay, State, StateError, apply},
};

/// A processor at one partition of its inbox.
pub struct Task<'p> {
    processor: &'p dyn Processor,
    name: String,
    inbox: TopicPartition,
    gaps: Gaps,
}

/// A record to append, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The destination.
    pub to: TopicPartition,
    /// The encoded record, lineage included.
    pub record: NewRecord,
}

/// How a record was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The processor took it.
    Processed,
    /// It was taken before.
    Repeat,
    /// One before it, from the same task, is missing: it comes again behind that one.
    Early,
    /// It can never be used and is a dead letter now.
    DeadLettered,
}

/// What one step did, beside changing the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// How the record was taken.
    pub taken: Taken,
    /// When the record happened, if it could be decoded; for latencies.
    pub occurred_at: Option<Timestamp>,
    /// What the step emitted, in order.
    pub outputs: Vec<Output>,
    /// The invariants that the processor checked on the way.
    pub checks: Checks,
}

/// Why a task stopped. Its state is as it was before the record.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// The processor, or the check of lineage, refuses to guess.
    #[error("{inbox} offset {offset}: {reason}")]
    Refused {
        /// The inbox.
        inbox: TopicPartition,
        /// The record.
        offset: streambook_model::position::Offset,
        /// Why.
        reason: String,
    },
    /// An invariant does not hold.
    #[error("{inbox} offset {offset}: the invariant {invariant} does not hold: {detail}")]
    Violated {
        /// The inbox.
        inbox: TopicPartition,
        /// The record.
        offset: streambook_model::position::Offset,
        /// The invariant's name.
        invariant: &'static str,
        /// What was found.
        detail: String,
    },
    /// The state could not be read or written.
    #[error("{inbox} offset {offset}")]
    State {
        /// The inbox.
        inbox: TopicPartition,
        /// The record.
        offset: streambook_model::position::Offset,
        /// Why.
        #[source]
        source: StateError,
    },
    /// An output could not be encoded.
    #[error("{inbox} offset {offset}: an output cannot be encoded")]
    Encode {
        /// The inbox.
        inbox: TopicPartition,
        /// The record.
        offset: streambook_model::position::Offset,
        /// Why.
        #[source]
        source: CodecError,
    },
}

impl<'p> Task<'p> {
    /// The task of this processor at this partition.
    pub fn new(processor: &'p dyn Processor, partition: Partition) -> Self {
        let inbox = TopicPartition::new(processor.inbox().topic(), partition);
        Self { processor, name: task_name(processor, partition), inbox, gaps: Gaps::Stop }
    }

    /// The same task on a log whose senders resend what it loses.
    #[must_use]
    pub fn with_gaps(self, gaps: Gaps) -> Self {
        Self { gaps, ..self }
    }

    /// Its name, for example `book/3`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it reads.
    pub const fn inbox(&self) -> &TopicPartition {
        &self.inbox
    }

    /// Takes one record. On an error the state is as it was.
    pub fn step(&self, record: &Record, state: &mut dyn State) -> Result<Step, Stopped> {
        let message = match codec::decode(&record.value) {
            Ok(message) => message,
            Err(error) => return self.put_aside(record, None, "undecodable", chain_of(&error), state),
        };
        let meta = message.meta().clone();
        let mut overlay = Overlay::new(state);
        if let Some(source) = &meta.source {
            match lineage::receive(&mut overlay, source, self.gaps) {
                Ok(Verdict::Take) => {}
                Ok(Verdict::Repeat) => return Ok(Step::done(Taken::Repeat, &meta, Vec::new())),
                Ok(Verdict::Early) => {
                    // That something is missing is remembered.
                    apply(overlay.into_changes(), state);
                    return Ok(Step::done(Taken::Early, &meta, Vec::new()));
                }
                Err(fault) => return Err(self.stopped(record, fault)),
            }
        }
        // Lineage is remembered even when the record turns out to be a dead letter: it was taken.
        let received = overlay.into_changes();
        let overlay = Overlay::with_changes(state, received.clone());
        let mut context =
            Context::new(overlay, &self.name, self.inbox.partition, record.offset, meta.clone());
        match self.processor.process(message, &mut context) {
            Ok(()) => {}
            Err(Fault::DeadLetter { code, reason }) => {
                apply(received, state);
                return self.put_aside(record, Some(&meta), code, reason, state);
            }
            Err(fault) => return Err(self.stopped(record, fault)),
        }
        let checks = context.checks().clone();
        let (changes, emitted) = context.finish();
        let mut overlay = Overlay::with_changes(state, changes);
        let outputs = self.outputs(record, emitted, &mut overlay)?;
        apply(overlay.into_changes(), state);
        Ok(Step { checks, ..Step::done(Taken::Processed, &meta, outputs) })
    }

    fn outputs(
        &self,
        record: &Record,
        emitted: Vec<Emitted>,
        state: &mut dyn State,
    ) -> Result<Vec<Output>, Stopped> {
        emitted.into_iter().map(|emitted| self.output(record, emitted, state)).collect()
    }

    fn output(&self, record: &Record, emitted: Emitted, state: &mut dyn State) -> Result<Output, Stopped> {
        let broken = |source| Stopped::Encode { inbox: self.inbox.clone(), offset: record.offset, source };
        let to = destination(&emitted.topic, emitted.route, &emitted.key);
        let unstamped = codec::encode(&emitted.message).map_err(broken)?;
        let source = lineage::send(state, &self.name, &to, &unstamped);
        let source = source.map_err(|error| self.stopped(record, error.into()))?;
        let value = codec::stamp(&unstamped, &source).map_err(broken)?;
        Ok(Output { to, record: NewRecord { key: emitted.key, value: value.into() } })
    }

    fn put_aside(
        &self,
        record: &Record,
        meta: Option<&Meta>,
        code: &str,
        reason: String,
        state: &mut dyn State,
    ) -> Result<Step, Stopped> {
        let letter = self.dead_letter(record, meta, code, reason);
        let emitted = Emitted {
            topic: topics::DEAD_LETTERS,
            route: Route::ByKey,
            key: Bytes::copy_from_slice(self.name.as_bytes()),
            message: Box::new(Message::from(letter)),
        };
        let mut overlay = Overlay::new(state);
        let outputs = self.outputs(record, vec![emitted], &mut overlay)?;
        apply(overlay.into_changes(), state);
        let occurred_at = meta.map(|meta| meta.occurred_at);
        Ok(Step { taken: Taken::DeadLettered, occurred_at, outputs, checks: Checks::default() })
    }

    fn dead_letter(&self, record: &Record, meta: Option<&Meta>, code: &str, reason: String) -> DeadLetter {
        // A record that cannot be decoded has no time of its own; the time of its append is part of the inbox, so a
        // replay gives the same letter.
        let appended = Timestamp::from_millis(i64::try_from(record.appended_at_ms).unwrap_or(i64::MAX));
        DeadLetter {
            meta: Meta {
                source: None,
                id: format!("{}:{}:dead", self.name, record.offset),
                occurred_at: meta.map_or(appended, |meta| meta.occurred_at),
                recorded_at: meta.map_or(appended, |meta| meta.recorded_at),
                cause: Some(Cause { partition: self.inbox.partition.0, offset: record.offset.0 }),
                trace: meta.and_then(|meta| meta.trace.clone()),
            },
            letter: DeadLetterId::derive(&[self.name.as_bytes(), &record.offset.0.to_be_bytes()]),
            task: self.name.clone(),
            topic: self.inbox.topic.as_str().to_owned(),
            partition: self.inbox.partition.0,
            offset: record.offset.0,
            code: code.to_owned(),
            reason,
            key: record.key.to_vec(),
            record: record.value.to_vec(),
        }
    }

    fn stopped(&self, record: &Record, fault: Fault) -> Stopped {
        let (inbox, offset) = (self.inbox.clone(), record.offset);
        match fault {
            Fault::State(source) => Stopped::State { inbox, offset, source },
            Fault::Violated { invariant, detail } => Stopped::Violated { inbox, offset, invariant, detail },
            fault => Stopped::Refused { inbox, offset, reason: fault.to_string() },
        }
    }
}

impl Step {
    fn done(taken: Taken, meta: &Meta, outputs: Vec<Output>) -> Self {
        Self { taken, occurred_at: Some(meta.occurred_at), outputs, checks: Checks::default() }
    }
}

/// The name of a processor's task at a partition.
pub fn task_name(processor: &dyn Processor, partition: Partition) -> String {
    format!("{}/{partition}", processor.name())
}

/// The partition a record goes to.
pub fn destination(topic: &TopicDef, route: Route, key: &[u8]) -> TopicPartition {
    let partition = match route {
        Route::ByKey => partition_of(key, topic.partitions),
        Route::To(partition) => partition,
    };
    TopicPartition::new(topic.topic(), partition)
}

/// An error and its causes in one line. Some libraries repeat the cause in their own message: it is said once.
pub fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}
