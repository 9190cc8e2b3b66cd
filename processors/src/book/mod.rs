//! The book: everything that must agree about a merchant's money, in one task and one commit.
//!
//! It reads `book.inbox`, keyed by merchant: commands of the API, transfers and deadlines from `reorg`, card facts from
//! `dedup`, changes of merchants, endpoints and settings from `registry`, and ticks. Each record is joined with its
//! payment (`confirmations`), the [`ledger`] is settled by the difference, and what happened goes out as a
//! `PaymentEvent`, as one message for each subscribed endpoint (`notifications`), and, for a command, as exactly one
//! reply. Taking a record twice changes nothing: an inclusion, a card fact and a command's ids each count once.
//!
//! Its tables are 1 to 12 (see `tables`); the ledger's begin at 200.

mod address;
mod cards;
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
    processor::{Context, Fault, Processor},
    state::{State, StateError},
};

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
            Message::TransferEvent(event) => transfers::take(context, &event),
            Message::DeadlinePassed(event) => deadlines::passed(context, &event),
            Message::CardFact(fact) => cards::take(context, fact),
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
