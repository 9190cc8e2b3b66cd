//! The sink: a batch in, one transaction out. Repeats are dropped by lineage, a gap stops it, and what it remembers of both
//! moves only with a commit.

use std::collections::BTreeMap;

use async_trait::async_trait;
use streambook_model::{
    position::{Offset, TopicPartition},
    topics::{self, TopicDef},
};
use streambook_runtime::{
    lineage::{Gaps, Mark, Marks, Verdict, judge},
    sink::{Batch, Delivered, Sink, SinkError},
};

use super::{
    config::SqlConfig,
    database::Database,
    error::SqlError,
    progress::{Causes, Committed, Progress},
    reads::SqlReads,
    rows::Collector,
    service::{self, Failed, Write},
};

/// The topics in SQL.
const INPUTS: [TopicDef; 6] = [
    topics::PAYMENTS_EVENTS,
    topics::LEDGER_TRANSACTIONS,
    topics::CHAIN_TRANSFERS,
    topics::WEBHOOKS_ATTEMPTS,
    topics::DEAD_LETTERS,
    topics::REGISTRY_EVENTS,
];

/// Writes the public topics to SQL. The only writer of its database.
#[derive(Debug)]
pub struct SqlSink {
    pub(super) database: Database,
    reads: SqlReads,
    pub(super) marks: Marks,
    gaps: Gaps,
    begins_late: bool,
    committed: Committed,
    /// The end of a batch whose commit failed without saying whether it had happened.
    pub(super) unsure: Option<BTreeMap<TopicPartition, Offset>>,
    /// The server was away when this was made, and nothing has been read from it yet.
    absent: Option<Absent>,
}

/// A database that could not be opened, and may be there another time.
#[derive(Debug)]
struct Absent {
    config: SqlConfig,
    reason: SqlError,
}

/// What a batch comes to: the records that are not repeats, and what is remembered after it.
struct Judged<'b> {
    taken: Vec<&'b Delivered>,
    marks: Marks,
    causes: Causes,
}

impl SqlSink {
    /// Opens the database, making it or bringing its schema up to date.
    pub async fn open(config: &SqlConfig) -> Result<Self, SqlError> {
        let database = Database::open_for_writing(config).await?;
        let reads = SqlReads::new(Database::open_for_reading(config).await?);
        let marks = service::marks(&database).await?;
        let (_, causes) = service::positions(&database).await?;
        let committed = Committed::starting_at(causes);
        let (gaps, begins_late) = (Gaps::Stop, config.begin_late);
        Ok(Self { database, reads, marks, gaps, begins_late, committed, unsure: None, absent: None })
    }

    /// The same, but a server that is away is waited for: [`Sink::positions`] opens the database as soon as it is there, its
    /// schema included, and until then reads fail and [`SqlSink::absence`] says why.
    pub async fn open_when_there(config: &SqlConfig) -> Result<Self, SqlError> {
        let reason = match Self::open(config).await {
            Err(error) if error.may_be_retried() => error,
            opened => return opened,
        };
        let Some((database, reads)) = Database::later(config)? else { return Err(reason) };
        Ok(Self {
            database,
            reads: SqlReads::new(reads),
            marks: Marks::new(),
            gaps: Gaps::Stop,
            begins_late: config.begin_late,
            committed: Committed::starting_at(Causes::new()),
            unsure: None,
            absent: Some(Absent { config: config.clone(), reason }),
        })
    }

    /// The same sink on a log whose senders resend what it loses.
    #[must_use]
    pub fn with_gaps(self, gaps: Gaps) -> Self {
        Self { gaps, ..self }
    }

    /// Why the database could not be opened, as long as it was not.
    pub fn absence(&self) -> Option<&SqlError> {
        self.absent.as_ref().map(|absent| &absent.reason)
    }

    /// Opens the database that was away, and goes on from what it says.
    async fn arrive(&mut self) -> Result<(), SqlError> {
        let Some(absent) = &self.absent else { return Ok(()) };
        let opened = Self::open(&absent.config).await?;
        opened.reads.close().await;
        self.committed.advance(&opened.committed.all());
        (self.database, self.marks, self.absent) = (opened.database, opened.marks, None);
        Ok(())
    }

    /// The reads of the same database.
    pub fn reads(&self) -> SqlReads {
        self.reads.clone()
    }

    /// Follows this sink's commits.
    pub fn progress(&self) -> Progress {
        self.committed.follow()
    }

    /// Closes the database, the reads' connections included.
    pub async fn close(self) {
        self.reads.close().await;
        self.database.close().await;
    }

    async fn write_batch(&mut self, batch: &Batch) -> Result<(), SqlError> {
        let judged = self.judge(batch)?;
        let is_again = self.unsure.as_ref() == Some(&batch.after);
        if !(is_again && self.has_happened(batch).await?) {
            match self.commit(batch, &judged).await {
                // The commit of which no answer came was still under way, and this attempt waited for it.
                Err(SqlError::Moved { .. }) if is_again && self.has_happened(batch).await? => {}
                done => done?,
            }
        }
        self.unsure = None;
        self.marks.extend(judged.marks);
        self.committed.advance(&judged.causes);
        Ok(())
    }

    /// Whether the positions are those after the batch.
    async fn has_happened(&self, batch: &Batch) -> Result<bool, SqlError> {
        let (positions, _) = service::positions(&self.database).await?;
        Ok(batch.after.iter().all(|(at, after)| positions.get(at) == Some(after)))
    }

    async fn commit(&mut self, batch: &Batch, judged: &Judged<'_>) -> Result<(), SqlError> {
        let mut collector = Collector::default();
        for delivered in &judged.taken {
            collector.take(delivered)?;
        }
        let rows = collector.finish()?;
        let write = Write { batch, rows, marks: &judged.marks, causes: &judged.causes };
        match service::write(&self.database, write).await {
            Ok(()) => Ok(()),
            Err(Failed::Undone(error)) => Err(error),
            Err(Failed::Unsure(error)) => {
                self.unsure = Some(batch.after.clone());
                Err(error)
            }
        }
    }

    fn judge<'b>(&self, batch: &'b Batch) -> Result<Judged<'b>, SqlError> {
        let mut judged = Judged { taken: Vec::new(), marks: Marks::new(), causes: Causes::new() };
        for delivered in &batch.records {
            if self.takes(delivered, &mut judged.marks)? {
                judged.taken.push(delivered);
            }
            if let Some(cause) = delivered.message.meta().cause {
                match judged.causes.get_mut(&delivered.from) {
                    Some(known) => *known = (*known).max(Offset(cause.offset)),
                    None => drop(judged.causes.insert(delivered.from.clone(), Offset(cause.offset))),
                }
            }
        }
        Ok(judged)
    }

    /// Whether a record is new. The first of a task in a partition is accepted whatever its number where what was before it may
    /// have been trimmed; where it may have been lost, only number 1 is.
    fn takes(&self, delivered: &Delivered, marks: &mut Marks) -> Result<bool, SqlError> {
        let Some(source) = &delivered.message.meta().source else { return Ok(true) };
        let key = (delivered.from.clone(), source.task.clone());
        let known = marks.get(&key).or_else(|| self.marks.get(&key)).copied();
        if let Some(last) = known.or_else(|| self.awaits_first().then_some(Mark::START)) {
            let stopped = |fault: streambook_runtime::processor::Fault| SqlError::Lineage {
                partition: delivered.from.to_string(),
                offset: delivered.offset.0,
                reason: fault.to_string(),
            };
            if judge(last, source, self.gaps).map_err(stopped)? != Verdict::Take {
                return Ok(false);
            }
        }
        marks.insert(key, Mark { seq: source.seq, chain: source.chain });
        Ok(true)
    }

    /// Whether a task's first record must be its number 1: the log may lose records, and this sink has read all partitions from
    /// their start.
    fn awaits_first(&self) -> bool {
        self.gaps == Gaps::AwaitResend && !self.begins_late
    }
}

#[async_trait]
impl Sink for SqlSink {
    fn name(&self) -> &'static str {
        "sql"
    }

    fn inputs(&self) -> Vec<TopicDef> {
        INPUTS.to_vec()
    }

    async fn positions(&mut self) -> Result<BTreeMap<TopicPartition, Offset>, SinkError> {
        let read = async {
            self.arrive().await?;
            service::positions(&self.database).await
        };
        read.await
            .map(|(positions, _)| positions)
            .map_err(|error| error.into_sink_error("reading the positions"))
    }

    fn needs_all(&self) -> bool {
        !self.begins_late
    }

    fn marks(&self) -> Marks {
        self.marks.clone()
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), SinkError> {
        self.write_batch(batch).await.map_err(|error| error.into_sink_error("writing a batch to SQL"))
    }
}
