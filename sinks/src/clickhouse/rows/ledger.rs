//! `ledger.transactions`: one row for each line.

use serde::Serialize;
use streambook_model::{
    id::{MerchantId, PaymentId, RefundId, TransactionId},
    records::ledger::{Entry, LedgerTransaction},
};

use super::{At, Raw, Text};

/// A row of `ledger_entries`.
#[derive(Debug, Serialize)]
pub(crate) struct EntryRow<'b> {
    log_partition: u16,
    log_offset: u64,
    line: u16,
    batch: u64,
    recorded_at: i64,
    occurred_at: i64,
    transaction: TransactionId,
    merchant: MerchantId,
    livemode: bool,
    sequence: u64,
    template: &'b str,
    template_version: u32,
    payment: Text<PaymentId>,
    refund: Text<RefundId>,
    event: &'b str,
    reverses: Text<TransactionId>,
    hash: Raw<32>,
    account: &'b str,
    account_kind: String,
    asset: &'b str,
    amount: i128,
    balance: i128,
    account_version: u64,
}

/// The lines of a transaction, numbered from 1.
pub(crate) fn rows(at: At, transaction: &LedgerTransaction) -> impl Iterator<Item = EntryRow<'_>> {
    transaction.entries.iter().zip(1_u16..).map(move |(entry, line)| row(at, transaction, entry, line))
}

fn row<'b>(at: At, transaction: &'b LedgerTransaction, entry: &'b Entry, line: u16) -> EntryRow<'b> {
    EntryRow {
        log_partition: at.log_partition,
        log_offset: at.log_offset,
        line,
        batch: at.batch,
        recorded_at: at.recorded_at,
        occurred_at: transaction.occurred_at.millis(),
        transaction: transaction.transaction,
        merchant: transaction.merchant,
        livemode: transaction.livemode,
        sequence: transaction.sequence,
        template: &transaction.template,
        template_version: transaction.template_version,
        payment: Text(transaction.payment),
        refund: Text(transaction.refund),
        event: &transaction.event,
        reverses: Text(transaction.reverses),
        hash: Raw::of(&transaction.hash),
        account: entry.account.as_str(),
        account_kind: kind(entry.account.as_str()),
        asset: entry.asset.as_str(),
        amount: entry.amount.units(),
        balance: entry.balance.units(),
        account_version: entry.version,
    }
}

/// An account's name without its mode and without whose it is: `merchant/available` of `live/merchant/mer_…/available`,
/// `platform/fees` of `test/platform/fees/3`.
fn kind(account: &str) -> String {
    let parts: Vec<_> = account.split('/').collect();
    match parts.as_slice() {
        [_, "merchant", _, name] => format!("merchant/{name}"),
        [_, "platform", name, _] => format!("platform/{name}"),
        _ => account.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accounts_kind_says_neither_mode_nor_owner() {
        assert_eq!(kind("live/merchant/mer_1/available"), "merchant/available");
        assert_eq!(kind("test/platform/fees/3"), "platform/fees");
        assert_eq!(kind("something/else"), "something/else");
    }
}
