//! A book's rows while it is replayed: its transactions, entries and events are compared in batches, by position; what
//! only has a last state goes into indexes on disk, for [`ends`](super::ends).

use std::collections::BTreeMap;

use streambook_model::{
    asset::AssetId,
    id::PaymentId,
    meta::Source,
    money::Amount,
    position::{Offset, Partition, TopicPartition},
    records::{
        ledger::{AccountId, LedgerTransaction},
        payment::PaymentEvent,
    },
    topics::{self, TopicDef},
};

use streambook_processors::invariants::Invariant;

use super::{
    OFFSETS, Sql, at_position, base,
    cell::{Cell, Row},
    ends::Ends,
    expected,
    table::{BALANCES, ENTRIES, EVENTS, PAYMENTS, REFUNDS, TRANSACTIONS, Table},
};
use crate::verify::{
    manner::Manner,
    replay::Shared,
    report::{Difference, Halt, VerifyFailure},
};

/// Records compared at once.
const BATCH: usize = 1_000;

/// The rows of one partition's book.
pub(crate) struct BookRows<'a> {
    sql: &'a Sql,
    shared: &'a Shared,
    partition: Partition,
    ledger: Taken,
    events: Taken,
    transactions: Vec<(i64, LedgerTransaction)>,
    payment_events: Vec<(i64, PaymentEvent)>,
    balances: BTreeMap<(AccountId, AssetId), (Amount, u64)>,
    payments: Ends,
    refunds: Ends,
    rows: u64,
}

/// How far a topic's partition is compared.
struct Taken {
    topic: TopicDef,
    /// The sink's next offset: nothing from here on is in SQL.
    until: u64,
    /// Where the records end, those beyond `until` included.
    end: u64,
    /// The position from which on rows are to be compared.
    next: i64,
    last: Option<Source>,
}

impl Taken {
    fn new((sql, shared): (&Sql, &Shared), topic: TopicDef, partition: Partition) -> Self {
        // On a shared log there may be records at the end that the sink reads and leaves out.
        let end = shared.ends.get(&TopicPartition::new(topic.topic(), partition));
        let end = end.filter(|_| shared.manner == Manner::Shared).map_or(0, |end| end.0);
        Self { topic, until: sql.next(topic, partition), end, next: base(partition), last: None }
    }

    /// Whether a record is in SQL.
    fn takes(&mut self, offset: Offset, source: Option<&Source>) -> bool {
        self.end = self.end.max(offset.0 + 1);
        let takes = offset.0 < self.until;
        if takes {
            self.last = source.cloned();
        }
        takes
    }
}

impl<'a> BookRows<'a> {
    /// No rows yet.
    pub(crate) fn new(sql: &'a Sql, shared: &'a Shared, partition: Partition) -> Result<Self, Halt> {
        Ok(Self {
            sql,
            shared,
            partition,
            ledger: Taken::new((sql, shared), topics::LEDGER_TRANSACTIONS, partition),
            events: Taken::new((sql, shared), topics::PAYMENTS_EVENTS, partition),
            transactions: Vec::new(),
            payment_events: Vec::new(),
            balances: BTreeMap::new(),
            payments: Ends::open(&shared.scratch, &PAYMENTS)?,
            refunds: Ends::open(&shared.scratch, &REFUNDS)?,
            rows: 0,
        })
    }

    /// Takes a transaction.
    pub(crate) fn transaction(&mut self, offset: Offset, it: LedgerTransaction) -> Result<(), Halt> {
        if !self.ledger.takes(offset, it.meta.source.as_ref()) {
            return Ok(());
        }
        for entry in &it.entries {
            let account = (entry.account.clone(), entry.asset.clone());
            self.balances.insert(account, (entry.balance, entry.version));
        }
        self.transactions.push((self.position(offset), it));
        if self.transactions.len() < BATCH { Ok(()) } else { self.compare_transactions() }
    }

    /// Takes a payment's event.
    pub(crate) fn event(&mut self, offset: Offset, event: &PaymentEvent) -> Result<(), Halt> {
        if !self.events.takes(offset, event.meta.source.as_ref()) {
            return Ok(());
        }
        self.payment_events.push((self.position(offset), event.clone()));
        if self.payment_events.len() < BATCH { Ok(()) } else { self.compare_events() }
    }

    fn position(&self, offset: Offset) -> i64 {
        base(self.partition).saturating_add(i64::try_from(offset.0).unwrap_or(OFFSETS))
    }

    fn compare_transactions(&mut self) -> Result<(), Halt> {
        let batch = std::mem::take(&mut self.transactions);
        let rows: Vec<_> = batch.iter().map(|(position, it)| expected::transaction(*position, it)).collect();
        let from = self.ledger.next;
        self.compare(&TRANSACTIONS, (topics::LEDGER_TRANSACTIONS, from), &rows)?;
        let lines = |(position, it): &(i64, LedgerTransaction)| {
            let lines =
                (1_i64..).zip(&it.entries).map(|(line, entry)| expected::entry(*position, line, entry));
            lines.collect::<Vec<_>>()
        };
        let rows: Vec<_> = batch.iter().flat_map(lines).collect();
        self.ledger.next = self.compare(&ENTRIES, (topics::LEDGER_TRANSACTIONS, from), &rows)?;
        Ok(())
    }

    fn compare_events(&mut self) -> Result<(), Halt> {
        let batch = std::mem::take(&mut self.payment_events);
        let rows: Vec<_> = batch.iter().map(|(position, event)| expected::event(*position, event)).collect();
        self.events.next = self.compare(&EVENTS, (topics::PAYMENTS_EVENTS, self.events.next), &rows)?;
        let mut last: BTreeMap<PaymentId, (i64, &PaymentEvent)> = BTreeMap::new();
        for (position, event) in &batch {
            last.insert(event.payment.id, (*position, event));
            if let Some(refund) = &event.refund {
                self.refunds.put_whole(&expected::refund(*position, refund))?;
            }
        }
        for (position, event) in last.into_values() {
            self.payments.put_digest(position, &expected::payment(&event.payment))?;
        }
        Ok(())
    }

    /// Compares a run of rows with what SQL has from a position to the last one; gives the position after that.
    fn compare(
        &mut self,
        table: &'static Table,
        (topic, from): (TopicDef, i64),
        rows: &[Row],
    ) -> Result<i64, Halt> {
        let position = |row: Option<&Row>| match row.and_then(|row| row.first()) {
            Some(Cell::Integer(position)) => Some(*position),
            _ => None,
        };
        let Some(last) = position(rows.last()) else { return Ok(from) };
        let to = last.saturating_add(1);
        // One more than there must be says that there is one too many.
        let found = self.fetch(table, (from, to), rows.len() + 1)?;
        self.rows += rows.len() as u64;
        match table.first_difference(rows, &found) {
            None => Ok(to),
            Some((difference, key)) => {
                let at = position(Some(&key)).unwrap_or(from);
                Err(at_position(difference.of(Invariant::SqlIsTheLog), topic, at).into())
            }
        }
    }

    fn fetch(
        &self,
        table: &'static Table,
        (from, to): (i64, i64),
        limit: usize,
    ) -> Result<Vec<Row>, VerifyFailure> {
        let (select, keys) = (table.select(), table.key_columns());
        let sql = format!("{select} WHERE position >= $1 AND position < $2 ORDER BY {keys} LIMIT {limit}");
        let arguments = [Cell::Integer(from), Cell::Integer(to)];
        self.shared.runtime.block_on(self.sql.rows(table.name, sql, &arguments))
    }

    /// Compares what is left, and that SQL has nothing beyond; gives the number of rows compared.
    pub(crate) fn finish(mut self) -> Result<u64, Halt> {
        self.compare_transactions()?;
        self.compare_events()?;
        self.not_ahead(&self.ledger)?;
        self.not_ahead(&self.events)?;
        self.nothing_beyond(&TRANSACTIONS, &self.ledger)?;
        self.nothing_beyond(&ENTRIES, &self.ledger)?;
        self.nothing_beyond(&EVENTS, &self.events)?;
        self.keep_ends()?;
        Ok(self.rows)
    }

    /// The sink's position is one that it can have come to.
    fn not_ahead(&self, taken: &Taken) -> Result<(), Halt> {
        if taken.until <= taken.end {
            return Ok(());
        }
        let what =
            format!("the position of SQL in {}/{} is past the records", taken.topic.name, self.partition);
        let expected = format!("at most {}", taken.end);
        let at = self.position(Offset(taken.end));
        Err(at_position(Difference::new(what, expected, taken.until.to_string()), taken.topic, at).into())
    }

    fn nothing_beyond(&self, table: &'static Table, taken: &Taken) -> Result<(), Halt> {
        // What the sink has read and left out after the last row has none.
        let until = self.position(Offset(taken.until));
        if taken.next < until {
            self.nothing_else(table, taken, &self.fetch(table, (taken.next, until), 1)?)?;
        }
        let (start, end) = (base(self.partition), base(self.partition).saturating_add(OFFSETS));
        // The sink may have gone on, so the position is the one at the moment of the query.
        let next = "SELECT max(next_offset) FROM sink_offsets WHERE topic = $2 AND partition = $3";
        let sql = format!(
            "{} WHERE position >= $1 + coalesce(({next}), 0) AND position < $4 ORDER BY {} LIMIT 1",
            table.select(),
            table.key_columns()
        );
        let (topic, partition) = (Cell::text(taken.topic.name), Cell::Integer(self.partition.0.into()));
        let arguments = [Cell::Integer(start), topic, partition, Cell::Integer(end)];
        self.nothing_else(
            table,
            taken,
            &self.shared.runtime.block_on(self.sql.rows(table.name, sql, &arguments))?,
        )
    }

    fn nothing_else(&self, table: &'static Table, taken: &Taken, found: &[Row]) -> Result<(), Halt> {
        let Some(row) = found.first() else { return Ok(()) };
        let at = match row.first() {
            Some(Cell::Integer(position)) => *position,
            _ => self.position(Offset(taken.until)),
        };
        Err(at_position(table.extra(row).0.of(Invariant::SqlIsTheLog), taken.topic, at).into())
    }

    fn keep_ends(&mut self) -> Result<(), VerifyFailure> {
        let mut balances = Ends::open(&self.shared.scratch, &BALANCES)?;
        for ((account, asset), (balance, version)) in &self.balances {
            balances.put_whole(&expected::balance(account, asset, *balance, *version))?;
        }
        balances.flush()?;
        self.payments.flush()?;
        self.refunds.flush()?;
        let last = |taken: &Taken| {
            let at = (taken.topic.name.to_owned(), i64::from(self.partition.0));
            taken.last.clone().map(|source| (at, source))
        };
        self.sql.sources.lock().extend([&self.ledger, &self.events].into_iter().filter_map(last));
        Ok(())
    }
}
