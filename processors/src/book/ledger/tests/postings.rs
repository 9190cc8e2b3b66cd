//! Single postings: what they emit, where the money ends up, and what is refused.

use streambook_runtime::state::{Pairs, State};

use super::*;

#[test]
fn a_payment_is_received_and_applied_less_its_fee() -> Result<(), StateError> {
    let (mut ledger, book, usdc) = (Ledger::new(), book(1, true), "usdc:1");
    ledger.post(book, posting("custodial", TemplateName::TransferReceived, amounts(200, 0))).unwrap();
    assert_eq!(ledger.balance(book, Account::Clearing, usdc), -200);
    ledger.post(book, posting("custodial", TemplateName::PaymentApplied, amounts(200, 1))).unwrap();
    assert_eq!(ledger.balance(book, Account::Deposits, usdc), 200);
    assert_eq!(ledger.balance(book, Account::Clearing, usdc), 0);
    assert_eq!(ledger.balance(book, Account::Fees, usdc), -1);
    assert_eq!(available(&ledger.state, book, &usdc.parse().unwrap())?.units(), 199);
    let applied = ledger.last();
    assert_eq!(
        (applied.sequence, applied.template.as_str(), applied.template_version),
        (2, "payment.applied", 1)
    );
    let accounts: Vec<_> = applied.entries.iter().map(|entry| entry.account.as_str()).collect();
    let merchant = format!("live/merchant/{}", book.merchant);
    assert_eq!(
        accounts,
        [&format!("{merchant}/clearing"), &format!("{merchant}/available"), "live/platform/fees/3"]
    );
    Ok(())
}

#[test]
fn the_two_books_of_a_merchant_share_nothing() {
    let mut ledger = Ledger::new();
    for book in [book(1, true), book(1, false), book(2, true)] {
        let id = ledger.post(book, posting("custodial", TemplateName::CardReceived, amounts(5, 0))).unwrap();
        assert_eq!((id, ledger.last().sequence), (Some(ledger.last().transaction), 1));
        assert_eq!(ledger.balance(book, Account::Clearing, "usdc:1"), -5);
    }
    let ids: std::collections::BTreeSet<_> = ledger.transactions.iter().map(|t| t.transaction).collect();
    assert_eq!(ids.len(), 3);
    audited(&ledger.transactions);
}

#[test]
fn direct_settlement_owes_the_merchant_nothing_and_is_owed_the_fee() {
    let (mut ledger, book, usdc) = (Ledger::new(), book(1, false), "usdc:1");
    ledger.post(book, posting("direct", TemplateName::TransferReceived, amounts(200, 0))).unwrap();
    ledger.post(book, posting("direct", TemplateName::PaymentApplied, amounts(200, 1))).unwrap();
    let expect =
        [(Account::Wallet, 200), (Account::Clearing, 0), (Account::Revenue, -200), (Account::FeesDue, 1)];
    for (account, balance) in expect.into_iter().chain([(Account::Fees, -1), (Account::Available, 0)]) {
        assert_eq!(ledger.balance(book, account, usdc), balance, "{account}");
    }
}

#[test]
fn what_moves_nothing_is_not_written() {
    let (mut ledger, book) = (Ledger::new(), book(1, true));
    let zero = posting("custodial", TemplateName::CardReceived, amounts(0, 0));
    assert_eq!(ledger.post(book, zero).unwrap(), None);
    assert_eq!(
        ledger.post(book, posting("custodial", TemplateName::DisputeLost, amounts(9, 0))).unwrap(),
        None
    );
    ledger.post(book, posting("custodial", TemplateName::PaymentApplied, amounts(9, 0))).unwrap();
    let [only] = ledger.transactions.as_slice() else { panic!("one transaction") };
    assert_eq!((only.sequence, only.entries.len()), (1, 2), "an entry of zero is left out");
}

#[test]
fn a_transaction_is_reversed_once_in_its_own_book_and_not_after_it_is_final() {
    let (mut ledger, book) = (Ledger::new(), book(1, true));
    let empty = ledger.state.clone();
    let receive = || posting("custodial", TemplateName::TransferReceived, amounts(200, 0));
    let first = ledger.post(book, receive()).unwrap().unwrap();
    assert!(matches!(ledger.reverse(super::book(2, true), first), Err(Fault::Stop(_))));
    assert!(matches!(ledger.reverse(super::book(1, false), first), Err(Fault::Stop(_))));
    let reversal = ledger.reverse(book, first).unwrap();
    reversed_at_most_original(&ledger.transactions[0], ledger.last()).unwrap();
    assert_eq!((ledger.last().transaction, ledger.last().reverses), (reversal, Some(first)));
    assert_eq!(ledger.balance(book, Account::Clearing, "usdc:1"), 0);
    for gone in [first, reversal] {
        assert!(matches!(ledger.reverse(book, gone), Err(Fault::Stop(_))));
    }
    let second = ledger.post(book, receive()).unwrap().unwrap();
    ledger.seal(book, second);
    assert!(matches!(ledger.reverse(book, second), Err(Fault::Stop(_))));
    let card =
        ledger.post(book, posting("custodial", TemplateName::CardReceived, amounts(5, 0))).unwrap().unwrap();
    assert!(matches!(ledger.reverse(book, card), Err(Fault::Stop(_))));
    audited(&ledger.transactions);
    let more = ledger.state.iter().count() - empty.iter().count();
    assert_eq!(more, 1 + 3, "what remains is the head and three balances, nothing for each transaction");
}

#[test]
fn a_chargeback_posts_even_where_the_merchant_then_owes() {
    let (mut ledger, book) = (Ledger::new(), book(1, true));
    ledger.post(book, posting("custodial", TemplateName::DisputeOpened, amounts(100, 0))).unwrap();
    assert_eq!(available(&ledger.state, book, &"usdc:1".parse().unwrap()).unwrap().units(), -100);
}

#[test]
fn a_balance_beyond_38_digits_is_refused_whole() {
    let (mut ledger, book, largest) = (Ledger::new(), book(1, true), 10_i128.pow(38) - 1);
    let receive = |units| posting("custodial", TemplateName::TransferReceived, amounts(units, 0));
    ledger.post(book, receive(largest)).unwrap();
    let before = ledger.state.clone();
    let fault = ledger.post(book, receive(1)).unwrap_err();
    assert!(matches!(fault, Fault::DeadLetter { code: "amount_out_of_range", .. }), "{fault}");
    assert!(before == ledger.state && ledger.transactions.len() == 1);
}

#[test]
fn an_unknown_settlement_is_a_dead_letter_that_says_so() {
    let fault = Ledger::new().post(book(1, true), posting("escrow", TemplateName::CardFee, amounts(1, 0)));
    let text = fault.unwrap_err().to_string();
    assert!(text.starts_with("unknown_settlement: ") && text.contains("`escrow`"), "{text}");
}

#[test]
fn amounts_are_never_negative_and_always_add_up() -> Result<(), AmountError> {
    let amount = |units| Amount::new(units).unwrap();
    assert_eq!(Amounts::of(amount(-1)), None);
    assert_eq!(Amounts::with_fee(amount(5), amount(-1)), None);
    assert_eq!(Amounts::with_fee(amount(5), amount(6)), None);
    let parts = Amounts::with_fee(amount(5), amount(2)).unwrap();
    let net = parts.part(crate::book::ledger::Part::Net)?;
    assert_eq!(net.units(), 3);
    Ok(())
}

#[test]
fn templates_in_force_are_replaced_by_newer_ones() {
    let mut ledger = Ledger::new();
    let newer = BUILTIN_POSTINGS.replacen("version = 1", "version = 7", 1);
    install(&mut ledger.state, &Templates::parse(&newer).unwrap()).unwrap();
    ledger.post(book(1, true), posting("custodial", TemplateName::TransferReceived, amounts(5, 0))).unwrap();
    assert_eq!(ledger.last().template_version, 7);
}

/// A state that counts what is read of it.
struct Counted<'a> {
    state: &'a MemoryState,
    reads: std::cell::Cell<u32>,
}

impl State for Counted<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<bytes::Bytes>, StateError> {
        self.reads.set(self.reads.get() + 1);
        self.state.get(key)
    }

    fn scan(&self, _: &[u8], _: &[u8], _: usize) -> Result<Pairs, StateError> {
        panic!("posting scans nothing");
    }

    fn put(&mut self, _: bytes::Bytes, _: bytes::Bytes) {
        panic!("an overlay leaves the state as it is");
    }

    fn delete(&mut self, _: bytes::Bytes) {
        panic!("an overlay leaves the state as it is");
    }
}

#[test]
fn a_posting_of_three_entries_costs_ten_small_reads_and_writes() {
    let ledger = Ledger::new();
    let counted = Counted { state: &ledger.state, reads: Default::default() };
    let mut context = Context::new(Overlay::new(&counted), "book/3", PARTITION, Offset(0), meta());
    post(&mut context, book(1, true), posting("custodial", TemplateName::PaymentApplied, amounts(200, 1)))
        .unwrap();
    let (writes, _) = context.finish();
    assert_eq!((counted.reads.get(), writes.len()), (5, 5));
    assert!(writes.values().flatten().all(|value| value.len() < 100), "{writes:?}");
}
