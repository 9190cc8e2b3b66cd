//! What the ledger keeps in the task's state: templates, the books' heads, balances, and the entries of what can still
//! be reversed. All but the last grow with the number of merchants only; the last grows with the chain payments, since a
//! chain can be rebuilt below what was final, and shrinks with [`super::seal`].

use serde::{Deserialize, Serialize};
use streambook_model::{
    asset::AssetId,
    bytes::ContentHash,
    id::{PaymentId, RefundId, TransactionId},
    money::Amount,
    position::Partition,
    records::ledger::AccountId,
};
use streambook_runtime::{
    state::{State, StateError},
    table::Table,
};

use super::{Account, Book, Template, TemplateName, Templates};

const TEMPLATES: Table<Template> = Table::new(200);
const HEADS: Table<Head> = Table::new(201);
const BALANCES: Table<Balance> = Table::new(202);
const REVERSIBLE: Table<Posted> = Table::new(203);

/// Where a book's hash chain ends. Of a book without transactions: zero and zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) sequence: u64,
    pub(super) hash: ContentHash,
}

impl Head {
    pub(super) const START: Self = Self { sequence: 0, hash: ContentHash::ZERO };
}

/// An account's balance in one asset, and how many entries made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Balance {
    pub(super) amount: Amount,
    pub(super) version: u64,
}

/// What was posted, as far as a reversal repeats it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Posted {
    pub(super) template: TemplateName,
    pub(super) template_version: u32,
    pub(super) payment: Option<PaymentId>,
    pub(super) refund: Option<RefundId>,
    pub(super) asset: AssetId,
    pub(super) changes: Vec<(Account, Amount)>,
}

/// Puts templates in force. A set that they no longer have stays in force for the merchants that use it.
pub fn install(state: &mut dyn State, templates: &Templates) -> Result<(), StateError> {
    for (set, templates) in &templates.0 {
        for (name, template) in templates {
            TEMPLATES.put(state, (set.as_str(), name.as_str()), template)?;
        }
    }
    Ok(())
}

/// An account's balance: positive where debits prevail, negative where credits do.
pub fn balance(state: &dyn State, account: &AccountId, asset: &AssetId) -> Result<Amount, StateError> {
    read_balance(state, account, asset).map(|balance| balance.amount)
}

/// What the platform owes the merchant, as a positive number; negative where the merchant owes. Always nothing where
/// settlement is direct, since the platform holds nothing then.
pub fn available(state: &dyn State, book: Book, asset: &AssetId) -> Result<Amount, StateError> {
    // The partition is part of the names of platform accounts only.
    balance(state, &Account::Available.id(book, Partition(0)), asset).map(Amount::negated)
}

pub(super) fn template(
    state: &dyn State,
    set: &str,
    name: TemplateName,
) -> Result<Option<Template>, StateError> {
    TEMPLATES.get(state, (set, name.as_str()))
}

pub(super) fn head(state: &dyn State, book: Book) -> Result<Head, StateError> {
    Ok(HEADS.get(state, key(book))?.unwrap_or(Head::START))
}

pub(super) fn put_head(state: &mut dyn State, book: Book, head: &Head) -> Result<(), StateError> {
    HEADS.put(state, key(book), head)
}

pub(super) fn read_balance(
    state: &dyn State,
    account: &AccountId,
    asset: &AssetId,
) -> Result<Balance, StateError> {
    Ok(BALANCES.get(state, (account.as_str(), asset.as_str()))?.unwrap_or_default())
}

pub(super) fn put_balance(
    state: &mut dyn State,
    account: &AccountId,
    asset: &AssetId,
    balance: &Balance,
) -> Result<(), StateError> {
    BALANCES.put(state, (account.as_str(), asset.as_str()), balance)
}

pub(super) fn reversible(
    state: &dyn State,
    book: Book,
    transaction: TransactionId,
) -> Result<Option<Posted>, StateError> {
    REVERSIBLE.get(state, (key(book), transaction))
}

pub(super) fn put_reversible(
    state: &mut dyn State,
    book: Book,
    transaction: TransactionId,
    posted: &Posted,
) -> Result<(), StateError> {
    REVERSIBLE.put(state, (key(book), transaction), posted)
}

pub(super) fn forget_reversible(state: &mut dyn State, book: Book, transaction: TransactionId) {
    REVERSIBLE.delete(state, (key(book), transaction));
}

fn key(book: Book) -> (streambook_model::id::MerchantId, bool) {
    (book.merchant, book.livemode)
}
