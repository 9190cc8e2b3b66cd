//! The ledger as a whole: random histories against the audit and a replay, refusals, and tampering.

mod hashes;
mod journals;
mod postings;
mod templates;

use proptest::prelude::*;
use streambook_model::{
    id::{MerchantId, TransactionId},
    message::Message,
    meta::Meta,
    position::{Offset, Partition},
    records::ledger::LedgerTransaction,
};
use streambook_runtime::{
    processor::{Context, Fault},
    state::{MemoryState, Overlay, StateError, apply},
};

use super::{
    Account, Amount, AmountError, Amounts, BUILTIN_POSTINGS, Book, Posting, TemplateName, Templates,
    Timestamp, available, balance, install, post, reverse, seal,
};
use crate::invariants::{LedgerAudit, reversed_at_most_original};

const PARTITION: Partition = Partition(3);
const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A task's state and the transactions it has emitted.
struct Ledger {
    state: MemoryState,
    transactions: Vec<LedgerTransaction>,
}

impl Ledger {
    fn new() -> Self {
        let mut state = MemoryState::default();
        install(&mut state, &Templates::parse(BUILTIN_POSTINGS).unwrap()).unwrap();
        Self { state, transactions: Vec::new() }
    }

    /// One record's step: on a fault nothing of it remains, as in the runtime.
    fn step<T>(&mut self, act: impl FnOnce(&mut Context<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
        let mut context = Context::new(Overlay::new(&self.state), "book/3", PARTITION, Offset(0), meta());
        let value = act(&mut context)?;
        let (changes, emitted) = context.finish();
        apply(changes, &mut self.state);
        for emitted in emitted {
            let Message::LedgerTransaction(transaction) = *emitted.message else {
                panic!("not a transaction")
            };
            assert_eq!(emitted.key, transaction.merchant.to_string(), "keyed by merchant");
            self.transactions.push(transaction);
        }
        Ok(value)
    }

    fn post(&mut self, book: Book, posting: Posting<'_>) -> Result<Option<TransactionId>, Fault> {
        self.step(|context| post(context, book, posting))
    }

    fn reverse(&mut self, book: Book, transaction: TransactionId) -> Result<TransactionId, Fault> {
        self.step(|context| reverse(context, book, transaction, "orphaned".into(), NOW))
    }

    fn seal(&mut self, book: Book, transaction: TransactionId) {
        self.step(|context| {
            seal(context, book, transaction);
            Ok(())
        })
        .unwrap();
    }

    fn balance(&self, book: Book, account: Account, asset: &str) -> i128 {
        balance(&self.state, &account.id(book, PARTITION), &asset.parse().unwrap()).unwrap().units()
    }

    /// The book and the id of the transaction emitted as the given one.
    fn place(&self, number: usize) -> (Book, TransactionId) {
        let transaction = &self.transactions[number];
        (Book { merchant: transaction.merchant, livemode: transaction.livemode }, transaction.transaction)
    }

    fn last(&self) -> &LedgerTransaction {
        self.transactions.last().unwrap()
    }
}

fn book(number: u8, livemode: bool) -> Book {
    Book { merchant: MerchantId::from_bits([number; 16]), livemode }
}

fn meta() -> Meta {
    let id = "test".to_owned();
    Meta { source: None, id, occurred_at: NOW, recorded_at: NOW, cause: None, trace: None }
}

fn amounts(gross: i128, fee: i128) -> Amounts {
    Amounts::with_fee(Amount::new(gross).unwrap(), Amount::new(fee).unwrap()).unwrap()
}

fn posting(set: &str, template: TemplateName, amounts: Amounts) -> Posting<'_> {
    let (asset, event) = ("usdc:1".parse().unwrap(), "event".to_owned());
    Posting { set, template, payment: None, refund: None, event, occurred_at: NOW, asset, amounts }
}

fn audited(transactions: &[LedgerTransaction]) -> LedgerAudit {
    let mut audit = LedgerAudit::default();
    for transaction in transactions {
        audit.observe(transaction).unwrap();
    }
    audit.finish().unwrap();
    audit
}

#[derive(Debug, Clone)]
enum Op {
    Post {
        book: Book,
        set: &'static str,
        template: TemplateName,
        asset: &'static str,
        gross: i128,
        fee: i128,
    },
    Reverse(prop::sample::Index),
    Seal(prop::sample::Index),
}

/// Mostly everyday amounts; some so large that a few of them leave the range.
fn gross() -> impl Strategy<Value = i128> {
    prop_oneof![8 => 0..1_000_000_i128, 1 => 3 * 10_i128.pow(37)..10_i128.pow(38)]
}

fn op() -> impl Strategy<Value = Op> {
    let books = (0..3_u8, any::<bool>()).prop_map(|(number, livemode)| book(number, livemode));
    let sets = prop::sample::select(vec!["custodial", "direct"]);
    let names = prop::sample::select(TemplateName::ALL.to_vec());
    let assets = prop::sample::select(vec!["usd", "usdc:1"]);
    let posts = (books, sets, names, assets, gross(), 0..=1_000_i128);
    prop_oneof![
        6 => posts.prop_map(|(book, set, template, asset, gross, permille)| {
            Op::Post { book, set, template, asset, gross, fee: gross / 1_000 * permille }
        }),
        3 => any::<prop::sample::Index>().prop_map(Op::Reverse),
        1 => any::<prop::sample::Index>().prop_map(Op::Seal),
    ]
}

/// What the test itself knows of a transaction: whether it can still be taken back.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Known {
    at: usize,
    reversible: bool,
}

fn act(ledger: &mut Ledger, known: &mut Vec<Known>, op: &Op) {
    match op {
        Op::Post { book, set, template, asset, gross, fee } => {
            let asset = asset.parse().unwrap();
            post_one(
                ledger,
                known,
                *book,
                Posting { asset, ..posting(set, *template, amounts(*gross, *fee)) },
            );
        }
        Op::Reverse(_) | Op::Seal(_) if known.is_empty() => {}
        Op::Reverse(index) => reverse_one(ledger, known, index.index(known.len())),
        Op::Seal(index) => seal_one(ledger, index.get_mut(known)),
    }
}

fn post_one(ledger: &mut Ledger, known: &mut Vec<Known>, book: Book, posting: Posting<'_>) {
    let (before, at, reversible) =
        (ledger.state.clone(), ledger.transactions.len(), posting.template.is_reversible());
    match ledger.post(book, posting) {
        Ok(Some(_)) => known.push(Known { at, reversible }),
        Ok(None) => assert_eq!(at, ledger.transactions.len(), "nothing to book, nothing emitted"),
        Err(fault) => refused_for_its_amount(ledger, &before, &fault),
    }
}

fn reverse_one(ledger: &mut Ledger, known: &mut Vec<Known>, chosen: usize) {
    let (before, at, Known { at: original, reversible }) =
        (ledger.state.clone(), ledger.transactions.len(), known[chosen]);
    let (book, transaction) = ledger.place(original);
    match ledger.reverse(book, transaction) {
        Ok(_) => {
            assert!(reversible, "reversed twice, or after it was final");
            reversed_at_most_original(&ledger.transactions[original], ledger.last()).unwrap();
            known[chosen].reversible = false;
            known.push(Known { at, reversible: false });
        }
        Err(Fault::Stop(_)) => assert!(!reversible && before == ledger.state),
        Err(fault) => refused_for_its_amount(ledger, &before, &fault),
    }
}

fn seal_one(ledger: &mut Ledger, known: &mut Known) {
    let (book, transaction) = ledger.place(known.at);
    ledger.seal(book, transaction);
    known.reversible = false;
}

fn refused_for_its_amount(ledger: &Ledger, before: &MemoryState, fault: &Fault) {
    assert!(matches!(fault, Fault::DeadLetter { code: "amount_out_of_range", .. }), "{fault}");
    assert!(*before == ledger.state, "a refusal changes nothing");
}

proptest! {
    /// Whatever is posted, reversed and sealed: the audit finds nothing, and every balance is the sum of its entries.
    #[test]
    fn every_history_keeps_every_invariant(ops in prop::collection::vec(op(), 1..60)) {
        let (mut ledger, mut known) = (Ledger::new(), Vec::new());
        for op in ops {
            act(&mut ledger, &mut known, &op);
        }
        let mut replay = std::collections::BTreeMap::new();
        for entry in ledger.transactions.iter().flat_map(|transaction| &transaction.entries) {
            *replay.entry((entry.account.clone(), entry.asset.clone())).or_insert(0) += entry.amount.units();
        }
        for ((account, asset), sum) in &replay {
            prop_assert_eq!(balance(&ledger.state, account, asset).unwrap().units(), *sum);
        }
        let audit = audited(&ledger.transactions);
        let stated: Vec<_> = audit.balances().map(|(a, b, sum)| ((a.clone(), b.clone()), sum.units())).collect();
        prop_assert_eq!(stated, replay.into_iter().collect::<Vec<_>>());
    }
}
