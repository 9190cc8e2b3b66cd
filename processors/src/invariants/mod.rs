//! What must always hold, one predicate each, by name: pure, without I/O, and without code in common with what they judge
//! (but for the ledger's published hash). The simulator, `verify` and the book at run time call these very functions.
//!
//! At run time the book checks what can be judged from one record and the state at hand, before anything of the record is
//! committed: a violation stops its task with the invariant's name, and the checks are counted in
//! `streambook_invariant_checks_total`. `docs/testing.md` has the table of who checks what, which a test holds to the code.

mod audit;
mod balances;
mod chain;
mod clearing;
mod commands;
mod entries;
mod fee;
mod money;
mod pending;
mod posting;
mod reversal;
mod steps;
mod sums;
#[cfg(test)]
mod tests;

use std::fmt;

use streambook_runtime::processor::{Context, Fault};

pub use self::{
    audit::LedgerAudit,
    balances::balance_is_replay_of_entries,
    chain::{hash_chain_links, hash_is_of_content},
    clearing::{Waiting, clearing_is_zero_at_rest},
    commands::{KeySeen, key_gives_the_same, rejected_command_changes_nothing},
    entries::entry_versions_have_no_gaps,
    fee::{Parts, gross_is_net_and_fee},
    money::{Money, Traces, money_is_posted_or_explained},
    pending::{pending_is_never_negative, pending_is_resolved_once},
    posting::{event_is_posted_once, posting_names_its_cause},
    reversal::{lines_are_taken_back, reversed_at_most_original, reversed_once},
    steps::{BookAudit, Found, Memory},
    sums::{sum_zero, trial_balance_zero},
};

/// An invariant. Its name is that of the function that checks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// The entries of a transaction sum to zero for each asset; it has entries, and none is zero.
    SumZero,
    /// The balances of all accounts together are zero for each asset.
    TrialBalanceZero,
    /// A stated balance is the one before and the entry's amount.
    BalanceIsReplayOfEntries,
    /// An account's entries are numbered from 1 without a gap.
    EntryVersionsHaveNoGaps,
    /// Of a payment never more is confirmed than was received: what is pending is never negative.
    PendingIsNeverNegative,
    /// What is pending is resolved once: an inclusion is confirmed at most once, and taken back at most once after that.
    PendingIsResolvedOnce,
    /// A posting names the money event, the record and the template with its version that it comes from.
    PostingNamesItsCause,
    /// A money event is booked once by each template of a book.
    EventIsPostedOnce,
    /// A money event leads to a posting, or to a stored reason why not.
    MoneyIsPostedOrExplained,
    /// A reversal takes back what its original did and no more.
    ReversedAtMostOriginal,
    /// A transaction is reversed at most once.
    ReversedOnce,
    /// Gross is net and fee, to the unit.
    GrossIsNetAndFee,
    /// When nothing of a payment is in flight, nothing of it is left in clearing. Transit accounts do not exist here:
    /// nothing moves between partitions.
    ClearingIsZeroAtRest,
    /// The same idempotency key gives the first result again; with another request it is a conflict.
    KeyGivesTheSame,
    /// A rejected command leaves the state as it was, byte for byte.
    RejectedCommandChangesNothing,
    /// A book's transactions are numbered from 1 and each states the hash of the one before.
    HashChainLinks,
    /// A transaction has the hash of its content.
    HashIsOfContent,
    /// What SQL holds is what the log leads to.
    SqlIsTheLog,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::SumZero,
        Self::TrialBalanceZero,
        Self::BalanceIsReplayOfEntries,
        Self::EntryVersionsHaveNoGaps,
        Self::PendingIsNeverNegative,
        Self::PendingIsResolvedOnce,
        Self::PostingNamesItsCause,
        Self::EventIsPostedOnce,
        Self::MoneyIsPostedOrExplained,
        Self::ReversedAtMostOriginal,
        Self::ReversedOnce,
        Self::GrossIsNetAndFee,
        Self::ClearingIsZeroAtRest,
        Self::KeyGivesTheSame,
        Self::RejectedCommandChangesNothing,
        Self::HashChainLinks,
        Self::HashIsOfContent,
        Self::SqlIsTheLog,
    ];

    /// Its name in reports, metrics and documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SumZero => "sum_zero",
            Self::TrialBalanceZero => "trial_balance_zero",
            Self::BalanceIsReplayOfEntries => "balance_is_replay_of_entries",
            Self::EntryVersionsHaveNoGaps => "entry_versions_have_no_gaps",
            Self::PendingIsNeverNegative => "pending_is_never_negative",
            Self::PendingIsResolvedOnce => "pending_is_resolved_once",
            Self::PostingNamesItsCause => "posting_names_its_cause",
            Self::EventIsPostedOnce => "event_is_posted_once",
            Self::MoneyIsPostedOrExplained => "money_is_posted_or_explained",
            Self::ReversedAtMostOriginal => "reversed_at_most_original",
            Self::ReversedOnce => "reversed_once",
            Self::GrossIsNetAndFee => "gross_is_net_and_fee",
            Self::ClearingIsZeroAtRest => "clearing_is_zero_at_rest",
            Self::KeyGivesTheSame => "key_gives_the_same",
            Self::RejectedCommandChangesNothing => "rejected_command_changes_nothing",
            Self::HashChainLinks => "hash_chain_links",
            Self::HashIsOfContent => "hash_is_of_content",
            Self::SqlIsTheLog => "sql_is_the_log",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An invariant that does not hold, and of what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{invariant}: {detail}")]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// What was found, and what was expected.
    pub detail: String,
}

/// Whether something was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// It is the first time.
    Never,
    /// It was there already.
    Already,
}

impl Before {
    /// From a look-up.
    pub const fn of<T>(found: Option<&T>) -> Self {
        match found {
            Some(_) => Self::Already,
            None => Self::Never,
        }
    }
}

/// What a predicate answers.
pub type Check = Result<(), Violation>;

impl From<Violation> for Fault {
    fn from(violation: Violation) -> Self {
        Self::Violated { invariant: violation.invariant.name(), detail: violation.detail }
    }
}

/// Checks and counts at run time: a violation is a fault that stops the task before anything of the record is committed.
pub(crate) fn at_run_time(
    context: &mut Context<'_>,
    invariant: Invariant,
    check: Check,
) -> Result<(), Fault> {
    context.checked(invariant.name(), check)
}

/// Holds, or the violation that `detail` describes.
fn ensure(holds: bool, invariant: Invariant, detail: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(Violation { invariant, detail: detail() }) }
}
