//! Appending, reading, waiting.

use super::*;

#[tokio::test]
async fn what_is_appended_is_read_back_from_memory_and_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    let log = with_topic(dir.path(), "t", 2).await;
    let appended = append(&log, &at("t", 1), &["a", "b"]).await;
    assert_eq!((appended.base, appended.records), (Offset(0), 2));
    assert_eq!(append(&log, &at("t", 1), &["c"]).await.base, Offset(2));
    assert_eq!(values(&log, &at("t", 1)).await, ["a", "b", "c"]);
    assert_eq!(values(&log, &at("t", 0)).await, Vec::<String>::new());
    drop(log);
    let log = open(dir.path());
    assert_eq!(values(&log, &at("t", 1)).await, ["a", "b", "c"]);
    assert_eq!(read(&log, &at("t", 1), 0).await.unwrap()[2].key, "key");
    assert_eq!(append(&log, &at("t", 1), &["d"]).await.base, Offset(3));
    assert_eq!(values(&log, &at("t", 1)).await, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn a_read_keeps_to_its_limits_but_always_moves() {
    let dir = tempfile::tempdir().unwrap();
    let log = with_topic(dir.path(), "t", 1).await;
    append(&log, &at("t", 0), &["12345", "12345", "12345"]).await;
    for reopened in [false, true] {
        let log = if reopened { drop_and_open(&log, dir.path()).await } else { Arc::clone(&log) };
        for (records, bytes, expected) in [(2, 1_000, 2), (9, 16, 2), (9, 1, 1), (0, 1_000, 0), (9, 1_000, 3)]
        {
            let limit = ReadLimit { records, bytes };
            let read = log.read(&at("t", 0), Offset(0), limit, Visibility::Written).await.unwrap();
            assert_eq!(read.len(), expected, "{limit:?}");
        }
        assert!(read(&log, &at("t", 0), 3).await.unwrap().is_empty());
        assert!(read(&log, &at("t", 0), 99).await.unwrap().is_empty());
    }
}

/// A second log on a copy, since the first is still held by the caller.
async fn drop_and_open(log: &Arc<EmbeddedLog>, path: &Path) -> Arc<EmbeddedLog> {
    log.synced_to(log.synced_position() + 1).await.unwrap();
    let copy = path.join("copy");
    crash_image(&path.join("store"), &copy.join("store"));
    std::fs::copy(path.join("format"), copy.join("format")).unwrap();
    open(&copy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_appenders_leave_no_gap_and_keep_their_batches_together() {
    let dir = tempfile::tempdir().unwrap();
    let log = with_topic(dir.path(), "t", 2).await;
    let writers: Vec<_> =
        (0..8_u16).map(|writer| tokio::spawn(write_batches(Arc::clone(&log), writer))).collect();
    // A reader that follows meanwhile must never see a gap either; `read` fails on one.
    let mut next = 0;
    while next < 8 * 50 * 3 {
        log.wait(&at("t", 0), Offset(next), Visibility::Written).await.unwrap();
        next += u64::try_from(read(&log, &at("t", 0), next).await.unwrap().len()).unwrap();
    }
    for writer in writers {
        writer.await.unwrap();
    }
    for partition in 0..2 {
        let records = read(&log, &at("t", partition), 0).await.unwrap();
        assert_eq!(records.len(), 8 * 50 * 3);
        assert!(records.iter().zip(0..).all(|(record, offset)| record.offset == Offset(offset)));
        assert!(records.chunks(3).all(|batch| batch.iter().all(|record| record.value == batch[0].value)));
    }
}

/// Half of the writers commit to the partitions in the opposite order: that must not deadlock.
async fn write_batches(log: Arc<EmbeddedLog>, writer: u16) {
    for batch in 0..50 {
        let records = vec![record(format!("{writer}/{batch}")); 3];
        let (first, second) = if writer.is_multiple_of(2) { (0, 1) } else { (1, 0) };
        let appends = vec![(at("t", first), records.clone()), (at("t", second), records)];
        log.commit(&super::super::Commit { writes: vec![], appends }).unwrap();
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn synced_readers_see_a_record_only_after_its_sync() {
    let dir = tempfile::tempdir().unwrap();
    let log = with_topic(dir.path(), "t", 1).await;
    let to = at("t", 0);
    let appended = append(&log, &to, &["a"]).await;
    let synced =
        async || log.read(&to, Offset(0), ReadLimit::default(), Visibility::Synced).await.unwrap().len();
    assert_eq!(
        (synced().await, log.synced_end(&to).unwrap(), log.written_end(&to).unwrap()),
        (0, Offset(0), Offset(1))
    );
    let before = log.syncs().count;
    log.synced(&appended).await.unwrap();
    assert_eq!(log.syncs().count, before + 1);
    assert_eq!((synced().await, log.synced_end(&to).unwrap()), (1, Offset(1)));
    assert_eq!(log.bounds(&to, Visibility::Synced).await.unwrap().records(), 1);
    append(&log, &to, &["b"]).await;
    assert_eq!(synced().await, 1);
    // Waiting for it asks for the sync.
    log.wait(&to, Offset(1), Visibility::Synced).await.unwrap();
    assert_eq!(synced().await, 2);
}

#[tokio::test]
async fn unsynced_data_is_synced_after_the_interval_though_nobody_waits() {
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions { sync_interval: Duration::from_millis(10), ..options(dir.path()) };
    let log = EmbeddedLog::open(options).unwrap();
    log.ensure_topic(&spec("t", 1)).await.unwrap();
    let appended = append(&log, &at("t", 0), &["a"]).await;
    let mut synced = log.shared.gate.synced.subscribe();
    synced.wait_for(|position| *position >= appended.position).await.unwrap();
}

#[tokio::test]
async fn records_that_left_memory_are_read_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(EmbeddedOptions { recent_bytes: 2_000, ..options(dir.path()) }).unwrap();
    log.ensure_topic(&spec("t", 2)).await.unwrap();
    for number in 0..100_u32 {
        log.append(&at("t", 0), vec![record(number.to_string())]).await.unwrap();
        log.append(&at("t", 1), vec![record(number.to_string())]).await.unwrap();
    }
    let held: usize = (0..2).map(|p| log.shared.partition(&at("t", p)).unwrap().recent.lock().len()).sum();
    assert!((1..20).contains(&held), "{held}");
    let expected: Vec<String> = (0..100).map(|number: u32| number.to_string()).collect();
    assert_eq!(values(&log, &at("t", 0)).await, expected);
    assert_eq!(values(&log, &at("t", 1)).await, expected);
    assert_eq!(read(&log, &at("t", 1), 99).await.unwrap()[0].value, "99");
}

#[tokio::test]
async fn unknown_places_and_oversized_records_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = with_topic(dir.path(), "t", 2).await;
    assert!(matches!(read(&log, &at("other", 0), 0).await, Err(LogError::UnknownTopic(_))));
    assert!(matches!(
        read(&log, &at("t", 2), 0).await,
        Err(LogError::UnknownPartition { partitions: 2, .. })
    ));
    let large = record(vec![0; super::super::MAX_RECORD_BYTES]);
    let refused = log.append(&at("t", 0), vec![record("small"), large]).await;
    assert!(matches!(refused, Err(LogError::TooLarge { what: "a record", .. })));
    assert_eq!(log.written_end(&at("t", 0)).unwrap(), Offset(0));
}
