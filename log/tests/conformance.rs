//! What every engine does, whatever it is built on: the same behaviours on the embedded log and, where its server is at hand,
//! on a Fluvio cluster with one copy and with two.
//!
//! `FLUVIO_RUN` names the program of a server that is started for it, `FLUVIO_ENDPOINT` a cluster that runs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use streambook_fluvio_cluster::{Cluster, Reached};
use streambook_log::{
    Bounds, Log, LogError, NewRecord, Offset, Partition, ReadLimit, Record, Retention, TopicName,
    TopicPartition, TopicSpec, Visibility,
    embedded::{EmbeddedLog, EmbeddedOptions},
    fluvio::{FluvioLog, FluvioOptions},
};

const PATIENCE: Duration = Duration::from_secs(60);
const BOTH: [Visibility; 2] = [Visibility::Written, Visibility::Synced];

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_engine() {
    let folder = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(EmbeddedOptions::new(folder.path())).unwrap();
    all(log).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fluvio_with_one_copy() {
    fluvio(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fluvio_with_two_copies() {
    fluvio(2).await;
}

async fn fluvio(copies: u16) {
    let started = match streambook_fluvio_cluster::endpoint() {
        Some(_) => None,
        None => {
            let Some(program) = streambook_fluvio_cluster::program() else { return };
            Some(Cluster::start(&program, 2, Reached::Directly).await)
        }
    };
    let endpoint = started.as_ref().map(|cluster| cluster.endpoint().to_owned());
    let endpoint = endpoint.or_else(streambook_fluvio_cluster::endpoint).unwrap();
    let options = FluvioOptions { replication: copies, ..FluvioOptions::new(endpoint) };
    all(FluvioLog::connect(options).await.unwrap()).await;
}

async fn all(log: Arc<dyn Log>) {
    topics_are_made_once(&log).await;
    what_does_not_exist_is_said(&log).await;
    what_is_appended_is_read(&log).await;
    limits_hold(&log).await;
    any_bytes_are_kept(&log).await;
    bounds_grow_with_appends(&log).await;
    an_append_of_nothing_changes_nothing(&log).await;
    readers_keep_their_own_places(&log).await;
    whoever_waits_is_woken(&log).await;
    many_partitions_are_waited_for_at_once(&log).await;
    those_who_append_at_once_keep_their_order(&log).await;
    times_never_fall(&log).await;
    trimming_is_done_or_refused(&log).await;
}

/// A topic of this run and of one behaviour.
async fn topic(log: &Arc<dyn Log>, behaviour: &str, partitions: u16) -> TopicName {
    let unique = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let name = TopicName::new(format!("{behaviour}.{unique}")).unwrap();
    within("a topic", log.ensure_topic(&spec(&name, partitions))).await.unwrap();
    name
}

fn spec(name: &TopicName, partitions: u16) -> TopicSpec {
    TopicSpec { name: name.clone(), partitions, retention: Retention::Forever }
}

fn at(name: &TopicName, partition: u16) -> TopicPartition {
    TopicPartition::new(name.clone(), Partition(partition))
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}

async fn append(log: &Arc<dyn Log>, to: &TopicPartition, values: impl IntoIterator<Item = String>) -> Offset {
    let records = values.into_iter().map(|value| NewRecord::new("key", value)).collect();
    let appended = within("an append", log.append(to, records)).await.unwrap();
    within("a sync", log.synced(&appended)).await.unwrap();
    appended.base
}

async fn read(log: &Arc<dyn Log>, from: &TopicPartition, offset: u64, limit: ReadLimit) -> Vec<Record> {
    within("a read", log.read(from, Offset(offset), limit, Visibility::Synced)).await.unwrap()
}

fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8(record.value.to_vec()).unwrap()).collect()
}

async fn topics_are_made_once(log: &Arc<dyn Log>) {
    let name = topic(log, "once", 3).await;
    let first = log.topic(&name).await.unwrap();
    assert_eq!((first.partitions, first.retention, &first.name), (3, Retention::Forever, &name));
    assert_eq!(within("the same", log.ensure_topic(&spec(&name, 3))).await.unwrap(), first);
    let other = log.ensure_topic(&spec(&name, 4)).await;
    assert!(matches!(other, Err(LogError::PartitionCount { has: 3, asked: 4, .. })), "{other:?}");
    let none = log.ensure_topic(&spec(&TopicName::new("none").unwrap(), 0)).await;
    assert!(matches!(none, Err(LogError::NoPartitions(_))), "{none:?}");
    let second = topic(log, "another", 1).await;
    let topics = within("the topics", log.topics()).await.unwrap();
    assert!(topics.contains(&first) && topics.iter().any(|topic| topic.name == second));
    assert!(topics.is_sorted_by(|one, other| one.name < other.name));
    let identities: BTreeSet<_> = topics.iter().map(|topic| topic.id.0).collect();
    assert_eq!(identities.len(), topics.len(), "identities differ");
}

async fn what_does_not_exist_is_said(log: &Arc<dyn Log>) {
    let unknown = TopicName::new("unknown").unwrap();
    assert!(matches!(log.topic(&unknown).await, Err(LogError::UnknownTopic(_))));
    let read = log.read(&at(&unknown, 0), Offset(0), ReadLimit::default(), Visibility::Synced).await;
    assert!(matches!(read, Err(LogError::UnknownTopic(_))), "{read:?}");
    let name = topic(log, "two", 2).await;
    let beyond = at(&name, 2);
    let append = log.append(&beyond, vec![NewRecord::new("", "x")]).await;
    assert!(matches!(append, Err(LogError::UnknownPartition { partitions: 2, .. })), "{append:?}");
    let wait = log.wait(&beyond, Offset(0), Visibility::Synced).await;
    assert!(matches!(wait, Err(LogError::UnknownPartition { .. })), "{wait:?}");
}

async fn what_is_appended_is_read(log: &Arc<dyn Log>) {
    let name = topic(log, "read", 2).await;
    for from in (0..100).step_by(10) {
        let base = append(log, &at(&name, 1), (from..from + 10).map(|number: u64| number.to_string())).await;
        assert_eq!(base, Offset(from));
    }
    let all = read(log, &at(&name, 1), 0, ReadLimit::default()).await;
    assert_eq!(texts(&all), (0..100).map(|number| number.to_string()).collect::<Vec<_>>());
    assert!(
        all.iter().zip(0..).all(|(record, offset)| record.offset == Offset(offset) && record.key == "key")
    );
    assert_eq!(texts(&read(log, &at(&name, 1), 97, ReadLimit::default()).await), ["97", "98", "99"]);
    assert_eq!(read(log, &at(&name, 1), 100, ReadLimit::default()).await, []);
    assert_eq!(read(log, &at(&name, 1), 1_000, ReadLimit::default()).await, []);
    assert_eq!(read(log, &at(&name, 0), 0, ReadLimit::default()).await, [], "another partition");
}

async fn limits_hold(log: &Arc<dyn Log>) {
    let name = topic(log, "limits", 1).await;
    let at = at(&name, 0);
    append(log, &at, (0..10).map(|_| "x".repeat(100))).await;
    let count = async |records, bytes| read(log, &at, 2, ReadLimit { records, bytes }).await.len();
    assert_eq!(count(3, usize::MAX).await, 3);
    assert_eq!(count(100, usize::MAX).await, 8);
    assert_eq!(count(100, 3 * 103).await, 3, "keys count");
    assert_eq!(count(100, 3 * 103 - 1).await, 2);
    assert_eq!(count(100, 1).await, 1, "the first comes whatever its size");
    assert_eq!(count(0, usize::MAX).await, 0);
}

async fn any_bytes_are_kept(log: &Arc<dyn Log>) {
    let name = topic(log, "bytes", 1).await;
    let at = at(&name, 0);
    let every: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = every.iter().copied().cycle().take(5 << 20).collect();
    let records = [(every.clone(), every.clone()), (vec![], vec![]), (vec![0], large), (vec![], vec![0; 3])];
    let appended = records.iter().map(|(key, value)| NewRecord::new(key.clone(), value.clone())).collect();
    within("an append", log.append(&at, appended)).await.unwrap();
    let mut found = Vec::new();
    while found.len() < records.len() {
        let from = u64::try_from(found.len()).unwrap();
        let more = read(log, &at, from, ReadLimit { records: 2, bytes: 1 << 20 }).await;
        found.extend(more.into_iter().map(|record| (record.key.to_vec(), record.value.to_vec())));
    }
    assert_eq!(found, records);
    let too_large = log.append(&at, vec![NewRecord::new("", vec![0; 80 << 20])]).await;
    assert!(matches!(too_large, Err(LogError::TooLarge { .. })), "{:?}", too_large.err());
    assert_eq!(append(log, &at, ["next".to_owned()]).await, Offset(4));
}

async fn bounds_grow_with_appends(log: &Arc<dyn Log>) {
    let name = topic(log, "bounds", 1).await;
    for visibility in BOTH {
        let bounds = within("bounds", log.bounds(&at(&name, 0), visibility)).await.unwrap();
        assert_eq!(bounds, Bounds { first: Offset(0), end: Offset(0) });
    }
    for end in 1..=20 {
        append(log, &at(&name, 0), ["x".to_owned()]).await;
        for visibility in BOTH {
            let bounds = within("bounds", log.bounds(&at(&name, 0), visibility)).await.unwrap();
            assert_eq!(bounds, Bounds { first: Offset(0), end: Offset(end) });
        }
    }
}

async fn an_append_of_nothing_changes_nothing(log: &Arc<dyn Log>) {
    let name = topic(log, "nothing", 1).await;
    append(log, &at(&name, 0), ["one".to_owned()]).await;
    let nothing = within("an append", log.append(&at(&name, 0), Vec::new())).await.unwrap();
    assert_eq!((nothing.base, nothing.records), (Offset(1), 0));
    within("a sync", log.synced(&nothing)).await.unwrap();
    assert_eq!(append(log, &at(&name, 0), ["two".to_owned()]).await, Offset(1));
}

async fn readers_keep_their_own_places(log: &Arc<dyn Log>) {
    let name = topic(log, "places", 1).await;
    let at = at(&name, 0);
    append(log, &at, (0..3_000).map(|number| format!("{number:0500}"))).await;
    // More readers than an engine keeps places for, each going on where it was.
    let mut places: Vec<u64> = (0..8).map(|reader| reader * 300).collect();
    for _ in 0..6 {
        for place in &mut places {
            let records = read(log, &at, *place, ReadLimit { records: 70, bytes: usize::MAX }).await;
            let expected = (*place..).take(records.len());
            assert!(
                texts(&records).iter().zip(expected).all(|(text, number)| *text == format!("{number:0500}"))
            );
            assert!(!records.is_empty() && records[0].offset == Offset(*place));
            *place += u64::try_from(records.len()).unwrap();
        }
    }
}

async fn whoever_waits_is_woken(log: &Arc<dyn Log>) {
    let name = topic(log, "wait", 1).await;
    for (offset, visibility) in BOTH.into_iter().enumerate() {
        let (waits, at) = (Arc::clone(log), at(&name, 0));
        let offset = Offset(u64::try_from(offset).unwrap());
        let waiting = {
            let at = at.clone();
            tokio::spawn(async move { waits.wait(&at, offset, visibility).await })
        };
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!waiting.is_finished(), "there is nothing yet");
        append(log, &at, ["x".to_owned()]).await;
        within("it is woken", waiting).await.unwrap().unwrap();
        within("what is there is not waited for", log.wait(&at, offset, visibility)).await.unwrap();
        assert_eq!(read(log, &at, offset.0, ReadLimit::default()).await.len(), 1);
    }
}

async fn many_partitions_are_waited_for_at_once(log: &Arc<dyn Log>) {
    let name = topic(log, "many", 16).await;
    let all: BTreeMap<_, _> = (0..16).map(|partition| (at(&name, partition), Offset(0))).collect();
    let waiting = {
        let (log, all) = (Arc::clone(log), all.clone());
        tokio::spawn(async move { log.wait_synced(&all).await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished(), "there is nothing yet");
    append(log, &at(&name, 11), ["x".to_owned()]).await;
    within("it is woken", waiting).await.unwrap().unwrap();
    within("what is there is not waited for", log.wait_synced(&all)).await.unwrap();
}

async fn those_who_append_at_once_keep_their_order(log: &Arc<dyn Log>) {
    let name = topic(log, "order", 1).await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8_u64 {
        let (log, at) = (Arc::clone(log), at(&name, 0));
        tasks.spawn(async move {
            for group in 0..25_u64 {
                append(&log, &at, (0..4).map(|number| format!("{task} {}", group * 4 + number))).await;
            }
        });
    }
    within("everybody is done", tasks.join_all()).await;
    let records = read(log, &at(&name, 0), 0, ReadLimit::default()).await;
    assert_eq!(records.len(), 8 * 100);
    let mut next = BTreeMap::new();
    for text in texts(&records) {
        let (task, number) = text.split_once(' ').unwrap();
        let expected: &mut u64 = next.entry(task.to_owned()).or_default();
        assert_eq!(number, expected.to_string(), "of task {task}");
        *expected += 1;
    }
}

async fn times_never_fall(log: &Arc<dyn Log>) {
    let name = topic(log, "times", 1).await;
    for _ in 0..20 {
        append(log, &at(&name, 0), ["x".to_owned(), "y".to_owned()]).await;
    }
    let records = read(log, &at(&name, 0), 0, ReadLimit::default()).await;
    assert!(records.is_sorted_by_key(|record| record.appended_at_ms));
    let now = u64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    assert!(records.iter().all(|record| now.abs_diff(record.appended_at_ms) < 120_000));
}

async fn trimming_is_done_or_refused(log: &Arc<dyn Log>) {
    let name = topic(log, "trim", 1).await;
    let at = at(&name, 0);
    append(log, &at, (0..10).map(|number| number.to_string())).await;
    let first = match log.trim(&at, Offset(4)).await {
        Ok(()) => Offset(4),
        Err(LogError::TrimmedByRetention(partition)) => {
            assert_eq!(partition, at);
            Offset(0)
        }
        Err(error) => panic!("{error:?}"),
    };
    let bounds = log.bounds(&at, Visibility::Synced).await.unwrap();
    assert_eq!(bounds, Bounds { first, end: Offset(10) });
    let below = log.read(&at, Offset(3), ReadLimit::default(), Visibility::Synced).await;
    let is_gone = matches!(below, Err(LogError::Trimmed { asked: Offset(3), .. }));
    assert_eq!(is_gone, first > Offset(3), "{below:?}");
    assert_eq!(read(log, &at, 4, ReadLimit::default()).await.len(), 6);
}
