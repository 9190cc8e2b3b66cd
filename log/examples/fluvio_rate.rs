//! How fast the log on Fluvio is, next to the cluster's own client in the same run.
//!
//! `FLUVIO_RUN=… cargo run --release -p streambook-log --example fluvio_rate [COPIES [RECORDS]]`
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::float_arithmetic, reason = "a measurement")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use streambook_fluvio_cluster::{Cluster, Reached};
use streambook_log::{
    Log, NewRecord, Offset, Partition, ReadLimit, Retention, TopicName, TopicPartition, TopicSpec,
    Visibility,
    fluvio::{FluvioLog, FluvioOptions, bare},
};
use tokio::task::JoinSet;

const PARTITIONS: u16 = 4;
const BYTES: usize = 300;
/// Records of one append, as a task commits them.
const GROUP: u64 = 2_000;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let copies: u16 = arguments.next().map_or(1, |copies| copies.parse().unwrap());
    let records: u64 = arguments.next().map_or(500_000, |records| records.parse().unwrap());
    let each = records / u64::from(PARTITIONS) / GROUP * GROUP;
    let total = each * u64::from(PARTITIONS);
    let Some(program) = streambook_fluvio_cluster::program() else { return };
    let cluster = Cluster::start(&program, 2, Reached::Directly).await;
    let options = FluvioOptions { replication: copies, ..FluvioOptions::new(cluster.endpoint()) };
    let log = FluvioLog::connect(options.clone()).await.unwrap();
    println!("{total} records of {BYTES} bytes, {PARTITIONS} partitions, {copies} copies");
    for round in 1..=3 {
        let bare = bare::run(options.clone(), &spec(&format!("bare.{round}")), each, BYTES).await.unwrap();
        say("client produces", total, bare.produce);
        say("client consumes", bare.consumed, bare.consume);
        let topic = spec(&format!("ours.{round}"));
        log.ensure_topic(&topic).await.unwrap();
        let append = all(&log, &topic, each, append).await;
        say("log appends    ", total, append);
        let reader = FluvioLog::connect(options.clone()).await.unwrap();
        say("log reads      ", total, all(&reader, &topic, each, read).await);
    }
    one_at_a_time(&log).await;
}

fn spec(name: &str) -> TopicSpec {
    TopicSpec { name: TopicName::new(name).unwrap(), partitions: PARTITIONS, retention: Retention::Forever }
}

fn say(what: &str, records: u64, took: Duration) {
    println!("{what} {records:>8} in {took:>8.2?}: {:>8.0}/s", records as f64 / took.as_secs_f64());
}

async fn all<F: Future<Output = ()> + Send + 'static>(
    log: &Arc<FluvioLog>,
    topic: &TopicSpec,
    each: u64,
    work: impl Fn(Arc<FluvioLog>, TopicPartition, u64) -> F,
) -> Duration {
    let began = Instant::now();
    let at = |partition| TopicPartition::new(topic.name.clone(), Partition(partition));
    let tasks: JoinSet<()> =
        (0..PARTITIONS).map(|partition| work(Arc::clone(log), at(partition), each)).collect();
    tasks.join_all().await;
    began.elapsed()
}

/// Two appends at a time, as a task has one under way while it prepares the next.
async fn append(log: Arc<FluvioLog>, at: TopicPartition, records: u64) {
    let mut under_way = JoinSet::new();
    for _ in 0..records / GROUP {
        let (log, at) = (Arc::clone(&log), at.clone());
        let group = (0..GROUP).map(|_| NewRecord::new("", vec![7_u8; BYTES])).collect();
        if under_way.len() == 2 {
            under_way.join_next().await.unwrap().unwrap();
        }
        under_way.spawn(async move { log.append(&at, group).await.map(drop).unwrap() });
    }
    under_way.join_all().await;
}

async fn read(log: Arc<FluvioLog>, at: TopicPartition, records: u64) {
    let mut next = Offset(0);
    while next.0 < records {
        log.wait(&at, next, Visibility::Synced).await.unwrap();
        let read = log.read(&at, next, ReadLimit::default(), Visibility::Synced).await.unwrap();
        next = read.last().unwrap().offset.plus(1);
    }
}

async fn one_at_a_time(log: &Arc<FluvioLog>) {
    let topic = spec("one.at.a.time");
    log.ensure_topic(&topic).await.unwrap();
    let at = TopicPartition::new(topic.name, Partition(0));
    let (mut appended, mut arrived) = (Vec::new(), Vec::new());
    for number in 0..300 {
        let (reader, there) = (Arc::clone(log), at.clone());
        let waiting = tokio::spawn(async move {
            reader.wait(&there, Offset(number), Visibility::Synced).await.unwrap();
            Instant::now()
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
        let began = Instant::now();
        log.append(&at, vec![NewRecord::new("", vec![7_u8; BYTES])]).await.unwrap();
        appended.push(began.elapsed());
        arrived.push(waiting.await.unwrap().duration_since(began));
    }
    for (what, mut samples) in [("append", appended), ("append to reader", arrived)] {
        samples.sort_unstable();
        println!("one at a time, {what}: p50 {:?}, p99 {:?}", samples[150], samples[297]);
    }
}
