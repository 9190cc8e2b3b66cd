//! State, and state together with appends.

use super::super::{Commit, StateKeyspace, StateWrite};
use super::*;

fn put(state: &StateKeyspace, key: &'static str, value: &'static str) -> StateWrite {
    StateWrite { state: state.clone(), key: key.into(), value: Some(value.into()) }
}

fn delete(state: &StateKeyspace, key: &'static str) -> StateWrite {
    StateWrite { state: state.clone(), key: key.into(), value: None }
}

fn text(pairs: Vec<(Bytes, Bytes)>) -> Vec<(String, String)> {
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    pairs.into_iter().map(|(key, value)| (text(key), text(value))).collect()
}

#[tokio::test]
async fn state_and_appends_commit_together_and_survive() {
    let dir = tempfile::tempdir().unwrap();
    let log = with_topic(dir.path(), "t", 3).await;
    let (one, two) = (log.state("one").unwrap(), log.state("two").unwrap());
    let committed = log
        .commit(&Commit {
            writes: vec![put(&one, "a", "1"), put(&two, "b", "2")],
            appends: vec![
                (at("t", 2), vec![record("x"), record("y")]),
                (at("t", 0), vec![record("z")]),
                (at("t", 2), vec![record("w")]),
                (at("t", 1), vec![]),
            ],
        })
        .unwrap();
    assert_eq!(committed.bases, [Offset(0), Offset(0), Offset(2), Offset(0)]);
    log.synced_to(committed.position).await.unwrap();
    assert!(log.synced_position() >= committed.position);
    drop((one, two, log));
    let log = open(dir.path());
    assert_eq!(log.state("one").unwrap().get(b"a").unwrap().unwrap(), "1");
    assert_eq!(log.state("two").unwrap().get(b"b").unwrap().unwrap(), "2");
    assert_eq!(values(&log, &at("t", 2)).await, ["x", "y", "w"]);
    assert_eq!(values(&log, &at("t", 0)).await, ["z"]);
}

#[tokio::test]
async fn a_refused_commit_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = with_topic(dir.path(), "t", 1).await;
    let state = log.state("s").unwrap();
    let writes = vec![put(&state, "a", "1")];
    let appends = vec![(at("t", 0), vec![record("x")]), (at("t", 7), vec![record("x")])];
    assert!(matches!(log.commit(&Commit { writes, appends }), Err(LogError::UnknownPartition { .. })));
    let appends = vec![(at("t", 0), vec![record("x")])];
    let refused = log.commit(&Commit { writes: vec![put(&state, "", "1")], appends });
    assert!(matches!(refused, Err(LogError::EmptyStateKey(_))));
    assert_eq!(state.get(b"a").unwrap(), None);
    assert_eq!(log.written_end(&at("t", 0)).unwrap(), Offset(0));
}

#[tokio::test]
async fn of_several_changes_of_one_key_the_last_counts_also_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let state = log.state("s").unwrap();
    let twice = vec![put(&state, "a", "1"), put(&state, "a", "2")];
    let undone = vec![put(&state, "b", "1"), delete(&state, "b")];
    let redone = vec![delete(&state, "c"), put(&state, "c", "3")];
    for writes in [twice, undone, redone] {
        log.commit(&Commit { writes, appends: vec![] }).unwrap();
    }
    let expected = [("a".to_owned(), "2".to_owned()), ("c".to_owned(), "3".to_owned())];
    assert_eq!(text(state.range(b"", None, 9).unwrap()), expected);
    state.keyspace.rotate_memtable_and_wait().unwrap();
    assert_eq!(text(state.range(b"", None, 9).unwrap()), expected);
    drop((state, log));
    let log = open(dir.path());
    assert_eq!(text(log.state("s").unwrap().range(b"", None, 9).unwrap()), expected);
}

#[tokio::test]
async fn scans_are_ordered_bounded_and_limited() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let state = log.state("s").unwrap();
    let writes = ["b2", "a", "b1", "c"].map(|key| put(&state, key, "v")).to_vec();
    log.commit(&Commit { writes, appends: vec![] }).unwrap();
    let keys = |pairs| text(pairs).into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(keys(state.prefix(b"b", 9).unwrap()), ["b1", "b2"]);
    assert_eq!(keys(state.prefix(b"b", 1).unwrap()), ["b1"]);
    assert_eq!(keys(state.range(b"b", Some(b"c"), 9).unwrap()), ["b1", "b2"]);
    assert_eq!(keys(state.range(b"b2", None, 9).unwrap()), ["b2", "c"]);
    assert_eq!(keys(state.range(b"c", Some(b"a"), 9).unwrap()), Vec::<String>::new());
    assert!(matches!(log.state(""), Err(LogError::InvalidStateName(_))));
}
