//! A book's transactions form one chain: numbered, linked, hashed.

use streambook_model::{bytes::ContentHash, records::ledger::LedgerTransaction};

use super::{Check, Invariant, ensure};
use crate::book::ledger::transaction_hash;

/// [`Invariant::HashChainLinks`], given the number and hash of the book's transaction before it; zero and zero for a book
/// without transactions.
pub fn hash_chain_links(transaction: &LedgerTransaction, head: (u64, ContentHash)) -> Check {
    let (id, found, expected) = (transaction.transaction, transaction.sequence, head.0.saturating_add(1));
    ensure(found == expected, Invariant::HashChainLinks, || {
        format!("{id} has the number {found} in its book, expected {expected}")
    })?;
    ensure(transaction.previous_hash == head.1, Invariant::HashChainLinks, || {
        format!("{id} does not link to the transaction before it in its book")
    })
}

/// [`Invariant::HashIsOfContent`].
pub fn hash_is_of_content(transaction: &LedgerTransaction) -> Check {
    let right = transaction.hash == transaction_hash(transaction);
    ensure(right, Invariant::HashIsOfContent, || {
        format!("{} does not have the hash it states", transaction.transaction)
    })
}
