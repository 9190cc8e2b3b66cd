//! Every stated balance is what the entries up to it sum to.

use streambook_model::{id::TransactionId, money::Amount, records::ledger::Entry};

use super::{Check, Invariant, Violation, ensure};

/// [`Invariant::BalanceIsReplayOfEntries`], given the account's balance before the entry.
pub fn balance_is_replay_of_entries(transaction: TransactionId, entry: &Entry, before: Amount) -> Check {
    let expected = before.plus(entry.amount).map_err(|error| Violation {
        invariant: Invariant::BalanceIsReplayOfEntries,
        detail: format!("{transaction}: the balance of {} cannot be computed: {error}", entry.account),
    })?;
    ensure(entry.balance == expected, Invariant::BalanceIsReplayOfEntries, || {
        let (account, found) = (&entry.account, entry.balance);
        format!("{transaction}: the balance of {account} is stated as {found}, expected {expected}")
    })
}
