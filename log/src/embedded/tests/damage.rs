//! Torn ends, flipped bytes, wrong formats, two owners.

use super::*;

/// A log with `a` synced and `b` written after it and not synced, as a crash leaves it.
async fn crashed(dir: &Path) -> (PathBuf, usize, usize) {
    let log = with_topic(&dir.join("live"), "t", 1).await;
    let appended = append(&log, &at("t", 0), &["aaaa"]).await;
    log.synced(&appended).await.unwrap();
    let (_, synced_end) = journal(&dir.join("live"));
    append(&log, &at("t", 0), &["bbbb"]).await;
    let (_, end) = journal(&dir.join("live"));
    crash_image(&dir.join("live"), &dir.join("crash"));
    // Without the allocated zeros, so that the copies made of it are small.
    edit(&journal(&dir.join("crash")).0, |journal| journal.truncate(end));
    (dir.join("crash"), synced_end, end)
}

/// Opens a damaged copy of a crashed log.
fn open_damaged(crash: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Result<Arc<EmbeddedLog>, LogError> {
    let copy = tempfile::tempdir_in(crash.parent().unwrap()).unwrap().keep();
    crash_image(crash, &copy);
    edit(&journal(&copy).0, change);
    EmbeddedLog::open(options(&copy))
}

#[tokio::test]
async fn written_data_survives_the_process_and_unsynced_data_may() {
    let dir = tempfile::tempdir().unwrap();
    let (crash, ..) = crashed(dir.path()).await;
    assert_eq!(values(&open(&crash), &at("t", 0)).await, ["aaaa", "bbbb"]);
}

#[tokio::test]
async fn a_torn_end_is_cut_off_wherever_it_is_torn() {
    let dir = tempfile::tempdir().unwrap();
    let (crash, synced_end, end) = crashed(dir.path()).await;
    for cut in (synced_end..end).step_by(7) {
        let log = open_damaged(&crash, |journal| journal.truncate(cut)).unwrap();
        assert_eq!(values(&log, &at("t", 0)).await, ["aaaa"], "cut at {cut}");
        assert_eq!(append(&log, &at("t", 0), &["c"]).await.base, Offset(1));
    }
}

#[tokio::test]
async fn a_mangled_end_is_cut_off_wherever_it_is_mangled() {
    let dir = tempfile::tempdir().unwrap();
    let (crash, synced_end, end) = crashed(dir.path()).await;
    for byte in (synced_end..end).step_by(5) {
        let log = open_damaged(&crash, |journal| journal[byte] ^= 0x10).unwrap();
        // A last batch whose sequence number is too high is complete and harmless: later ones are numbered after it.
        let is_sequence = (synced_end + 5..synced_end + 13).contains(&byte);
        let found = values(&log, &at("t", 0)).await;
        assert!(found == ["aaaa"] || is_sequence && found == ["aaaa", "bbbb"], "byte {byte}: {found:?}");
        let next = append(&log, &at("t", 0), &["c"]).await;
        assert_eq!(values(&log, &at("t", 0)).await.len(), found.len() + 1, "{next:?}");
    }
    // And the log that was cut goes on like any other.
    let log = open_damaged(&crash, |journal| journal[synced_end + 3] ^= 1).unwrap();
    let path = log.shared.options.path.clone();
    append(&log, &at("t", 0), &["c"]).await;
    drop(log);
    assert_eq!(values(&open(&path), &at("t", 0)).await, ["aaaa", "c"]);
}

#[tokio::test]
async fn damage_in_front_of_synced_data_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (crash, synced_end, _) = crashed(dir.path()).await;
    for byte in (0..synced_end).step_by(11) {
        edit(&journal(&crash).0, |journal| journal[byte] ^= 0x10);
        let before = std::fs::read(journal(&crash).0).unwrap();
        let refused = EmbeddedLog::open(options(&crash));
        assert!(matches!(refused, Err(LogError::DamagedJournal { .. })), "byte {byte}");
        assert!(std::fs::read(journal(&crash).0).unwrap() == before);
        edit(&journal(&crash).0, |journal| journal[byte] ^= 0x10);
    }
    assert_eq!(values(&open(&crash), &at("t", 0)).await, ["aaaa", "bbbb"]);
}

#[tokio::test]
async fn after_a_clean_close_damage_to_the_last_record_is_refused_too() {
    let dir = tempfile::tempdir().unwrap();
    let log = with_topic(dir.path(), "t", 1).await;
    append(&log, &at("t", 0), &["needle"]).await;
    drop(log);
    let (file, _) = journal(dir.path());
    edit(&file, |journal| {
        let at = journal.windows(6).position(|bytes| bytes == b"needle").unwrap();
        journal[at] ^= 1;
    });
    assert!(matches!(EmbeddedLog::open(options(dir.path())), Err(LogError::DamagedJournal { .. })));
}

#[tokio::test]
async fn a_flipped_byte_in_a_table_is_an_error_naming_the_record_and_never_served() {
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(EmbeddedOptions { recent_bytes: 0, ..options(dir.path()) }).unwrap();
    log.ensure_topic(&spec("t", 1)).await.unwrap();
    let noise = |number: u32| {
        (0..64_u32).flat_map(move |i| (number * 64 + i).wrapping_mul(2_654_435_761).to_le_bytes())
    };
    let records = (0..4_000).map(|number| record(noise(number).collect::<Vec<u8>>())).collect();
    log.append(&at("t", 0), records).await.unwrap();
    let state = log.shared.partition(&at("t", 0)).unwrap();
    let keyspace = state.keyspace.get().unwrap().clone();
    keyspace.rotate_memtable_and_wait().unwrap();
    let tables = keyspace.path().join("tables");
    drop((keyspace, state, log));
    let table = std::fs::read_dir(tables).unwrap().next().unwrap().unwrap().path();
    edit(&table, |content| {
        let middle = content.len() / 2;
        content[middle] ^= 1;
    });
    let log = open(dir.path());
    let limit = ReadLimit { records: 10_000, bytes: usize::MAX };
    let refused = log.read(&at("t", 0), Offset(0), limit, Visibility::Written).await.unwrap_err();
    let LogError::CorruptRecord { partition, offset, .. } = refused else { panic!("{refused:?}") };
    assert_eq!(partition, at("t", 0));
    assert!((1_200..2_800).contains(&offset.0), "{offset}");
    // Records before it are still served.
    let limit = ReadLimit { records: 100, bytes: usize::MAX };
    assert_eq!(log.read(&at("t", 0), Offset(0), limit, Visibility::Written).await.unwrap().len(), 100);
}

#[tokio::test]
async fn a_record_that_is_missing_is_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(EmbeddedOptions { recent_bytes: 0, ..options(dir.path()) }).unwrap();
    log.ensure_topic(&spec("t", 1)).await.unwrap();
    for value in ["a", "b", "c"] {
        append(&log, &at("t", 0), &[value]).await;
    }
    let state = log.shared.partition(&at("t", 0)).unwrap();
    state.keyspace.get().unwrap().remove(1_u64.to_be_bytes()).unwrap();
    let refused = read(&log, &at("t", 0), 0).await.unwrap_err();
    assert!(
        matches!(refused, LogError::Gap { expected: Offset(1), found: Some(Offset(2)), .. }),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_directory_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    assert!(matches!(EmbeddedLog::open(options(dir.path())), Err(LogError::InUse { .. })));
    drop(log);
    open(dir.path());
}

#[tokio::test]
async fn an_unknown_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let format = dir.path().join("format");
    let text = std::fs::read_to_string(&format).unwrap();
    std::fs::write(&format, text.replace("log 2 ", "log 3 ")).unwrap();
    assert!(matches!(EmbeddedLog::open(options(dir.path())), Err(LogError::UnknownFormat { known: 2, .. })));
    std::fs::remove_file(&format).unwrap();
    assert!(matches!(EmbeddedLog::open(options(dir.path())), Err(LogError::UnknownFormat { .. })));
    std::fs::write(&format, text).unwrap();
    open(dir.path());
}

#[tokio::test]
async fn an_interrupted_creation_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    std::fs::remove_file(dir.path().join("store/version")).unwrap();
    assert!(matches!(EmbeddedLog::open(options(dir.path())), Err(LogError::Open { .. })), "it has keyspaces");
    std::fs::remove_dir_all(dir.path().join("store/keyspaces")).unwrap();
    std::fs::create_dir(dir.path().join("store/keyspaces")).unwrap();
    open(dir.path());
}

#[tokio::test]
async fn a_store_of_another_format_is_refused_and_its_journals_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let log = with_topic(dir.path(), "t", 1).await;
    append(&log, &at("t", 0), &["a"]).await;
    drop(log);
    let (file, end) = journal(dir.path());
    edit(&file, |journal| journal[end - 1] ^= 1);
    let version = dir.path().join("store/version");
    edit(&version, |content| content[3] += 1);
    let before = std::fs::read(&file).unwrap();
    assert!(matches!(EmbeddedLog::open(options(dir.path())), Err(LogError::Open { .. })));
    assert!(std::fs::read(&file).unwrap() == before);
}
