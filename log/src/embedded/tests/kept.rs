//! What is kept: topics and their identity, trims, retention.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

#[tokio::test]
async fn a_topic_keeps_its_identity_and_its_partitions() {
    let dir = tempfile::tempdir().unwrap();
    let log = with_topic(dir.path(), "t", 4).await;
    let topic = log.topic(&name("t")).await.unwrap();
    assert_eq!(log.ensure_topic(&spec("t", 4)).await.unwrap(), topic);
    let other = log.ensure_topic(&spec("other", 4)).await.unwrap();
    assert_ne!(other.id, topic.id);
    let refused = log.ensure_topic(&spec("t", 5)).await;
    assert!(matches!(refused, Err(LogError::PartitionCount { has: 4, asked: 5, .. })));
    assert!(matches!(log.ensure_topic(&spec("none", 0)).await, Err(LogError::NoPartitions(_))));
    let aged = TopicSpec { retention: Retention::Age { max_ms: 5 }, ..spec("t", 4) };
    assert_eq!(log.ensure_topic(&aged).await.unwrap().retention, aged.retention);
    drop(log);
    let log = open(dir.path());
    let kept = log.topic(&name("t")).await.unwrap();
    assert_eq!((kept.id, kept.retention), (topic.id, aged.retention));
    assert_eq!(log.topics().await.unwrap(), [other, kept]);
}

#[tokio::test]
async fn the_same_data_in_another_topic_made_under_its_name_is_noticed() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, two) = (with_topic(first.path(), "t", 1).await, with_topic(second.path(), "t", 1).await);
    append(&one, &at("t", 0), &["a"]).await;
    append(&two, &at("t", 0), &["a", "b"]).await;
    let stored =
        |log: &EmbeddedLog| log.shared.partition(&at("t", 0)).unwrap().keyspace.get().unwrap().clone();
    let foreign = stored(&one).get(0_u64.to_be_bytes()).unwrap().unwrap();
    stored(&two).insert(0_u64.to_be_bytes(), foreign).unwrap();
    drop(two);
    let two = open(second.path());
    assert!(matches!(read(&two, &at("t", 0), 0).await, Err(LogError::CorruptRecord { .. })));
    assert_eq!(read(&two, &at("t", 0), 1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn trimmed_records_are_gone_and_offsets_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = with_topic(dir.path(), "t", 1).await;
    let to = at("t", 0);
    append(&log, &to, &["a", "b", "c"]).await;
    log.trim(&to, Offset(2)).await.unwrap();
    log.trim(&to, Offset(1)).await.unwrap();
    let refused = read(&log, &to, 1).await;
    assert!(matches!(refused, Err(LogError::Trimmed { asked: Offset(1), first: Offset(2), .. })));
    assert_eq!(read(&log, &to, 2).await.unwrap()[0].value, "c");
    drop(log);
    let log = open(dir.path());
    assert!(matches!(read(&log, &to, 1).await, Err(LogError::Trimmed { first: Offset(2), .. })));
    assert_eq!(read(&log, &to, 2).await.unwrap()[0].value, "c");
    log.trim(&to, Offset(99)).await.unwrap();
    assert_eq!(log.bounds(&to, Visibility::Written).await.unwrap().first, Offset(3));
    drop(log);
    let log = open(dir.path());
    assert_eq!(append(&log, &to, &["d"]).await.base, Offset(3));
    assert_eq!(read(&log, &to, 3).await.unwrap()[0].value, "d");
}

#[tokio::test]
async fn trimming_gives_the_disk_space_back_and_the_end_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let log = with_topic(dir.path(), "t", 1).await;
    let to = at("t", 0);
    let state = log.shared.partition(&to).unwrap();
    for _ in 0..3 {
        log.append(&to, vec![record(vec![7; 10_000]); 20]).await.unwrap();
        state.keyspace.get().unwrap().rotate_memtable_and_wait().unwrap();
    }
    assert!(state.keyspace.get().unwrap().table_count() > 0);
    log.trim(&to, Offset(60)).await.unwrap();
    assert_eq!(state.keyspace.get().unwrap().table_count(), 0);
    drop((state, log));
    assert_eq!(append(&open(dir.path()), &to, &["next"]).await.base, Offset(60));
}

#[tokio::test]
async fn retention_trims_by_age_and_by_bytes_and_never_an_inbox() {
    let dir = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicU64::new(0));
    let clock = {
        let now = Arc::clone(&now);
        Arc::new(move || now.load(Ordering::SeqCst))
    };
    let log = EmbeddedLog::open(EmbeddedOptions { clock, ..options(dir.path()) }).unwrap();
    let retentions = [
        ("inbox", Retention::Forever, 0),
        ("aged", Retention::Age { max_ms: 300 }, 6),
        ("sized", Retention::Bytes { max_per_partition: 25 }, 8),
        ("roomy", Retention::Bytes { max_per_partition: 1_000 }, 0),
    ];
    for (topic, retention, _) in retentions {
        log.ensure_topic(&TopicSpec { retention, ..spec(topic, 1) }).await.unwrap();
    }
    for (topic, ..) in retentions {
        for number in 0..10 {
            now.store(number * 100, Ordering::SeqCst);
            log.append(&at(topic, 0), vec![NewRecord::new("12345", "12345")]).await.unwrap();
        }
    }
    log.enforce_retention(900).unwrap();
    for (topic, ..) in retentions {
        assert_eq!(
            log.bounds(&at(topic, 0), Visibility::Written).await.unwrap().first,
            Offset(0),
            "unsynced: {topic}"
        );
    }
    log.synced_to(log.commit(&super::super::Commit::default()).unwrap().position).await.unwrap();
    log.enforce_retention(900).unwrap();
    for (topic, _, first) in retentions {
        let bounds = log.bounds(&at(topic, 0), Visibility::Written).await.unwrap();
        assert_eq!((bounds.first, bounds.end), (Offset(first), Offset(10)), "{topic}");
    }
}

#[tokio::test]
async fn stamps_never_fall_even_if_the_clock_does() {
    let dir = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicU64::new(1_000));
    let clock = {
        let now = Arc::clone(&now);
        Arc::new(move || now.load(Ordering::SeqCst))
    };
    let log = EmbeddedLog::open(EmbeddedOptions { clock, ..options(dir.path()) }).unwrap();
    log.ensure_topic(&spec("t", 1)).await.unwrap();
    append(&log, &at("t", 0), &["a"]).await;
    now.store(5, Ordering::SeqCst);
    append(&log, &at("t", 0), &["b"]).await;
    let stamps: Vec<u64> =
        read(&log, &at("t", 0), 0).await.unwrap().iter().map(|r| r.appended_at_ms).collect();
    assert_eq!(stamps, [1_000, 1_000]);
}
