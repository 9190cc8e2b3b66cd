//! From records to rows: pure functions, one file for each family of records.
//!
//! What is only ever added (events, transactions, entries) becomes a row for each record; of what changes (payments,
//! balances, heads) only the last of the batch becomes a row, in key order, so a batch touches each row and page once.

mod chain;
mod dead_letter;
mod ledger;
pub(crate) mod payment;
mod registry;
mod webhook;

use streambook_model::{
    message::Message,
    position::{Offset, TopicPartition},
    records::registry::{ApiKeyChanged, EndpointChanged, MerchantChanged, SettingsChanged},
};
use streambook_runtime::sink::Delivered;

use super::{cell::signed, error::SqlError, table::Rows};

/// Offsets of one partition in a position: 2^48, a hundred thousand records a second for ninety years.
const OFFSETS: u64 = 1 << 48;

/// A batch's rows, being collected.
#[derive(Debug, Default)]
pub(crate) struct Collector<'b> {
    payments: payment::PaymentRows<'b>,
    ledger: ledger::LedgerRows<'b>,
    chain: chain::ChainRows<'b>,
    webhooks: webhook::WebhookRows,
    dead_letters: dead_letter::DeadLetterRows,
    registry: registry::RegistryRows<'b>,
}

impl<'b> Collector<'b> {
    /// Adds a record's rows. Records that have none in SQL (deadlines) add nothing.
    pub(crate) fn take(&mut self, delivered: &'b Delivered) -> Result<(), SqlError> {
        let at = position(&delivered.from, delivered.offset)?;
        match &*delivered.message {
            Message::PaymentEvent(event) => self.payments.take(at, event),
            Message::LedgerTransaction(transaction) => self.ledger.take(at, transaction),
            Message::TransferEvent(event) => self.chain.take_transfer(at, event),
            Message::ChainStatus(status) => self.chain.take_head(at, status),
            Message::WebhookAttempt(attempt) => self.webhooks.take(at, attempt),
            Message::DeadLetter(letter) => self.dead_letters.take(at, letter),
            Message::MerchantChanged(MerchantChanged { meta, merchant }) => {
                self.registry.merchant(at, meta, merchant)
            }
            Message::ApiKeyChanged(ApiKeyChanged { meta, api_key }) => {
                self.registry.api_key(at, meta, api_key)
            }
            Message::EndpointChanged(EndpointChanged { meta, endpoint }) => {
                self.registry.endpoint(at, meta, endpoint)
            }
            Message::SettingsChanged(SettingsChanged { meta, settings }) => {
                self.registry.settings(at, meta, settings)
            }
            Message::DeadlinePassed(_) => Ok(()),
            other => Err(unexpected(delivered, other)),
        }
    }

    /// The rows, table by table, referenced tables before those that refer to them.
    pub(crate) fn finish(self) -> Result<Vec<Rows>, SqlError> {
        let mut rows = Vec::new();
        self.payments.finish(&mut rows)?;
        self.ledger.finish(&mut rows)?;
        self.chain.finish(&mut rows)?;
        self.webhooks.finish(&mut rows);
        self.dead_letters.finish(&mut rows);
        self.registry.finish(&mut rows)?;
        rows.retain(|rows| !rows.cells.is_empty());
        Ok(rows)
    }
}

/// A record's place in its topic as one number that grows within a partition.
fn position(from: &TopicPartition, offset: Offset) -> Result<i64, SqlError> {
    if offset.0 >= OFFSETS {
        return Err(SqlError::Unfit(format!("{from} offset {offset} is beyond what a position holds")));
    }
    signed(u64::from(from.partition.0) * OFFSETS + offset.0)
}

/// A record of a type that has no place in the SQL sink's topics: this program is older than the log, or the log is
/// damaged. To skip it would be to guess.
fn unexpected(delivered: &Delivered, message: &Message) -> SqlError {
    SqlError::Unfit(format!(
        "{} offset {}: a {} has no place in SQL; is this program older than the log?",
        delivered.from,
        delivered.offset,
        message.name()
    ))
}
