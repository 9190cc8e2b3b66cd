//! The book: everything that must agree about a merchant's money, in one task and one commit.
//!
//! It reads `book.inbox`, keyed by merchant: commands of the API, transfers and deadlines from `reorg`, card facts from
//! `dedup`, changes of merchants, endpoints and settings from `registry`, and ticks. Each record is joined with its
//! payment (`confirmations`), the [`ledger`] is settled by the difference, and what happened goes out as a
//! `PaymentEvent`, as one message for each subscribed endpoint (`notifications`), and, for a command, as exactly one
//! reply. Taking a record twice changes nothing: an inclusion, a card fact and a command's ids each count once.
//!
//! Its tables are 1 to 14 (see `tables`); the ledger's begin at 200.

mod address;
mod amounts;
mod cards;
mod claims;
mod commands;
mod confirmations;
mod deadlines;
mod idempotency;
pub mod ledger;
mod notifications;
mod reply;
mod settings;
mod settle;
mod tables;
#[cfg(test)]
mod tests;
mod transfers;

pub use self::address::check_xpub;

use streambook_model::{
    message::Message,
    time::Timestamp,
    topics::{self, TopicDef},
};
use streambook_runtime::{
    processor::{Context, Emitted, Fault, Processor},
    state::{State, StateError},
};

use crate::invariants::{Before, Invariant, Money, Traces, at_run_time, money_is_posted_or_explained};

/// The books' processor, one task for each partition of `book.inbox`.
#[derive(Debug, Clone, Copy, Default)]
pub struct BookProcessor;

impl Processor for BookProcessor {
    fn name(&self) -> &'static str {
        "book"
    }

    fn inbox(&self) -> TopicDef {
        topics::BOOK_INBOX
    }

    fn process(&self, message: Message, context: &mut Context<'_>) -> Result<(), Fault> {
        match message {
            Message::CreatePayment(command) => commands::create_payment(context, command),
            Message::CancelPayment(command) => commands::cancel_payment(context, &command),
            Message::AcceptPayment(command) => commands::accept_payment(context, &command),
            Message::CreateRefund(command) => commands::create_refund(context, command),
            Message::TransferEvent(_) | Message::CardFact(_) => take_money(context, message),
            Message::DeadlinePassed(event) => deadlines::passed(context, &event),
            Message::ClaimPayment(command) => commands::claim_payment(context, &command),
            Message::ClaimRefused(refused) => claims::refused(context, &refused),
            Message::MerchantChanged(change) => {
                Ok(settings::put_merchant(&mut context.state, change.merchant)?)
            }
            Message::EndpointChanged(change) => {
                notifications::put_endpoint(&mut context.state, change.endpoint)
            }
            Message::SettingsChanged(change) => settings::put(context, change.settings),
            Message::Tick(tick) => deadlines::tick(context, &tick),
            other => {
                let reason = format!("a {} is not for a book's inbox", other.name());
                Err(Fault::dead_letter("unexpected_record", reason))
            }
        }
    }

    /// The earliest deadline of a card payment. A chain payment's deadline is judged by its chain's time, not by a clock.
    fn next_deadline(&self, state: &dyn State) -> Result<Option<Timestamp>, StateError> {
        deadlines::next(state)
    }
}

/// Takes what is said of money, and makes sure that it left a posting or a reason.
fn take_money(context: &mut Context<'_>, message: Message) -> Result<(), Fault> {
    let money = Money::of(&message);
    let before = match message {
        Message::TransferEvent(event) => transfers::take(context, &event)?,
        Message::CardFact(fact) => cards::take(context, fact)?,
        _ => return Ok(()),
    };
    let Some(money) = money else { return Ok(()) };
    let is_posting = |emitted: &&Emitted| matches!(*emitted.message, Message::LedgerTransaction(_));
    let traces = Traces {
        posted: context.emitted().iter().filter(is_posting).count(),
        is_dead_letter: false,
        was_taken: before == Before::Already,
        is_remembered: context.state.changes().keys().any(|key| key.first() != Some(&0)),
    };
    let holds = money_is_posted_or_explained(&money, traces);
    at_run_time(context, Invariant::MoneyIsPostedOrExplained, holds)
}
