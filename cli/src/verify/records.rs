//! Every record of the log: offsets without gaps, right checksums, a known schema, and, for what tasks sent, numbers
//! without gaps and a running hash that comes out.
//!
//! In a log that many processes share, a task's records may be there again, or before one that they follow. Receivers leave
//! both out, and so does this reader: what it sums up is what they take.

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
use streambook_runtime::{
    lineage::{Gaps, Mark, Verdict, judge},
    step::chain_of,
};

use super::{
    cut::Cuts,
    flow::{Flow, Keys},
    places::{Notes, is_placed},
    report::{Difference, Halt},
    resent::Awaited,
    scratch::Scratch,
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
    /// What a gap in a task's records means.
    pub(crate) gaps: Gaps,
    /// Where it is noted which of the books' records is where, if their numbers do not say it.
    pub(crate) places: Option<Arc<Scratch>>,
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
    pub(crate) again: Again,
    /// What has to come again.
    pub(crate) awaited: Vec<Awaited>,
}

/// Records that receivers on a shared log leave out.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Again {
    /// Sent before.
    pub(crate) repeats: u64,
    /// Before one that they follow.
    pub(crate) early: u64,
    /// Lost from a topic that nobody needs for long, so that nobody sends them again.
    pub(crate) lost: u64,
}

impl Again {
    /// What an operator should know of it.
    pub(crate) fn notes(&self) -> Vec<String> {
        let said = [
            (
                self.repeats,
                "records are in the log again, since they were sent again: receivers leave them out",
            ),
            (
                self.early,
                "records came before one that they follow, and then again: receivers leave them out",
            ),
            (self.lost, "answers to the API were lost by the cluster: nobody waits for them any more"),
        ];
        let said = said.into_iter().filter(|(count, _)| *count > 0);
        said.map(|(count, text)| format!("{count} {text}")).collect()
    }
}

impl std::ops::AddAssign for Again {
    fn add_assign(&mut self, other: Self) {
        self.repeats += other.repeats;
        self.early += other.early;
        self.lost += other.lost;
    }
}

/// Reads a partition from its first kept record to its end.
pub(crate) fn read(
    log: &EmbeddedLog,
    at: &TopicPartition,
    bounds: Bounds,
    known: &Known,
    turn: Turn<'_>,
) -> Result<Read, Halt> {
    let mut reader = Reader::new(at, bounds, known)?;
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
    reader.finish()
}

struct Reader<'a> {
    at: &'a TopicPartition,
    bounds: Bounds,
    known: &'a Known,
    senders: BTreeMap<String, Sender>,
    undecodable: u64,
    again: Again,
    notes: Option<Notes>,
}

/// A task that has sent records here.
struct Sender {
    /// Its last record, which the next one links to; none where what was before the first kept record was trimmed.
    last: Option<Mark>,
    /// The highest number that was early, and where the first one was since its last record.
    early: Option<(u64, Offset)>,
    /// The number of the last record that is part of its flow.
    limit: u64,
    flow: Option<Flow>,
}

/// What becomes of a record.
enum Way {
    /// It is taken, after this one.
    After(Mark),
    /// It is taken, whatever was before it.
    Anew,
    /// It is left out.
    Out,
}

impl<'a> Reader<'a> {
    fn new(at: &'a TopicPartition, bounds: Bounds, known: &'a Known) -> Result<Self, Halt> {
        let notes = known.places.as_ref().filter(|_| is_placed(at));
        let notes = notes.map(|scratch| Notes::new(scratch, at)).transpose()?;
        let (senders, again) = (BTreeMap::new(), Again::default());
        Ok(Self { at, bounds, known, senders, undecodable: 0, again, notes })
    }

    fn finish(self) -> Result<Read, Halt> {
        let Self { at, bounds, undecodable, again, .. } = self;
        if let Some(notes) = self.notes {
            notes.finish()?;
        }
        let mut read =
            Read { at: at.clone(), bounds, flows: BTreeMap::new(), undecodable, again, awaited: Vec::new() };
        for (task, sender) in self.senders {
            let last = sender.last.unwrap_or(Mark::START);
            if let Some((until, early)) = sender.early.filter(|(until, _)| *until > last.seq) {
                let (at, task, from) = (at.clone(), task.clone(), bounds.end);
                read.awaited.push(Awaited { at, task, last, until, early, from });
            }
            if let Some(flow) = sender.flow {
                read.flows.insert(task, flow);
            }
        }
        Ok(read)
    }

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
        let last = match self.senders.get(&source.task) {
            Some(sender) => sender.last,
            None => self.first_of(source)?,
        };
        match self.way(record, source, last)? {
            Way::Out => return Ok(()),
            Way::After(last) => self.check_link(record, source, last)?,
            // What was before was trimmed or lost: its hash is compared with the replay's in the end.
            Way::Anew => {}
        }
        if let Some(notes) = &mut self.notes {
            notes.take(source.seq, record.offset)?;
        }
        if let Some(sender) = self.senders.get_mut(&source.task) {
            sender.take(Mark { seq: source.seq, chain: source.chain }, &record.key);
        }
        Ok(())
    }

    /// Gets to know a task that sends here; gives what its first record links to.
    fn first_of(&mut self, source: &Source) -> Result<Option<Mark>, Halt> {
        let is_whole = self.bounds.first == Offset(0) || source.seq == 1;
        let last = is_whole.then_some(Mark::START);
        let limit = self.known.limit(&source.task, self.at)?;
        self.senders.insert(source.task.clone(), Sender { last, early: None, limit, flow: None });
        Ok(last)
    }

    fn way(&mut self, record: &Record, source: &Source, last: Option<Mark>) -> Result<Way, Halt> {
        if self.known.gaps == Gaps::Stop {
            self.check_place(record, source)?;
            return Ok(last.map_or(Way::Anew, Way::After));
        }
        let Some(last) = last else { return Ok(Way::Anew) };
        match judge(last, source, Gaps::AwaitResend) {
            Ok(Verdict::Take) => Ok(Way::After(last)),
            Ok(Verdict::Repeat) => {
                self.again.repeats += 1;
                Ok(Way::Out)
            }
            Ok(Verdict::Early) => Ok(self.early(record, source, last)),
            Err(fault) => {
                let what = "a task has sent one number twice, with different content";
                let expected = format!("running hash {}", last.chain);
                Err(self.differs(record.offset, what, &expected, fault.to_string()))
            }
        }
    }

    fn early(&mut self, record: &Record, source: &Source, last: Mark) -> Way {
        let is_sent_once = is_sent_once(self.at);
        let Some(sender) = self.senders.get_mut(&source.task) else { return Way::Out };
        if is_sent_once {
            // Nothing before it will come any more: what is compared begins again.
            sender.flow = None;
            self.again.lost += source.seq.saturating_sub(last.seq + 1);
            return Way::Anew;
        }
        self.again.early += 1;
        let (until, at) = sender.early.unwrap_or((0, record.offset));
        sender.early = Some((until.max(source.seq), at));
        Way::Out
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
        self.last = Some(mark);
        self.early = self.early.filter(|(until, _)| *until > mark.seq);
        if mark.seq > self.limit {
            return;
        }
        let (first, mut keys) =
            self.flow.map_or_else(|| (mark.seq, Keys::default()), |flow| (flow.first, flow.keys));
        keys.add(key);
        self.flow = Some(Flow { first, mark, keys });
    }
}

/// Whether nobody's word is waited for that a record has arrived, so that it is never sent again.
pub(crate) fn is_sent_once(at: &TopicPartition) -> bool {
    topics::of(&at.topic).is_some_and(|topic| topic.receiver.is_none())
}

fn chain_after(before: LineageHash, source: &Source, record: &Record) -> Result<LineageHash, String> {
    let unstamped = codec::unstamp(&record.value, source).map_err(|error| chain_of(&error))?;
    Ok(codec::extend_chain(before, source.seq, &unstamped))
}
