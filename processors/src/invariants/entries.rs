//! No entry of an account is missing or there twice.

use streambook_model::{id::TransactionId, records::ledger::Entry};

use super::{Check, Invariant, ensure};

/// [`Invariant::EntryVersionsHaveNoGaps`], given the version of the account's entry before; 0 where there is none.
pub fn entry_versions_have_no_gaps(transaction: TransactionId, entry: &Entry, before: u64) -> Check {
    let expected = before.saturating_add(1);
    ensure(entry.version == expected, Invariant::EntryVersionsHaveNoGaps, || {
        format!(
            "{transaction}: the entry on {} is number {}, expected {expected}",
            entry.account, entry.version
        )
    })
}
