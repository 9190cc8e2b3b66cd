//! A processor whose books are wrong although log, state and replay agree: only the ledger's invariants find it.

use std::sync::Arc;

use streambook_log::{
    Log, NewRecord, Retention, TopicSpec,
    embedded::{EmbeddedLog, EmbeddedOptions},
    partitioner::partition_of,
};
use streambook_model::{
    bytes::ContentHash,
    codec,
    id::TransactionId,
    message::Message,
    meta::Meta,
    money::Amount,
    position::{Offset, TopicPartition},
    records::{
        book::Tick,
        ledger::{AccountId, Entry, LedgerTransaction},
    },
    time::Timestamp,
    topics::{self, TopicDef},
};
use streambook_processors::book::ledger::transaction_hash;
use streambook_runtime::{
    processor::{Context, Fault, Processor},
    step::Task,
    store::TaskStore,
    table::Table,
};

use super::world::{merchant, records};
use crate::verify::{
    progress::Silent,
    report::{Outcome, Report},
};

const HEAD: Table<ContentHash> = Table::new(1);

/// A change of a transaction before it is hashed.
type Change = fn(&mut LedgerTransaction);

/// Books one transaction for each tick, which moves 5 from `b` to `a`, and changes the one of this number, or all.
struct Cook {
    only: Option<u64>,
    change: Change,
}

impl Processor for Cook {
    fn name(&self) -> &'static str {
        "book"
    }

    fn inbox(&self) -> TopicDef {
        topics::BOOK_INBOX
    }

    fn process(&self, message: Message, context: &mut Context<'_>) -> Result<(), Fault> {
        let Message::Tick(tick) = message else { return Err(Fault::dead_letter("unexpected", "not a tick")) };
        let mut it = transaction(context.meta(tick.now), tick.now.millis().try_into().unwrap_or(0));
        it.previous_hash = HEAD.get(&context.state, ())?.unwrap_or(ContentHash::ZERO);
        if self.only.is_none_or(|only| only == it.sequence) {
            (self.change)(&mut it);
        }
        it.hash = transaction_hash(&it);
        HEAD.put(&mut context.state, (), &it.hash)?;
        context.emit(topics::LEDGER_TRANSACTIONS, merchant(0).to_string(), it);
        Ok(())
    }
}

fn id(sequence: u64) -> TransactionId {
    TransactionId::derive(&[&sequence.to_be_bytes()])
}

fn transaction(meta: Meta, sequence: u64) -> LedgerTransaction {
    let entry = |account: &str, amount: i128| Entry {
        account: AccountId::new(account),
        asset: "usd".parse().unwrap(),
        amount: Amount::new(amount).unwrap(),
        balance: Amount::new(amount * i128::from(sequence)).unwrap(),
        version: sequence,
    };
    LedgerTransaction {
        occurred_at: meta.occurred_at,
        meta,
        transaction: id(sequence),
        merchant: merchant(0),
        livemode: true,
        sequence,
        template: "transfer.received".into(),
        template_version: 1,
        payment: None,
        refund: None,
        event: format!("event {sequence}"),
        reverses: None,
        entries: vec![entry("a", 5), entry("b", -5)],
        previous_hash: ContentHash::ZERO,
        hash: ContentHash::ZERO,
    }
}

/// Runs the processor over three ticks and verifies what it did.
async fn verified(only: Option<u64>, change: Change) -> Report {
    let directory = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(EmbeddedOptions::new(directory.path())).unwrap();
    for def in topics::ALL {
        let spec = TopicSpec { name: def.topic(), partitions: def.partitions, retention: Retention::Forever };
        log.ensure_topic(&spec).await.unwrap();
    }
    let processor: Arc<dyn Processor> = Arc::new(Cook { only, change });
    let partition = partition_of(merchant(0).to_string().as_bytes(), topics::BOOK_INBOX.partitions);
    let inbox = TopicPartition::new(topics::BOOK_INBOX.topic(), partition);
    let tick = |number: i64| {
        let now = Timestamp::from_millis(number);
        let meta = Meta {
            source: None,
            id: number.to_string(),
            occurred_at: now,
            recorded_at: now,
            cause: None,
            trace: None,
        };
        NewRecord::new("tick", codec::encode(&Tick { meta, now }.into()).unwrap())
    };
    log.append(&inbox, (1..=3).map(tick).collect()).await.unwrap();
    let task = Task::new(&*processor, partition);
    let mut store = TaskStore::open(Arc::clone(&log), processor.name(), partition).unwrap();
    for record in records(&log, &inbox).await {
        let step = task.step(&record, &mut store).unwrap();
        store.commit(record.offset.plus(1), step.outputs).unwrap();
    }
    drop(store);
    crate::verify::verify(log, &[processor], None, &mut Silent).await.unwrap()
}

async fn found(change: Change, expect: &str) {
    let report = verified(Some(2), change).await;
    assert_eq!(report.outcome(), Outcome::Differs, "{expect}");
    let difference = report.first_difference.unwrap();
    assert!(difference.found.contains(expect), "{expect}: {difference:?}");
    assert_eq!(
        (difference.topic.as_deref(), difference.offset),
        (Some("ledger.transactions"), Some(Offset(1).0))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn right_books_are_right() {
    let report = verified(None, |_| {}).await;
    assert_eq!(report.outcome(), Outcome::Ok, "{report:#?}");
    assert_eq!((report.counts.transactions, report.counts.entries, report.counts.books), (3, 6, 1));
    let report = verified(None, |it| {
        if it.sequence == 2 {
            it.reverses = Some(id(1));
            it.entries.iter_mut().for_each(|entry| {
                entry.amount = entry.amount.negated();
                entry.balance = Amount::ZERO;
            });
        }
        if it.sequence == 3 {
            it.entries.iter_mut().for_each(|entry| entry.balance = entry.amount);
        }
    })
    .await;
    assert_eq!(report.outcome(), Outcome::Ok, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_broken_invariant_is_found_at_its_record() {
    found(|it| it.entries[0].amount = Amount::new(6).unwrap(), "does not balance").await;
    found(|it| it.entries[0].balance = Amount::ZERO, "is stated as 0, expected 10").await;
    found(|it| it.entries[1].version = 3, "is number 3, expected 2").await;
    found(|it| it.sequence = 3, "has the number 3 in its book").await;
    found(|it| it.previous_hash = ContentHash::ZERO, "does not link").await;
    found(|it| it.event = String::new(), "names no money event").await;
    found(|it| it.event = "event 1".into(), "a second time").await;
    found(|it| it.reverses = Some(id(9)), "reverses a transaction that does not exist").await;
    found(|it| it.reverses = Some(id(1)), "does not take back exactly").await;
}
