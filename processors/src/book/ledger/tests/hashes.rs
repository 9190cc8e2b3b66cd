//! The hash chain, against a vector computed elsewhere, and the audit, against every kind of tampering.

use streambook_model::{
    bytes::ContentHash,
    id::PaymentId,
    records::ledger::{AccountId, Entry},
};

use super::*;
use crate::{book::ledger::transaction_hash, invariants::Invariant};

fn entry(account: &str, amount: i128, balance: i128, version: u64) -> Entry {
    let [amount, balance] = [amount, balance].map(|units| Amount::new(units).unwrap());
    Entry { account: AccountId::new(account), asset: "usdc:1".parse().unwrap(), amount, balance, version }
}

fn example() -> LedgerTransaction {
    LedgerTransaction {
        meta: meta(),
        transaction: TransactionId::from_bits([0x33; 16]),
        merchant: MerchantId::from_bits([0x22; 16]),
        livemode: true,
        sequence: 7,
        template: "payment.applied".into(),
        template_version: 2,
        payment: Some(PaymentId::from_bits([0x44; 16])),
        refund: None,
        event: "1:0xaa:0".into(),
        reverses: None,
        occurred_at: Timestamp::from_millis(1_700_000_000_123),
        entries: vec![
            entry("live/merchant/x/clearing", 12_500_000, -5, 3),
            entry("live/platform/fees/3", -12_500_000, -12_500_005, 9),
        ],
        previous_hash: ContentHash::new([0x11; 32]),
        hash: ContentHash::new([0xff; 32]),
    }
}

/// The vector was computed with Python's hashlib and struct from the form that `hash.rs` documents.
#[test]
fn the_hash_is_the_documented_one() {
    let hash = transaction_hash(&example()).to_string();
    assert_eq!(hash, "0xcd3c7ca65197299002fda668ddcdeaa6a1db409346567dc70b80df0951555488");
}

#[test]
fn every_business_field_is_hashed_and_nothing_else() {
    let hash = transaction_hash(&example());
    let mut other = example();
    (other.meta.id, other.hash) = ("another".into(), ContentHash::ZERO);
    assert_eq!(transaction_hash(&other), hash);
    let changes: [fn(&mut LedgerTransaction); 18] = [
        |t| t.transaction = TransactionId::from_bits([1; 16]),
        |t| t.merchant = MerchantId::from_bits([1; 16]),
        |t| t.livemode = false,
        |t| t.sequence += 1,
        |t| t.template.push('x'),
        |t| t.template_version += 1,
        |t| t.payment = None,
        |t| t.refund = Some(streambook_model::id::RefundId::from_bits([0; 16])),
        |t| t.event.push('x'),
        |t| t.reverses = Some(TransactionId::from_bits([0; 16])),
        |t| t.occurred_at = NOW,
        |t| t.previous_hash = ContentHash::ZERO,
        |t| t.entries.swap(0, 1),
        |t| t.entries[0].account = AccountId::new("live/merchant/x/available"),
        |t| t.entries[0].asset = "usd".parse().unwrap(),
        |t| t.entries[0].amount = t.entries[0].amount.negated(),
        |t| t.entries[0].balance = Amount::ZERO,
        |t| t.entries[0].version += 1,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut other = example();
        change(&mut other);
        assert_ne!(transaction_hash(&other), hash, "change {number}");
    }
}

/// A short history: received, applied, received again, taken back.
fn history() -> Vec<LedgerTransaction> {
    let (mut ledger, book) = (Ledger::new(), book(1, true));
    ledger.post(book, posting("custodial", TemplateName::TransferReceived, amounts(200, 0))).unwrap();
    ledger.post(book, posting("custodial", TemplateName::PaymentApplied, amounts(200, 1))).unwrap();
    let again =
        ledger.post(book, posting("custodial", TemplateName::TransferReceived, amounts(50, 0))).unwrap();
    ledger.reverse(book, again.unwrap()).unwrap();
    ledger.transactions
}

/// Tampers with the history, makes all hashes right again, and gives what the audit says.
fn tampered(change: impl FnOnce(&mut Vec<LedgerTransaction>)) -> Invariant {
    let mut history = history();
    change(&mut history);
    let mut previous = ContentHash::ZERO;
    for transaction in &mut history {
        transaction.previous_hash = previous;
        transaction.hash = transaction_hash(transaction);
        previous = transaction.hash;
    }
    let mut audit = LedgerAudit::default();
    let found = history.iter().try_for_each(|transaction| audit.observe(transaction));
    found.and_then(|()| audit.finish()).unwrap_err().invariant
}

#[test]
fn the_audit_names_what_is_wrong_even_where_every_hash_was_made_right_again() {
    let amount = |units| Amount::new(units).unwrap();
    assert_eq!(tampered(|h| h[1].entries[0].amount = amount(201)), Invariant::SumZero);
    assert_eq!(tampered(|h| h[1].entries[0].amount = Amount::ZERO), Invariant::SumZero);
    assert_eq!(tampered(|h| h[1].entries.clear()), Invariant::SumZero);
    assert_eq!(tampered(|h| h[1].entries[0].balance = amount(1)), Invariant::BalanceIsReplayOfEntries);
    assert_eq!(tampered(|h| h[2].entries[0].version = 9), Invariant::EntryVersionsHaveNoGaps);
    assert_eq!(tampered(|h| h[1].sequence = 3), Invariant::HashChainLinks);
    assert_eq!(tampered(|h| drop(h.remove(1))), Invariant::HashChainLinks);
    assert_eq!(tampered(|h| h[2].reverses = h[3].reverses), Invariant::ReversedOnce);
    let huge = |h: &mut Vec<LedgerTransaction>| {
        h[1].entries.iter_mut().for_each(|e| e.amount = amount(10_i128.pow(38) - 1));
    };
    assert_eq!(tampered(huge), Invariant::SumZero);
}

#[test]
fn the_audit_sees_a_broken_chain() {
    let mut history = history();
    history[1].event.push('x');
    let mut audit = LedgerAudit::default();
    audit.observe(&history[0]).unwrap();
    assert_eq!(audit.observe(&history[1]).unwrap_err().invariant, Invariant::HashIsOfContent);
    let mut audit = LedgerAudit::default();
    audit.observe(&history[0]).unwrap();
    history[1].previous_hash = ContentHash::ZERO;
    history[1].hash = transaction_hash(&history[1]);
    assert_eq!(audit.observe(&history[1]).unwrap_err().invariant, Invariant::HashChainLinks);
}

#[test]
fn a_reversal_that_is_not_the_mirror_image_is_seen() {
    let history = history();
    reversed_at_most_original(&history[2], &history[3]).unwrap();
    assert!(reversed_at_most_original(&history[0], &history[3]).is_err(), "another transaction");
    let mut less = history[3].clone();
    less.entries.pop();
    assert!(reversed_at_most_original(&history[2], &less).is_err());
    let mut other = history[3].clone();
    other.entries[0].amount = Amount::new(-51).unwrap();
    assert!(reversed_at_most_original(&history[2], &other).is_err());
}

#[test]
fn the_trial_balance_is_exact_where_a_partial_sum_exceeds_38_digits() {
    let mut ledger = Ledger::new();
    for (number, template) in [(1, TemplateName::CardFee), (2, TemplateName::DisputeOpened)] {
        let posting = posting("custodial", template, amounts(6 * 10_i128.pow(37), 0));
        let fault = ledger.post(book(number, true), posting);
        assert_eq!(fault.is_err(), number == 2, "the platform's Stripe balance has 38 digits");
    }
    let direct = posting("direct", TemplateName::CardFee, amounts(6 * 10_i128.pow(37), 0));
    ledger.post(book(2, true), direct).unwrap();
    audited(&ledger.transactions);
}
