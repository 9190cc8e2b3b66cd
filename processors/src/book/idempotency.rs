//! Idempotency keys: the same key with the same request gives the first answer again, with another request a conflict.
//! Decided here only, in log order, so two API instances that are asked at once cannot both act.
//!
//! An answer is remembered for 24 hours of record time. A rejected command is not remembered: it changed nothing, and a
//! corrected retry may use its key again (so Stripe does with requests that fail validation). What is due is removed a
//! few at a time by the commands that follow, in the order of a queue, so no step scans or removes without bound.

use serde::{Deserialize, Serialize};
use streambook_model::{
    bytes::ContentHash,
    id::{MerchantId, PaymentId, RefundId},
    records::{book::Caller, payment::Payment},
    time::Timestamp,
};
use streambook_runtime::state::{State, StateError};

use super::{
    reply::Answer,
    tables::{self, IDEMPOTENCY, IDEMPOTENCY_ENDS, IDEMPOTENCY_QUEUE, REFUNDS},
};

/// How long an answer is remembered.
const KEPT_SECONDS: u32 = 24 * 60 * 60;
/// How many due answers one command removes: more than it adds, so the queue cannot fall behind.
const REMOVED_MAX: u32 = 2;

/// An answer that is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    request_hash: ContentHash,
    at: Timestamp,
    answer: Remembered,
}

/// The first answer, as small as it can be kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Remembered {
    /// The payment as it was created, which follows from its intent.
    Created(PaymentId),
    /// The refund, which never changes.
    Refunded(RefundId),
    /// The payment as a command left it.
    Changed(Box<Payment>),
}

/// A key in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Queued {
    merchant: MerchantId,
    livemode: bool,
    key: String,
    at: Timestamp,
}

/// The queue's ends: the next number to remove, the next to give, and when the first is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Queue {
    first: u64,
    next: u64,
    due: Timestamp,
}

/// What is known of a command's idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "it lives for one match")]
pub(super) enum Known {
    /// Nothing, or there is no key: the command is new.
    New,
    /// It was carried out; this was the answer.
    Same(Answer),
    /// The key was used for something else.
    Other,
}

/// Looks up a command's key.
pub(super) fn look_up(state: &dyn State, caller: &Caller, now: Timestamp) -> Result<Known, StateError> {
    let Some(asked) = &caller.idempotency else { return Ok(Known::New) };
    let kept = IDEMPOTENCY.get(state, (caller.merchant, caller.livemode, asked.key.as_str()))?;
    let Some(kept) = kept.filter(|kept| now < due(kept.at)) else { return Ok(Known::New) };
    if kept.request_hash != asked.request_hash {
        return Ok(Known::Other);
    }
    let answer = match kept.answer {
        Remembered::Created(id) => {
            tables::payment(state, id)?.map(|payment| Answer::Payment(payment.as_created()))
        }
        Remembered::Refunded(id) => REFUNDS.get(state, id)?.map(Answer::Refund),
        Remembered::Changed(payment) => Some(Answer::Payment(*payment)),
    };
    Ok(answer.map_or(Known::New, Known::Same))
}

/// Remembers the answer to a command that was carried out, if it has a key, and removes what is due.
pub(super) fn remember(
    state: &mut dyn State,
    caller: &Caller,
    now: Timestamp,
    answer: &Answer,
) -> Result<(), StateError> {
    let Some(asked) = &caller.idempotency else { return Ok(()) };
    let answer = match answer {
        Answer::Payment(payment) if payment.version == 1 => Remembered::Created(payment.id),
        Answer::Payment(payment) => Remembered::Changed(Box::new(payment.clone())),
        Answer::Refund(refund) => Remembered::Refunded(refund.id),
    };
    let (merchant, livemode, key) = (caller.merchant, caller.livemode, asked.key.clone());
    let kept = Kept { request_hash: asked.request_hash, at: now, answer };
    IDEMPOTENCY.put(state, (merchant, livemode, key.as_str()), &kept)?;
    let mut queue = IDEMPOTENCY_ENDS.get(state, ())?.unwrap_or_default();
    IDEMPOTENCY_QUEUE.put(state, queue.next, &Queued { merchant, livemode, key, at: now })?;
    if queue.first == queue.next {
        queue.due = due(now);
    }
    queue.next += 1;
    for _ in 0..REMOVED_MAX {
        remove_first(state, &mut queue, now)?;
    }
    IDEMPOTENCY_ENDS.put(state, (), &queue)
}

fn due(at: Timestamp) -> Timestamp {
    at.plus_seconds(KEPT_SECONDS)
}

/// Removes the first of the queue, if it is due.
fn remove_first(state: &mut dyn State, queue: &mut Queue, now: Timestamp) -> Result<(), StateError> {
    if now < queue.due || queue.first == queue.next {
        return Ok(());
    }
    if let Some(queued) = IDEMPOTENCY_QUEUE.get(state, queue.first)? {
        let key = (queued.merchant, queued.livemode, queued.key.as_str());
        // The key may have been used again since; then a later place in the queue stands for it.
        if IDEMPOTENCY.get(state, key)?.is_some_and(|kept| kept.at == queued.at) {
            IDEMPOTENCY.delete(state, key);
        }
    }
    IDEMPOTENCY_QUEUE.delete(state, queue.first);
    queue.first += 1;
    if let Some(next) = IDEMPOTENCY_QUEUE.get(state, queue.first)? {
        queue.due = due(next.at);
    }
    Ok(())
}
