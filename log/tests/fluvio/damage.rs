//! What is stored is not what was appended: a flipped bit, a topic made again under the same name.

use std::path::{Path, PathBuf};

use streambook_fluvio_cluster::Reached;
use streambook_log::{Log, LogError, NewRecord, Offset, ReadLimit, Visibility};

use crate::world::{THERE, World, append, at, read_all, spec, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_a_segment_is_noticed_and_what_is_before_it_is_read() {
    let Some(world) = World::with(1, 1, Reached::Directly).await else { return };
    let log = world.with_topic(1).await;
    for number in 0..100 {
        append(&log, 0, &[&format!("number {number}.")]).await;
    }
    flip(&world.cluster.data(0), b"number 57.");
    let fresh = world.log().await;
    let limit = ReadLimit::default();
    let mut next = Offset(0);
    let error = loop {
        match within("a read", fresh.read(&at(0), next, limit, Visibility::Synced)).await {
            Ok(records) => next = records.last().expect("an error before the end").offset.plus(1),
            Err(error) => break error,
        }
    };
    assert_eq!(next, Offset(57), "everything before it");
    assert!(matches!(&error, LogError::CorruptRecord { offset: Offset(57), .. }), "{error:?}");
    let waited = within("a wait", fresh.wait(&at(0), Offset(57), Visibility::Synced)).await;
    assert!(matches!(waited, Err(LogError::CorruptRecord { .. })), "{waited:?}");
    assert_eq!(append(&log, 0, &["more"]).await, Offset(100), "appends go on");
}

/// Flips a bit of the only place that has these bytes.
fn flip(folder: &Path, bytes: &[u8]) {
    let mut flipped = 0;
    for path in files(folder) {
        let mut content = std::fs::read(&path).unwrap();
        let found: Vec<_> = content
            .windows(bytes.len())
            .enumerate()
            .filter(|(_, part)| *part == bytes)
            .map(|(at, _)| at)
            .collect();
        for at in &found {
            content[*at + 3] ^= 0x04;
        }
        if !found.is_empty() {
            std::fs::write(&path, content).unwrap();
        }
        flipped += found.len();
    }
    assert_eq!(flipped, 1, "the bytes are there once");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_records_that_are_gone_are_noticed_with_one_copy() {
    gone(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_records_that_are_gone_are_noticed_with_two_copies() {
    gone(2).await;
}

/// Every server is set back to what its disk had earlier, as a power cut may do.
async fn gone(copies: u16) {
    let Some(mut world) = World::with(usize::from(copies), copies, Reached::Directly).await else { return };
    let (log, waits) = (world.with_topic(1).await, world.log().await);
    append(&log, 0, &["kept"; 50]).await;
    let saved = tempfile::tempdir().unwrap();
    let servers = 0..world.cluster.servers();
    for server in servers.clone() {
        copy(&world.cluster.data(server), &saved.path().join(server.to_string()));
    }
    append(&log, 0, &["gone"; 50]).await;
    assert_eq!(read_all(&waits, 0).await.unwrap().len(), 100);
    let waiting = tokio::spawn(async move { waits.wait(&at(0), Offset(100), Visibility::Synced).await });
    servers.clone().for_each(|server| world.cluster.kill(server));
    for server in servers.clone() {
        std::fs::remove_dir_all(world.cluster.data(server)).unwrap();
        copy(&saved.path().join(server.to_string()), &world.cluster.data(server));
    }
    servers.for_each(|server| world.cluster.start_again(server));
    let moved_back = |error: &LogError| matches!(error, LogError::EndMovedBack { end: Offset(50), .. });
    let appended = within("an append", log.append(&at(0), vec![NewRecord::new("", "next")])).await;
    assert!(appended.as_ref().is_err_and(moved_back), "{appended:?}");
    let waited = within("the wait ends", waiting).await.unwrap();
    let is_lost = matches!(&waited, Err(LogError::EndMovedBack { seen: Offset(100), end: Offset(50), .. }));
    assert!(is_lost, "{waited:?}");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_again_is_noticed_by_everybody_who_knew_the_old_one() {
    let Some(world) = World::new().await else { return };
    let (old, waits) = (world.with_topic(1).await, world.log().await);
    append(&old, 0, &["one", "two"]).await;
    let waiting = tokio::spawn(async move { waits.wait(&at(0), Offset(2), Visibility::Synced).await });
    let first = old.topic(&spec(1).name).await.unwrap();
    world.cluster.delete_topic(THERE).await;
    let new = world.with_topic(1).await;
    let second = new.topic(&spec(1).name).await.unwrap();
    assert_ne!(first.id, second.id);
    append(&new, 0, &["other one", "other two", "other three"]).await;
    let replaced = |error: &LogError| matches!(error, LogError::TopicReplaced(_) | LogError::UnknownTopic(_));
    let waited = within("the wait ends", waiting).await.unwrap();
    assert!(waited.as_ref().is_err_and(replaced), "{waited:?}");
    let read = within("a read", old.read(&at(0), Offset(2), ReadLimit::default(), Visibility::Synced)).await;
    assert!(read.as_ref().is_err_and(replaced), "{read:?}");
    let asked = old.ensure_topic(&spec(1)).await;
    assert!(asked.as_ref().is_err_and(replaced), "{asked:?}");
    let appended = within("an append", old.append(&at(0), vec![NewRecord::new("", "stray")])).await;
    assert!(appended.as_ref().is_err_and(replaced), "{appended:?}");
    let there = read_all(&new, 0).await.unwrap();
    assert_eq!(there.len(), 3, "nothing of the old one got into the new one");
}
