//! What must hold of every ledger, one predicate for each invariant: used by the tests here, by the simulation and by
//! `verify`. Nothing in this file shares code with posting, except the hash, which is the published form.

use std::collections::{BTreeMap, BTreeSet};

use streambook_model::{
    asset::AssetId,
    bytes::ContentHash,
    id::TransactionId,
    money::{Amount, AmountError},
    records::ledger::{AccountId, Entry, LedgerTransaction},
};

use super::{Book, transaction_hash};

/// An invariant that does not hold, of which transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A transaction without entries says nothing.
    #[error("{0} has no entries")]
    Empty(TransactionId),
    /// An entry of zero says nothing.
    #[error("{transaction}: the entry on {account} is zero")]
    Zero {
        /// The transaction.
        transaction: TransactionId,
        /// The account.
        account: AccountId,
    },
    /// Debits and credits differ.
    #[error("{transaction} does not balance: its entries in {asset} sum to {sum}")]
    Unbalanced {
        /// The transaction.
        transaction: TransactionId,
        /// The asset.
        asset: AssetId,
        /// Debits less credits.
        sum: Amount,
    },
    /// A transaction is missing or there twice.
    #[error("{transaction} has the number {found} in its book, expected {expected}")]
    Sequence {
        /// The transaction.
        transaction: TransactionId,
        /// The number it has.
        found: u64,
        /// The number it should have.
        expected: u64,
    },
    /// It does not continue its book's hash chain.
    #[error("{0} does not link to the transaction before it in its book")]
    Link(TransactionId),
    /// It is not what was hashed.
    #[error("{0} does not have the hash it states")]
    Hash(TransactionId),
    /// An entry of an account is missing or there twice.
    #[error("{transaction}: the entry on {account} is number {found}, expected {expected}")]
    Version {
        /// The transaction.
        transaction: TransactionId,
        /// The account.
        account: AccountId,
        /// The number it has.
        found: u64,
        /// The number it should have.
        expected: u64,
    },
    /// A running balance is wrong.
    #[error("{transaction}: the balance of {account} is stated as {found}, expected {expected}")]
    Balance {
        /// The transaction.
        transaction: TransactionId,
        /// The account.
        account: AccountId,
        /// The balance stated.
        found: Amount,
        /// The balance before, and the amount.
        expected: Amount,
    },
    /// More was taken back than there was.
    #[error("{transaction} reverses {reverses}, which is reversed already")]
    ReversedTwice {
        /// The transaction.
        transaction: TransactionId,
        /// What it reverses.
        reverses: TransactionId,
    },
    /// A reversal is not the mirror image of what it reverses.
    #[error(
        "{transaction} does not take back exactly what {reverses} did, in the same book and for the same payment"
    )]
    NotTheMirror {
        /// The reversal.
        transaction: TransactionId,
        /// What it should reverse.
        reverses: TransactionId,
    },
    /// All accounts together are not zero.
    #[error("the balances of all accounts in {asset} sum to {sum}, not to zero")]
    TrialBalance {
        /// The asset.
        asset: AssetId,
        /// The sum.
        sum: Amount,
    },
    /// A balance, or an imbalance, has more than 38 digits.
    #[error("a balance cannot be computed")]
    Amount(#[from] AmountError),
}

/// Checks a ledger transaction by transaction. It remembers a little for each book, account and reversal.
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
    pub fn observe(&mut self, transaction: &LedgerTransaction) -> Result<(), Violation> {
        balanced(transaction)?;
        hash_right(transaction)?;
        let book = Book { merchant: transaction.merchant, livemode: transaction.livemode };
        let head = self.heads.entry(book).or_insert((0, ContentHash::ZERO));
        follows(transaction, *head)?;
        *head = (transaction.sequence, transaction.hash);
        for entry in &transaction.entries {
            let key = (entry.account.clone(), entry.asset.clone());
            let account = self.accounts.entry(key).or_insert((0, Amount::ZERO));
            continues(transaction.transaction, entry, *account)?;
            *account = (entry.version, entry.balance);
        }
        match transaction.reverses {
            Some(reverses) if !self.reversed.insert(reverses) => {
                Err(Violation::ReversedTwice { transaction: transaction.transaction, reverses })
            }
            _ => Ok(()),
        }
    }

    /// The trial balance: all accounts together are zero in each asset.
    pub fn finish(&self) -> Result<(), Violation> {
        let balances = self.accounts.iter().map(|((_, asset), (_, balance))| (asset, *balance));
        match first_imbalance(balances)? {
            Some((asset, sum)) => Err(Violation::TrialBalance { asset, sum }),
            None => Ok(()),
        }
    }

    /// Every account's balance in each asset, as the entries so far leave it.
    pub fn balances(&self) -> impl Iterator<Item = (&AccountId, &AssetId, Amount)> {
        self.accounts.iter().map(|((account, asset), (_, balance))| (account, asset, *balance))
    }
}

/// It has entries, none is zero, and they sum to zero for each asset.
pub fn balanced(transaction: &LedgerTransaction) -> Result<(), Violation> {
    let id = transaction.transaction;
    if transaction.entries.is_empty() {
        return Err(Violation::Empty(id));
    }
    if let Some(entry) = transaction.entries.iter().find(|entry| entry.amount.is_zero()) {
        return Err(Violation::Zero { transaction: id, account: entry.account.clone() });
    }
    match first_imbalance(transaction.entries.iter().map(|entry| (&entry.asset, entry.amount)))? {
        Some((asset, sum)) => Err(Violation::Unbalanced { transaction: id, asset, sum }),
        None => Ok(()),
    }
}

/// Its hash is that of its content.
pub fn hash_right(transaction: &LedgerTransaction) -> Result<(), Violation> {
    let right = transaction.hash == transaction_hash(transaction);
    if right { Ok(()) } else { Err(Violation::Hash(transaction.transaction)) }
}

/// It is the next in its book, whose last number and hash are given; zero and zero for a book without transactions.
pub fn follows(transaction: &LedgerTransaction, head: (u64, ContentHash)) -> Result<(), Violation> {
    let (expected, found) = (head.0.saturating_add(1), transaction.sequence);
    if found != expected {
        return Err(Violation::Sequence { transaction: transaction.transaction, found, expected });
    }
    let links = transaction.previous_hash == head.1;
    if links { Ok(()) } else { Err(Violation::Link(transaction.transaction)) }
}

/// An entry is the next of its account, whose last version and balance are given, and states the balance it leads to.
pub fn continues(transaction: TransactionId, entry: &Entry, before: (u64, Amount)) -> Result<(), Violation> {
    let (version, balance) = (before.0.saturating_add(1), before.1.plus(entry.amount)?);
    let account = entry.account.clone();
    if entry.version != version {
        return Err(Violation::Version { transaction, account, found: entry.version, expected: version });
    }
    if entry.balance != balance {
        return Err(Violation::Balance { transaction, account, found: entry.balance, expected: balance });
    }
    Ok(())
}

/// A reversal takes back exactly what the original did.
///
/// Not part of [`LedgerAudit`], which would have to keep every transaction for it: `verify` looks the original up.
pub fn mirrors(original: &LedgerTransaction, reversal: &LedgerTransaction) -> Result<(), Violation> {
    let what = |t: &LedgerTransaction| (t.merchant, t.livemode, t.payment, t.refund, t.template.clone());
    let amounts = original.entries.iter().zip(&reversal.entries).all(|(original, reversal)| {
        (&original.account, &original.asset, original.amount.negated())
            == (&reversal.account, &reversal.asset, reversal.amount)
    });
    let linked = reversal.reverses == Some(original.transaction) && original.reverses.is_none();
    if linked
        && amounts
        && original.entries.len() == reversal.entries.len()
        && what(original) == what(reversal)
    {
        Ok(())
    } else {
        Err(Violation::NotTheMirror { transaction: reversal.transaction, reverses: original.transaction })
    }
}

/// The first asset whose amounts do not sum to zero, and their sum.
fn first_imbalance<'a>(
    amounts: impl Iterator<Item = (&'a AssetId, Amount)>,
) -> Result<Option<(AssetId, Amount)>, AmountError> {
    let mut sums: BTreeMap<&AssetId, ExactSum> = BTreeMap::new();
    for (asset, amount) in amounts {
        sums.entry(asset).or_default().add(amount);
    }
    for (asset, sum) in sums {
        let sum = sum.total()?;
        if !sum.is_zero() {
            return Ok(Some((asset.clone(), sum)));
        }
    }
    Ok(None)
}

/// A sum whose parts may exceed 38 digits on the way to a total that does not: a right ledger with many large balances
/// must not fail for the order in which they are added. The halves cannot overflow before 2^63 amounts were added.
#[derive(Default)]
struct ExactSum {
    high: i128,
    low: i128,
}

impl ExactSum {
    const LOW: i128 = 0xffff_ffff_ffff_ffff;

    fn add(&mut self, amount: Amount) {
        self.high += amount.units() >> 64;
        self.low += amount.units() & Self::LOW;
    }

    fn total(&self) -> Result<Amount, AmountError> {
        let high = self.high + (self.low >> 64);
        let shifted = high.checked_mul(1 << 64).ok_or(AmountError::Overflow)?;
        shifted.checked_add(self.low & Self::LOW).ok_or(AmountError::Overflow).and_then(Amount::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No sequence of right transactions leads there, so the accounts are set by hand.
    #[test]
    fn a_trial_balance_that_is_not_zero_names_the_asset_and_the_sum() {
        let amount = |units| Amount::new(units).unwrap();
        let mut audit = LedgerAudit::default();
        for (account, asset, balance) in
            [("a", "usd", 5), ("b", "usd", -5), ("a", "jpy", 7), ("b", "jpy", -9)]
        {
            let key = (AccountId::new(account), asset.parse().unwrap());
            audit.accounts.insert(key, (1, amount(balance)));
        }
        let expect = Violation::TrialBalance { asset: "jpy".parse().unwrap(), sum: amount(-2) };
        assert_eq!(audit.finish(), Err(expect));
    }
}
