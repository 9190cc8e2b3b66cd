//! Every posting says what it comes from, and nothing is posted twice.

use streambook_model::records::ledger::LedgerTransaction;

use super::{Before, Check, Invariant, ensure};
use crate::book::ledger::TemplateName;

/// [`Invariant::PostingNamesItsCause`].
pub fn posting_names_its_cause(transaction: &LedgerTransaction) -> Check {
    let id = transaction.transaction;
    let holds = |holds, what: &str| {
        ensure(holds, Invariant::PostingNamesItsCause, || format!("{id} names no {what}"))
    };
    holds(!transaction.event.is_empty(), "money event")?;
    holds(transaction.meta.cause.is_some(), "record that it comes from")?;
    let known = TemplateName::ALL.iter().any(|name| name.as_str() == transaction.template);
    holds(known && transaction.template_version > 0, "template with its version")
}

/// [`Invariant::EventIsPostedOnce`], given whether the book's template booked it before.
pub fn event_is_posted_once(transaction: &LedgerTransaction, before: Before) -> Check {
    ensure(before == Before::Never, Invariant::EventIsPostedOnce, || {
        format!("{} books the money event {} a second time", transaction.transaction, transaction.event)
    })
}
