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
//! Where many processes share the log ([`mirror`]), each has its tasks' states to itself: a copy of the log is verified, and
//! what it holds of each task must be the beginning of what a replay of its inbox sends. What a sender has sent again, and
//! what came before a record that it follows, is left out, as by every receiver ([`records`], [`resent`]).
//!
//! Beside a running `up` ([`beside`]) the same code works on a log that goes on, with less of the machine: every task is
//! replayed up to where it stood at the start ([`cut`]), and what has only a last state is compared at one moment at a time.
//!
//! The exit code is [`Outcome::exit_code`], and 2 for a [`VerifyFailure`].

mod beside;
mod books;
mod cut;
mod flow;
mod manner;
mod mirror;
mod outputs;
mod places;
pub(crate) mod present;
mod progress;
mod records;
mod replay;
pub(crate) mod report;
mod resent;
mod scratch;
mod sql;
mod states;
#[cfg(test)]
mod tests;
mod told;
mod watch;
mod workers;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use streambook_log::{
    Log, Visibility,
    embedded::{EmbeddedLog, EmbeddedOptions},
};
use streambook_model::{
    position::{Offset, Partition, TopicPartition},
    topics,
};
use streambook_runtime::{processor::Processor, step::task_name};
use streambook_sinks::sql::SqlConfig;

pub(crate) use self::{
    beside::Verifier,
    progress::{Progress, Silent, Stage},
    report::{Difference, Outcome, Report, VerifyFailure},
};
use self::{
    cut::Cuts,
    flow::Flows,
    manner::Manner,
    mirror::{Mirror, Patience},
    records::{Again, Known},
    replay::{Job, Replayed, Shared},
    report::Halt,
    resent::Awaited,
    scratch::Scratch,
    sql::Sql,
    told::Told,
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
    verify_as(Asked::Store(Manner::Alone, log), processors, sql, progress).await
}

/// Verifies a log that many processes share, as far as it stands, and the SQL sink's database if there is one. Nothing is said
/// of the tasks' states, which are in their processes' stores.
///
/// # Errors
/// As [`verify`].
pub(crate) async fn verify_shared(
    log: Arc<dyn Log>,
    processors: &[Arc<dyn Processor>],
    sql: Option<&SqlConfig>,
    progress: &mut dyn Progress,
) -> Result<Report, VerifyFailure> {
    verify_as(Asked::Shared(log, Patience::USUAL), processors, sql, progress).await
}

/// What is to be verified.
enum Asked {
    /// The log and the tasks' states in one process's store.
    Store(Manner, Arc<EmbeddedLog>),
    /// A log that many processes share.
    Shared(Arc<dyn Log>, Patience),
}

/// What is verified.
struct Subject {
    manner: Manner,
    /// The records.
    log: Arc<EmbeddedLog>,
    /// What they are copied from; the same log, where they are not.
    origin: Arc<dyn Log>,
    patience: Duration,
    mirror: Option<Mirror>,
}

impl Subject {
    async fn of(
        asked: Asked,
        processors: &[Arc<dyn Processor>],
        progress: &mut dyn Progress,
    ) -> Result<Self, Halt> {
        match asked {
            Asked::Store(manner, log) => {
                let (origin, patience) = (Arc::<EmbeddedLog>::clone(&log), Duration::ZERO);
                Ok(Self { manner, log, origin, patience, mirror: None })
            }
            Asked::Shared(origin, patience) => {
                let mirror = Mirror::of(&*origin, &inboxes(processors), patience, progress).await?;
                let (log, patience) = (Arc::clone(mirror.log()), patience.arrival);
                Ok(Self { manner: Manner::Shared, log, origin, patience, mirror: Some(mirror) })
            }
        }
    }
}

async fn verify_as(
    asked: Asked,
    processors: &[Arc<dyn Processor>],
    sql: Option<&SqlConfig>,
    progress: &mut dyn Progress,
) -> Result<Report, VerifyFailure> {
    let began = Instant::now();
    let mut report = Report::default();
    match check(asked, processors, sql, progress, &mut report).await {
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
    asked: Asked,
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
    // What the processes say by now must be seen by every look at the log.
    let told = match &asked {
        Asked::Store(..) => Told::default(),
        Asked::Shared(log, _) => Told::of(&**log).await?,
    };
    let subject = Subject::of(asked, processors, progress).await?;
    let (jobs, cuts) = jobs(&subject, processors, report).await?;
    let scratch = Arc::new(Scratch::new()?);
    let known = known(&subject, processors, cuts, &scratch);
    let Seen { flows, first, ends } = read_log(&subject, known, progress, report).await?;
    told.check(&flows, (&first, &ends))?;
    if let Some(sql) = &sql {
        let both = ends.iter().filter(|(at, _)| places::is_placed(at));
        report.notes.extend(both.filter_map(|(at, end)| sql.lag(at, end.0)));
    }
    let runtime = tokio::runtime::Handle::current();
    let Subject { manner, log, origin, patience, mirror: _kept } = subject;
    let shared = Shared { log, origin, manner, patience, scratch, told, flows, first, ends, sql, runtime };
    let shared = Arc::new(shared);
    if manner == Manner::Shared {
        say_what_is_elsewhere(&shared, report);
    }
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

/// What of a shared log is not looked at.
fn say_what_is_elsewhere(shared: &Shared, report: &mut Report) {
    let states = "the tasks' states are in their processes' stores and were not compared";
    report.notes.push(states.to_owned());
    let books = (0..topics::BOOK_INBOX.partitions).map(Partition).filter(|book| !shared.knows_places(*book));
    for book in books.filter(|_| shared.sql.is_some()) {
        let why = "records were trimmed, so that it is not known which record each row is made of";
        report.unverified.push(format!("the rows of book/{book} in SQL: {why}"));
    }
}

/// What the log is judged by.
fn known(subject: &Subject, processors: &[Arc<dyn Processor>], cuts: Cuts, scratch: &Arc<Scratch>) -> Known {
    let tasks = tasks(processors).map(|(processor, at)| task_name(&**processor, at)).collect();
    let cuts = (subject.manner == Manner::Beside).then(|| Arc::new(cuts));
    let places = (subject.manner == Manner::Shared).then(|| Arc::clone(scratch));
    Known { tasks, inboxes: inboxes(processors), cuts, gaps: subject.manner.gaps(), places }
}

fn inboxes(processors: &[Arc<dyn Processor>]) -> BTreeSet<&'static str> {
    processors.iter().map(|processor| processor.inbox().name).collect()
}

/// What was seen of the log: what each task has sent, and each partition's first and end offset.
struct Seen {
    flows: Flows,
    first: Offsets,
    ends: Offsets,
}

/// Reads every topic.
async fn read_log(
    subject: &Subject,
    known: Known,
    progress: &mut dyn Progress,
    report: &mut Report,
) -> Result<Seen, Halt> {
    let log = &subject.log;
    let mut partitions = Vec::new();
    let topics = log.topics().await?;
    for at in topics.iter().flat_map(|topic| topic.partitions()) {
        let bounds = log.bounds(&at, Visibility::Written).await?;
        let bounds = subject.mirror.as_ref().map_or(bounds, |mirror| mirror.compared(&at, bounds));
        partitions.push((at, bounds));
    }
    for topic in topics::ALL.iter().filter(|def| topics.iter().all(|topic| topic.name != def.topic())) {
        report.unverified.push(format!("topic {} does not exist in this log", topic.name));
    }
    for (at, bounds) in partitions.iter().filter(|(_, bounds)| bounds.first > Offset(0)) {
        if !known.inboxes.contains(at.topic.as_str()) {
            report.notes.push(format!("{at}: the records before offset {} were trimmed", bounds.first));
        }
    }
    let total = partitions.iter().map(|(_, bounds)| bounds.records()).sum();
    let shared = Arc::clone(log);
    let work = (Stage::Log, total, subject.manner);
    let read = workers::run(partitions, work, progress, move |(at, bounds), turn| {
        records::read(&shared, at, *bounds, &known, turn)
    });
    let (mut flows, mut first, mut ends) = (Flows::new(), Offsets::new(), Offsets::new());
    let (mut again, mut awaited) = (Again::default(), Vec::new());
    for read in read.await? {
        again += read.again;
        awaited.extend(read.awaited);
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
    report.notes.extend(again.notes());
    for awaited in awaited {
        resent::wait(&*subject.origin, awaited, subject.patience).await?;
    }
    Ok(Seen { flows, first, ends })
}

fn tasks(processors: &[Arc<dyn Processor>]) -> impl Iterator<Item = (&Arc<dyn Processor>, Partition)> {
    processors.iter().flat_map(|processor| {
        (0..processor.inbox().partitions).map(move |number| (processor, Partition(number)))
    })
}

/// The tasks that can be replayed, and where each stands; of the others the report says why not.
async fn jobs(
    subject: &Subject,
    processors: &[Arc<dyn Processor>],
    report: &mut Report,
) -> Result<(Vec<Job>, Cuts), Halt> {
    let (mut jobs, log) = (Vec::new(), &subject.log);
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
        let end = log.written_end(&inbox)?;
        let until = match subject.manner {
            Manner::Shared => end,
            Manner::Alone | Manner::Beside => cuts.get(&name).map_or(Offset(0), |cut| cut.until),
        };
        let waiting = end.0.saturating_sub(until.0);
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
    let (mut all_unsent, mut due) = (0, Vec::new());
    for Replayed { records, outputs, chains, state_keys, unsent, late, books } in replayed.await? {
        all_unsent += unsent;
        due.extend(late);
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
            let text = "reversals are of transactions that are not in the log (trimmed, or not sent yet); that they mirror \
                        them was not checked";
            report.notes.push(format!("{} {text}", books.unseen_originals));
        }
    }
    if all_unsent > 0 {
        let text = "outputs were not in the log yet: they are still to be made or sent by the processes that run their tasks";
        report.notes.push(format!("{all_unsent} {text}"));
    }
    wait_for_late(shared, due, report).await
}

/// What is there already is found in this time.
const A_LOOK: Duration = Duration::from_secs(1);

/// Waits for what tasks have decided and not sent when the log was looked at. Of what does not come nothing is claimed: its
/// process may be down with it in its store, or the log has lost it.
async fn wait_for_late(shared: &Shared, due: Vec<Awaited>, report: &mut Report) -> Result<(), Halt> {
    let until = Instant::now() + shared.patience;
    for awaited in due {
        let text = format!(
            "{}: outputs of {} up to number {} have been decided and are not in the log: start its process, which sends them if it \
             has not lost them",
            awaited.at, awaited.task, awaited.until
        );
        let patience = until.saturating_duration_since(Instant::now()).max(A_LOOK);
        match resent::wait(&*shared.origin, awaited, patience).await {
            Ok(()) => {}
            Err(Halt::Differs(_)) => report.unverified.push(text),
            Err(failed) => return Err(failed),
        }
    }
    Ok(())
}
