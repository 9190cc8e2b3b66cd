//! Booking money events: a posting, or the reversal of one, becomes a ledger transaction.

use streambook_model::{
    id::TransactionId,
    time::Timestamp,
};
use streambook_runtime::processor::{Context, Fault};

use super::{Book, Posting};

/// Books a money event and emits its transaction; `None` where its template moves nothing (all amounts zero, or no
/// lines in this set).
///
/// # Errors
/// A dead letter where the set is unknown or a balance would leave the range of 38 digits.
pub fn post(context: &mut Context<'_>, book: Book, posting: Posting<'_>) -> Result<Option<TransactionId>, Fault>;

/// Takes back, in full, a reversible transaction that is still in force, and emits the transaction that does so.
///
/// # Errors
/// Stops the task where the transaction was never posted in this book, is reversed already or is sealed: to take money
/// back a second time, or after finality, would be guessing.
pub fn reverse(context: &mut Context<'_>, book: Book, transaction: TransactionId, event: String, occurred_at: Timestamp) -> Result<TransactionId, Fault>;

/// Makes a transaction final, so that what a reversal needs is no longer kept. Nothing happens to one that is final or
/// reversed already.
pub fn seal(context: &mut Context<'_>, book: Book, transaction: TransactionId);
