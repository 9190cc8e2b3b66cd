//! Writers that are faster than the store: they wait for it, and it comes along.

use std::sync::mpsc::sync_channel;

use super::*;
use crate::embedded::{Commit, StateKeyspace, StateWrite};

/// Writers, each with a keyspace of its own.
const WRITERS: usize = 3;
const ROUNDS: usize = 3;
/// More small writes than the store's worker has room for questions.
const WRITES: u32 = 3_000;

fn put(log: &EmbeddedLog, state: &StateKeyspace, key: u32, bytes: usize) {
    let (key, value) = (Bytes::copy_from_slice(&key.to_be_bytes()), Some(Bytes::from(vec![7; bytes])));
    let writes = vec![StateWrite { state: state.clone(), key, value }];
    log.commit(&Commit { writes, appends: Vec::new() }).unwrap();
}

/// Each round has more than a keyspace may hold in memory, which takes the worker a while to write out, and then many small
/// writes, all of which find that it is too much. The store's worker once waited for room in the queue that only it empties.
#[test]
fn writers_that_are_faster_than_the_store_are_not_stopped_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let (done, ended) = sync_channel(WRITERS);
    for writer in 0..WRITERS {
        let (log, done) = (Arc::clone(&log), done.clone());
        std::thread::spawn(move || {
            let state = log.state(&format!("writer-{writer}")).unwrap();
            for _ in 0..ROUNDS {
                put(&log, &state, u32::MAX, 12 << 20);
                (0..WRITES).for_each(|key| put(&log, &state, key, 8));
            }
            done.send(()).unwrap();
        });
    }
    for _ in 0..WRITERS {
        ended.recv_timeout(Duration::from_secs(120)).expect("a writer waits for a store that does nothing");
    }
}
