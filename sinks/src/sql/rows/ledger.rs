//! Ledger transactions, their entries, and the balances the entries state.

use std::collections::BTreeMap;

use streambook_model::records::ledger::{Entry, LedgerTransaction};

use crate::sql::{
    cell::Cell,
    error::SqlError,
    table::{Existing, Rows, Table},
};

static TRANSACTIONS: Table = Table {
    name: "ledger_transactions",
    columns: &[
        "position",
        "id",
        "merchant",
        "livemode",
        "sequence",
        "template",
        "template_version",
        "payment",
        "refund",
        "event",
        "reverses",
        "occurred_at",
        "previous_hash",
        "hash",
    ],
    existing: Existing::Refuse,
};

static ENTRIES: Table = Table {
    name: "ledger_entries",
    columns: &["position", "line", "account", "asset", "amount", "balance", "version"],
    existing: Existing::Refuse,
};

static BALANCES: Table = Table {
    name: "balances",
    columns: &["account", "asset", "livemode", "merchant", "name", "balance", "version"],
    existing: Existing::Newer {
        key: &["account", "asset"],
        version: "version",
        changes: &["balance", "version"],
    },
};

/// The rows of a batch's transactions.
#[derive(Debug)]
pub(super) struct LedgerRows<'b> {
    transactions: Rows,
    entries: Rows,
    /// By account and asset: the last entry, and whether it is live.
    balances: BTreeMap<(&'b str, &'b str), (&'b Entry, bool)>,
}

impl Default for LedgerRows<'_> {
    fn default() -> Self {
        Self { transactions: Rows::of(&TRANSACTIONS), entries: Rows::of(&ENTRIES), balances: BTreeMap::new() }
    }
}

impl<'b> LedgerRows<'b> {
    pub(super) fn take(&mut self, at: i64, transaction: &'b LedgerTransaction) -> Result<(), SqlError> {
        self.transactions.push([
            at.into(),
            Cell::text(transaction.transaction),
            Cell::text(transaction.merchant),
            transaction.livemode.into(),
            Cell::unsigned(transaction.sequence)?,
            Cell::text(&transaction.template),
            transaction.template_version.into(),
            Cell::maybe_text(transaction.payment),
            Cell::maybe_text(transaction.refund),
            Cell::text(&transaction.event),
            Cell::maybe_text(transaction.reverses),
            transaction.occurred_at.into(),
            Cell::hash(&transaction.previous_hash),
            Cell::hash(&transaction.hash),
        ]);
        for (line, entry) in (1_i64..).zip(&transaction.entries) {
            self.take_entry(at, line, entry, transaction.livemode)?;
        }
        Ok(())
    }

    fn take_entry(&mut self, at: i64, line: i64, entry: &'b Entry, livemode: bool) -> Result<(), SqlError> {
        self.entries.push([
            at.into(),
            line.into(),
            Cell::text(entry.account.as_str()),
            Cell::text(&entry.asset),
            entry.amount.into(),
            entry.balance.into(),
            Cell::unsigned(entry.version)?,
        ]);
        let last =
            self.balances.entry((entry.account.as_str(), entry.asset.as_str())).or_insert((entry, livemode));
        if entry.version > last.0.version {
            *last = (entry, livemode);
        }
        Ok(())
    }

    pub(super) fn finish(self, rows: &mut Vec<Rows>) -> Result<(), SqlError> {
        let mut balances = Rows::of(&BALANCES);
        for (entry, livemode) in self.balances.into_values() {
            let (merchant, name) = parts(entry.account.as_str());
            balances.push([
                Cell::text(entry.account.as_str()),
                Cell::text(&entry.asset),
                livemode.into(),
                Cell::maybe_text(merchant),
                Cell::text(name),
                entry.balance.into(),
                Cell::unsigned(entry.version)?,
            ]);
        }
        rows.extend([self.transactions, self.entries, balances]);
        Ok(())
    }
}

/// The merchant of an account, and the account's name below it: `live/merchant/mer_…/available` is `available` of
/// `mer_…`; of `test/platform/fees/3`, which is nobody's, the name is `fees/3`.
fn parts(account: &str) -> (Option<&str>, &str) {
    let mut segments = account.splitn(4, '/');
    match (segments.next(), segments.next(), segments.next(), segments.next()) {
        (Some(_), Some("merchant"), Some(merchant), Some(name)) => (Some(merchant), name),
        _ => (None, account.splitn(3, '/').nth(2).unwrap_or(account)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accounts_name_says_whose_it_is() {
        assert_eq!(parts("live/merchant/mer_1/available"), (Some("mer_1"), "available"));
        assert_eq!(parts("test/merchant/mer_1/reserve/rolling"), (Some("mer_1"), "reserve/rolling"));
        assert_eq!(parts("test/platform/fees/3"), (None, "fees/3"));
        assert_eq!(parts("odd"), (None, "odd"));
    }
}
