//! Keeps what the last-state rows must be at the position of a sink that goes on: what the sink takes while `verify` runs is
//! read from the log, after the replays have led to what it had taken before.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use streambook_model::{
    codec,
    message::Message,
    meta::Source,
    position::{Offset, Partition, TopicPartition},
    records::{ledger::LedgerTransaction, payment::PaymentEvent},
    topics,
};
use streambook_runtime::lineage::{Gaps, Mark, Verdict, judge};

use super::{
    Next, OFFSETS, base,
    cell::{Cell, Row},
    ends::Ends,
    expected,
    table::{BALANCES, PAYMENTS, REFUNDS, Table},
};
use crate::verify::{
    mirror::arrived,
    replay::Shared,
    report::{Difference, Halt, VerifyFailure},
};

/// The indexes, and how far they are.
pub(super) struct Tail<'a> {
    shared: &'a Shared,
    next: Next,
    /// By topic and partition: the lineage of the last record that is in SQL.
    sources: BTreeMap<(String, i64), Source>,
    payments: Ends,
    refunds: Ends,
    balances: Ends,
}

impl<'a> Tail<'a> {
    /// As the replays have left the indexes.
    pub(super) fn new(
        shared: &'a Shared,
        next: Next,
        sources: BTreeMap<(String, i64), Source>,
    ) -> Result<Self, VerifyFailure> {
        let open = |table| Ends::open(&shared.scratch, table);
        let (payments, refunds, balances) = (open(&PAYMENTS)?, open(&REFUNDS)?, open(&BALANCES)?);
        Ok(Self { shared, next, sources, payments, refunds, balances })
    }

    /// The index of a table.
    pub(super) fn ends(&self, table: &'static Table) -> &Ends {
        match table.name {
            name if name == PAYMENTS.name => &self.payments,
            name if name == REFUNDS.name => &self.refunds,
            _ => &self.balances,
        }
    }

    /// The rows of `sink_sources` for the books' topics, in the order of its key.
    pub(super) fn sources(&self) -> Vec<Row> {
        let row = |((topic, partition), source): (&(String, i64), &Source)| {
            let (task, chain) = (Cell::text(&source.task), Cell::text(source.chain));
            vec![Cell::text(topic), Cell::Integer(*partition), task, Cell::unsigned(source.seq), chain]
        };
        self.sources.iter().map(row).collect()
    }

    /// Takes what the sink has taken since, up to these positions.
    pub(super) async fn follow(&mut self, to: &Next) -> Result<(), Halt> {
        for topic in [topics::LEDGER_TRANSACTIONS, topics::PAYMENTS_EVENTS] {
            for number in 0..topic.partitions {
                let at = TopicPartition::new(topic.topic(), Partition(number));
                self.follow_one(&at, to.of(&at)).await?;
            }
        }
        self.payments.flush()?;
        self.refunds.flush()?;
        Ok(self.balances.flush()?)
    }

    async fn follow_one(&mut self, at: &TopicPartition, to: u64) -> Result<(), Halt> {
        let mut from = self.next.of(at);
        let mut read = VecDeque::new();
        while from < to {
            if read.is_empty() {
                let log = Arc::clone(&self.shared.origin);
                read = arrived(&*log, (at, Offset(from)), self.shared.patience).await?.into();
            }
            let Some(record) = read.pop_front() else {
                let (expected, found) = (format!("at most {from}"), to.to_string());
                let what = format!("the position of SQL in {at} is past the records");
                return Err(Difference::new(what, expected, found).at(at, Offset(from)).into());
            };
            self.take(at, &record)?;
            from = record.offset.0 + 1;
        }
        self.next.set(at, from.max(to));
        Ok(())
    }

    fn take(&mut self, at: &TopicPartition, record: &streambook_log::Record) -> Result<(), Halt> {
        let position = base(at.partition).saturating_add(i64::try_from(record.offset.0).unwrap_or(OFFSETS));
        // The log's own check names a record that is none of these; no row is made of it.
        let Ok(message) = codec::decode(&record.value) else { return Ok(()) };
        if !self.takes(at, record.offset, message.meta().source.as_ref())? {
            return Ok(());
        }
        match &message {
            Message::LedgerTransaction(it) => self.transaction(it)?,
            Message::PaymentEvent(event) => self.event(position, event)?,
            _ => return Ok(()),
        }
        if let Some(source) = &message.meta().source {
            self.sources.insert((at.topic.as_str().to_owned(), at.partition.0.into()), source.clone());
        }
        Ok(())
    }

    /// Whether the sink takes a record: on a shared log it leaves out what it has, and what comes again.
    fn takes(&self, at: &TopicPartition, offset: Offset, source: Option<&Source>) -> Result<bool, Halt> {
        let (Gaps::AwaitResend, Some(source)) = (self.shared.manner.gaps(), source) else { return Ok(true) };
        let last = self.sources.get(&(at.topic.as_str().to_owned(), i64::from(at.partition.0)));
        let last = last.map_or(Mark::START, |last| Mark { seq: last.seq, chain: last.chain });
        let differs = |fault: streambook_runtime::processor::Fault| {
            let what = "a task has sent one number twice, with different content";
            Difference::new(what, format!("running hash {}", last.chain), fault.to_string()).at(at, offset)
        };
        Ok(judge(last, source, Gaps::AwaitResend).map_err(differs)? == Verdict::Take)
    }

    fn transaction(&mut self, it: &LedgerTransaction) -> Result<(), VerifyFailure> {
        for entry in &it.entries {
            let row = expected::balance(&entry.account, &entry.asset, entry.balance, entry.version);
            self.balances.put_whole(&row)?;
        }
        Ok(())
    }

    fn event(&mut self, position: i64, event: &PaymentEvent) -> Result<(), VerifyFailure> {
        if let Some(refund) = &event.refund {
            self.refunds.put_whole(&expected::refund(position, refund))?;
        }
        self.payments.put_digest(position, &expected::payment(&event.payment))
    }
}
