//! What the reads take and give. Nothing here knows SQL.
//!
//! Every key of a list is made of columns that never change after a row's insertion, so a cursor stays where it is while
//! rows are added.

use serde::{Deserialize, Serialize};
use streambook_model::{
    asset::AssetId,
    bytes::{BlockHash, ContentHash},
    chain::{BlockNumber, ChainId},
    id::{AttemptId, DeadLetterId, EndpointId, EventId, MerchantId, PaymentId, RefundId, TransactionId},
    money::Amount,
    position::{Offset, TopicPartition},
    records::{
        ledger::AccountId,
        payment::{Payment, PaymentEventType, PaymentStatus, Refund},
        webhook::AttemptOutcome,
    },
    time::Timestamp,
};

use crate::sql::query::Query;

/// Whose data, and which of its two books. Every merchant read takes one and adds it to its query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// The merchant of the caller's key.
    pub merchant: MerchantId,
    /// Whether it is a live key.
    pub livemode: bool,
}

impl Scope {
    /// Limits a query to this merchant's rows in this mode. The query has a `WHERE` already.
    pub(crate) fn and(self, query: Query) -> Query {
        query.sql(" AND merchant = ").text(self.merchant).sql(" AND livemode = ").arg(self.livemode)
    }
}

/// Which part of a list: the newest `limit` rows, or those after (older than) a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page<K> {
    /// At most so many rows; [`Page::MAX_LIMIT`] at most.
    pub limit: u16,
    /// The last row that was seen.
    pub after: Option<K>,
}

impl<K> Page<K> {
    /// No page is longer, whatever the caller asks.
    pub const MAX_LIMIT: u16 = 1_000;

    /// The first page.
    pub const fn first(limit: u16) -> Self {
        Self { limit, after: None }
    }

    /// The page after the row with this key.
    pub const fn after(limit: u16, key: K) -> Self {
        Self { limit, after: Some(key) }
    }

    /// The limit as it is used.
    pub(crate) fn rows(&self) -> i64 {
        i64::from(self.limit.clamp(1, Self::MAX_LIMIT))
    }
}

/// Rows of a list, newest first, and where the next page starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T, K> {
    /// The rows.
    pub rows: Vec<T>,
    /// The key for the next page; absent when this page is the last.
    pub next: Option<K>,
}

impl<T, K> Listed<T, K> {
    /// A page from up to one row more than it holds; that row only says that there is a next page.
    pub(crate) fn cut(mut rows: Vec<T>, limit: i64, key_of: impl Fn(&T) -> K) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = if more { rows.last().map(key_of) } else { None };
        Self { rows, next }
    }
}

/// A payment's place in lists: newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PaymentKey {
    /// When it was created, in milliseconds.
    pub created_at_ms: i64,
    /// Its id, among those created in the same millisecond.
    pub id: PaymentId,
}

/// The place of a row that came from one record: the record's position in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PositionKey(pub i64);

/// A ledger transaction's place in lists: its number in the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SequenceKey(pub u64);

/// Which payments a list holds. All that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PaymentFilter {
    /// In this status.
    pub status: Option<PaymentStatus>,
    /// With this reference of the merchant.
    pub reference_id: Option<String>,
    /// Created at this time or later.
    pub created_from: Option<Timestamp>,
    /// Created before this time.
    pub created_before: Option<Timestamp>,
}

/// Which events a list holds. All that is given must hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of this type.
    pub event_type: Option<PaymentEventType>,
    /// Of this payment.
    pub payment: Option<PaymentId>,
}

/// An event as the merchant sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its place in lists.
    pub key: PositionKey,
    /// Its id.
    pub event: EventId,
    /// What happened.
    pub event_type: PaymentEventType,
    /// The payment as it was after it.
    pub payment: Payment,
    /// The refund, for a refund.
    pub refund: Option<Refund>,
    /// When it happened.
    pub occurred_at: Timestamp,
}

/// A line of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// The account.
    pub account: AccountId,
    /// The asset.
    pub asset: AssetId,
    /// The change in the smallest unit: positive is a debit, negative a credit.
    pub amount: Amount,
    /// The account's balance in this asset after it.
    pub balance: Amount,
    /// How many entries the account has had in this asset, this one included.
    pub version: u64,
}

/// A ledger transaction with its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTransaction {
    /// Its id.
    pub transaction: TransactionId,
    /// Its number in the book, from 1; also its place in lists, as a [`SequenceKey`].
    pub sequence: u64,
    /// The posting template that made it.
    pub template: String,
    /// That template's version.
    pub template_version: u32,
    /// The payment it is about.
    pub payment: Option<PaymentId>,
    /// The refund it is about.
    pub refund: Option<RefundId>,
    /// The natural id of the money event that it books.
    pub event: String,
    /// The transaction it takes back, for a reversal.
    pub reverses: Option<TransactionId>,
    /// When the money moved.
    pub occurred_at: Timestamp,
    /// Its lines, in order.
    pub entries: Vec<StoredEntry>,
    /// The hash of the book's transaction before it.
    pub previous_hash: ContentHash,
    /// Its hash.
    pub hash: ContentHash,
}

/// The balance of one account in one asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// The account's whole name, for example `live/merchant/mer_…/available`.
    pub account: AccountId,
    /// The last part of that name, for example `available` or `clearing`.
    pub name: String,
    /// The asset.
    pub asset: AssetId,
    /// The asset's decimal places; absent where the asset is neither configured nor a currency.
    pub scale: Option<u8>,
    /// Debits less credits, in the smallest unit; what is owed to a merchant is negative here.
    pub balance: Amount,
    /// How many entries it has had.
    pub version: u64,
}

/// The sum of all accounts of one asset in one mode; zero in books that balance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialBalance {
    /// Live or test.
    pub livemode: bool,
    /// The asset.
    pub asset: AssetId,
    /// The sum of the positive balances.
    pub debits: Amount,
    /// The sum of the negative balances, as a negative number.
    pub credits: Amount,
    /// The accounts summed.
    pub accounts: u64,
}

/// A webhook endpoint, without its secrets, which never reach this database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEndpoint {
    /// Its place in lists.
    pub key: EndpointKey,
    /// Its id.
    pub id: EndpointId,
    /// Where messages go.
    pub url: String,
    /// Event types it wants, or `*`.
    pub events: Vec<String>,
    /// How many signing secrets it has: two during a rotation.
    pub secrets: u32,
    /// Why it receives nothing, if it is disabled.
    pub disabled: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
}

/// An endpoint's place in lists: newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EndpointKey {
    /// When it was created, in milliseconds.
    pub created_at_ms: i64,
    /// Its id, among those created in the same millisecond.
    pub id: EndpointId,
}

/// One attempt to deliver a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAttempt {
    /// Its place in lists.
    pub key: PositionKey,
    /// The attempt's id.
    pub attempt: AttemptId,
    /// The event.
    pub event: EventId,
    /// Its type.
    pub event_type: String,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The number of the attempt, from 1.
    pub number: u32,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// The status the endpoint answered with, if it answered.
    pub status_code: Option<u16>,
    /// What went wrong, in words.
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub duration_ms: u32,
    /// When the next attempt is due.
    pub next_attempt_at: Option<Timestamp>,
    /// When it was made.
    pub occurred_at: Timestamp,
}

/// A record that could not be processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDeadLetter {
    /// Its place in lists.
    pub key: PositionKey,
    /// Its id.
    pub letter: DeadLetterId,
    /// The task or connector that could not use it.
    pub task: String,
    /// Where it was read: topic, partition.
    pub from: TopicPartition,
    /// Its offset there.
    pub offset: Offset,
    /// A stable code for the reason.
    pub code: String,
    /// The reason in words.
    pub reason: String,
    /// The record's key.
    pub record_key: Vec<u8>,
    /// The record, byte for byte.
    pub record: Vec<u8>,
    /// When the record happened.
    pub occurred_at: Timestamp,
}

/// A chain's canonical head, for confirmations that count up between events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainHeadRow {
    /// The chain.
    pub chain: ChainId,
    /// The head's height.
    pub number: BlockNumber,
    /// The head's hash.
    pub hash: BlockHash,
    /// The head's time.
    pub time: Timestamp,
    /// The finalized height, once known.
    pub finalized: Option<BlockNumber>,
    /// Why the chain has stopped, if it has.
    pub halted: Option<String>,
}

/// One change in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Its place in lists.
    pub key: PositionKey,
    /// The command it follows from: `registry.inbox` offset, where it is known.
    pub command: Option<Offset>,
    /// What changed: `merchant`, `api_key`, `endpoint` or `settings`.
    pub subject: String,
    /// The id of what changed; of settings, their version.
    pub subject_id: String,
    /// Whose it is, where it is a merchant's.
    pub merchant: Option<MerchantId>,
    /// The natural id of the record, which names the request that asked.
    pub record: String,
    /// The trace of that request, if it had one.
    pub trace: Option<String>,
    /// What it is now, as JSON without secrets and hashes.
    pub detail: String,
    /// When.
    pub occurred_at: Timestamp,
}

/// How many rows the main tables have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Payments.
    pub payments: u64,
    /// Events of payments.
    pub payment_events: u64,
    /// Refunds.
    pub refunds: u64,
    /// Ledger transactions.
    pub ledger_transactions: u64,
    /// Ledger entries.
    pub ledger_entries: u64,
    /// Attempts to deliver webhooks.
    pub webhook_attempts: u64,
    /// Dead letters.
    pub dead_letters: u64,
}
