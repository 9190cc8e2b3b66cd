//! What can go wrong with the database, and whether it may go well another time.

use streambook_runtime::sink::SinkError;

/// A failed operation on the database.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// The database could not be opened.
    #[error("the database {url} cannot be opened")]
    Open {
        /// The configured address.
        url: String,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The database's schema is not one this program works with.
    #[error("{0}")]
    Schema(String),
    /// A step of the schema could not be applied; nothing of it was.
    #[error("schema step {step} failed")]
    Migrate {
        /// The step's name.
        step: &'static str,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The disk is full; nothing was written.
    #[error("{operation}: the disk that holds the database is full; free space on it, or move the database")]
    DiskFull {
        /// What was being done.
        operation: &'static str,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// A statement failed.
    #[error("{operation} failed")]
    Statement {
        /// What was being done.
        operation: &'static str,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The database did not answer in time.
    #[error("{operation}: the database did not answer within {seconds} s")]
    Silent {
        /// What was being done.
        operation: &'static str,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A stored value is not what this program writes there.
    #[error("{operation}: a stored value is damaged or from another version: {reason}")]
    Stored {
        /// What was being read.
        operation: &'static str,
        /// What was found.
        reason: String,
    },
    /// A record's value does not fit its column.
    #[error("{0}")]
    Unfit(String),
    /// The position in the database is not the one the batch starts at.
    #[error(
        "{partition}: the database is at offset {found} and this batch starts at {expected}: another writer has moved it, \
         or the database is another one; stop one of the two"
    )]
    Moved {
        /// The partition.
        partition: String,
        /// The batch's first offset.
        expected: u64,
        /// The position in the database.
        found: u64,
    },
    /// Lineage says that going on would be guessing.
    #[error("{partition} offset {offset}: {reason}")]
    Lineage {
        /// The partition.
        partition: String,
        /// The record.
        offset: u64,
        /// Why.
        reason: String,
    },
}

impl SqlError {
    /// A failed statement, with a full disk told apart.
    pub(crate) fn statement(operation: &'static str, source: sqlx::Error) -> Self {
        if super::database::is_disk_full(&source) {
            Self::DiskFull { operation, source }
        } else {
            Self::Statement { operation, source }
        }
    }

    /// Whether the same may go well another time with nobody changing anything but the load, the disk or the network.
    pub fn may_be_retried(&self) -> bool {
        match self {
            Self::DiskFull { .. } | Self::Silent { .. } => true,
            Self::Open { source, .. } | Self::Migrate { source, .. } | Self::Statement { source, .. } => {
                super::database::is_temporary(source)
            }
            Self::Schema(_)
            | Self::Stored { .. }
            | Self::Unfit(_)
            | Self::Moved { .. }
            | Self::Lineage { .. } => false,
        }
    }

    /// The error as the sink's runner takes it.
    pub(crate) fn into_sink_error(self, operation: &'static str) -> SinkError {
        if self.may_be_retried() {
            SinkError::Retry { operation, source: Box::new(self) }
        } else {
            SinkError::Stop(streambook_runtime::step::chain_of(&self))
        }
    }
}
