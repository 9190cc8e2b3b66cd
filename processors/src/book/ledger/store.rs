//! What the ledger keeps in the task's state: templates, the books' heads, balances, and the entries of what can still
//! be reversed.

use streambook_model::{asset::AssetId, money::Amount, records::ledger::AccountId};
use streambook_runtime::state::{State, StateError};

use super::{Book, Templates};

/// Puts templates in force. A set that they no longer have stays in force for the merchants that use it.
pub fn install(state: &mut dyn State, templates: &Templates) -> Result<(), StateError>;

/// An account's balance: positive where debits prevail, negative where credits do.
pub fn balance(state: &dyn State, account: &AccountId, asset: &AssetId) -> Result<Amount, StateError>;

/// What the platform owes the merchant, as a positive number; negative where the merchant owes. Always nothing where
/// settlement is direct, since the platform holds nothing then.
pub fn available(state: &dyn State, book: Book, asset: &AssetId) -> Result<Amount, StateError>;
