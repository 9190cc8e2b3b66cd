//! The hash that chains a book's transactions: `hash = SHA-256(previous_hash ‖ canonical business fields)`.
//!
//! The canonical bytes are this file's own and never follow the wire format, so a schema may grow without changing a
//! hash. Anyone can compute them from a record of `ledger.transactions`:
//!
//! ```text
//! transaction = "streambook ledger transaction 1" previous_hash[32] id[16] merchant[16] livemode[1]
//!               sequence[8] template:text template_version[4] payment:id? refund:id? event:text reverses:id?
//!               occurred_at[8] count[8] entry*
//! entry       = account:text asset:text amount[16] balance[16] version[8]
//! text        = length[8] and so many bytes of UTF-8
//! id?         = 00, or 01 and the id's 16 bytes
//! ```
//!
//! Integers are big-endian, signed ones in two's complement; `occurred_at` is in milliseconds since 1970, `livemode` is
//! 01 for live. An id's 16 bytes are the 32 hex digits of its text. The record's `meta` and its `hash` are left out.

use sha2::{Digest, Sha256};
use streambook_model::{
    bytes::ContentHash,
    id::{Id, Kind},
    records::ledger::{Entry, LedgerTransaction},
};

/// Keeps these hashes apart from every other SHA-256 in the system, and from a later form of themselves.
const DOMAIN: &[u8] = b"streambook ledger transaction 1";

/// The hash a transaction must carry, given its `previous_hash` and business fields.
pub fn transaction_hash(transaction: &LedgerTransaction) -> ContentHash {
    let mut out = Canonical(Sha256::new_with_prefix(DOMAIN));
    out.raw(transaction.previous_hash.as_bytes());
    out.raw(transaction.transaction.bits());
    out.raw(transaction.merchant.bits());
    out.raw(&[u8::from(transaction.livemode)]);
    out.raw(&transaction.sequence.to_be_bytes());
    out.text(&transaction.template);
    out.raw(&transaction.template_version.to_be_bytes());
    out.optional_id(transaction.payment);
    out.optional_id(transaction.refund);
    out.text(&transaction.event);
    out.optional_id(transaction.reverses);
    out.raw(&transaction.occurred_at.millis().to_be_bytes());
    out.length(transaction.entries.len());
    transaction.entries.iter().for_each(|entry| out.entry(entry));
    ContentHash::new(out.0.finalize().into())
}

struct Canonical(Sha256);

impl Canonical {
    fn raw(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn length(&mut self, length: usize) {
        self.raw(&(length as u64).to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.length(text.len());
        self.raw(text.as_bytes());
    }

    fn optional_id<K: Kind>(&mut self, id: Option<Id<K>>) {
        self.raw(&[u8::from(id.is_some())]);
        if let Some(id) = id {
            self.raw(id.bits());
        }
    }

    fn entry(&mut self, entry: &Entry) {
        self.text(entry.account.as_str());
        self.text(entry.asset.as_str());
        self.raw(&entry.amount.units().to_be_bytes());
        self.raw(&entry.balance.units().to_be_bytes());
        self.raw(&entry.version.to_be_bytes());
    }
}
