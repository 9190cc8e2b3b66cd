//! The SQL sink: payments, refunds, the ledger, webhooks, dead letters and the audit log in one schema, and the reads of it.
//!
//! - A batch's rows, the offsets it moves and the lineage it has seen commit in one transaction, or none of them do.
//! - Offsets move by compare-and-set, so a second writer is found out at its first batch and stops.
//! - What is append-only in the log is append-only here; the database itself refuses to change it.
//! - An older snapshot never overwrites a newer one, whatever order they come in.
//!
//! From top to bottom: [`config`](SqlConfig), `sink`, `rows`, `service`, `reads`. The schema is in `schema/`. There are two
//! dialects of one design: only `sqlite`, `postgres` and their folders in `schema/` know which it is; statements elsewhere
//! are SQL that both take.

mod cell;
mod config;
mod database;
mod error;
mod postgres;
mod progress;
mod query;
mod reads;
mod rows;
mod schema;
mod service;
mod sink;
mod sqlite;
mod table;
#[cfg(test)]
mod tests;
mod url;

pub use config::{Place, SqlConfig, SqlConfigError};
pub use error::SqlError;
pub use progress::{Progress, Waited};
pub use reads::{
    AuditRow, Balance, ChainHeadRow, Counts, EndpointKey, EventFilter, Listed, Page, PaymentFilter,
    PaymentKey, PositionKey, Scope, SequenceKey, SqlReads, StoredAttempt, StoredDeadLetter, StoredEndpoint,
    StoredEntry, StoredEvent, StoredTransaction, TrialBalance,
};
pub use sink::SqlSink;
pub use url::SqlUrl;
