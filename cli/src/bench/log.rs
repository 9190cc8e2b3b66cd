//! `bench log`: the embedded log against plain sequential writes of the same bytes with the same number of syncs, in the
//! same run on the same disk; then reads of everything, from memory and after opening it again.
//!
//! Writers append groups of records and wait until each is on disk, one writer for each partition, as tasks do; the log
//! shares syncs among them. The plain file is then written in as many equal pieces, each synced (`fdatasync`), and nothing
//! is allocated beforehand. Rounds alternate, and the median round is the figure, since disks are noisy.

use std::{
    fs::File,
    io::Write,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use serde::Serialize;
use streambook_log::{
    Log, NewRecord, Offset, Partition, ReadLimit, Retention, TopicName, TopicPartition, TopicSpec,
    Visibility,
    embedded::{EmbeddedLog, EmbeddedOptions},
};
use tokio::task::JoinSet;

use super::{
    Directory,
    figures::{each, megabytes_per_second, per_second, ratio, seconds},
    usage,
};

/// What is measured.
pub(crate) struct LogBench {
    pub(crate) records: u64,
    pub(crate) bytes: u32,
    pub(crate) partitions: u16,
    pub(crate) batch: u64,
    pub(crate) rounds: usize,
}

/// The speed of one pass over all records.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Speed {
    pub(crate) records_per_second: f64,
    pub(crate) megabytes_per_second: f64,
    pub(crate) seconds: f64,
}

/// One round of writing.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Round {
    /// The log.
    pub(crate) append: Speed,
    /// The plain file.
    pub(crate) plain: Speed,
    /// Syncs of each.
    pub(crate) syncs: u64,
    /// The log's speed by the plain file's; the goal is 0.5.
    pub(crate) ratio: f64,
}

/// What was found.
#[derive(Debug, Serialize)]
pub(crate) struct LogReport {
    pub(crate) records: u64,
    pub(crate) record_bytes: u32,
    pub(crate) partitions: u16,
    pub(crate) batch: u64,
    /// The round with the median ratio.
    pub(crate) median: Round,
    pub(crate) rounds: Vec<Round>,
    /// Bytes handed to the disk by the log for each byte of a record.
    pub(crate) written_by_logical: f64,
    pub(crate) disk_by_logical: f64,
    /// The first reads after opening again, from tables; the operating system may still hold their pages.
    pub(crate) read_first: Speed,
    /// The same reads again.
    pub(crate) read_again: Speed,
    pub(crate) open_seconds: f64,
    pub(crate) resident_mib: u64,
    pub(crate) peak_resident_mib: u64,
}

impl LogBench {
    /// Measures, and says on the way what is being done.
    pub(crate) async fn run(&self, directory: &Directory, say: impl Fn(&str)) -> anyhow::Result<LogReport> {
        let logical = self.logical_bytes();
        let path = directory.path().join("log");
        let log = EmbeddedLog::open(EmbeddedOptions::new(&path))?;
        let mut rounds = Vec::new();
        let mut written = 0;
        for number in 1..=self.rounds {
            say(&format!("round {number} of {}: {} records to the log", self.rounds, self.rounded()));
            let before = usage::written_bytes();
            let (append, syncs) = self.append(&log, &topic(number)?).await?;
            written += usage::written_bytes().saturating_sub(before);
            say(&format!("round {number} of {}: the same bytes to a plain file, {syncs} syncs", self.rounds));
            let plain = self.plain(&directory.path().join(format!("plain.{number}")), syncs)?;
            let ratio = ratio(self.speed(append).records_per_second, self.speed(plain).records_per_second);
            rounds.push(Round { append: self.speed(append), plain: self.speed(plain), syncs, ratio });
        }
        let before = usage::written_bytes();
        tokio::task::block_in_place(|| drop(log));
        written += usage::written_bytes().saturating_sub(before);
        say("opening again, reading everything twice");
        let began = Instant::now();
        let log = EmbeddedLog::open(EmbeddedOptions::new(&path))?;
        let opened = began.elapsed();
        let read_first = self.read(&log, &topic(1)?)?;
        let read_again = self.read(&log, &topic(1)?)?;
        let total = logical.saturating_mul(self.rounds as u64);
        let mut by_ratio = rounds.clone();
        by_ratio.sort_by(|a, b| a.ratio.total_cmp(&b.ratio));
        let median = by_ratio.get(by_ratio.len() / 2).copied();
        Ok(LogReport {
            records: self.rounded(),
            record_bytes: self.bytes,
            partitions: self.partitions,
            batch: self.batch,
            median: median.ok_or_else(|| anyhow::anyhow!("--rounds must be at least 1"))?,
            rounds,
            written_by_logical: each(written, total),
            disk_by_logical: each(log.disk_bytes()?, total),
            read_first: self.speed(read_first),
            read_again: self.speed(read_again),
            open_seconds: seconds(opened),
            resident_mib: usage::resident_bytes() >> 20,
            peak_resident_mib: usage::peak_resident_bytes() >> 20,
        })
    }

    /// Groups that each writer appends.
    fn groups(&self) -> u64 {
        (self.records / self.batch.max(1) / u64::from(self.partitions)).max(1)
    }

    /// The records of whole groups.
    fn rounded(&self) -> u64 {
        self.groups() * self.batch * u64::from(self.partitions)
    }

    fn logical_bytes(&self) -> u64 {
        self.rounded().saturating_mul(u64::from(self.bytes))
    }

    fn speed(&self, took: Duration) -> Speed {
        Speed {
            records_per_second: per_second(self.rounded(), took),
            megabytes_per_second: megabytes_per_second(self.logical_bytes(), took),
            seconds: seconds(took),
        }
    }

    /// Appends everything; returns the time and the syncs it took.
    async fn append(&self, log: &Arc<EmbeddedLog>, name: &TopicName) -> anyhow::Result<(Duration, u64)> {
        let spec =
            TopicSpec { name: name.clone(), partitions: self.partitions, retention: Retention::Forever };
        log.ensure_topic(&spec).await?;
        let groups: Arc<Vec<Vec<NewRecord>>> = Arc::new((0..8).map(|seed| self.group(seed)).collect());
        let (before, began) = (log.syncs().count, Instant::now());
        let mut writers = JoinSet::new();
        for number in 0..self.partitions {
            let (log, groups, rounds) = (Arc::clone(log), Arc::clone(&groups), self.groups());
            let to = TopicPartition::new(name.clone(), Partition(number));
            writers.spawn(async move {
                for group in groups.iter().cycle().zip(0..rounds).map(|(group, _)| group) {
                    let appended = log.append(&to, group.clone()).await?;
                    log.synced(&appended).await?;
                }
                Ok::<_, streambook_log::LogError>(())
            });
        }
        while let Some(ended) = writers.join_next().await {
            ended??;
        }
        Ok((began.elapsed(), (log.syncs().count - before).max(1)))
    }

    /// Records of which half is noise, as identifiers and amounts are.
    fn group(&self, seed: u64) -> Vec<NewRecord> {
        let mut word = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut noise = move || {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            word.to_le_bytes()
        };
        let bytes = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        let key = bytes.min(16);
        (0..self.batch)
            .map(|_| {
                let mut value = vec![b'x'; bytes - key];
                value.chunks_exact_mut(16).for_each(|chunk| chunk[..8].copy_from_slice(&noise()));
                NewRecord::new([noise(), noise()].concat()[..key].to_vec(), value)
            })
            .collect()
    }

    /// Writes the same bytes in one piece for each sync.
    fn plain(&self, path: &Path, syncs: u64) -> anyhow::Result<Duration> {
        let group: Vec<u8> =
            (0..8).flat_map(|seed| self.group(seed)).flat_map(|record| record.value.to_vec()).collect();
        let total = self.logical_bytes();
        tokio::task::block_in_place(|| {
            let (mut file, began, mut done) = (File::create(path)?, Instant::now(), 0);
            for sync in 1..=syncs {
                let mut left = (total * sync / syncs).saturating_sub(done);
                done += left;
                while left > 0 {
                    let piece = group.get(..usize::try_from(left).unwrap_or(usize::MAX)).unwrap_or(&group);
                    file.write_all(piece)?;
                    left -= piece.len() as u64;
                }
                file.sync_data()?;
            }
            let took = began.elapsed();
            drop(file);
            std::fs::remove_file(path)?;
            Ok(took)
        })
    }

    /// Reads every partition from its start.
    fn read(&self, log: &EmbeddedLog, name: &TopicName) -> anyhow::Result<Duration> {
        let (began, mut records) = (Instant::now(), 0);
        for number in 0..self.partitions {
            let (from, mut next) = (TopicPartition::new(name.clone(), Partition(number)), Offset(0));
            loop {
                let read = tokio::task::block_in_place(|| {
                    log.read_blocking(&from, next, ReadLimit::default(), Visibility::Synced)
                })?;
                let Some(last) = read.last() else { break };
                next = last.offset.plus(1);
                records += read.len() as u64;
            }
        }
        let took = began.elapsed();
        ensure!(records == self.rounded(), "{records} records were read, {} were written", self.rounded());
        Ok(took)
    }
}

fn topic(round: usize) -> anyhow::Result<TopicName> {
    Ok(TopicName::new(format!("bench.{round}"))?)
}
