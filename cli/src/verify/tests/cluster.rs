//! A log as many processes leave it: the real tasks take their inboxes, and what they send is in the log again, early, and
//! then in order; a real SQL sink has taken what receivers take.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use streambook_log::{
    Log, NewRecord, Record, Retention, TopicSpec,
    embedded::{EmbeddedLog, EmbeddedOptions},
};
use streambook_model::{
    bytes::LineageHash,
    codec,
    meta::Source,
    peek,
    position::{Offset, Partition, TopicPartition},
    topics::{self, TopicDef},
};
use streambook_runtime::{lineage::Gaps, state::MemoryState, step::Task};
use streambook_sinks::sql::SqlConfig;

use super::world::{self, PAYMENTS, administer, busy, processors, records, trade};

/// The log, its tasks' states, and the sink's database.
pub(super) struct Cluster {
    directory: tempfile::TempDir,
    pub(super) log: Arc<EmbeddedLog>,
    tasks: BTreeMap<String, (MemoryState, Offset)>,
}

/// A new log with every topic.
pub(super) async fn empty(at: &Path) -> Arc<EmbeddedLog> {
    let log = EmbeddedLog::open(EmbeddedOptions::new(at)).unwrap();
    for def in topics::ALL {
        let spec = TopicSpec { name: def.topic(), partitions: def.partitions, retention: Retention::Forever };
        log.ensure_topic(&spec).await.unwrap();
    }
    log
}

impl Cluster {
    /// Everything has happened and come to rest.
    pub(super) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("sql")).unwrap();
        let log = empty(&directory.path().join("log")).await;
        let mut cluster = Self { directory, log, tasks: BTreeMap::new() };
        administer(&cluster.log).await;
        cluster.work().await;
        cluster.trade(PAYMENTS).await;
        cluster
    }

    /// Something in an inbox that cannot be decoded: it becomes a dead letter, which states when the log took it.
    pub(super) async fn receive_noise(&mut self) {
        let inbox = busy(&self.log, topics::BOOK_INBOX).await;
        self.log.append(&inbox, vec![NewRecord::new("key", "no record")]).await.unwrap();
        self.work().await;
    }

    /// More payments, taken by tasks and sink; those with known numbers are answered and book nothing.
    pub(super) async fn trade(&mut self, payments: u64) {
        trade(&self.log, payments).await;
        self.work().await;
        world::fill(&self.log, &self.sql(), Gaps::AwaitResend).await;
    }

    pub(super) fn database(&self) -> PathBuf {
        self.directory.path().join("sql/books.db")
    }

    pub(super) fn sql(&self) -> SqlConfig {
        SqlConfig::at(&self.database())
    }

    /// Lets every task take what is in its inbox, until there is nothing left.
    async fn work(&mut self) {
        loop {
            let mut sent = 0;
            for processor in processors() {
                for number in 0..processor.inbox().partitions {
                    let task = Task::new(&*processor, Partition(number)).with_gaps(Gaps::AwaitResend);
                    sent += self.take(&task).await;
                }
            }
            if sent == 0 {
                return;
            }
        }
    }

    /// Lets a task take what is there; gives how much that was.
    async fn take(&mut self, task: &Task<'_>) -> usize {
        let (state, next) = self.tasks.entry(task.name().to_owned()).or_default();
        let new: Vec<_> = records(&self.log, task.inbox()).await.split_off(next.0.try_into().unwrap());
        let mut outputs: BTreeMap<TopicPartition, Vec<NewRecord>> = BTreeMap::new();
        for record in &new {
            for output in task.step(record, state).unwrap().outputs {
                outputs.entry(output.to).or_default().push(output.record);
            }
            *next = record.offset.plus(1);
        }
        for (to, sent) in outputs {
            self.log.append(&to, with_repeats(&to, &sent)).await.unwrap();
        }
        new.len()
    }
}

/// As a cluster that loses records and a sender that sends again leave it: the third comes before the second, and the first
/// again in between; then all of it comes once more.
fn with_repeats(to: &TopicPartition, sent: &[NewRecord]) -> Vec<NewRecord> {
    let awaited = topics::ALL.iter().any(|topic| topic.topic() == to.topic && topic.receiver.is_some());
    match sent {
        [first, second, third, rest @ ..] if awaited => {
            let begin = [first, third, first, second, third].into_iter();
            begin.chain(rest).chain(sent).cloned().collect()
        }
        _ => [sent, sent].concat(),
    }
}

/// A record's lineage.
pub(super) fn source(record: &Record) -> Source {
    peek::source(&record.value).unwrap().unwrap()
}

/// A copy of a log in which one partition holds something else.
pub(super) async fn copy_with(
    from: &EmbeddedLog,
    (to, changed): (&Path, &TopicPartition),
    change: impl Fn(Vec<Record>) -> Vec<NewRecord>,
) -> Arc<EmbeddedLog> {
    let copy = empty(to).await;
    for def in topics::ALL {
        for at in partitions(&def) {
            let records = records(from, &at).await;
            let records =
                if at == *changed { change(records) } else { records.into_iter().map(same).collect() };
            copy.append(&at, records).await.unwrap();
        }
    }
    copy
}

fn partitions(def: &TopicDef) -> impl Iterator<Item = TopicPartition> + use<> {
    let name = def.topic();
    (0..def.partitions).map(move |number| TopicPartition::new(name.clone(), Partition(number)))
}

pub(super) fn same(record: Record) -> NewRecord {
    NewRecord::new(record.key, record.value)
}

/// Whoever can write the log can hash as well: what one task has sent there, with other contents by number, and all hashes
/// as they follow from that.
pub(super) fn forged(
    records: Vec<Record>,
    change: impl Fn(u64, &mut BTreeMap<u64, Vec<u8>>),
) -> Vec<NewRecord> {
    let mut contents = BTreeMap::new();
    for record in &records {
        let source = source(record);
        contents.insert(source.seq, codec::unstamp(&record.value, &source).unwrap());
    }
    change(contents.len() as u64, &mut contents);
    let (mut chain, mut chains) = (LineageHash::ZERO, BTreeMap::new());
    for (seq, content) in &contents {
        chain = codec::extend_chain(chain, *seq, content);
        chains.insert(*seq, chain);
    }
    let forge = |record: Record| {
        let source = source(&record);
        let forged = Source { chain: chains[&source.seq], ..source };
        NewRecord::new(record.key, codec::stamp(&contents[&forged.seq], &forged).unwrap())
    };
    records.into_iter().map(forge).collect()
}
