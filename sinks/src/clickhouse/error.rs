//! What can go wrong with ClickHouse, and whether it may go well another time.
//!
//! Everything may be tried again, since a repeated insert changes nothing, except where it cannot go well until somebody
//! acts: the schema, the permissions or the data are wrong, or going on would be guessing.

use clickhouse::error::Error;
use streambook_log::LogError;
use streambook_model::codec::CodecError;
use streambook_runtime::sink::SinkError;
use tokio::task::JoinError;

use super::native::NativeError;

/// Codes of ClickHouse's exceptions that no repetition cures: unknown columns, identifiers, tables and settings, values
/// that cannot be parsed, types that do not fit, no such user, a wrong password, no permission.
/// <https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp>
const LASTING: [u32; 21] =
    [6, 8, 10, 16, 20, 26, 27, 36, 41, 43, 44, 46, 47, 53, 60, 62, 115, 117, 497, 516, 728];

/// A failed operation on ClickHouse.
#[derive(Debug, thiserror::Error)]
pub enum ClickHouseError {
    /// A request failed.
    #[error("{operation} failed")]
    Request {
        /// What was being done.
        operation: &'static str,
        /// Why.
        #[source]
        source: Error,
    },
    /// No answer came in time.
    #[error("{operation}: no answer within {seconds} s; see `clickhouse.timeout_seconds`")]
    NoAnswer {
        /// What was being done.
        operation: &'static str,
        /// How long was waited.
        seconds: u64,
    },
    /// The password's file cannot be read.
    #[error("`clickhouse.password_file`: {path} cannot be read")]
    PasswordFile {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A row does not fit its table.
    #[error("the rows for {table} do not fit it")]
    Unfit {
        /// The table.
        table: &'static str,
        /// Why.
        #[source]
        source: NativeError,
    },
    /// The database's schema is not one this program works with.
    #[error("{0}")]
    Schema(String),
    /// The log failed.
    #[error("the log failed")]
    Log(#[from] LogError),
    /// A record cannot be decoded.
    #[error("{partition} offset {offset} cannot be decoded")]
    Decode {
        /// The partition.
        partition: String,
        /// The offset.
        offset: u64,
        /// Why.
        #[source]
        source: CodecError,
    },
    /// What is stored in ClickHouse and what is in the log do not belong together, or there is another writer.
    #[error("{0}")]
    Contradiction(String),
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
    /// An insert ended without saying how.
    #[error("an insert broke off")]
    Broken(#[source] JoinError),
    /// The server said that rows were inserted, and they are not there.
    #[error("{table}: the server confirmed {expected} records and {found} are there")]
    Missing {
        /// The table.
        table: &'static str,
        /// Records of the batch.
        expected: u64,
        /// Records found.
        found: u64,
    },
}

impl ClickHouseError {
    /// A failed request.
    pub(crate) fn request(operation: &'static str) -> impl Fn(Error) -> Self {
        move |source| Self::Request { operation, source }
    }

    /// Whether the same may go well another time with nobody changing anything but the load, the disk or the network.
    pub fn may_be_retried(&self) -> bool {
        match self {
            Self::Request { source, .. } => is_temporary(source),
            Self::NoAnswer { .. } | Self::Missing { .. } => true,
            Self::PasswordFile { .. }
            | Self::Unfit { .. }
            | Self::Schema(_)
            | Self::Log(_)
            | Self::Decode { .. }
            | Self::Contradiction(_)
            | Self::Lineage { .. }
            | Self::Broken(_) => false,
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

fn is_temporary(error: &Error) -> bool {
    match error {
        Error::Network(_) | Error::TimedOut | Error::Compression(_) | Error::Decompression(_) => true,
        // A server or a proxy that says nothing of itself is thought to be passing.
        Error::BadResponse(text) => code(text).is_none_or(|code| !LASTING.contains(&code)),
        // An answer that broke off.
        Error::NotEnoughData => true,
        _ => false,
    }
}

/// The code in a message such as `Code: 60. DB::Exception: …`.
fn code(text: &str) -> Option<u32> {
    let digits = text.split_once("Code: ")?.1;
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(text: &str) -> bool {
        let source = Error::BadResponse(text.to_owned());
        ClickHouseError::Request { operation: "inserting", source }.may_be_retried()
    }

    #[test]
    fn what_passes_is_tried_again() {
        for text in [
            "Code: 252. DB::Exception: Too many parts (TOO_MANY_PARTS)",
            "Code: 241. DB::Exception: Memory limit exceeded (MEMORY_LIMIT_EXCEEDED)",
            "Code: 243. DB::Exception: Cannot reserve 1.00 MiB, not enough space (NOT_ENOUGH_SPACE)",
            "Code: 81. DB::Exception: Database streambook does not exist (UNKNOWN_DATABASE)",
            "502 Bad Gateway",
            "Code: 999999999999. DB::Exception: whatever",
        ] {
            assert!(answered(text), "{text}");
        }
        assert!(ClickHouseError::NoAnswer { operation: "inserting", seconds: 1 }.may_be_retried());
        let missing = ClickHouseError::Missing { table: "payments", expected: 2, found: 1 };
        assert!(missing.may_be_retried());
    }

    #[test]
    fn what_somebody_must_act_on_is_not() {
        for text in [
            "Code: 516. DB::Exception: default: Authentication failed (AUTHENTICATION_FAILED)",
            "Code: 497. DB::Exception: Not enough privileges (ACCESS_DENIED)",
            "Code: 60. DB::Exception: Unknown table (UNKNOWN_TABLE)",
            "Code: 16. DB::Exception: No such column (NO_SUCH_COLUMN_IN_TABLE)",
        ] {
            assert!(!answered(text), "{text}");
        }
        let source = Error::SchemaMismatch("a column has another type".to_owned());
        assert!(!ClickHouseError::Request { operation: "inserting", source }.may_be_retried());
    }
}
