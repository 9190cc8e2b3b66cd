//! Checks a ledger transaction by transaction, with what it has to remember for that.

use std::collections::{BTreeMap, BTreeSet};

use streambook_model::{
    asset::AssetId,
    bytes::ContentHash,
    id::TransactionId,
    money::Amount,
    records::ledger::{AccountId, LedgerTransaction},
};

use super::{
    Before, Check, Parts, balance_is_replay_of_entries, entry_versions_have_no_gaps, gross_is_net_and_fee,
    hash_chain_links, hash_is_of_content, posting_names_its_cause, reversed_once, sum_zero,
    trial_balance_zero,
};
use crate::book::ledger::Book;

/// The audit. It remembers a little for each book, account and reversal.
///
/// Feed it whole partitions of `ledger.transactions`, each from its start and in its order; the partitions of a topic
/// in any order, or turn by turn, since no two share an account. After a violation its answers mean nothing.
#[derive(Debug, Clone, Default)]
pub struct LedgerAudit {
    heads: BTreeMap<Book, (u64, ContentHash)>,
    accounts: BTreeMap<(AccountId, AssetId), (u64, Amount)>,
    reversed: BTreeSet<TransactionId>,
}

impl LedgerAudit {
    /// Checks every invariant of one transaction and remembers it.
    pub fn observe(&mut self, transaction: &LedgerTransaction) -> Check {
        sum_zero(transaction)?;
        hash_is_of_content(transaction)?;
        posting_names_its_cause(transaction)?;
        if let Some(parts) = Parts::of(transaction)? {
            gross_is_net_and_fee(parts)?;
        }
        let book = Book { merchant: transaction.merchant, livemode: transaction.livemode };
        let head = self.heads.entry(book).or_insert((0, ContentHash::ZERO));
        hash_chain_links(transaction, *head)?;
        *head = (transaction.sequence, transaction.hash);
        for entry in &transaction.entries {
            let key = (entry.account.clone(), entry.asset.clone());
            let account = self.accounts.entry(key).or_insert((0, Amount::ZERO));
            entry_versions_have_no_gaps(transaction.transaction, entry, account.0)?;
            balance_is_replay_of_entries(transaction.transaction, entry, account.1)?;
            *account = (entry.version, entry.balance);
        }
        match transaction.reverses {
            Some(original) => {
                let before = Before::of(self.reversed.get(&original));
                self.reversed.insert(original);
                reversed_once(original, before)
            }
            None => Ok(()),
        }
    }

    /// The trial balance: all accounts together are zero in each asset.
    pub fn finish(&self) -> Check {
        trial_balance_zero(self.accounts.iter().map(|((_, asset), (_, balance))| (asset, *balance)))
    }

    /// Every account's balance in each asset, as the entries so far leave it.
    pub fn balances(&self) -> impl Iterator<Item = (&AccountId, &AssetId, Amount)> {
        self.accounts.iter().map(|((account, asset), (_, balance))| (account, asset, *balance))
    }
}
