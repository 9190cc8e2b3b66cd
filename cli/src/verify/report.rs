//! What `verify` found: how much it checked, the first difference, and what it could not check.

use serde::{Deserialize, Serialize};
use streambook_log::LogError;
use streambook_model::position::{Offset, TopicPartition};
use streambook_processors::invariants::Invariant;
use streambook_runtime::{
    state::StateError,
    step::{Stopped, chain_of},
};

/// The result. The books are proved right only by [`Outcome::Ok`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// How much was checked.
    pub(crate) counts: Counts,
    /// How long it took, in milliseconds.
    pub(crate) elapsed_ms: u64,
    /// Records of the log read and compared, each second.
    pub(crate) records_per_second: u64,
    /// Ledger entries replayed and compared, each second.
    pub(crate) entries_per_second: u64,
    /// The first thing that is not as it should be.
    pub(crate) first_difference: Option<Difference>,
    /// What could not be verified, with the reason; nothing is claimed of it.
    pub(crate) unverified: Vec<String>,
    /// What an operator should know and is no difference: what lags, what was trimmed by its retention.
    pub(crate) notes: Vec<String>,
}

/// How much was checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Records of the log, all topics.
    pub(crate) records: u64,
    /// Tasks replayed.
    pub(crate) tasks: u64,
    /// Inbox records replayed.
    pub(crate) replayed: u64,
    /// Outputs recomputed and compared.
    pub(crate) outputs: u64,
    /// Lineage chains (a task and one destination) recomputed and compared.
    pub(crate) lineage_chains: u64,
    /// Keys of the tasks' states compared.
    pub(crate) state_keys: u64,
    /// Books whose hash chain was recomputed.
    pub(crate) books: u64,
    /// Ledger transactions.
    pub(crate) transactions: u64,
    /// Their entries.
    pub(crate) entries: u64,
    /// Payments.
    pub(crate) payments: u64,
    /// Rows of the SQL sink compared.
    pub(crate) sql_rows: u64,
}

/// How it ended, and so the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything was checked and is right.
    Ok,
    /// Something is not as it should be.
    Differs,
    /// What was checked is right, and something could not be checked.
    Incomplete,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Difference {
    /// What it is, in words.
    pub(crate) what: String,
    /// The invariant that does not hold, by name, where it is one.
    pub(crate) invariant: Option<String>,
    /// The topic it is found in or derived from.
    pub(crate) topic: Option<String>,
    /// The partition in it.
    pub(crate) partition: Option<u16>,
    /// The record in that.
    pub(crate) offset: Option<u64>,
    /// What should be there.
    pub(crate) expected: String,
    /// What is there.
    pub(crate) found: String,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VerifyFailure {
    /// There is no such directory.
    #[error("there is no log in {}: name the data directory", .0.display())]
    NoLog(std::path::PathBuf),
    /// The log could not be opened, for a reason that says nothing about what it holds.
    #[error("the log cannot be opened")]
    Open(#[source] LogError),
    /// The log could not be read, for a reason that says nothing about what it holds.
    #[error("the log cannot be read")]
    Log(#[source] LogError),
    /// A task's state could not be read.
    #[error("a task's state cannot be read")]
    State(#[source] StateError),
    /// The SQL sink's database could not be read.
    #[error("{operation}: the SQL database cannot be read")]
    Sql {
        /// What was being read.
        operation: &'static str,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The temporary directory for the replayed state could not be used.
    #[error("no temporary directory for the replayed state can be made: set TMPDIR to a directory with room")]
    Scratch(#[source] std::io::Error),
    /// The temporary store failed.
    #[error("the temporary store for the replayed state failed: set TMPDIR to a directory with room")]
    ScratchStore(#[source] LogError),
    /// An entry of an index could not be encoded or decoded: a defect of this program.
    #[error("an entry of a temporary index cannot be used, which is a defect of Streambook")]
    Index(#[source] postcard::Error),
    /// A worker ended without a result: a defect of this program.
    #[error("a verifying thread ended early, which is a defect of Streambook")]
    Worker(#[source] tokio::task::JoinError),
    /// A task commits faster than a page of its state can be read.
    #[error(
        "a task never stood still for as long as it takes to look at its state: try again when there is less to do"
    )]
    NeverStill,
    /// It was told to stop.
    #[error("stopped before the end")]
    Cancelled,
}

/// What ends a check early.
#[derive(Debug)]
pub(crate) enum Halt {
    /// A difference.
    Differs(Box<Difference>),
    /// A failure.
    Failed(VerifyFailure),
}

impl Report {
    /// How it ended.
    pub(crate) fn outcome(&self) -> Outcome {
        match (&self.first_difference, self.unverified.is_empty()) {
            (Some(_), _) => Outcome::Differs,
            (None, false) => Outcome::Incomplete,
            (None, true) => Outcome::Ok,
        }
    }

    /// A report that says only this.
    pub(crate) fn of(difference: Difference) -> Self {
        Self { first_difference: Some(difference), ..Self::default() }
    }
}

impl Outcome {
    /// The process's exit code.
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Differs => 1,
            Self::Incomplete => 2,
        }
    }
}

impl Difference {
    /// A difference that is not at a record.
    pub(crate) fn new(
        what: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        let (what, expected, found) = (what.into(), expected.into(), found.into());
        Self { what, invariant: None, topic: None, partition: None, offset: None, expected, found }
    }

    /// The same, of this invariant.
    pub(crate) fn of(self, invariant: Invariant) -> Self {
        Self { invariant: Some(invariant.name().to_owned()), ..self }
    }

    /// The same, at this record.
    pub(crate) fn at(self, at: &TopicPartition, offset: Offset) -> Self {
        self.in_partition(at, Some(offset))
    }

    /// The same, at this record, or at one that is not in its partition yet.
    pub(crate) fn in_partition(self, at: &TopicPartition, offset: Option<Offset>) -> Self {
        let (topic, offset) = (Some(at.topic.as_str().to_owned()), offset.map(|offset| offset.0));
        Self { topic, partition: Some(at.partition.0), offset, ..self }
    }
}

impl From<Difference> for Halt {
    fn from(difference: Difference) -> Self {
        Self::Differs(Box::new(difference))
    }
}

impl From<VerifyFailure> for Halt {
    fn from(failure: VerifyFailure) -> Self {
        Self::Failed(failure)
    }
}

impl From<LogError> for Halt {
    /// Damage is a difference: what is stored is not what was written. Anything else says nothing about it.
    fn from(error: LogError) -> Self {
        damage(&error).map_or_else(|| VerifyFailure::Log(error).into(), Self::from)
    }
}

impl From<StateError> for Halt {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Read(error) => error.into(),
            error => VerifyFailure::State(error).into(),
        }
    }
}

impl From<Stopped> for Halt {
    /// A replay that stops where the task once went on.
    fn from(stopped: Stopped) -> Self {
        let (inbox, offset) = match &stopped {
            Stopped::Refused { inbox, offset, .. }
            | Stopped::Violated { inbox, offset, .. }
            | Stopped::State { inbox, offset, .. }
            | Stopped::Encode { inbox, offset, .. } => (inbox, offset),
        };
        let expected = "the task takes the record, as it once did";
        let what = "a record stops its task when it is replayed";
        let difference = Difference::new(what, expected, chain_of(&stopped)).at(inbox, *offset);
        match &stopped {
            Stopped::Violated { invariant, .. } => {
                Difference { invariant: Some((*invariant).to_owned()), ..difference }.into()
            }
            _ => difference.into(),
        }
    }
}

/// The difference that an error of the log is, where it is one: also for an error of opening it.
pub(crate) fn damage(error: &LogError) -> Option<Difference> {
    let found = chain_of(error);
    match error {
        LogError::CorruptRecord { partition, offset, .. } => Some(
            Difference::new("a record of the log is damaged", "what was appended", found)
                .at(partition, *offset),
        ),
        LogError::Gap { partition, expected, .. } => Some(
            Difference::new("a record of the log is missing", "the record", found).at(partition, *expected),
        ),
        LogError::DamagedJournal { .. } => {
            Some(Difference::new("the log's journal is damaged", "what was written", found))
        }
        LogError::CorruptMetadata { .. } => {
            Some(Difference::new("the log's own entries are damaged", "what was written", found))
        }
        _ => None,
    }
}
