//! What a replayed book says: its transactions are checked against the ledger's invariants, and they and its payments'
//! events against SQL.
//!
//! Invariants beyond those of `LedgerAudit`: each posting names the money event it books; a money event is booked once by
//! each template of a book; a reversal takes back exactly what a transaction of the log did.

use std::collections::BTreeSet;

use bytes::Bytes;
use streambook_log::{ReadLimit, Visibility};
use streambook_model::{
    codec,
    message::Message,
    position::{Offset, TopicPartition},
    records::{ledger::LedgerTransaction, payment::PaymentEvent},
    topics,
};
use streambook_processors::book::ledger::{
    Book,
    invariants::{self, LedgerAudit, Violation},
};
use streambook_runtime::step::{Output, chain_of};

use super::{
    replay::{Job, Shared},
    report::{Difference, Halt},
    scratch::Index,
    sql::BookRows,
};

/// What was found to be right of one task's books.
#[derive(Debug, Default)]
pub(crate) struct BooksFound {
    pub(crate) books: u64,
    pub(crate) transactions: u64,
    pub(crate) entries: u64,
    pub(crate) payments: u64,
    pub(crate) sql_rows: u64,
    /// Reversals whose original has been trimmed from the log.
    pub(crate) unseen_originals: u64,
}

/// The books of one task.
pub(crate) struct Books<'a> {
    shared: &'a Shared,
    audit: LedgerAudit,
    seen: BTreeSet<Book>,
    /// Each transaction's offset by its id, and each booking's by its money event.
    index: Index,
    rows: Option<BookRows<'a>>,
    found: BooksFound,
}

impl<'a> Books<'a> {
    /// No records yet.
    pub(crate) fn new(shared: &'a Shared, job: &Job) -> Result<Self, Halt> {
        // Only the books' tasks have rows; whatever another task said of them would be a difference of the log.
        let sql = shared.sql.as_ref().filter(|_| job.processor.inbox().name == topics::BOOK_INBOX.name);
        let rows = sql.map(|sql| BookRows::new(sql, shared, job.partition)).transpose()?;
        let index = shared.scratch.index("books")?;
        let (audit, seen, found) = (LedgerAudit::default(), BTreeSet::new(), BooksFound::default());
        Ok(Self { shared, audit, seen, index, rows, found })
    }

    /// Takes an output, the `seq`th record of its destination. Others than books' records are let through.
    pub(crate) fn take(&mut self, output: &Output, seq: u64) -> Result<(), Halt> {
        let topic = output.to.topic.as_str();
        if topic != topics::LEDGER_TRANSACTIONS.name && topic != topics::PAYMENTS_EVENTS.name {
            return Ok(());
        }
        // Each of these partitions has one writer (checked with the records), so the number says the offset.
        let offset = Offset(seq - 1);
        match codec::decode(&output.record.value) {
            Ok(Message::LedgerTransaction(transaction)) => self.transaction(&output.to, offset, transaction),
            Ok(Message::PaymentEvent(event)) => self.event(offset, &event),
            Ok(other) => {
                let what = "a record is in a topic it does not belong to";
                Err(Difference::new(what, "a transaction or an event", other.name())
                    .at(&output.to, offset)
                    .into())
            }
            Err(error) => {
                let what = "an output cannot be decoded";
                Err(Difference::new(what, "a known schema", chain_of(&error)).at(&output.to, offset).into())
            }
        }
    }

    fn event(&mut self, offset: Offset, event: &PaymentEvent) -> Result<(), Halt> {
        self.found.payments += u64::from(event.payment.version == 1);
        self.rows.as_mut().map_or(Ok(()), |rows| rows.event(offset, event))
    }

    fn transaction(
        &mut self,
        at: &TopicPartition,
        offset: Offset,
        it: LedgerTransaction,
    ) -> Result<(), Halt> {
        let violated = |violation: Violation| Halt::from(broken(violation.to_string()).at(at, offset));
        self.audit.observe(&it).map_err(violated)?;
        self.seen.insert(Book { merchant: it.merchant, livemode: it.livemode });
        self.booked_once(at, offset, &it)?;
        if let Some(original) = it.reverses {
            self.reverses(at, offset, (original.bits(), &it))?;
        }
        self.index
            .put(key(b't', &[it.transaction.bits()]), Bytes::copy_from_slice(&offset.0.to_be_bytes()))?;
        self.found.transactions += 1;
        self.found.entries += it.entries.len() as u64;
        self.rows.as_mut().map_or(Ok(()), |rows| rows.transaction(offset, it))
    }

    fn booked_once(
        &mut self,
        at: &TopicPartition,
        offset: Offset,
        it: &LedgerTransaction,
    ) -> Result<(), Halt> {
        if it.event.is_empty() {
            return Err(broken(format!("{} names no money event", it.transaction)).at(at, offset).into());
        }
        let livemode = [u8::from(it.livemode)];
        let parts: [&[u8]; 4] = [it.merchant.bits(), &livemode, it.template.as_bytes(), it.event.as_bytes()];
        let key = key(b'e', &parts);
        if self.index.get(&key)?.is_some() {
            let text = format!("{} books the money event {} a second time", it.transaction, it.event);
            return Err(broken(text).at(at, offset).into());
        }
        Ok(self.index.put(key, Bytes::copy_from_slice(&offset.0.to_be_bytes()))?)
    }

    fn reverses(
        &mut self,
        at: &TopicPartition,
        offset: Offset,
        (original, reversal): (&[u8; 16], &LedgerTransaction),
    ) -> Result<(), Halt> {
        let Some(stored) = self.index.get(&key(b't', &[original]))? else {
            let text = format!("{} reverses a transaction that does not exist", reversal.transaction);
            return Err(broken(text).at(at, offset).into());
        };
        let original = stored.as_ref().try_into().map(u64::from_be_bytes).unwrap_or_default();
        if self.shared.first.get(at).is_some_and(|first| Offset(original) < *first) {
            self.found.unseen_originals += 1;
            return Ok(());
        }
        let one = ReadLimit { records: 1, ..ReadLimit::default() };
        let records = self.shared.log.read_blocking(at, Offset(original), one, Visibility::Written)?;
        let mirrored = match records.first().map(|record| codec::decode(&record.value)) {
            Some(Ok(Message::LedgerTransaction(original))) => invariants::mirrors(&original, reversal),
            // Whatever is there is no transaction; comparing the outputs says so better.
            _ => Ok(()),
        };
        mirrored.map_err(|violation| broken(violation.to_string()).at(at, offset).into())
    }

    /// The trial balance, and what is left to compare.
    pub(crate) fn finish(mut self) -> Result<BooksFound, Halt> {
        self.audit.finish().map_err(|violation| broken(violation.to_string()))?;
        self.found.books = self.seen.len() as u64;
        if let Some(rows) = self.rows {
            self.found.sql_rows = rows.finish()?;
        }
        Ok(self.found)
    }
}

fn broken(found: String) -> Difference {
    Difference::new("an invariant of the ledger does not hold", "that it holds", found)
}

/// A key of parts, each behind its length.
fn key(kind: u8, parts: &[&[u8]]) -> Bytes {
    let mut key = vec![kind];
    for part in parts {
        key.extend_from_slice(&(part.len() as u64).to_be_bytes());
        key.extend_from_slice(part);
    }
    key.into()
}
