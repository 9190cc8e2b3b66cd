//! Appends and reads that go on while a cluster is in trouble, and what must be true of them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use streambook_log::{
    Log, NewRecord, Offset, ReadLimit, Record, Visibility,
    fluvio::{FluvioLog, Trouble},
};
use tokio::task::JoinHandle;

use crate::world::{PATIENCE, World, at, read_all, within};

/// As long as the trouble says that it may pass.
const SAID_FOR: Duration = Duration::from_secs(30);

/// The server that a trouble says must be stopped and started again.
fn must_rejoin(trouble: &str) -> Option<i32> {
    let (_, rest) = trouble.split_once("stop server ")?;
    rest.split_once(' ')?.0.parse().ok()
}

/// Numbered records that one producer appends to one partition, a few at a time, and a reader that follows them.
pub(crate) struct Load {
    partitions: Vec<Partition>,
    stop: Arc<AtomicBool>,
    logs: [Arc<FluvioLog>; 2],
}

struct Partition {
    number: u16,
    acknowledged: Arc<AtomicU64>,
    followed: Arc<AtomicU64>,
    /// Each number with the offset it was acknowledged at.
    producer: JoinHandle<BTreeMap<u64, Offset>>,
    follower: JoinHandle<Vec<Record>>,
}

impl Load {
    /// One producer and, on another handle, one reader for each partition.
    pub(crate) async fn start(world: &World, partitions: u16) -> Self {
        let (writes, reads) = (world.log().await, world.log().await);
        let stop = Arc::new(AtomicBool::new(false));
        let start = |number| {
            let (acknowledged, followed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
            Partition {
                number,
                producer: tokio::spawn(produce(
                    Arc::clone(&writes),
                    number,
                    Arc::clone(&stop),
                    Arc::clone(&acknowledged),
                )),
                follower: tokio::spawn(follow(
                    Arc::clone(&reads),
                    number,
                    Arc::clone(&stop),
                    Arc::clone(&acknowledged),
                    Arc::clone(&followed),
                )),
                acknowledged,
                followed,
            }
        };
        Self { partitions: (0..partitions).map(start).collect(), stop, logs: [writes, reads] }
    }

    /// Waits until every partition has got this many more records acknowledged, and its reader has read on as well.
    pub(crate) async fn advance(&self, by: u64) {
        let goals: Vec<_> = self.partitions.iter().map(|partition| partition.at() + by).collect();
        for (partition, goal) in self.partitions.iter().zip(goals) {
            let until = Instant::now() + PATIENCE;
            while partition.at() < goal {
                let (number, at, from) = (partition.number, partition.at(), goal - by);
                let is_late = Instant::now() > until;
                assert!(
                    !is_late,
                    "partition {number} is at {at} of {from} to {goal}: {:#?}",
                    self.troubles()
                );
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    /// As [`Load::advance`], and does meanwhile what the troubles say for long: a server that has to rejoin is stopped, and does.
    /// Returns how often that was.
    pub(crate) async fn advance_with_remedy(&self, world: &mut World, by: u64) -> usize {
        let goals: Vec<_> = self.partitions.iter().map(|partition| partition.at() + by).collect();
        let (until, mut said, mut rejoined) = (Instant::now() + 2 * PATIENCE, None, 0);
        while self.partitions.iter().zip(&goals).any(|(partition, goal)| partition.at() < *goal) {
            let troubles = self.troubles();
            assert!(Instant::now() < until, "{troubles:#?}");
            match troubles.iter().find_map(|trouble| must_rejoin(&trouble.error)) {
                None => said = None,
                Some(number) if said.get_or_insert_with(Instant::now).elapsed() > SAID_FOR => {
                    println!("server {number} has to rejoin, as the troubles say");
                    let server = world.cluster.numbered(number);
                    world.cluster.kill(server);
                    println!("{:?}", world.cluster.rejoin(server).await);
                    (said, rejoined) = (None, rejoined + 1);
                }
                Some(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        rejoined
    }

    fn troubles(&self) -> Vec<Trouble> {
        self.logs.iter().flat_map(|log| log.troubles()).collect()
    }

    /// Stops, and checks that nothing that was acknowledged is missing, at the offset that was told, and that whoever followed all the
    /// time has read what is there.
    pub(crate) async fn check(self, world: &World) -> Vec<u64> {
        self.stop.store(true, Relaxed);
        let fresh = world.log().await;
        let mut repeats = Vec::new();
        for partition in self.partitions {
            let acknowledged = within("the producer ends", partition.producer).await.unwrap();
            let followed = within("the reader ends", partition.follower).await.unwrap();
            let there = read_all(&fresh, partition.number).await.unwrap();
            let values =
                |records: &[Record]| records.iter().map(|record| record.value.clone()).collect::<Vec<_>>();
            assert!(values(&there).starts_with(&values(&followed)), "the follower read something else");
            assert!(there.is_sorted_by_key(|record| record.appended_at_ms), "times fall");
            for (number, offset) in &acknowledged {
                let found = &there[usize::try_from(offset.0).unwrap()];
                assert_eq!(found.value.as_ref(), number.to_be_bytes(), "at {offset}");
            }
            repeats.push(in_order(&there, acknowledged.len()));
        }
        repeats
    }
}

impl Partition {
    fn at(&self) -> u64 {
        self.acknowledged.load(Relaxed).min(self.followed.load(Relaxed))
    }
}

/// Checks that each number first appears after the one before it, and says how many are there again.
fn in_order(records: &[Record], acknowledged: usize) -> u64 {
    let (mut next, mut repeats) = (0_u64, 0);
    for record in records {
        let number = u64::from_be_bytes(record.value.as_ref().try_into().unwrap());
        assert!(number <= next, "{number} is there and {next} is missing");
        if number == next {
            next += 1;
        } else {
            repeats += 1;
        }
    }
    assert!(next >= u64::try_from(acknowledged).unwrap(), "{next} of {acknowledged}");
    repeats
}

async fn produce(
    log: Arc<FluvioLog>,
    partition: u16,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
) -> BTreeMap<u64, Offset> {
    let (mut next, mut told) = (0_u64, BTreeMap::new());
    while !stop.load(Relaxed) {
        let numbers = next..next + 1 + next % 7;
        let records =
            numbers.clone().map(|number| NewRecord::new("", number.to_be_bytes().to_vec())).collect();
        let appended = log.append(&at(partition), records).await.unwrap();
        told.insert(next, appended.base);
        next = numbers.end;
        acknowledged.store(next, Relaxed);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    told
}

/// Reads until it is told to stop and has read as many records as were acknowledged.
async fn follow(
    log: Arc<FluvioLog>,
    partition: u16,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    followed: Arc<AtomicU64>,
) -> Vec<Record> {
    let (at, mut records) = (at(partition), Vec::<Record>::new());
    loop {
        let next = Offset(u64::try_from(records.len()).unwrap());
        if stop.load(Relaxed) && next.0 >= acknowledged.load(Relaxed) {
            return records;
        }
        let waited = log.wait(&at, next, Visibility::Synced);
        // Nothing may come any more once it was told to stop.
        let Ok(waited) = tokio::time::timeout(Duration::from_millis(200), waited).await else { continue };
        waited.unwrap();
        let read = log.read(&at, next, ReadLimit::default(), Visibility::Synced).await.unwrap();
        assert!(!read.is_empty(), "nothing at {next} after waiting for it");
        assert!(read.iter().zip(next.0..).all(|(record, offset)| record.offset.0 == offset));
        records.extend(read);
        followed.store(u64::try_from(records.len()).unwrap(), Relaxed);
    }
}
