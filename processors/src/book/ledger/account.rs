//! The chart of accounts. Templates name an [`Account`]; with a book and a partition it becomes the [`AccountId`] of a
//! ledger entry, below `live/` or `test/`. A platform account has a sub-account for each partition, so that no two
//! tasks ever write the same one; readers add them up.

use serde::{Deserialize, Serialize};
use streambook_model::{position::Partition, records::ledger::AccountId};

use super::Book;

/// An account a template may use. What each is for, and its normal side, is said at the top of `postings.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Account {
    /// `merchant/available`
    Available,
    /// `merchant/clearing`
    Clearing,
    /// `merchant/wallet`
    Wallet,
    /// `merchant/stripe`
    MerchantStripe,
    /// `merchant/disputed`
    Disputed,
    /// `merchant/revenue`
    Revenue,
    /// `merchant/refunds`
    Refunds,
    /// `merchant/costs`
    Costs,
    /// `merchant/fees_due`
    FeesDue,
    /// `merchant/suspense`
    MerchantSuspense,
    /// `platform/deposits`
    Deposits,
    /// `platform/stripe`
    PlatformStripe,
    /// `platform/fees`
    Fees,
    /// `platform/suspense`
    PlatformSuspense,
}

/// Whose an account is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Merchant,
    Platform,
}

impl Account {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Available,
        Self::Clearing,
        Self::Wallet,
        Self::MerchantStripe,
        Self::Disputed,
        Self::Revenue,
        Self::Refunds,
        Self::Costs,
        Self::FeesDue,
        Self::MerchantSuspense,
        Self::Deposits,
        Self::PlatformStripe,
        Self::Fees,
        Self::PlatformSuspense,
    ];

    const fn parts(self) -> (Owner, &'static str) {
        match self {
            Self::Available => (Owner::Merchant, "available"),
            Self::Clearing => (Owner::Merchant, "clearing"),
            Self::Wallet => (Owner::Merchant, "wallet"),
            Self::MerchantStripe => (Owner::Merchant, "stripe"),
            Self::Disputed => (Owner::Merchant, "disputed"),
            Self::Revenue => (Owner::Merchant, "revenue"),
            Self::Refunds => (Owner::Merchant, "refunds"),
            Self::Costs => (Owner::Merchant, "costs"),
            Self::FeesDue => (Owner::Merchant, "fees_due"),
            Self::MerchantSuspense => (Owner::Merchant, "suspense"),
            Self::Deposits => (Owner::Platform, "deposits"),
            Self::PlatformStripe => (Owner::Platform, "stripe"),
            Self::Fees => (Owner::Platform, "fees"),
            Self::PlatformSuspense => (Owner::Platform, "suspense"),
        }
    }

    /// The account's name in a ledger entry, for example `live/merchant/mer_…/available` or `test/platform/fees/3`.
    /// The partition is that of the book's task; a merchant's own accounts do not depend on it.
    pub fn id(self, book: Book, partition: Partition) -> AccountId {
        let mode = if book.livemode { "live" } else { "test" };
        AccountId::new(match self.parts() {
            (Owner::Merchant, name) => format!("{mode}/merchant/{}/{name}", book.merchant),
            (Owner::Platform, name) => format!("{mode}/platform/{name}/{partition}"),
        })
    }

    /// The account that a data file calls so.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|account| account.to_string() == text)
    }
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.parts() {
            (Owner::Merchant, name) => write!(f, "merchant/{name}"),
            (Owner::Platform, name) => write!(f, "platform/{name}"),
        }
    }
}
