//! How fast the log on Fluvio is, next to the cluster's own client in the same run.
//!
//! `FLUVIO_RUN=… cargo run --release -p streambook-log --example fluvio_rate [COPIES [RECORDS]]`
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::float_arithmetic, reason = "a measurement")]

use std::{
    error::Error,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use streambook_fluvio_cluster::{Cluster, Reached};
use streambook_log::{
    Log, LogError, NewRecord, Offset, Partition, ReadLimit, Retention, TopicName, TopicPartition, TopicSpec,
    Visibility,
    fluvio::{FluvioLog, FluvioOptions, bare},
};
use tokio::task::JoinSet;

const PARTITIONS: u16 = 4;
const BYTES: usize = 300;
/// Records of one append, as a task commits them.
const GROUP: u64 = 2_000;
/// Records of the measurement that sends one at a time.
const SINGLE: u64 = 300;
/// Servers of the cluster, so the most copies.
const SERVERS: u16 = 2;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    match measure().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fluvio_rate: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let (mut text, mut next) = (error.to_string(), error.source());
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// What is measured.
struct Asked {
    copies: u16,
    /// Records of each partition.
    each: u64,
}

impl Asked {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let copies = number(arguments.next(), "COPIES", 1)?;
        let records = number(arguments.next(), "RECORDS", 500_000)?;
        let copies = u16::try_from(copies).ok().filter(|copies| (1..=SERVERS).contains(copies));
        let copies = copies.ok_or_else(|| format!("COPIES: use 1 to {SERVERS}, one for each server"))?;
        let each = records / u64::from(PARTITIONS) / GROUP * GROUP;
        if each == 0 {
            let least = GROUP * u64::from(PARTITIONS);
            return Err(format!("RECORDS: {records} are too few, at least {least} are needed").into());
        }
        Ok(Self { copies, each })
    }

    const fn total(&self) -> u64 {
        self.each * PARTITIONS as u64
    }
}

fn number(text: Option<String>, name: &str, usual: u64) -> Result<u64, Failure> {
    let Some(text) = text else { return Ok(usual) };
    text.parse()
        .map_err(|_| format!("{name}: `{text}` is no number; usage: fluvio_rate [COPIES [RECORDS]]").into())
}

async fn measure() -> Result<(), Failure> {
    let asked = Asked::read(std::env::args().skip(1))?;
    let program = streambook_fluvio_cluster::program();
    let program =
        program.ok_or("FLUVIO_RUN must name the program fluvio-run: docs/fluvio.md says how to get it")?;
    let cluster = Cluster::start(&program, usize::from(SERVERS), Reached::Directly).await;
    let options = FluvioOptions { replication: asked.copies, ..FluvioOptions::new(cluster.endpoint()) };
    let log = FluvioLog::connect(options.clone()).await?;
    let total = asked.total();
    println!("{total} records of {BYTES} bytes, {PARTITIONS} partitions, {} copies", asked.copies);
    for round in 1..=3 {
        let bare = bare::run(options.clone(), &spec(&format!("bare.{round}"))?, asked.each, BYTES).await?;
        say("client produces", total, bare.produce);
        say("client consumes", bare.consumed, bare.consume);
        let topic = spec(&format!("ours.{round}"))?;
        log.ensure_topic(&topic).await?;
        say("log appends    ", total, all(&log, &topic, asked.each, append).await?);
        let reader = FluvioLog::connect(options.clone()).await?;
        say("log reads      ", total, all(&reader, &topic, asked.each, read).await?);
    }
    one_at_a_time(&log).await
}

fn spec(name: &str) -> Result<TopicSpec, Failure> {
    Ok(TopicSpec { name: TopicName::new(name)?, partitions: PARTITIONS, retention: Retention::Forever })
}

fn say(what: &str, records: u64, took: Duration) {
    println!("{what} {records:>8} in {took:>8.2?}: {:>8.0}/s", records as f64 / took.as_secs_f64());
}

async fn all<F: Future<Output = Result<(), LogError>> + Send + 'static>(
    log: &Arc<FluvioLog>,
    topic: &TopicSpec,
    each: u64,
    work: impl Fn(Arc<FluvioLog>, TopicPartition, u64) -> F,
) -> Result<Duration, Failure> {
    let began = Instant::now();
    let at = |partition| TopicPartition::new(topic.name.clone(), Partition(partition));
    let mut tasks: JoinSet<_> =
        (0..PARTITIONS).map(|partition| work(Arc::clone(log), at(partition), each)).collect();
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(began.elapsed())
}

/// Two appends at a time, as a task has one under way while it prepares the next.
async fn append(log: Arc<FluvioLog>, at: TopicPartition, records: u64) -> Result<(), LogError> {
    let lanes = (0..2).map(|lane| {
        let (log, at) = (Arc::clone(&log), at.clone());
        async move {
            for _ in (lane..records / GROUP).step_by(2) {
                let group = (0..GROUP).map(|_| NewRecord::new("", vec![7_u8; BYTES])).collect();
                log.append(&at, group).await?;
            }
            Ok(())
        }
    });
    futures::future::try_join_all(lanes).await.map(drop)
}

async fn read(log: Arc<FluvioLog>, at: TopicPartition, records: u64) -> Result<(), LogError> {
    let mut next = Offset(0);
    while next.0 < records {
        log.wait(&at, next, Visibility::Synced).await?;
        let read = log.read(&at, next, ReadLimit::default(), Visibility::Synced).await?;
        next = next.plus(read.len() as u64);
    }
    Ok(())
}

async fn one_at_a_time(log: &Arc<FluvioLog>) -> Result<(), Failure> {
    let topic = spec("one.at.a.time")?;
    log.ensure_topic(&topic).await?;
    let at = TopicPartition::new(topic.name, Partition(0));
    let (mut appended, mut arrived) = (Vec::new(), Vec::new());
    for number in 0..SINGLE {
        let (reader, there) = (Arc::clone(log), at.clone());
        let waiting = tokio::spawn(async move {
            reader.wait(&there, Offset(number), Visibility::Synced).await.map(|()| Instant::now())
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
        let began = Instant::now();
        log.append(&at, vec![NewRecord::new("", vec![7_u8; BYTES])]).await?;
        appended.push(began.elapsed());
        arrived.push(waiting.await??.duration_since(began));
    }
    for (what, mut samples) in [("append", appended), ("append to reader", arrived)] {
        samples.sort_unstable();
        let of = |percent: usize| samples.get(samples.len() * percent / 100).copied().unwrap_or_default();
        println!("one at a time, {what}: p50 {:?}, p99 {:?}", of(50), of(99));
    }
    Ok(())
}
