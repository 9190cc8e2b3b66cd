//! Debits are credits: in every transaction, and over all accounts.

use std::collections::BTreeMap;

use streambook_model::{
    asset::AssetId,
    money::{Amount, AmountError},
    records::ledger::LedgerTransaction,
};

use super::{Check, Invariant, Violation, ensure};

/// [`Invariant::SumZero`].
pub fn sum_zero(transaction: &LedgerTransaction) -> Check {
    let (id, entries) = (transaction.transaction, &transaction.entries);
    ensure(!entries.is_empty(), Invariant::SumZero, || format!("{id} has no entries"))?;
    if let Some(zero) = entries.iter().find(|entry| entry.amount.is_zero()) {
        let detail = format!("{id}: the entry on {} is zero", zero.account);
        return Err(Violation { invariant: Invariant::SumZero, detail });
    }
    if entries_of_one_asset_sum_to_zero(transaction) {
        return Ok(());
    }
    match first_imbalance(entries.iter().map(|entry| (&entry.asset, entry.amount))) {
        None => Ok(()),
        Some((asset, sum)) => {
            let detail = format!("{id} does not balance: its entries in {asset} sum to {}", shown(sum));
            Err(Violation { invariant: Invariant::SumZero, detail })
        }
    }
}

/// The everyday case, without a table: one asset, and amounts whose sum cannot leave the range on the way.
fn entries_of_one_asset_sum_to_zero(transaction: &LedgerTransaction) -> bool {
    let mut entries = transaction.entries.iter();
    let Some(first) = entries.next() else { return false };
    let sum = entries.try_fold(first.amount.units(), |sum, entry| {
        (entry.asset == first.asset).then(|| sum.checked_add(entry.amount.units())).flatten()
    });
    sum == Some(0)
}

/// [`Invariant::TrialBalanceZero`], of the balance of every account in each asset.
pub fn trial_balance_zero<'a>(balances: impl Iterator<Item = (&'a AssetId, Amount)>) -> Check {
    match first_imbalance(balances) {
        None => Ok(()),
        Some((asset, sum)) => {
            let detail =
                format!("the balances of all accounts in {asset} sum to {}, not to zero", shown(sum));
            Err(Violation { invariant: Invariant::TrialBalanceZero, detail })
        }
    }
}

fn shown(sum: Result<Amount, AmountError>) -> String {
    sum.map_or_else(|error| error.to_string(), |sum| sum.to_string())
}

/// The first asset whose amounts do not sum to zero, and their sum.
fn first_imbalance<'a>(
    amounts: impl Iterator<Item = (&'a AssetId, Amount)>,
) -> Option<(AssetId, Result<Amount, AmountError>)> {
    let mut sums: BTreeMap<&AssetId, ExactSum> = BTreeMap::new();
    for (asset, amount) in amounts {
        sums.entry(asset).or_default().add(amount);
    }
    sums.into_iter()
        .map(|(asset, sum)| (asset, sum.total()))
        .find(|(_, sum)| *sum != Ok(Amount::ZERO))
        .map(|(asset, sum)| (asset.clone(), sum))
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

    fn trial(balances: &[(&str, i128)]) -> Check {
        let assets: Vec<AssetId> = balances.iter().map(|(asset, _)| asset.parse().unwrap()).collect();
        let amounts = balances.iter().map(|(_, units)| Amount::new(*units).unwrap());
        trial_balance_zero(assets.iter().zip(amounts))
    }

    #[test]
    fn a_trial_balance_that_is_not_zero_names_the_asset_and_the_sum() {
        trial(&[("usd", 5), ("usd", -5)]).unwrap();
        let violation = trial(&[("usd", 5), ("jpy", 7), ("usd", -5), ("jpy", -9)]).unwrap_err();
        assert_eq!(violation.invariant, Invariant::TrialBalanceZero);
        assert!(violation.detail.contains("jpy sum to -2"), "{violation}");
    }

    #[test]
    fn large_balances_sum_to_zero_in_any_order() {
        let large = 10_i128.pow(38) - 1;
        trial(&[("usd", large), ("usd", large), ("usd", -large), ("usd", -large)]).unwrap();
    }
}
