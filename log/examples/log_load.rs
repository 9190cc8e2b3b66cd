//! Loads an embedded log and prints its speed, its memory, what it wrote, and how long opening it takes.
//!
//! `cargo run --release -p streambook-log --example log_load -- DIRECTORY [RECORDS] [EXTRA_KEYSPACES]`
//!
//! It appends records of 275 bytes to 16 partitions in batches of 2,000, each batch synced, reads everything back, and
//! opens the log again. The extra keyspaces (state of tasks) are written a little with every batch.

#![allow(clippy::print_stdout, clippy::float_arithmetic, reason = "a measurement")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use streambook_log::embedded::{Commit, EmbeddedLog, EmbeddedOptions, StateKeyspace, StateWrite};
use streambook_log::{
    Log, NewRecord, Offset, Partition, ReadLimit, Retention, TopicName, TopicPartition, TopicSpec, Visibility,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

const PARTITIONS: u16 = 16;
const BATCH: usize = 2_000;
const RECORD_BYTES: usize = 275;

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("name an empty directory")?;
    let records: usize = arguments.next().map_or(Ok(6_000_000), |text| text.parse())?;
    let extra: usize = arguments.next().map_or(Ok(60), |text| text.parse())?;
    let path = Path::new(&path);

    let log = EmbeddedLog::open(EmbeddedOptions::new(path))?;
    let spec =
        TopicSpec { name: TopicName::new("t")?, partitions: PARTITIONS, retention: Retention::Forever };
    log.ensure_topic(&spec).await?;
    let states =
        (0..extra).map(|number| log.state(&format!("task{number}"))).collect::<Result<Vec<_>, _>>()?;

    let written_before = proc_value("/proc/self/io", "write_bytes:");
    let began = Instant::now();
    append_all(&log, &states, records).await?;
    report("append, synced", records, began.elapsed());
    let read = read_all(&log, "read", records)?;
    drop((log, states));
    let written = proc_value("/proc/self/io", "write_bytes:").saturating_sub(written_before);
    println!("written to disk: {:.2} times the records", per(written, read));
    println!("peak memory: {} MiB", proc_value("/proc/self/status", "VmHWM:") / 1_024);

    let began = Instant::now();
    let log = EmbeddedLog::open(EmbeddedOptions::new(path))?;
    println!("open: {:?}", began.elapsed());
    read_all(&log, "read after opening", records)?;
    println!(
        "peak memory: {} MiB, on disk: {} MiB",
        proc_value("/proc/self/status", "VmHWM:") / 1_024,
        log.disk_bytes()? >> 20
    );
    Ok(())
}

/// One task per partition commits batches with a few state writes.
async fn append_all(log: &Arc<EmbeddedLog>, states: &[StateKeyspace], records: usize) -> Outcome<()> {
    let batches = records / BATCH / usize::from(PARTITIONS);
    let mut tasks = Vec::new();
    for number in 0..PARTITIONS {
        let (log, states, to) = (Arc::clone(log), states.to_vec(), at(number)?);
        tasks.push(tokio::spawn(async move {
            for batch in 0..batches {
                let writes = states.iter().map(|state| write(state, number, batch)).collect();
                let commit = Commit { writes, appends: vec![(to.clone(), batch_of(batch))] };
                let committed = log.commit(&commit)?;
                log.synced_to(committed.position).await?;
            }
            Ok::<_, streambook_log::LogError>(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}

fn write(state: &StateKeyspace, number: u16, batch: usize) -> StateWrite {
    let key = format!("{number}/{}", batch % 100).into_bytes().into();
    StateWrite { state: state.clone(), key, value: Some(vec![7; 100].into()) }
}

/// Records of which half is noise, as identifiers and amounts are.
fn batch_of(batch: usize) -> Vec<NewRecord> {
    let mut word = u64::try_from(batch).unwrap_or_default().wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut noise = move || {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        word.to_le_bytes()
    };
    (0..BATCH)
        .map(|_| {
            let mut value = vec![b'x'; RECORD_BYTES - 16];
            value.chunks_exact_mut(16).for_each(|chunk| chunk[..8].copy_from_slice(&noise()));
            NewRecord::new([noise(), noise()].concat(), value)
        })
        .collect()
}

/// Reads every partition from its start; returns the bytes read.
fn read_all(log: &EmbeddedLog, what: &str, records: usize) -> Outcome<u64> {
    let (began, mut bytes) = (Instant::now(), 0);
    for number in 0..PARTITIONS {
        let (from, mut next) = (at(number)?, Offset(0));
        loop {
            let read = log.read_blocking(&from, next, ReadLimit::default(), Visibility::Synced)?;
            let Some(last) = read.last() else { break };
            next = last.offset.plus(1);
            bytes += read.iter().map(|record| u64::try_from(record.size()).unwrap_or_default()).sum::<u64>();
        }
    }
    report(what, records, began.elapsed());
    Ok(bytes)
}

fn report(what: &str, records: usize, took: Duration) {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let records = u64::try_from(records).unwrap_or(u64::MAX);
    println!("{what}: {took:?}, {} records/s", records.saturating_mul(1_000_000) / micros.max(1));
}

/// A ratio, for print only.
fn per(bytes: u64, of: u64) -> f64 {
    let kib = |bytes: u64| f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX));
    kib(bytes) / kib(of)
}

/// A number from a file of the proc file system; 0 where there is none.
fn proc_value(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn at(partition: u16) -> Outcome<TopicPartition> {
    Ok(TopicPartition::new(TopicName::new("t")?, Partition(partition)))
}
