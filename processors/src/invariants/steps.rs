//! Checks the steps of a book's task one by one, as a replay of its inbox makes them: each posting, event and answer, and
//! what the step as a whole has left behind. `verify` and the simulation feed the same audit.
//!
//! What it must remember for long (which events were booked, which keys were used) is in a [`Memory`], which may be on
//! disk; in memory it keeps a little for each book, account, reversal and payment with money in clearing.

use std::{collections::BTreeMap, convert::Infallible};

use sha2::{Digest, Sha256};
use streambook_model::{
    bytes::ContentHash,
    message::Message,
    records::{
        book::Caller,
        ledger::LedgerTransaction,
        payment::PaymentEvent,
        reply::{CommandOutcome, CommandReply},
    },
    time::Timestamp,
};

use super::{
    Before, Check, KeySeen, LedgerAudit, Money, Traces, Violation, Waiting, clearing_is_zero_at_rest,
    event_is_posted_once, key_gives_the_same, money_is_posted_or_explained, pending_is_never_negative,
    pending_is_resolved_once, rejected_command_changes_nothing,
};
use crate::book::ledger::TemplateName;

/// How long an idempotency key is kept, of record time: 24 hours, as the API says.
const KEY_KEPT_SECONDS: u32 = 24 * 60 * 60;

/// Where an audit remembers.
pub trait Memory {
    /// Why it cannot.
    type Failed;

    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Self::Failed>;

    /// Sets a key's value.
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), Self::Failed>;
}

impl Memory for BTreeMap<Vec<u8>, Vec<u8>> {
    type Failed = Infallible;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(Self::get(self, key).cloned())
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), Infallible> {
        self.insert(key, value);
        Ok(())
    }
}

/// Why an audit does not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<F> {
    /// An invariant does not hold.
    Violated(Violation),
    /// The memory failed.
    Failed(F),
}

impl<F> From<Violation> for Found<F> {
    fn from(violation: Violation) -> Self {
        Self::Violated(violation)
    }
}

/// The audit of one book task's steps.
#[derive(Debug, Clone, Default)]
pub struct BookAudit<M> {
    memory: M,
    ledger: LedgerAudit,
    waiting: Waiting,
}

impl<M: Memory> BookAudit<M> {
    /// Nothing was seen yet.
    pub fn new(memory: M) -> Self {
        Self { memory, ledger: LedgerAudit::default(), waiting: Waiting::default() }
    }

    /// What it remembers.
    pub const fn memory(&mut self) -> &mut M {
        &mut self.memory
    }

    /// Takes a transaction that the step has emitted.
    pub fn transaction(&mut self, it: &LedgerTransaction) -> Result<(), Found<M::Failed>> {
        self.ledger.observe(it)?;
        self.waiting.observe(it);
        let mode = [u8::from(it.livemode)];
        let parts: [&[u8]; 4] = [it.merchant.bits(), &mode, it.template.as_bytes(), it.event.as_bytes()];
        let before = self.seen(key(b'e', &parts))?;
        if it.template == TemplateName::TransferReceived.as_str() {
            pending_is_resolved_once(&it.event, before)?;
        }
        Ok(event_is_posted_once(it, before)?)
    }

    /// Takes a payment's event, after the transactions that came before it.
    pub fn event(&self, event: &PaymentEvent) -> Check {
        let payment = &event.payment;
        pending_is_never_negative(payment.id, payment.amount_received, payment.amount_confirmed)?;
        clearing_is_zero_at_rest(payment, &self.waiting)
    }

    /// Takes the answer to a command; `changed` is the first key that the step has changed, outside the runtime's table.
    pub fn reply(
        &mut self,
        (command, reply): (&Message, &CommandReply),
        changed: Option<&[u8]>,
    ) -> Result<(), Found<M::Failed>> {
        let Some(caller) = caller_of(command) else { return Ok(()) };
        rejected_command_changes_nothing(reply.outcome, changed)?;
        // What the command has booked, Stripe reports once more.
        if let (Some(money), CommandOutcome::Accepted) = (Money::of_command(command), reply.outcome) {
            self.memory.put(key(b'm', &[money.as_bytes()]), Vec::new()).map_err(Found::Failed)?;
        }
        let Some(asked) = &caller.idempotency else { return Ok(()) };
        let now = command.meta().recorded_at;
        let place = key(b'k', &[caller.merchant.bits(), &[u8::from(caller.livemode)], asked.key.as_bytes()]);
        let before = self.memory.get(&place).map_err(Found::Failed)?.and_then(|kept| Kept::read(&kept));
        let before = before.filter(|kept| now < kept.at.plus_seconds(KEY_KEPT_SECONDS));
        let (request, result) = (asked.request_hash, result_of(reply));
        let seen = KeySeen::of(before.map(|kept| (kept.request, kept.result)), (request, result));
        let code = reply.problem.as_ref().map(|problem| problem.code.as_str());
        key_gives_the_same(&asked.key, seen, reply.outcome, code)?;
        if reply.outcome == CommandOutcome::Accepted {
            let kept = Kept { request, result, at: now };
            self.memory.put(place, kept.write()).map_err(Found::Failed)?;
        }
        Ok(())
    }

    /// Takes the step as a whole: what its record has left behind. `posted` counts its transactions.
    pub fn step(
        &mut self,
        record: &Message,
        posted: usize,
        is_dead_letter: bool,
        changed: Option<&[u8]>,
    ) -> Result<(), Found<M::Failed>> {
        let Some(money) = Money::of(record) else { return Ok(()) };
        let place = key(b'm', &[money.name.as_bytes()]);
        let before = self.memory.get(&place).map_err(Found::Failed)?;
        let (was_taken, is_remembered) = (before.is_some(), changed.is_some());
        let traces = Traces { posted, is_dead_letter, was_taken, is_remembered };
        money_is_posted_or_explained(&money, traces)?;
        // A dead letter leaves the id unused: a retry is taken.
        if !is_dead_letter {
            self.memory.put(place, Vec::new()).map_err(Found::Failed)?;
        }
        Ok(())
    }

    /// The trial balance.
    pub fn finish(&self) -> Check {
        self.ledger.finish()
    }

    fn seen(&mut self, place: Vec<u8>) -> Result<Before, Found<M::Failed>> {
        let before = Before::of(self.memory.get(&place).map_err(Found::Failed)?.as_ref());
        self.memory.put(place, Vec::new()).map_err(Found::Failed)?;
        Ok(before)
    }
}

/// What a key was accepted for.
#[derive(Debug, Clone, Copy)]
struct Kept {
    request: ContentHash,
    result: ContentHash,
    at: Timestamp,
}

impl Kept {
    fn write(&self) -> Vec<u8> {
        let at = self.at.millis().to_be_bytes();
        [self.request.as_bytes().as_slice(), self.result.as_bytes().as_slice(), &at].concat()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (request, rest) = bytes.split_first_chunk::<32>()?;
        let (result, at) = rest.split_first_chunk::<32>()?;
        let at = Timestamp::from_millis(i64::from_be_bytes(at.try_into().ok()?));
        Some(Self { request: ContentHash::new(*request), result: ContentHash::new(*result), at })
    }
}

fn caller_of(command: &Message) -> Option<&Caller> {
    match command {
        Message::CreatePayment(command) => Some(&command.caller),
        Message::CancelPayment(command) => Some(&command.caller),
        Message::AcceptPayment(command) => Some(&command.caller),
        Message::ClaimPayment(command) => Some(&command.caller),
        Message::CreateRefund(command) => Some(&command.caller),
        _ => None,
    }
}

/// The hash of the objects in an answer. An object that has no JSON is hashed as its absence.
fn result_of(reply: &CommandReply) -> ContentHash {
    let objects = serde_json::to_vec(&(&reply.payment, &reply.refund)).unwrap_or_default();
    ContentHash::new(Sha256::digest(objects).into())
}

/// A key of parts, each behind its length.
fn key(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = vec![kind];
    for part in parts {
        key.extend_from_slice(&(part.len() as u64).to_be_bytes());
        key.extend_from_slice(part);
    }
    key
}
