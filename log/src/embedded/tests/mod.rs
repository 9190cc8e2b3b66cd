//! Tests of the embedded engine, by what they are about.

mod commits;
mod damage;
mod kept;
mod pressure;
mod records;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use streambook_model::position::{Offset, Partition, TopicName, TopicPartition};

use super::{EmbeddedLog, EmbeddedOptions};
use crate::{Log, LogError, NewRecord, ReadLimit, Record, Retention, TopicSpec, Visibility};

const LONG: Duration = Duration::from_secs(3_600);

fn options(path: &Path) -> EmbeddedOptions {
    EmbeddedOptions { sync_interval: LONG, ..EmbeddedOptions::new(path) }
}

fn open(path: &Path) -> Arc<EmbeddedLog> {
    EmbeddedLog::open(options(path)).unwrap()
}

fn name(topic: &str) -> TopicName {
    TopicName::new(topic).unwrap()
}

fn at(topic: &str, partition: u16) -> TopicPartition {
    TopicPartition::new(name(topic), Partition(partition))
}

fn spec(topic: &str, partitions: u16) -> TopicSpec {
    TopicSpec { name: name(topic), partitions, retention: Retention::Forever }
}

async fn with_topic(path: &Path, topic: &str, partitions: u16) -> Arc<EmbeddedLog> {
    let log = open(path);
    log.ensure_topic(&spec(topic, partitions)).await.unwrap();
    log
}

fn record(value: impl Into<Bytes>) -> NewRecord {
    NewRecord::new("key", value)
}

async fn append(log: &EmbeddedLog, to: &TopicPartition, values: &[&'static str]) -> crate::Appended {
    log.append(to, values.iter().map(|value| record(*value)).collect()).await.unwrap()
}

async fn read(log: &EmbeddedLog, from: &TopicPartition, offset: u64) -> Result<Vec<Record>, LogError> {
    log.read(from, Offset(offset), ReadLimit::default(), Visibility::Written).await
}

async fn values(log: &EmbeddedLog, from: &TopicPartition) -> Vec<String> {
    let records = read(log, from, 0).await.unwrap();
    records.iter().map(|record| String::from_utf8(record.value.to_vec()).unwrap()).collect()
}

/// What the disk would hold if the machine lost power now and nothing but what the program handed over was kept.
fn crash_image(of: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(of).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            crash_image(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The newest journal and where its content ends; the rest is zeros.
fn journal(path: &Path) -> (PathBuf, usize) {
    let (_, file) = super::journal::list(&path.join("store")).unwrap().pop().unwrap();
    let content = std::fs::read(&file).unwrap();
    // In large steps first: the file is allocated with 64 MiB of zeros.
    let zeros = vec![0; 1 << 16];
    let last = content.chunks(zeros.len()).rposition(|chunk| !zeros.starts_with(chunk)).unwrap_or_default();
    let upto = content.len().min((last + 1) * zeros.len());
    let end = content[..upto].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    (file, end)
}

/// Changes a file in place.
fn edit(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut content = std::fs::read(file).unwrap();
    change(&mut content);
    std::fs::write(file, content).unwrap();
}
