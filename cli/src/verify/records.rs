//! Every record of the log: offsets without gaps, right checksums, a known schema, and, for what tasks sent, numbers
//! without gaps and a running hash that comes out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use streambook_log::{Bounds, ReadLimit, Record, Visibility, embedded::EmbeddedLog};
use streambook_model::{
    bytes::LineageHash,
    codec,
    message::Message,
    meta::Source,
    position::{Offset, TopicPartition},
    topics::{self, TopicDef},
};
use streambook_runtime::{lineage::Mark, step::chain_of};

use super::{
    cut::Cuts,
    flow::{Flow, Keys},
    report::{Difference, Halt},
    workers::Turn,
};

/// Topics that only tasks write to: each of their records has lineage.
pub(crate) const TASKS_ONLY: [TopicDef; 6] = [
    topics::CHAIN_TRANSFERS,
    topics::PAYMENTS_EVENTS,
    topics::LEDGER_TRANSACTIONS,
    topics::WEBHOOKS_OUTBOX,
    topics::REGISTRY_EVENTS,
    topics::API_REPLIES,
];

/// Topics of which each partition has one writer, so a record's number says its offset.
pub(crate) const ONE_WRITER: [TopicDef; 2] = [topics::PAYMENTS_EVENTS, topics::LEDGER_TRANSACTIONS];

/// Records of one read.
pub(crate) const READ: ReadLimit = ReadLimit { records: 2_000, bytes: 4 << 20 };

/// What this program knows, to judge records by.
pub(crate) struct Known {
    /// The tasks' names.
    pub(crate) tasks: BTreeSet<String>,
    /// The topics that tasks read.
    pub(crate) inboxes: BTreeSet<&'static str>,
    /// Where each task stood, for a log that goes on: what a task sent after that is no part of its flow.
    pub(crate) cuts: Option<Arc<Cuts>>,
}

impl Known {
    /// The number of the last record of a task that is looked at.
    fn limit(&self, task: &str, to: &TopicPartition) -> Result<u64, Halt> {
        let Some(cuts) = &self.cuts else { return Ok(u64::MAX) };
        cuts.get(task).map_or(Ok(0), |cut| cut.sent(to))
    }
}

/// What a partition holds.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) at: TopicPartition,
    pub(crate) bounds: Bounds,
    pub(crate) flows: BTreeMap<String, Flow>,
    /// Records of an inbox that cannot be decoded: their task has put them aside, and the replay shows that it did.
    pub(crate) undecodable: u64,
}

/// Reads a partition from its first kept record to its end.
pub(crate) fn read(
    log: &EmbeddedLog,
    at: &TopicPartition,
    bounds: Bounds,
    known: &Known,
    turn: Turn<'_>,
) -> Result<Read, Halt> {
    let mut reader = Reader { at, bounds, known, senders: BTreeMap::new(), undecodable: 0 };
    let mut next = bounds.first;
    while next < bounds.end {
        let records = log.read_blocking(at, next, READ, Visibility::Written)?;
        if records.is_empty() {
            return Err(reader.differs(
                next,
                "a record of the log is missing",
                "a record",
                "nothing".to_owned(),
            ));
        }
        for record in records.iter().take_while(|record| record.offset < bounds.end) {
            if record.offset != next {
                let found = format!("offset {}", record.offset);
                return Err(reader.differs(next, "the log's offsets have a gap", "the next offset", found));
            }
            reader.take(record)?;
            next = next.plus(1);
        }
        turn.done(records.len() as u64)?;
    }
    let flows = reader.senders.into_iter().filter_map(|(task, sender)| Some((task, sender.flow?)));
    Ok(Read { at: at.clone(), bounds, flows: flows.collect(), undecodable: reader.undecodable })
}

struct Reader<'a> {
    at: &'a TopicPartition,
    bounds: Bounds,
    known: &'a Known,
    senders: BTreeMap<String, Sender>,
    undecodable: u64,
}

/// A task that has sent records here.
struct Sender {
    /// Its last record, which the next one links to.
    last: Mark,
    /// The number of the last record that is part of its flow.
    limit: u64,
    flow: Option<Flow>,
}

impl Reader<'_> {
    fn take(&mut self, record: &Record) -> Result<(), Halt> {
        let message = match codec::decode(&record.value) {
            Ok(message) => message,
            Err(_) if self.known.inboxes.contains(self.at.topic.as_str()) => {
                self.undecodable += 1;
                return Ok(());
            }
            Err(error) => {
                let what = "a record of the log cannot be decoded";
                return Err(self.differs(
                    record.offset,
                    what,
                    "a record of a known schema",
                    chain_of(&error),
                ));
            }
        };
        match &message.meta().source {
            Some(source) => self.follow(record, source),
            None => self.without_lineage(record, &message),
        }
    }

    fn without_lineage(&self, record: &Record, message: &Message) -> Result<(), Halt> {
        if TASKS_ONLY.iter().all(|topic| topic.name != self.at.topic.as_str()) {
            return Ok(());
        }
        let what = "a record that no task has sent is in a topic that only tasks write to";
        let found = format!("a {} without lineage, {}", message.name(), message.meta().id);
        Err(self.differs(record.offset, what, "a record with the lineage of its task", found))
    }

    fn follow(&mut self, record: &Record, source: &Source) -> Result<(), Halt> {
        if !self.known.tasks.contains(&source.task) {
            let what = "a record states a task that does not exist";
            return Err(self.differs(record.offset, what, "a task of this program", source.task.clone()));
        }
        self.check_place(record, source)?;
        let before = self.senders.get(&source.task);
        let last = match before {
            Some(sender) => Some(sender.last),
            None if self.bounds.first == Offset(0) || source.seq == 1 => Some(Mark::START),
            // What was before the first kept record was trimmed: its hash is compared with the replay's in the end.
            None => None,
        };
        if let Some(last) = last {
            self.check_link(record, source, last)?;
        }
        let mark = Mark { seq: source.seq, chain: source.chain };
        if before.is_none() {
            let limit = self.known.limit(&source.task, self.at)?;
            self.senders.insert(source.task.clone(), Sender { last: mark, limit, flow: None });
        }
        if let Some(sender) = self.senders.get_mut(&source.task) {
            sender.take(mark, &record.key);
        }
        Ok(())
    }

    fn check_place(&self, record: &Record, source: &Source) -> Result<(), Halt> {
        let one_writer = ONE_WRITER.iter().any(|topic| topic.name == self.at.topic.as_str());
        if !one_writer || source.seq == record.offset.0 + 1 {
            return Ok(());
        }
        let expected = format!("number {} of its task", record.offset.0 + 1);
        let found = format!("number {} of {}", source.seq, source.task);
        Err(self.differs(record.offset, "a record is not where its task has sent it", &expected, found))
    }

    fn check_link(&self, record: &Record, source: &Source, last: Mark) -> Result<(), Halt> {
        if source.seq != last.seq + 1 {
            let expected = format!("number {} of {}", last.seq + 1, source.task);
            let found = format!("number {}", source.seq);
            return Err(self.differs(
                record.offset,
                "a task's records are not numbered one by one",
                &expected,
                found,
            ));
        }
        let chain = chain_after(last.chain, source, record).map_err(|error| {
            self.differs(record.offset, "a record's lineage cannot be read", "lineage", error)
        })?;
        if chain != source.chain {
            let what = format!("a record is not what {} has sent as its number {}", source.task, source.seq);
            let expected = format!("running hash {chain}");
            return Err(self.differs(
                record.offset,
                &what,
                &expected,
                format!("running hash {}", source.chain),
            ));
        }
        Ok(())
    }

    fn differs(&self, offset: Offset, what: &str, expected: &str, found: String) -> Halt {
        Difference::new(what, expected, found).at(self.at, offset).into()
    }
}

impl Sender {
    fn take(&mut self, mark: Mark, key: &[u8]) {
        self.last = mark;
        if mark.seq > self.limit {
            return;
        }
        let (first, mut keys) =
            self.flow.map_or_else(|| (mark.seq, Keys::default()), |flow| (flow.first, flow.keys));
        keys.add(key);
        self.flow = Some(Flow { first, mark, keys });
    }
}

fn chain_after(before: LineageHash, source: &Source, record: &Record) -> Result<LineageHash, String> {
    let unstamped = codec::unstamp(&record.value, source).map_err(|error| chain_of(&error))?;
    Ok(codec::extend_chain(before, source.seq, &unstamped))
}
