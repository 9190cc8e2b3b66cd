//! Answers to commands: each command gets exactly one, at the partition of `api.replies` it names.

use streambook_model::{
    money::AmountError,
    position::Partition,
    records::{
        book::Caller,
        payment::{Payment, Refund},
        reply::{CommandOutcome, CommandReply, Problem},
    },
    topics,
};
use streambook_runtime::{
    processor::{Context, Fault},
    state::StateError,
};

/// What a command gives.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "an answer is moved once into its reply")]
pub(super) enum Answer {
    /// The payment after it.
    Payment(Payment),
    /// The refund.
    Refund(Refund),
}

/// Why a command changes nothing.
#[derive(Debug)]
pub(super) enum Denied {
    /// It breaks a rule: the caller is told.
    Problem(Problem),
    /// The record itself cannot be taken.
    Fault(Fault),
}

impl From<Fault> for Denied {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<StateError> for Denied {
    fn from(error: StateError) -> Self {
        Self::Fault(error.into())
    }
}

impl From<AmountError> for Denied {
    fn from(error: AmountError) -> Self {
        Self::Fault(error.into())
    }
}

/// The command contradicts what is (409).
pub(super) fn conflict(code: &str, detail: impl Into<String>) -> Denied {
    problem(code, 409, None, detail)
}

/// A field of the request asks for something that is not possible (422).
pub(super) fn invalid(code: &str, field: &str, detail: impl Into<String>) -> Denied {
    problem(code, 422, Some(field), detail)
}

/// There is no such thing for this caller (404). Another merchant's, or the other mode's, looks the same.
pub(super) fn not_found(what: &str) -> Denied {
    problem(
        "not_found",
        404,
        None,
        format!("there is no such {what} for this key; check the id and the key's mode"),
    )
}

fn problem(code: &str, status: u16, field: Option<&str>, detail: impl Into<String>) -> Denied {
    let (code, field, detail) = (code.to_owned(), field.map(str::to_owned), detail.into());
    Denied::Problem(Problem { code, status, field, detail })
}

/// The same idempotency key with another request (409).
pub(super) fn key_reused() -> Problem {
    Problem {
        code: "idempotency_key_reused".into(),
        status: 409,
        field: Some("Idempotency-Key".into()),
        detail:
            "this key was used with another request in the last 24 hours; use a new key for a new request"
                .into(),
    }
}

/// Answers with an object.
pub(super) fn give(context: &mut Context<'_>, caller: &Caller, outcome: CommandOutcome, answer: Answer) {
    let (payment, refund) = match answer {
        Answer::Payment(payment) => (Some(payment), None),
        Answer::Refund(refund) => (None, Some(refund)),
    };
    let reply = CommandReply { payment, refund, ..empty(context, caller, outcome) };
    send(context, caller, reply);
}

/// Answers with a problem.
pub(super) fn refuse(context: &mut Context<'_>, caller: &Caller, problem: Problem) {
    let reply = CommandReply { problem: Some(problem), ..empty(context, caller, CommandOutcome::Rejected) };
    send(context, caller, reply);
}

fn empty(context: &Context<'_>, caller: &Caller, outcome: CommandOutcome) -> CommandReply {
    CommandReply {
        meta: context.meta(context.input().occurred_at),
        request: caller.reply.request,
        outcome,
        problem: None,
        payment: None,
        refund: None,
        merchant: None,
        api_key: None,
        endpoint: None,
    }
}

fn send(context: &mut Context<'_>, caller: &Caller, reply: CommandReply) {
    let to = Partition(caller.reply.partition);
    context.emit_to(topics::API_REPLIES, to, caller.reply.request.to_string(), reply);
}
