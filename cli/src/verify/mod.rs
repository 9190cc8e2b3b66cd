//! `streambook verify`: proves from the data directory that the books are right.
//!
//! 1. Every record of the log is read: offsets without gaps, checksums, known schemas, and the lineage of what tasks sent
//!    ([`records`]).
//! 2. Every task is replayed from the first record of its inbox; its outputs must be those in the log, by running hash, and
//!    its state the stored one, byte for byte ([`replay`], [`outputs`], [`states`]). On the way the ledger's invariants are
//!    checked ([`books`]) and the ledger's and the payments' rows in SQL compared ([`sql`]).
//! 3. What only has a last state in SQL is compared: payments, refunds, balances.
//!
//! Memory does not grow with the log, but for the accounts' balances: replayed states and indexes are in a temporary store.
//! What could not be checked is named and nothing is claimed of it. Nothing is written to the log or to SQL.
//!
//! Beside a running `up` ([`live`]) the same code works on a log that goes on, with less of the machine: every task is
//! replayed up to where it stood at the start ([`cut`]), and what has only a last state is compared at one moment at a time.
//!
//! The exit code is [`Outcome::exit_code`], and 2 for a [`VerifyFailure`].

mod books;
mod cut;
mod flow;
pub(crate) mod live;
mod manner;
mod outputs;
pub(crate) mod present;
mod progress;
mod records;
mod replay;
pub(crate) mod report;
mod scratch;
mod sql;
mod states;
#[cfg(test)]
mod tests;
mod watch;
mod workers;

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use streambook_log::{
    Log as _, Visibility,
    embedded::{EmbeddedLog, EmbeddedOptions},
};
use streambook_model::{
    position::{Offset, Partition, TopicPartition},
    topics,
};
use streambook_runtime::{processor::Processor, step::task_name};
use streambook_sinks::sql::SqlConfig;

use self::{
    cut::Cuts,
    flow::Flows,
    manner::Manner,
    replay::{Job, Replayed, Shared},
    report::Halt,
    scratch::Scratch,
    sql::Sql,
};
pub(crate) use self::{
    progress::{Progress, Stage},
    report::{Difference, Outcome, Report, VerifyFailure},
};

/// Opens the log of a directory and verifies it. Damage that keeps it from being opened is a difference.
///
/// # Errors
/// [`VerifyFailure`] where nothing can be said, for example because another process has the directory open.
pub(crate) async fn verify_directory(
    options: EmbeddedOptions,
    processors: &[Arc<dyn Processor>],
    sql: Option<&SqlConfig>,
    progress: &mut dyn Progress,
) -> Result<Report, VerifyFailure> {
    if !options.path.is_dir() {
        return Err(VerifyFailure::NoLog(options.path));
    }
    match EmbeddedLog::open(options) {
        Ok(log) => verify(log, processors, sql, progress).await,
        Err(error) => match report::damage(&error) {
            Some(difference) => Ok(Report::of(difference)),
            None => Err(VerifyFailure::Open(error)),
        },
    }
}

/// Verifies a log, the tasks of these processors, and the SQL sink's database if there is one.
///
/// # Errors
/// [`VerifyFailure`] where nothing can be said. A difference is no error: it is in the report.
pub(crate) async fn verify(
    log: Arc<EmbeddedLog>,
    processors: &[Arc<dyn Processor>],
    sql: Option<&SqlConfig>,
    progress: &mut dyn Progress,
) -> Result<Report, VerifyFailure> {
    verify_as(Manner::Alone, log, processors, sql, progress).await
}

async fn verify_as(
    manner: Manner,
    log: Arc<EmbeddedLog>,
    processors: &[Arc<dyn Processor>],
    sql: Option<&SqlConfig>,
    progress: &mut dyn Progress,
) -> Result<Report, VerifyFailure> {
    let began = Instant::now();
    let mut report = Report::default();
    match check((manner, log), processors, sql, progress, &mut report).await {
        Ok(()) => {}
        Err(Halt::Differs(difference)) => report.first_difference = Some(*difference),
        Err(Halt::Failed(failure)) => return Err(failure),
    }
    report.elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let per_second = |count: u64| count.saturating_mul(1_000) / report.elapsed_ms.max(1);
    report.records_per_second = per_second(report.counts.records);
    report.entries_per_second = per_second(report.counts.entries);
    Ok(report)
}

async fn check(
    (manner, log): (Manner, Arc<EmbeddedLog>),
    processors: &[Arc<dyn Processor>],
    sql: Option<&SqlConfig>,
    progress: &mut dyn Progress,
    report: &mut Report,
) -> Result<(), Halt> {
    // Each looks at least as far as the one before: SQL at what is in the log, the log at what the tasks have sent.
    let sql = match sql {
        Some(config) => Some(Sql::open(config).await?),
        None => {
            report.notes.push("there is no SQL database, so none was compared".to_owned());
            None
        }
    };
    let (jobs, cuts) = jobs(&log, processors, report).await?;
    let cuts = (manner == Manner::Beside).then(|| Arc::new(cuts));
    let (flows, first, ends) = read_log((manner, &log, cuts), processors, progress, report).await?;
    if let Some(sql) = &sql {
        let both =
            ends.iter().filter(|(at, _)| records::ONE_WRITER.iter().any(|topic| topic.topic() == at.topic));
        report.notes.extend(both.filter_map(|(at, end)| sql.lag(at, end.0)));
    }
    let runtime = tokio::runtime::Handle::current();
    let shared = Arc::new(Shared { log, manner, scratch: Scratch::new()?, flows, first, sql, runtime });
    replay_all(&shared, jobs, progress, report).await?;
    let Some(sql) = &shared.sql else { return Ok(()) };
    if report.unverified.is_empty() {
        report.counts.sql_rows += sql::compare_ends(sql, &shared, progress).await?;
    } else {
        report
            .unverified
            .push("payments, refunds and balances in SQL: not every book could be replayed".to_owned());
    }
    sql.close().await;
    Ok(())
}

type Offsets = BTreeMap<TopicPartition, Offset>;

/// Reads every topic; gives what each task has sent, and each partition's first and end offset.
async fn read_log(
    (manner, log, cuts): (Manner, &Arc<EmbeddedLog>, Option<Arc<Cuts>>),
    processors: &[Arc<dyn Processor>],
    progress: &mut dyn Progress,
    report: &mut Report,
) -> Result<(Flows, Offsets, Offsets), Halt> {
    let mut partitions = Vec::new();
    let topics = log.topics().await?;
    for at in topics.iter().flat_map(|topic| topic.partitions()) {
        let bounds = log.bounds(&at, Visibility::Written).await?;
        partitions.push((at, bounds));
    }
    for topic in topics::ALL.iter().filter(|def| topics.iter().all(|topic| topic.name != def.topic())) {
        report.unverified.push(format!("topic {} does not exist in this log", topic.name));
    }
    let inboxes = processors.iter().map(|processor| processor.inbox().name).collect();
    let tasks = tasks(processors).map(|(processor, at)| task_name(&**processor, at)).collect();
    let known = records::Known { tasks, inboxes, cuts };
    for (at, bounds) in partitions.iter().filter(|(_, bounds)| bounds.first > Offset(0)) {
        if !known.inboxes.contains(at.topic.as_str()) {
            report.notes.push(format!("{at}: the records before offset {} were trimmed", bounds.first));
        }
    }
    let total = partitions.iter().map(|(_, bounds)| bounds.records()).sum();
    let shared = Arc::clone(log);
    let read = workers::run(partitions, (Stage::Log, total, manner), progress, move |(at, bounds), turn| {
        records::read(&shared, at, *bounds, &known, turn)
    });
    let (mut flows, mut first, mut ends) = (Flows::new(), Offsets::new(), Offsets::new());
    for read in read.await? {
        report.counts.records += read.bounds.records();
        if read.undecodable > 0 {
            report.notes.push(format!(
                "{}: {} records cannot be decoded and are dead letters",
                read.at, read.undecodable
            ));
        }
        first.insert(read.at.clone(), read.bounds.first);
        ends.insert(read.at.clone(), read.bounds.end);
        flows.extend(read.flows.into_iter().map(|(task, flow)| ((task, read.at.clone()), flow)));
    }
    Ok((flows, first, ends))
}

fn tasks(processors: &[Arc<dyn Processor>]) -> impl Iterator<Item = (&Arc<dyn Processor>, Partition)> {
    processors.iter().flat_map(|processor| {
        (0..processor.inbox().partitions).map(move |number| (processor, Partition(number)))
    })
}

/// The tasks that can be replayed, and where each stands; of the others the report says why not.
async fn jobs(
    log: &Arc<EmbeddedLog>,
    processors: &[Arc<dyn Processor>],
    report: &mut Report,
) -> Result<(Vec<Job>, Cuts), Halt> {
    let mut jobs = Vec::new();
    let cuts = cut::cuts(log, tasks(processors).map(|(processor, at)| (&**processor, at)))?;
    for (processor, partition) in tasks(processors) {
        let inbox = TopicPartition::new(processor.inbox().topic(), partition);
        let name = task_name(&**processor, partition);
        match replay::first_of(log, &inbox).await? {
            Some(Offset(0)) => {}
            Some(first) => {
                let reason = format!("{name}: the records of {inbox} before offset {first} are gone");
                report.unverified.push(reason);
                continue;
            }
            None => {
                report.unverified.push(format!("{name}: its inbox {inbox} does not exist"));
                continue;
            }
        }
        let until = cuts.get(&name).map_or(Offset(0), |cut| cut.until);
        let waiting = log.written_end(&inbox)?.0.saturating_sub(until.0);
        if waiting > 0 {
            report.notes.push(format!("{name} has not taken the last {waiting} records of its inbox yet"));
        }
        jobs.push(Job { processor: Arc::clone(processor), partition, until });
    }
    no_other_states(log, processors)?;
    Ok((jobs, cuts))
}

/// No state is stored for a partition that does not exist.
fn no_other_states(log: &EmbeddedLog, processors: &[Arc<dyn Processor>]) -> Result<(), Halt> {
    for processor in processors {
        let beyond = processor.inbox().partitions.to_be_bytes();
        let stored = log.state(&format!("task.{}", processor.name()))?.range(&beyond, None, 1)?;
        if let Some((key, _)) = stored.first() {
            let what = format!("{} has state of a partition that does not exist", processor.name());
            return Err(Difference::new(what, "no such key", hex::encode(key)).into());
        }
    }
    Ok(())
}

async fn replay_all(
    shared: &Arc<Shared>,
    jobs: Vec<Job>,
    progress: &mut dyn Progress,
    report: &mut Report,
) -> Result<(), Halt> {
    let total = jobs.iter().map(|job| job.until.0).sum();
    let inner = Arc::clone(shared);
    let replayed =
        workers::run(jobs, (Stage::Replay, total, shared.manner), progress, move |job: &Job, turn| {
            replay::replay(&inner, job, turn)
        });
    for Replayed { records, outputs, chains, state_keys, books } in replayed.await? {
        let counts = &mut report.counts;
        counts.tasks += 1;
        counts.replayed += records;
        counts.outputs += outputs;
        counts.lineage_chains += chains;
        counts.state_keys += state_keys;
        counts.books += books.books;
        counts.transactions += books.transactions;
        counts.entries += books.entries;
        counts.payments += books.payments;
        counts.sql_rows += books.sql_rows;
        if books.unseen_originals > 0 {
            let text = "reversals are of transactions that were trimmed from the log; that they mirror them was not checked";
            report.notes.push(format!("{} {text}", books.unseen_originals));
        }
    }
    Ok(())
}
