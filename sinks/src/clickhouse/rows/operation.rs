//! What describes operation: webhook attempts, commands and their answers, dead letters.

use serde::Serialize;
use streambook_model::{
    id::{AttemptId, DeadLetterId, EndpointId, EventId, MerchantId, PaymentId, RequestId},
    message::Message,
    records::{book::Caller, dead_letter::DeadLetter, reply::CommandReply, webhook::WebhookAttempt},
};

use super::At;
use crate::clickhouse::words;

/// A row of `webhook_attempts`.
#[derive(Debug, Serialize)]
pub(crate) struct AttemptRow<'b> {
    log_partition: u16,
    log_offset: u64,
    batch: u64,
    recorded_at: i64,
    occurred_at: i64,
    attempt: AttemptId,
    event: EventId,
    event_type: &'b str,
    endpoint: EndpointId,
    merchant: MerchantId,
    number: u32,
    outcome: &'static str,
    status_code: u16,
    error: &'b str,
    duration_ms: u32,
}

impl<'b> AttemptRow<'b> {
    pub(crate) fn of(at: At, attempt: &'b WebhookAttempt) -> Self {
        Self {
            log_partition: at.log_partition,
            log_offset: at.log_offset,
            batch: at.batch,
            recorded_at: at.recorded_at,
            occurred_at: at.occurred_at,
            attempt: attempt.attempt,
            event: attempt.event,
            event_type: &attempt.event_type,
            endpoint: attempt.endpoint,
            merchant: attempt.merchant,
            number: attempt.number,
            outcome: words::attempt(attempt.outcome),
            status_code: attempt.status_code.unwrap_or(0),
            error: attempt.error.as_deref().unwrap_or_default(),
            duration_ms: attempt.duration_ms,
        }
    }
}

/// A row of `api_requests`.
#[derive(Debug, Serialize)]
pub(crate) struct RequestRow {
    log_partition: u16,
    log_offset: u64,
    batch: u64,
    recorded_at: i64,
    request: RequestId,
    command: &'static str,
    merchant: MerchantId,
    livemode: bool,
    payment: PaymentId,
    has_idempotency_key: bool,
}

impl RequestRow {
    /// The row of a command; nothing of any other record.
    pub(crate) fn of(at: At, message: &Message) -> Option<Self> {
        let (command, caller, payment): (_, &Caller, _) = match message {
            Message::CreatePayment(command) => ("create_payment", &command.caller, command.payment),
            Message::CancelPayment(command) => ("cancel_payment", &command.caller, command.payment),
            Message::AcceptPayment(command) => ("accept_payment", &command.caller, command.payment),
            Message::ClaimPayment(command) => ("claim_payment", &command.caller, command.payment),
            Message::CreateRefund(command) => ("create_refund", &command.caller, command.payment),
            _ => return None,
        };
        Some(Self {
            log_partition: at.log_partition,
            log_offset: at.log_offset,
            batch: at.batch,
            recorded_at: at.recorded_at,
            request: caller.reply.request,
            command,
            merchant: caller.merchant,
            livemode: caller.livemode,
            payment,
            has_idempotency_key: caller.idempotency.is_some(),
        })
    }
}

/// A row of `api_replies`.
#[derive(Debug, Serialize)]
pub(crate) struct ReplyRow<'b> {
    log_partition: u16,
    log_offset: u64,
    batch: u64,
    recorded_at: i64,
    request: RequestId,
    outcome: &'static str,
    status: u16,
    code: &'b str,
}

impl<'b> ReplyRow<'b> {
    pub(crate) fn of(at: At, reply: &'b CommandReply) -> Self {
        Self {
            log_partition: at.log_partition,
            log_offset: at.log_offset,
            batch: at.batch,
            recorded_at: at.recorded_at,
            request: reply.request,
            outcome: words::outcome(reply.outcome),
            status: reply.problem.as_ref().map_or(0, |problem| problem.status),
            code: reply.problem.as_ref().map_or("", |problem| &problem.code),
        }
    }
}

/// A row of `dead_letters`.
#[derive(Debug, Serialize)]
pub(crate) struct DeadLetterRow<'b> {
    log_partition: u16,
    log_offset: u64,
    batch: u64,
    recorded_at: i64,
    letter: DeadLetterId,
    task: &'b str,
    topic: &'b str,
    source_partition: u16,
    source_offset: u64,
    code: &'b str,
    reason: &'b str,
}

impl<'b> DeadLetterRow<'b> {
    pub(crate) fn of(at: At, letter: &'b DeadLetter) -> Self {
        Self {
            log_partition: at.log_partition,
            log_offset: at.log_offset,
            batch: at.batch,
            recorded_at: at.recorded_at,
            letter: letter.letter,
            task: &letter.task,
            topic: &letter.topic,
            source_partition: letter.partition,
            source_offset: letter.offset,
            code: &letter.code,
            reason: &letter.reason,
        }
    }
}
