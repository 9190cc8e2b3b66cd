//! The reads of the API, the command line and `verify`.
//!
//! A merchant's reads take a [`Scope`] and put it into their `WHERE`, so one merchant never sees another's data, and test
//! data never meets live data. Lists are newest first and walk an index; no read loads more than a page, but for
//! [`SqlReads::trial_balance`], which sums page by page. A read sees everything of a batch or nothing of it.

mod admin;
mod chain;
pub(crate) mod events;
pub(crate) mod ledger;
pub(crate) mod payments;
mod types;
mod webhooks;

pub(crate) use admin::topic_partition;
pub use types::{
    AuditRow, Balance, ChainHeadRow, Counts, EndpointKey, EventFilter, Listed, Page, PaymentFilter,
    PaymentKey, PositionKey, Scope, SequenceKey, StoredAttempt, StoredDeadLetter, StoredEndpoint,
    StoredEntry, StoredEvent, StoredTransaction, TrialBalance,
};

use super::{config::SqlConfig, database::Database, error::SqlError};

/// The reads. Cheap to clone: clones share the pool.
#[derive(Debug, Clone)]
pub struct SqlReads {
    pub(super) database: Database,
}

impl SqlReads {
    /// Opens an existing database for reading only. Fails where it does not exist or has another schema version than this
    /// program.
    pub async fn open(config: &SqlConfig) -> Result<Self, SqlError> {
        let database = Database::open_for_reading(config).await?;
        super::schema::check(&database).await?;
        Ok(Self { database })
    }

    pub(super) const fn new(database: Database) -> Self {
        Self { database }
    }

    /// Closes the connections, of all clones.
    pub async fn close(&self) {
        self.database.close().await;
    }
}
