//! What a replayed book says and does: every step is checked against the invariants of `streambook_processors::invariants`,
//! and its transactions and its payments' events against SQL.

use std::collections::BTreeSet;

use streambook_log::{ReadLimit, Visibility};
use streambook_model::{
    codec,
    message::Message,
    position::{Offset, TopicPartition},
    records::{ledger::LedgerTransaction, payment::PaymentEvent},
    topics,
};
use streambook_processors::{
    book::ledger::Book,
    invariants::{BookAudit, Found, Memory, Violation, reversed_at_most_original},
};
use streambook_runtime::step::{Output, Taken as How, chain_of, task_name};

use super::{
    places::Places,
    replay::{Job, Shared, Taken},
    report::{Difference, Halt, VerifyFailure},
    scratch::Index,
    sql::BookRows,
};

/// The place of a transaction that is not in the log yet.
const NOWHERE: Offset = Offset(u64::MAX);

/// What was found to be right of one task's books.
#[derive(Debug, Default)]
pub(crate) struct BooksFound {
    pub(crate) books: u64,
    pub(crate) transactions: u64,
    pub(crate) entries: u64,
    pub(crate) payments: u64,
    pub(crate) sql_rows: u64,
    /// Reversals whose original is not in the log: it was trimmed, or is not sent yet.
    pub(crate) unseen_originals: u64,
}

/// The books of one task.
pub(crate) struct Books<'a> {
    shared: &'a Shared,
    inbox: TopicPartition,
    /// It remembers on disk, beside each transaction's offset by its id.
    audit: BookAudit<Index>,
    seen: BTreeSet<Book>,
    rows: Option<BookRows<'a>>,
    places: Places<'a>,
    found: BooksFound,
}

impl Memory for Index {
    type Failed = VerifyFailure;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, VerifyFailure> {
        Ok(Self::get(self, key)?.map(Vec::from))
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), VerifyFailure> {
        Self::put(self, key, value)
    }
}

impl<'a> Books<'a> {
    /// No records yet.
    pub(crate) fn new(shared: &'a Shared, job: &Job) -> Result<Self, Halt> {
        // Only the books' tasks have rows; whatever another task said of them would be a difference of the log.
        let sql = shared.sql.as_ref().filter(|_| job.processor.inbox().name == topics::BOOK_INBOX.name);
        let sql = sql.filter(|_| shared.knows_places(job.partition));
        let rows = sql.map(|sql| BookRows::new(sql, shared, job.partition)).transpose()?;
        let audit = BookAudit::new(shared.scratch.index("books")?);
        let inbox = TopicPartition::new(job.processor.inbox().topic(), job.partition);
        let places = Places::new(shared, task_name(&*job.processor, job.partition));
        Ok(Self { shared, inbox, audit, seen: BTreeSet::new(), rows, places, found: BooksFound::default() })
    }

    /// Takes a step; each of its outputs has this number among those of its destination.
    pub(crate) fn take(&mut self, taken: &Taken<'_>, numbers: &[u64]) -> Result<(), Halt> {
        // A record that was taken before or comes again leads to nothing, and one that cannot be read is a dead letter.
        let is_left_out = matches!(taken.step.taken, How::Repeat | How::Early);
        let record = match codec::decode(&taken.record.value) {
            Ok(record) if !is_left_out && self.is_books() => Some(record),
            _ => None,
        };
        let mut posted = 0;
        for (output, number) in taken.step.outputs.iter().zip(numbers) {
            let offset = self.places.of(&output.to, *number)?;
            posted += usize::from(self.output((taken, record.as_ref()), output, offset)?);
        }
        let Some(record) = record else { return Ok(()) };
        let is_dead_letter = taken.step.taken == How::DeadLettered;
        let checked = self.audit.step(&record, posted, is_dead_letter, taken.changed.as_deref());
        checked.map_err(|found| halt(found, &self.inbox, Some(taken.record.offset)))
    }

    fn is_books(&self) -> bool {
        self.inbox.topic.as_str() == topics::BOOK_INBOX.name
    }

    /// Takes an output; says whether it is a transaction. Others than books' records are let through.
    fn output(
        &mut self,
        (taken, record): (&Taken<'_>, Option<&Message>),
        output: &Output,
        offset: Option<Offset>,
    ) -> Result<bool, Halt> {
        let topic = output.to.topic.as_str();
        let is_public = topic == topics::LEDGER_TRANSACTIONS.name || topic == topics::PAYMENTS_EVENTS.name;
        let is_answer = topic == topics::API_REPLIES.name && record.is_some();
        if !is_public && !is_answer {
            return Ok(false);
        }
        match (codec::decode(&output.record.value), record) {
            (Ok(Message::LedgerTransaction(transaction)), _) if is_public => {
                self.transaction(&output.to, offset, transaction)?;
                Ok(true)
            }
            (Ok(Message::PaymentEvent(event)), _) if is_public => {
                self.event(&output.to, offset, &event).map(|()| false)
            }
            (Ok(Message::CommandReply(reply)), Some(record)) if is_answer => {
                let checked = self.audit.reply((record, &reply), taken.changed.as_deref());
                checked.map_err(|found| halt(found, &self.inbox, Some(taken.record.offset))).map(|()| false)
            }
            (Ok(other), _) => {
                let what = "a record is in a topic it does not belong to";
                Err(Difference::new(what, "a transaction, an event or an answer", other.name())
                    .in_partition(&output.to, offset)
                    .into())
            }
            (Err(error), _) => {
                let what = "an output cannot be decoded";
                Err(Difference::new(what, "a known schema", chain_of(&error))
                    .in_partition(&output.to, offset)
                    .into())
            }
        }
    }

    fn event(
        &mut self,
        at: &TopicPartition,
        offset: Option<Offset>,
        event: &PaymentEvent,
    ) -> Result<(), Halt> {
        self.audit.event(event).map_err(|violation| broken(&violation).in_partition(at, offset))?;
        self.found.payments += u64::from(event.payment.version == 1);
        match (&mut self.rows, offset) {
            (Some(rows), Some(offset)) => rows.event(offset, event),
            // What is not in the log yet is in no row.
            _ => Ok(()),
        }
    }

    fn transaction(
        &mut self,
        at: &TopicPartition,
        offset: Option<Offset>,
        it: LedgerTransaction,
    ) -> Result<(), Halt> {
        self.audit.transaction(&it).map_err(|found| halt(found, at, offset))?;
        self.seen.insert(Book { merchant: it.merchant, livemode: it.livemode });
        if let Some(original) = it.reverses {
            self.reverses(at, offset, (original.bits(), &it))?;
        }
        let place = key(it.transaction.bits());
        Memory::put(self.audit.memory(), place, offset.unwrap_or(NOWHERE).0.to_be_bytes().to_vec())?;
        self.found.transactions += 1;
        self.found.entries += it.entries.len() as u64;
        match (&mut self.rows, offset) {
            (Some(rows), Some(offset)) => rows.transaction(offset, it),
            _ => Ok(()),
        }
    }

    fn reverses(
        &mut self,
        at: &TopicPartition,
        offset: Option<Offset>,
        (original, reversal): (&[u8; 16], &LedgerTransaction),
    ) -> Result<(), Halt> {
        let Some(stored) = Memory::get(self.audit.memory(), &key(original))? else {
            let found = format!("{} reverses a transaction that does not exist", reversal.transaction);
            let what = "a reversal takes back nothing that was posted";
            return Err(Difference::new(what, "an earlier transaction", found)
                .in_partition(at, offset)
                .into());
        };
        let original = stored.as_slice().try_into().map(u64::from_be_bytes).unwrap_or_default();
        let is_trimmed = self.shared.first.get(at).is_some_and(|first| Offset(original) < *first);
        if is_trimmed || Offset(original) == NOWHERE {
            self.found.unseen_originals += 1;
            return Ok(());
        }
        let one = ReadLimit { records: 1, ..ReadLimit::default() };
        let records = self.shared.log.read_blocking(at, Offset(original), one, Visibility::Written)?;
        let mirrored = match records.first().map(|record| codec::decode(&record.value)) {
            Some(Ok(Message::LedgerTransaction(original))) => reversed_at_most_original(&original, reversal),
            // Whatever is there is no transaction; comparing the outputs says so better.
            _ => Ok(()),
        };
        mirrored.map_err(|violation| broken(&violation).in_partition(at, offset).into())
    }

    /// The trial balance, and what is left to compare.
    pub(crate) fn finish(mut self) -> Result<BooksFound, Halt> {
        self.audit.finish().map_err(|violation| broken(&violation))?;
        self.found.books = self.seen.len() as u64;
        if let Some(rows) = self.rows {
            self.found.sql_rows = rows.finish()?;
        }
        Ok(self.found)
    }
}

fn halt(found: Found<VerifyFailure>, at: &TopicPartition, offset: Option<Offset>) -> Halt {
    match found {
        Found::Violated(violation) => broken(&violation).in_partition(at, offset).into(),
        Found::Failed(failure) => failure.into(),
    }
}

fn broken(violation: &Violation) -> Difference {
    let what = format!("the invariant {} does not hold", violation.invariant);
    Difference::new(what, "that it holds", &*violation.detail).of(violation.invariant)
}

/// Where a transaction's offset is remembered.
fn key(transaction: &[u8; 16]) -> Vec<u8> {
    [b"t".as_slice(), transaction].concat()
}
