//! How far `verify` has come.

use serde::{Deserialize, Serialize};

/// A part of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// Copying a log that many processes share.
    Copy,
    /// Reading every record of the log.
    Log,
    /// Replaying the inboxes, with the ledger's invariants and its rows in SQL.
    Replay,
    /// Comparing what is left in SQL: payments, refunds, balances.
    Sql,
}

impl Stage {
    /// Its name for people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Copy => "copying the log",
            Self::Log => "reading the log",
            Self::Replay => "replaying the inboxes",
            Self::Sql => "comparing SQL",
        }
    }
}

/// Is told how far the work has come, a few times a second.
pub(crate) trait Progress: Send + Sync {
    /// `done` of `total` records (rows, in [`Stage::Sql`]) of this stage.
    fn update(&mut self, stage: Stage, done: u64, total: u64);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Silent;

impl Progress for Silent {
    fn update(&mut self, _: Stage, _: u64, _: u64) {}
}
