//! The ledger: transactions with their entries, balances, and the trial balance.

use std::collections::BTreeMap;

use streambook_model::{
    asset::{AssetId, currency_scale},
    id::PaymentId,
    money::Amount,
    records::ledger::AccountId,
};

use super::{
    Balance, Listed, Page, Scope, SequenceKey, SqlReads, StoredEntry, StoredTransaction, TrialBalance,
};
use crate::sql::{
    cell::{Cell, Row, signed},
    error::SqlError,
    query::Query,
};

/// Accounts of one page of the trial balance.
const ACCOUNTS_PER_PAGE: i64 = 5_000;

impl SqlReads {
    /// Transactions with their entries, newest first; of one payment, if one is given.
    pub async fn ledger_transactions(
        &self,
        scope: Scope,
        payment: Option<PaymentId>,
        page: Page<SequenceKey>,
    ) -> Result<Listed<StoredTransaction, SequenceKey>, SqlError> {
        let rows = self.database.fetch("listing ledger transactions", list(scope, payment, page)?).await?;
        Ok(Listed::cut(grouped(rows)?, page.rows(), |transaction| SequenceKey(transaction.sequence)))
    }

    /// The balances of all the merchant's accounts in this mode, by account and asset.
    pub async fn balances(&self, scope: Scope) -> Result<Vec<Balance>, SqlError> {
        let query = Query::new(
            "SELECT b.account, b.name, b.asset, a.scale, b.balance, b.version \
             FROM balances b LEFT JOIN assets a ON a.id = b.asset WHERE b.merchant = ",
        );
        let query = query.text(scope.merchant).sql(" AND b.livemode = ").arg(scope.livemode);
        let rows = self.database.fetch("reading balances", query.sql(" ORDER BY b.account, b.asset")).await?;
        rows.into_iter().map(balance).collect()
    }

    /// The sum of all accounts of each asset in each mode, the platform's included. For operators and `verify`.
    ///
    /// Summed here and not in SQL, since SQLite's numbers do not hold 38 digits. The pages are read one after the other,
    /// so while the sink writes, a sum may be of two moments; a caller that must be sure reads when the sink has caught up.
    pub async fn trial_balance(&self) -> Result<Vec<TrialBalance>, SqlError> {
        let mut sums = BTreeMap::new();
        let mut after = (String::new(), String::new());
        loop {
            let rows = self.accounts_after(&after).await?;
            let full = i64::try_from(rows.len()).is_ok_and(|rows| rows == ACCOUNTS_PER_PAGE);
            for row in rows {
                after = add_account(row, &mut sums)?;
            }
            if !full {
                return Ok(sums.into_values().collect());
            }
        }
    }

    async fn accounts_after(&self, after: &(String, String)) -> Result<Vec<Row>, SqlError> {
        let query =
            Query::new("SELECT account, asset, livemode, balance FROM balances WHERE (account, asset) > (")
                .text(&after.0)
                .sql(", ")
                .text(&after.1)
                .sql(") ORDER BY account, asset LIMIT ")
                .arg(ACCOUNTS_PER_PAGE);
        self.database.fetch("summing balances", query).await
    }
}

/// The query of a page of transactions with their entries.
pub(crate) fn list(
    scope: Scope,
    payment: Option<PaymentId>,
    page: Page<SequenceKey>,
) -> Result<Query, SqlError> {
    let after = page.after.map(|key| signed(key.0)).transpose()?;
    // As with events: a payment has few transactions, and the operator keeps its index in use.
    let owned = if payment.is_some() { "(merchant || '') = " } else { "merchant = " };
    Ok(Query::new(
        "SELECT t.sequence, t.id, t.template, t.template_version, t.payment, t.refund, t.event, t.reverses, \
         t.occurred_at, t.previous_hash, t.hash, e.account, e.asset, e.amount, e.balance, e.version \
         FROM (SELECT * FROM ledger_transactions WHERE ",
    )
    .sql(owned)
    .text(scope.merchant)
    .sql(" AND livemode = ")
    .arg(scope.livemode)
    .when(" AND payment = ", payment.map(Cell::text))
    .when(" AND sequence < ", after)
    .sql(" ORDER BY sequence DESC LIMIT ")
    .arg(page.rows() + 1)
    .sql(") t JOIN ledger_entries e ON e.position = t.position ORDER BY t.sequence DESC, e.line"))
}

type Sums = BTreeMap<(bool, AssetId), TrialBalance>;

/// Adds one account to the sums; gives its key.
fn add_account(mut row: Row, sums: &mut Sums) -> Result<(String, String), SqlError> {
    let (account, asset, livemode) = (row.text()?, row.parsed::<AssetId>()?, row.flag()?);
    let balance = row.amount()?;
    let key = (account, asset.as_str().to_owned());
    let sum = sums.entry((livemode, asset.clone())).or_insert_with(|| TrialBalance {
        livemode,
        asset,
        debits: Amount::ZERO,
        credits: Amount::ZERO,
        accounts: 0,
    });
    let side = if balance.is_positive() { &mut sum.debits } else { &mut sum.credits };
    *side = side.plus(balance).map_err(|error| row.damaged(format!("a sum of balances: {error}")))?;
    sum.accounts += 1;
    Ok(key)
}

fn balance(mut row: Row) -> Result<Balance, SqlError> {
    let (account, name, asset) = (AccountId::new(row.text()?), row.text()?, row.parsed::<AssetId>()?);
    let scale = row.maybe_number()?.or_else(|| currency_scale(asset.as_str()));
    Ok(Balance { account, name, asset, scale, balance: row.amount()?, version: row.number()? })
}

/// Rows of transactions joined with their entries, as transactions. Rows of one transaction follow each other.
fn grouped(rows: Vec<Row>) -> Result<Vec<StoredTransaction>, SqlError> {
    let mut transactions: Vec<StoredTransaction> = Vec::new();
    for mut row in rows {
        let transaction = transaction(&mut row)?;
        let entry = entry(&mut row)?;
        match transactions.last_mut() {
            Some(last) if last.sequence == transaction.sequence => last.entries.push(entry),
            _ => transactions.push(StoredTransaction { entries: vec![entry], ..transaction }),
        }
    }
    Ok(transactions)
}

fn transaction(row: &mut Row) -> Result<StoredTransaction, SqlError> {
    Ok(StoredTransaction {
        sequence: row.number()?,
        transaction: row.parsed()?,
        template: row.text()?,
        template_version: row.number()?,
        payment: row.maybe_parsed()?,
        refund: row.maybe_parsed()?,
        event: row.text()?,
        reverses: row.maybe_parsed()?,
        occurred_at: row.time()?,
        previous_hash: row.hash()?,
        hash: row.hash()?,
        entries: Vec::new(),
    })
}

fn entry(row: &mut Row) -> Result<StoredEntry, SqlError> {
    Ok(StoredEntry {
        account: AccountId::new(row.text()?),
        asset: row.parsed()?,
        amount: row.amount()?,
        balance: row.amount()?,
        version: row.number()?,
    })
}
