//! Booking money events: a posting, or the reversal of one, becomes a ledger transaction.
//!
//! A posting of three entries reads five small values (template, head, three balances) and writes as many (head, three
//! balances, and the changes where the event is reversible). Nothing is scanned, and no value grows.

use streambook_model::{
    asset::AssetId,
    bytes::ContentHash,
    id::{PaymentId, RefundId, TransactionId},
    money::{Amount, AmountError},
    records::ledger::{Entry, LedgerTransaction},
    time::Timestamp,
    topics,
};
use streambook_runtime::processor::{Context, Fault};

use super::{
    Account, Amounts, Book, Part, Posting, Side, Template, TemplateName,
    hash::transaction_hash,
    store::{self, Head, Posted},
};
use crate::invariants::{
    Invariant, Parts, at_run_time, balance_is_replay_of_entries, entry_versions_have_no_gaps,
    gross_is_net_and_fee, hash_chain_links, lines_are_taken_back, posting_names_its_cause, sum_zero,
};

/// A transaction before it has its place in the book.
struct Draft<'a> {
    template: TemplateName,
    template_version: u32,
    payment: Option<PaymentId>,
    refund: Option<RefundId>,
    event: String,
    reverses: Option<TransactionId>,
    occurred_at: Timestamp,
    asset: &'a AssetId,
    changes: &'a [(Account, Amount)],
}

/// Books a money event and emits its transaction; `None` where its template moves nothing (all amounts zero, or no
/// lines in this set).
///
/// # Errors
/// A dead letter where the set is unknown or a balance would leave the range of 38 digits.
pub fn post(
    context: &mut Context<'_>,
    book: Book,
    posting: Posting<'_>,
) -> Result<Option<TransactionId>, Fault> {
    let Posting { set, template: name, payment, refund, event, occurred_at, asset, amounts } = posting;
    let template = store::template(&context.state, set, name)?.ok_or_else(|| unknown_set(set))?;
    let parts = Parts {
        gross: amounts.part(Part::Gross)?,
        net: amounts.part(Part::Net)?,
        fee: amounts.part(Part::Fee)?,
    };
    at_run_time(context, Invariant::GrossIsNetAndFee, gross_is_net_and_fee(parts))?;
    let changes = changes(&template, &amounts)?;
    if changes.is_empty() {
        return Ok(None);
    }
    let template_version = template.version;
    let draft = Draft {
        template: name,
        template_version,
        payment,
        refund,
        event,
        reverses: None,
        occurred_at,
        asset: &asset,
        changes: &changes,
    };
    let transaction = append(context, book, draft)?;
    if name.is_reversible() {
        let posted = Posted { template: name, template_version, payment, refund, asset, changes };
        store::put_reversible(&mut context.state, book, transaction, &posted)?;
    }
    Ok(Some(transaction))
}

/// Takes back, in full, a reversible transaction that is still in force, and emits the transaction that does so.
///
/// # Errors
/// Stops the task where the transaction was never posted in this book, is reversed already or is sealed: to take money
/// back a second time would be guessing.
pub fn reverse(
    context: &mut Context<'_>,
    book: Book,
    transaction: TransactionId,
    event: String,
    occurred_at: Timestamp,
) -> Result<TransactionId, Fault> {
    let posted =
        store::reversible(&context.state, book, transaction)?.ok_or_else(|| not_reversible(transaction))?;
    store::forget_reversible(&mut context.state, book, transaction);
    let changes: Vec<_> =
        posted.changes.iter().map(|(account, amount)| (*account, amount.negated())).collect();
    let taken_back =
        lines_are_taken_back(transaction, posted.changes.iter().copied(), changes.iter().copied());
    at_run_time(context, Invariant::ReversedAtMostOriginal, taken_back)?;
    let draft = Draft {
        template: posted.template,
        template_version: posted.template_version,
        payment: posted.payment,
        refund: posted.refund,
        event,
        reverses: Some(transaction),
        occurred_at,
        asset: &posted.asset,
        changes: &changes,
    };
    append(context, book, draft)
}

/// Makes a transaction final, so that what a reversal needs is no longer kept. Nothing happens to one that is final or
/// reversed already.
pub fn seal(context: &mut Context<'_>, book: Book, transaction: TransactionId) {
    store::forget_reversible(&mut context.state, book, transaction);
}

/// What a template does to each account, without what it leaves as it is.
fn changes(template: &Template, amounts: &Amounts) -> Result<Vec<(Account, Amount)>, AmountError> {
    let mut changes = Vec::with_capacity(template.lines.len());
    for line in &template.lines {
        let amount = amounts.part(line.amount)?;
        let signed = if line.side == Side::Debit { amount } else { amount.negated() };
        if !signed.is_zero() {
            changes.push((line.account, signed));
        }
    }
    Ok(changes)
}

/// Gives a draft its place at the end of the book, and emits it.
fn append(context: &mut Context<'_>, book: Book, draft: Draft<'_>) -> Result<TransactionId, Fault> {
    let head = store::head(&context.state, book)?;
    let sequence = head.sequence.checked_add(1).ok_or_else(|| Fault::Stop("a book is full".into()))?;
    let transaction = transaction_id(book, sequence);
    let entries = entries(context, book, transaction, &draft)?;
    let mut record = LedgerTransaction {
        meta: context.meta(draft.occurred_at),
        transaction,
        merchant: book.merchant,
        livemode: book.livemode,
        sequence,
        template: draft.template.as_str().to_owned(),
        template_version: draft.template_version,
        payment: draft.payment,
        refund: draft.refund,
        event: draft.event,
        reverses: draft.reverses,
        occurred_at: draft.occurred_at,
        entries,
        previous_hash: head.hash,
        hash: ContentHash::ZERO,
    };
    record.hash = transaction_hash(&record);
    check(context, &record, head)?;
    store::put_head(&mut context.state, book, &Head { sequence, hash: record.hash })?;
    context.emit(topics::LEDGER_TRANSACTIONS, book.merchant.to_string(), record);
    Ok(transaction)
}

/// What can be judged of one transaction and the head before it.
fn check(context: &mut Context<'_>, record: &LedgerTransaction, head: Head) -> Result<(), Fault> {
    at_run_time(context, Invariant::SumZero, sum_zero(record))?;
    at_run_time(context, Invariant::PostingNamesItsCause, posting_names_its_cause(record))?;
    let links = hash_chain_links(record, (head.sequence, head.hash));
    at_run_time(context, Invariant::HashChainLinks, links)
}

/// Applies the changes to the balances, one by one.
fn entries(
    context: &mut Context<'_>,
    book: Book,
    transaction: TransactionId,
    draft: &Draft<'_>,
) -> Result<Vec<Entry>, Fault> {
    let mut entries = Vec::with_capacity(draft.changes.len());
    for (account, amount) in draft.changes {
        let account = account.id(book, context.partition());
        let before = store::read_balance(&context.state, &account, draft.asset)?;
        let mut balance = before;
        balance.amount = balance.amount.plus(*amount)?;
        balance.version =
            balance.version.checked_add(1).ok_or_else(|| Fault::Stop("an account is full".into()))?;
        store::put_balance(&mut context.state, &account, draft.asset, &balance)?;
        let (asset, amount) = (draft.asset.clone(), *amount);
        let entry = Entry { account, asset, amount, balance: balance.amount, version: balance.version };
        let no_gap = entry_versions_have_no_gaps(transaction, &entry, before.version);
        at_run_time(context, Invariant::EntryVersionsHaveNoGaps, no_gap)?;
        let is_replay = balance_is_replay_of_entries(transaction, &entry, before.amount);
        at_run_time(context, Invariant::BalanceIsReplayOfEntries, is_replay)?;
        entries.push(entry);
    }
    Ok(entries)
}

/// The id of a book's transaction: the same wherever and whenever it is computed.
pub(super) fn transaction_id(book: Book, sequence: u64) -> TransactionId {
    TransactionId::derive(&[book.merchant.bits(), &[u8::from(book.livemode)], &sequence.to_be_bytes()])
}

fn unknown_set(set: &str) -> Fault {
    let reason =
        format!("no posting templates for the settlement `{set}`: add the set to the settings, then retry");
    Fault::dead_letter("unknown_settlement", reason)
}

fn not_reversible(transaction: TransactionId) -> Fault {
    Fault::Stop(format!(
        "{transaction} cannot be reversed: it is not in this book, is final, or was reversed before"
    ))
}
