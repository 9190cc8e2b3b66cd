//! The ledger of a merchant's books: money events become balanced transactions by posting templates, which are data.
//!
//! Guarantees, each a predicate of [`invariants`](crate::invariants), checked before a transaction is emitted: the entries of a transaction sum to zero for each asset; every entry
//! states the balance after it and the account's entry count, without gaps; every transaction extends its book's hash
//! chain, numbered from 1 without gaps; a transaction is never changed, only reversed by a later one, at most once, in
//! full. Positive is a debit, negative a credit. An amount that leaves the range is an error, never wrapped or cut.
//!
//! How to use it from the book:
//! ```text
//! when settings arrive   install(&mut context.state, &Templates::parse(&settings.postings)?)?;
//! a money event          let id = post(context, book, Posting { set, template, amounts, … })?;   // None: nothing to book
//! it is taken back       reverse(context, book, id, event, occurred_at)?;                        // a reorganisation
//! it stays for good      seal(context, book, id);                                                // can no longer be reversed
//! what a command may use available(&context.state, book, &asset)?;
//! ```
//!
//! The ledger keeps its state in tables 200 to 203 of the book's task (see [`store`]).

mod account;
mod fee;
mod hash;
mod parse;
mod post;
mod store;
mod template;
#[cfg(test)]
mod tests;

use streambook_model::{
    asset::AssetId,
    id::{MerchantId, PaymentId, RefundId},
    money::{Amount, AmountError},
    time::Timestamp,
};

pub use self::{
    account::Account,
    fee::fee,
    hash::transaction_hash,
    parse::TemplateError,
    post::{post, reverse, seal},
    store::{available, balance, install},
    template::{Line, Part, Side, Template, TemplateName, Templates},
};

/// The built-in posting templates: the value of `Settings.postings` where the operator sets none.
pub const BUILTIN_POSTINGS: &str = include_str!("../../../postings.toml");

/// One of a merchant's two books.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Book {
    /// Whose it is.
    pub merchant: MerchantId,
    /// Live or test.
    pub livemode: bool,
}

/// The amounts of a money event, none negative. `gross = net + fee` always, since there is no other way to make one;
/// this identity is what the templates' balance is proved from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amounts {
    gross: Amount,
    fee: Amount,
}

impl Amounts {
    /// One amount: it is the gross and the net, and there is no fee. `None` for a negative amount.
    pub fn of(gross: Amount) -> Option<Self> {
        Self::with_fee(gross, Amount::ZERO)
    }

    /// An amount of which `fee` is a part. `None` where the gross or the fee is negative, or the fee the larger.
    pub fn with_fee(gross: Amount, fee: Amount) -> Option<Self> {
        (Amount::ZERO <= fee && fee <= gross).then_some(Self { gross, fee })
    }

    /// The amount a template's line names.
    pub fn part(&self, part: Part) -> Result<Amount, AmountError> {
        match part {
            Part::Gross => Ok(self.gross),
            Part::Fee => Ok(self.fee),
            Part::Net => self.gross.minus(self.fee),
        }
    }
}

/// A money event to be booked with a template.
#[derive(Debug, Clone)]
pub struct Posting<'a> {
    /// The set of templates, which is the merchant's `settlement`: `custodial`, `direct`, or one of the operator's.
    pub set: &'a str,
    /// The template in it.
    pub template: TemplateName,
    /// The payment it is about.
    pub payment: Option<PaymentId>,
    /// The refund it is about.
    pub refund: Option<RefundId>,
    /// The natural id of the money event.
    pub event: String,
    /// When the money moved, by its source's clock.
    pub occurred_at: Timestamp,
    /// What is moved.
    pub asset: AssetId,
    /// How much.
    pub amounts: Amounts,
}
