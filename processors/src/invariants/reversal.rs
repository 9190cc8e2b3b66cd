//! What is taken back is what was there, once.

use streambook_model::{id::TransactionId, money::Amount, records::ledger::LedgerTransaction};

use super::{Before, Check, Invariant, Violation, ensure};

/// [`Invariant::ReversedAtMostOriginal`], of lines alone: line by line on the same account, the opposite amount. Lines are an account
/// (with its asset) and an amount.
pub fn lines_are_taken_back<A: PartialEq>(
    original: TransactionId,
    lines: impl IntoIterator<Item = (A, Amount)>,
    reversal: impl IntoIterator<Item = (A, Amount)>,
) -> Check {
    let expected = lines.into_iter().map(|(account, amount)| (account, amount.negated()));
    ensure(expected.eq(reversal), Invariant::ReversedAtMostOriginal, || {
        format!("a reversal of {original} does not take back exactly what that did")
    })
}

/// [`Invariant::ReversedAtMostOriginal`], of whole transactions, which must also be of one book, payment and template.
pub fn reversed_at_most_original(original: &LedgerTransaction, reversal: &LedgerTransaction) -> Check {
    let what = |t: &LedgerTransaction| (t.merchant, t.livemode, t.payment, t.refund, t.template.clone());
    let linked = reversal.reverses == Some(original.transaction) && original.reverses.is_none();
    ensure(linked && what(original) == what(reversal), Invariant::ReversedAtMostOriginal, || {
        format!(
            "{} reverses {}, which is of another book, payment or template, or a reversal itself",
            reversal.transaction, original.transaction
        )
    })?;
    let lines = |t| lines(t);
    lines_are_taken_back(original.transaction, lines(original), lines(reversal)).map_err(|violation| {
        Violation { detail: format!("{}: {}", reversal.transaction, violation.detail), ..violation }
    })
}

type Line<'a> = ((&'a str, &'a str), Amount);

fn lines(transaction: &LedgerTransaction) -> impl Iterator<Item = Line<'_>> {
    transaction.entries.iter().map(|entry| ((entry.account.as_str(), entry.asset.as_str()), entry.amount))
}

/// [`Invariant::ReversedOnce`], given whether it was reversed before.
pub fn reversed_once(original: TransactionId, before: Before) -> Check {
    ensure(before == Before::Never, Invariant::ReversedOnce, || {
        format!("{original} is reversed a second time")
    })
}
