//! From records to rows. The same records give the same rows, always: nothing here reads a clock or remembers anything.

mod chain;
mod ledger;
mod operation;
mod payment;
mod registry;
mod stripe;

use std::fmt::Display;

use clickhouse::Row;
use serde::{Deserialize, Serialize, Serializer};
use streambook_model::{
    bytes::FixedBytes,
    chain::ChainId,
    message::Message,
    topics::{CHAIN_TRANSFERS, REGISTRY_EVENTS},
};
use streambook_runtime::sink::Delivered;

use self::{
    chain::{BlockRow, HeadRow, TransferRow},
    ledger::EntryRow,
    operation::{AttemptRow, DeadLetterRow, ReplyRow, RequestRow},
    payment::{EventRow, Payments},
    registry::{Assets, Merchants},
    stripe::{FactRow, StripeEventRow},
};
use super::{error::ClickHouseError, inserts::Inserts, service::Service, sink::Tokens};

/// Where a record is in the log, and by which batch it is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At {
    log_partition: u16,
    log_offset: u64,
    batch: u64,
    recorded_at: i64,
    occurred_at: i64,
}

impl At {
    fn of(delivered: &Delivered, batch: u64) -> Self {
        let meta = delivered.message.meta();
        Self {
            log_partition: delivered.from.partition.0,
            log_offset: delivered.offset.0,
            batch,
            recorded_at: meta.recorded_at.millis(),
            occurred_at: meta.occurred_at.millis(),
        }
    }
}

/// The text form of a value that may be absent; nothing is the empty text.
#[derive(Debug)]
pub(crate) struct Text<T>(Option<T>);

impl<T: Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_str(""),
        }
    }
}

/// The bytes of an address or hash.
#[derive(Debug)]
pub(crate) struct Raw<const N: usize>([u8; N]);

impl<const N: usize> Raw<N> {
    fn of<K>(value: &FixedBytes<N, K>) -> Self {
        Self(*value.as_bytes())
    }

    /// Zeros where there is none.
    fn maybe<K>(value: Option<&FixedBytes<N, K>>) -> Self {
        value.map_or(Self([0; N]), Self::of)
    }
}

impl<const N: usize> Serialize for Raw<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

/// A chain's id; 0 where there is none.
fn chain_id(chain: Option<ChainId>) -> u64 {
    chain.map_or(0, |chain| chain.0)
}

/// The rows of one batch, table by table.
#[derive(Default)]
pub(crate) struct Rows<'b> {
    events: Vec<EventRow<'b>>,
    payments: Payments<'b>,
    entries: Vec<EntryRow<'b>>,
    transfers: Vec<TransferRow<'b>>,
    heads: Vec<HeadRow<'b>>,
    blocks: Vec<BlockRow>,
    stripe_events: Vec<StripeEventRow<'b>>,
    facts: Vec<FactRow<'b>>,
    attempts: Vec<AttemptRow<'b>>,
    requests: Vec<RequestRow>,
    replies: Vec<ReplyRow<'b>>,
    letters: Vec<DeadLetterRow<'b>>,
    merchants: Merchants<'b>,
    assets: Assets<'b>,
}

/// How many rows of a batch a table should have.
#[derive(Debug)]
struct Expected {
    table: &'static str,
    key: &'static str,
    rows: usize,
}

/// How many a table has.
#[derive(Debug, Row, Deserialize)]
struct Found {
    number: u32,
    rows: u64,
}

/// Where a record is.
const KEY: &str = "log_partition, log_offset";

impl<'b> Rows<'b> {
    /// The rows of these records.
    pub(crate) fn of(batch: u64, records: &[&'b Delivered]) -> Self {
        let mut rows = Self::default();
        for delivered in records {
            rows.take(At::of(delivered, batch), delivered.from.topic.as_str(), &delivered.message);
        }
        rows
    }

    /// Adds a record's rows. What no table is for gives none: ticks, watches, and the copies of transfers, names and
    /// settings that the books are told in their own inbox.
    fn take(&mut self, at: At, topic: &str, message: &'b Message) {
        match message {
            Message::PaymentEvent(event) => {
                self.events.push(EventRow::of(at, event));
                self.payments.take(at, event);
            }
            Message::LedgerTransaction(transaction) => self.entries.extend(ledger::rows(at, transaction)),
            Message::TransferEvent(event) if topic == CHAIN_TRANSFERS.name => {
                self.transfers.push(TransferRow::of(at, event));
            }
            Message::ChainStatus(status) => self.heads.push(HeadRow::of(at, status)),
            Message::ChainBlock(block) => self.blocks.push(BlockRow::of(at, block)),
            Message::StripeEvent(event) => self.stripe_events.push(StripeEventRow::of(at, event)),
            Message::CardFact(fact) => self.facts.push(FactRow::of(at, fact)),
            Message::WebhookAttempt(attempt) => self.attempts.push(AttemptRow::of(at, attempt)),
            Message::CommandReply(reply) => self.replies.push(ReplyRow::of(at, reply)),
            Message::DeadLetter(letter) => self.letters.push(DeadLetterRow::of(at, letter)),
            Message::MerchantChanged(changed) if topic == REGISTRY_EVENTS.name => {
                self.merchants.take(at, changed);
            }
            Message::SettingsChanged(changed) if topic == REGISTRY_EVENTS.name => {
                self.assets.take(at, changed);
            }
            other => self.requests.extend(RequestRow::of(at, other)),
        }
    }

    /// Inserts all of it, the largest tables first, so that the server has most to do while the others are put together.
    pub(crate) async fn insert(&self, to: &Service, tokens: &Tokens) -> Result<(), ClickHouseError> {
        let mut inserts = Inserts::new(to, tokens);
        inserts.add("ledger_entries", &self.entries).await?;
        inserts.add("payment_events", &self.events).await?;
        inserts.add("chain_transfers", &self.transfers).await?;
        inserts.add("payments", &self.payments.rows()).await?;
        inserts.add("api_requests", &self.requests).await?;
        inserts.add("api_replies", &self.replies).await?;
        inserts.add("webhook_attempts", &self.attempts).await?;
        inserts.add("chain_heads", &self.heads).await?;
        inserts.add("chain_blocks", &self.blocks).await?;
        inserts.add("stripe_events", &self.stripe_events).await?;
        inserts.add("stripe_facts", &self.facts).await?;
        inserts.add("dead_letters", &self.letters).await?;
        inserts.add("merchants", &self.merchants.rows()).await?;
        inserts.add("assets", &self.assets.rows()).await?;
        inserts.done().await
    }

    /// Counts the batch's rows in the tables.
    pub(crate) async fn check(&self, at: &Service, batch: u64) -> Result<(), ClickHouseError> {
        let expected: Vec<_> = self.expected().into_iter().filter(|expected| expected.rows > 0).collect();
        if expected.is_empty() {
            return Ok(());
        }
        let count = |(number, expected): (u32, &Expected)| {
            let Expected { table, key, .. } = expected;
            format!(
                "SELECT toUInt32({number}) AS number, uniqExact({key}) AS rows FROM {table} WHERE batch = {batch}"
            )
        };
        let counts: Vec<_> = (0_u32..).zip(&expected).map(count).collect();
        let found: Vec<Found> = at.fetch("counting a batch", &counts.join(" UNION ALL ")).await?;
        for (number, Expected { table, rows, .. }) in (0_u32..).zip(&expected) {
            let found = found.iter().find(|found| found.number == number).map_or(0, |found| found.rows);
            let expected = *rows as u64;
            if found != expected {
                return Err(ClickHouseError::Missing { table, expected, found });
            }
        }
        Ok(())
    }

    fn expected(&self) -> [Expected; 14] {
        let count = |table, rows| Expected { table, key: KEY, rows };
        let by = |table, key, rows| Expected { table, key, rows };
        [
            count("payment_events", self.events.len()),
            by("payments", "payment", self.payments.len()),
            by("ledger_entries", "log_partition, log_offset, line", self.entries.len()),
            count("chain_transfers", self.transfers.len()),
            count("chain_heads", self.heads.len()),
            count("chain_blocks", self.blocks.len()),
            count("stripe_events", self.stripe_events.len()),
            count("stripe_facts", self.facts.len()),
            count("webhook_attempts", self.attempts.len()),
            count("api_requests", self.requests.len()),
            count("api_replies", self.replies.len()),
            count("dead_letters", self.letters.len()),
            by("merchants", "merchant", self.merchants.len()),
            by("assets", "asset", self.assets.len()),
        ]
    }
}
