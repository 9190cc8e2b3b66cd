//! One measurement: so many payments at a pace, and what they cost.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use indicatif::ProgressBar;
use serde::Serialize;
use streambook_log::embedded::Syncs;
use streambook_model::{position::Partition, topics};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{
    PipelineBench,
    commands::{Fate, Shop},
    done::Done,
    miner::{Mined, Miner},
    plant::Plant,
};
use crate::bench::{
    Latency,
    directory::bytes_below,
    figures::{each, per_second, ratio, seconds},
    usage,
};

/// The longest time without any progress.
const STUCK_AFTER: Duration = Duration::from_secs(60);
/// How often it is looked at whether parts still run.
const LOOK: Duration = Duration::from_millis(200);

/// How fast payments are created.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// As fast as there is room for them.
    Fast,
    /// So many a second.
    Rate(u64),
}

/// What a number of payments took.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) payments: u64,
    /// Payments a second that were asked for, where there was a pace.
    pub(crate) rate: Option<u64>,
    pub(crate) seconds: f64,
    pub(crate) payments_per_second: f64,
    /// From the append of the confirming block to the committed row.
    pub(crate) block_to_row: Latency,
    /// From the append of a command to its synced answer.
    pub(crate) create_to_reply: Latency,
    pub(crate) cpu_seconds: f64,
    pub(crate) cpu_micros_each: f64,
    /// Cores of the machine that were busy on average, with whatever; the servers of a cluster on it are among that.
    pub(crate) busy_cores: f64,
    /// Processor seconds by kind of thread.
    pub(crate) cpu_by_thread: BTreeMap<String, f64>,
    /// Records a second, by topic.
    pub(crate) records_per_second: BTreeMap<String, f64>,
    pub(crate) records_each: f64,
    pub(crate) syncs_per_second: f64,
    pub(crate) sync_mean_ms: f64,
    /// By how much the files have grown, for each payment.
    pub(crate) disk_bytes_each: f64,
    /// Bytes handed to the disk, for each payment.
    pub(crate) written_bytes_each: f64,
    pub(crate) resident_mib: u64,
}

impl Measured {
    /// Half of the payments a second, for a measurement that is to have room.
    pub(super) fn half_of_its_rate(&self) -> u64 {
        let millis = Duration::from_secs_f64(self.seconds.max(0.001)).as_millis();
        u64::try_from(u128::from(self.payments) * 500 / millis.max(1)).unwrap_or(u64::MAX)
    }
}

/// The merchants, the chain and those who wait, over all measurements of a run.
pub(super) struct Course<'p> {
    plant: &'p Plant,
    directory: PathBuf,
    shop: Arc<Shop>,
    done: Arc<Done>,
    workers: JoinSet<anyhow::Result<()>>,
    created: u64,
    open: u64,
}

/// The counters at one moment.
struct Snapshot {
    at: Instant,
    cpu: Duration,
    machine: Duration,
    threads: BTreeMap<String, Duration>,
    records: BTreeMap<&'static str, u64>,
    syncs: Syncs,
    disk: u64,
    written: u64,
}

impl<'p> Course<'p> {
    pub(super) fn new(plant: &'p Plant, bench: &PipelineBench, directory: &Path) -> Self {
        let (shop, mined) = (Shop::new(plant, bench.in_flight), Mined::default());
        let confirmations = bench.chain.confirmations;
        let done = Done::new(Arc::clone(&shop), mined.clone(), confirmations, plant.progress.clone());
        let mut workers = JoinSet::new();
        let most = usize::try_from(bench.in_flight).unwrap_or(usize::MAX).clamp(1, 1 << 20);
        let (deposits, received) = mpsc::channel(most);
        workers.spawn(Miner::new(plant.publisher(), bench.chain, mined).run(received));
        workers.spawn(Arc::clone(&shop).read_replies(plant.shared_log(), deposits));
        for number in 0..topics::PAYMENTS_EVENTS.partitions {
            workers.spawn(Arc::clone(&done).follow(plant.shared_log(), Partition(number)));
        }
        Self { plant, directory: directory.to_owned(), shop, done, workers, created: 0, open: 0 }
    }

    /// Payments made so far.
    pub(super) const fn payments(&self) -> u64 {
        self.created
    }

    /// Those of them that nobody pays.
    pub(super) const fn open(&self) -> u64 {
        self.open
    }

    /// Makes payments that stay open; returns how many a second, until they are in SQL.
    pub(super) async fn open_more(&mut self, payments: u64, bar: ProgressBar) -> anyhow::Result<f64> {
        let (began, target) = (Instant::now(), self.created + payments);
        self.create(payments, Fate::StaysOpen, Pace::Fast, &bar).await?;
        let answers = self.shop.answers();
        self.reach(answers, target, &bar).await?;
        while let Some(reads) = &self.plant.reads {
            if reads.counts().await?.payments >= target {
                break;
            }
            self.look().await?;
        }
        self.open += payments;
        self.shop.take_answered();
        Ok(per_second(payments, began.elapsed()))
    }

    /// Makes payments, has them paid, and waits until all are in SQL.
    pub(super) async fn measure(
        &mut self,
        payments: u64,
        pace: Pace,
        bar: ProgressBar,
    ) -> anyhow::Result<Measured> {
        let done = self.done.count();
        let target = *done.borrow() + payments;
        let before = self.snapshot().await?;
        self.create(payments, Fate::IsPaid, pace, &bar).await?;
        self.reach(done, target, &bar).await?;
        let after = self.snapshot().await?;
        let rate = match pace {
            Pace::Fast => None,
            Pace::Rate(rate) => Some(rate),
        };
        Ok(self.measured(payments, rate, &before, &after))
    }

    async fn create(
        &mut self,
        payments: u64,
        fate: Fate,
        pace: Pace,
        bar: &ProgressBar,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        for number in 0..payments {
            if let Pace::Rate(rate) = pace {
                let due = began + Duration::from_nanos(number.saturating_mul(1_000_000_000) / rate.max(1));
                tokio::time::sleep_until(due.into()).await;
            }
            let created = Arc::clone(&self.shop).create(self.created + number, fate, self.plant.is_shared());
            tokio::select! {
                biased;
                created = created => created?,
                ended = self.workers.join_next() => return failure(ended),
                () = tokio::time::sleep(STUCK_AFTER) => {
                    self.plant.check()?;
                    anyhow::bail!("nothing went on for {} s", STUCK_AFTER.as_secs());
                }
            }
            if number % 512 == 0 {
                bar.set_position(number / 2);
            }
        }
        self.created += payments;
        Ok(())
    }

    /// Waits until a count is reached, as long as it grows.
    async fn reach(
        &mut self,
        mut count: watch::Receiver<u64>,
        target: u64,
        bar: &ProgressBar,
    ) -> anyhow::Result<()> {
        let (mut last, mut grew) = (*count.borrow_and_update(), Instant::now());
        while last < target {
            tokio::select! {
                changed = count.changed() => changed.context("the benchmark has ended")?,
                looked = self.look() => looked?,
            }
            let now = *count.borrow_and_update();
            if now > last {
                grew = Instant::now();
            }
            last = now;
            bar.set_position(bar.length().unwrap_or(0).saturating_sub(target.saturating_sub(last)));
            anyhow::ensure!(grew.elapsed() < STUCK_AFTER, "{last} of {target} done, and nothing goes on");
        }
        Ok(())
    }

    /// A pause, after which everything must still run.
    async fn look(&mut self) -> anyhow::Result<()> {
        tokio::select! {
            ended = self.workers.join_next() => failure(ended),
            () = tokio::time::sleep(LOOK) => self.plant.check(),
        }
    }

    async fn snapshot(&self) -> anyhow::Result<Snapshot> {
        let (at, machine) = (Instant::now(), usage::machine());
        let others = self.plant.others();
        let mut records = BTreeMap::new();
        for topic in topics::ALL {
            records.insert(topic.name, self.plant.records(topic).await?);
        }
        Ok(Snapshot {
            at,
            cpu: others.iter().fold(usage::cpu(), |sum, process| sum + usage::cpu_of(*process)),
            machine,
            threads: usage::cpu_by_thread(),
            records,
            syncs: self.plant.store.syncs(),
            disk: bytes_below(&self.directory),
            written: others
                .iter()
                .fold(usage::written_bytes(), |sum, process| sum + usage::written_by(*process)),
        })
    }

    fn measured(&self, payments: u64, rate: Option<u64>, before: &Snapshot, after: &Snapshot) -> Measured {
        let took = after.at.saturating_duration_since(before.at);
        let cpu = after.cpu.saturating_sub(before.cpu);
        let mut records: BTreeMap<_, _> = after.records.clone();
        for (topic, count) in &mut records {
            *count -= before.records.get(topic).copied().unwrap_or(0).min(*count);
        }
        let used = |(name, time): (&String, &Duration)| {
            let time = time.saturating_sub(before.threads.get(name).copied().unwrap_or_default());
            (!time.is_zero()).then(|| (name.clone(), seconds(time)))
        };
        let syncs = after.syncs.count.saturating_sub(before.syncs.count);
        let syncing = after.syncs.time.saturating_sub(before.syncs.time);
        Measured {
            payments,
            rate,
            seconds: seconds(took),
            payments_per_second: per_second(payments, took),
            block_to_row: Latency::of(self.done.take_latencies()),
            create_to_reply: Latency::of(self.shop.take_answered()),
            cpu_seconds: seconds(cpu),
            cpu_micros_each: each(u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX), payments),
            busy_cores: ratio(seconds(after.machine.saturating_sub(before.machine)), seconds(took)),
            cpu_by_thread: after.threads.iter().filter_map(used).collect(),
            records_each: each(records.values().sum(), payments),
            records_per_second: rates(&records, took),
            syncs_per_second: per_second(syncs, took),
            sync_mean_ms: each(
                u64::try_from(syncing.as_micros()).unwrap_or(u64::MAX),
                syncs.saturating_mul(1_000),
            ),
            disk_bytes_each: each(after.disk.saturating_sub(before.disk), payments),
            written_bytes_each: each(after.written.saturating_sub(before.written), payments),
            resident_mib: usage::resident_bytes() >> 20,
        }
    }

    /// Ends those who create, pay and wait.
    pub(super) fn stop(mut self) {
        self.workers.abort_all();
    }
}

/// Only topics that were written to.
fn rates(records: &BTreeMap<&'static str, u64>, took: Duration) -> BTreeMap<String, f64> {
    let written = records.iter().filter(|(_, count)| **count > 0);
    written.map(|(topic, count)| ((*topic).to_owned(), per_second(*count, took))).collect()
}

/// None of the workers ends by itself.
fn failure(ended: Option<Result<anyhow::Result<()>, tokio::task::JoinError>>) -> anyhow::Result<()> {
    ended.context("the benchmark has ended")???;
    anyhow::bail!("a part of the benchmark has ended")
}
