//! Tampering with the log and with the tasks' states.

use std::path::Path;

use bytes::Bytes;
use streambook_log::{
    Log, NewRecord,
    embedded::{Commit, EmbeddedLog, EmbeddedOptions, StateWrite},
};
use streambook_model::{
    codec,
    message::Message,
    meta::Source,
    position::{Offset, TopicPartition},
    topics,
};
use streambook_runtime::store::TaskStore;

use super::{
    difference, verified,
    world::{World, busy, processors, records, tamper},
};
use crate::verify::{
    progress::Silent,
    report::{Difference, Outcome},
};

/// The last record of a partition as it would be encoded without lineage, and its lineage.
async fn last(log: &EmbeddedLog, at: &TopicPartition) -> (NewRecord, Source, u64) {
    let record = records(log, at).await.pop().unwrap();
    let source = codec::decode(&record.value).unwrap().meta().source.clone().unwrap();
    let unstamped = codec::unstamp(&record.value, &source).unwrap();
    (NewRecord::new(record.key, unstamped), source, record.offset.0)
}

async fn append(log: &EmbeddedLog, at: &TopicPartition, record: NewRecord) {
    let appended = log.append(at, vec![record]).await.unwrap();
    log.synced(&appended).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_without_lineage_on_a_topic_of_tasks_is_found() {
    let whole = World::new().await;
    for topic in crate::verify::records::TASKS_ONLY {
        let world = whole.copy();
        let log = world.open();
        let from = busy(&log, topics::LEDGER_TRANSACTIONS).await;
        let (record, ..) = last(&log, &from).await;
        let at = TopicPartition { topic: topic.topic(), partition: streambook_model::position::Partition(0) };
        append(&log, &at, record).await;
        let end = log.written_end(&at).unwrap();
        drop(log);
        let found = difference(&world).await;
        assert!(found.what.contains("no task has sent"), "{found:?}");
        assert_eq!((found.topic.as_deref(), found.offset), (Some(topic.name), Some(end.0 - 1)));
    }
}

/// Whoever can write the log can number and hash as well; what a task never sent is found all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_well_forged_output_is_found_by_the_replay() {
    let world = World::new().await;
    let log = world.open();
    let at = busy(&log, topics::LEDGER_TRANSACTIONS).await;
    let (record, before, offset) = last(&log, &at).await;
    let seq = before.seq + 1;
    let chain = codec::extend_chain(before.chain, seq, &record.value);
    let value = codec::stamp(&record.value, &Source { task: before.task, seq, chain }).unwrap();
    append(&log, &at, NewRecord::new(record.key, value)).await;
    drop(log);
    let found = difference(&world).await;
    assert!(found.what.contains("has never sent it"), "{found:?}");
    assert_eq!(found.topic.as_deref(), Some(topics::LEDGER_TRANSACTIONS.name));
    assert_eq!((found.partition, found.offset), (Some(at.partition.0), Some(offset + 1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_numbered_or_hashed_wrong_is_found() {
    let whole = World::new().await;
    let forge = |change: fn(Source) -> Source, expect: &'static str| {
        let world = whole.copy();
        async move {
            let log = world.open();
            let at = busy(&log, topics::API_REPLIES).await;
            let (record, source, offset) = last(&log, &at).await;
            let value = codec::stamp(&record.value, &change(source)).unwrap();
            append(&log, &at, NewRecord::new(record.key, value)).await;
            drop(log);
            let found = difference(&world).await;
            assert!(found.what.contains(expect), "{found:?}");
            assert_eq!(
                (found.topic.as_deref(), found.offset),
                (Some(topics::API_REPLIES.name), Some(offset + 1))
            );
        }
    };
    forge(|source| source, "not numbered one by one").await;
    forge(|source| Source { seq: source.seq + 1, ..source }, "is not what").await;
    forge(|source| Source { task: "cook/3".into(), ..source }, "a task that does not exist").await;
}

/// The end of a topic is given up and written again with another record, its hashes recomputed.
#[tokio::test(flavor = "multi_thread")]
async fn an_output_replaced_by_another_is_named_with_both_contents() {
    let world = World::without_sql(8).await;
    let log = world.open();
    let at = busy(&log, topics::LEDGER_TRANSACTIONS).await;
    let kept = records(&log, &at).await;
    let (_, source, offset) = last(&log, &at).await;
    let Message::LedgerTransaction(mut forged) = codec::decode(&kept.last().unwrap().value).unwrap() else {
        panic!()
    };
    forged.event = "another money event".into();
    let mut chain = kept.iter().rev().nth(1).map(|record| codec::decode(&record.value).unwrap());
    let before = chain.take().and_then(|message| message.meta().source.clone()).unwrap();
    forged.meta.source = None;
    let unstamped = codec::encode(&forged.into()).unwrap();
    let chain = codec::extend_chain(before.chain, source.seq, &unstamped);
    let value = codec::stamp(&unstamped, &Source { task: source.task, seq: source.seq, chain }).unwrap();
    drop(log);

    let copy = tempfile::tempdir().unwrap();
    let record = NewRecord::new(kept.last().unwrap().key.clone(), value);
    let found = difference_with(&world, copy.path(), (&at, Offset(offset)), record).await;
    assert!(found.what.contains("is not what was recorded"), "{found:?}");
    assert_eq!((found.partition, found.offset), (Some(at.partition.0), Some(offset)));
    assert!(found.found.contains("another money event") && !found.expected.contains("another money event"));
}

/// The running hash does not cover the keys; they are compared all the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_output_under_another_key_is_found() {
    let world = World::without_sql(3).await;
    let log = world.open();
    let at = busy(&log, topics::PAYMENTS_EVENTS).await;
    let record = records(&log, &at).await.remove(0);
    drop(log);
    let copy = tempfile::tempdir().unwrap();
    let other = NewRecord::new("another key", record.value);
    let found = difference_with(&world, copy.path(), (&at, Offset(0)), other).await;
    assert!(
        found.what.contains("is not what was recorded") && found.found.contains("another key"),
        "{found:?}"
    );
}

/// What is found in a copy of the log of which one record is another.
async fn difference_with(
    world: &World,
    copy: &Path,
    at: (&TopicPartition, Offset),
    record: NewRecord,
) -> Difference {
    copy_log(world, copy, at, record).await;
    let log = EmbeddedLog::open(EmbeddedOptions::new(copy)).unwrap();
    let report = crate::verify::verify(log, &processors(), None, &mut Silent).await.unwrap();
    report.first_difference.unwrap()
}

/// Writes every record and every state again, with one record replaced.
async fn copy_log(world: &World, to: &Path, (at, offset): (&TopicPartition, Offset), replacement: NewRecord) {
    let (from, to) = (world.open(), EmbeddedLog::open(EmbeddedOptions::new(to)).unwrap());
    for def in topics::ALL {
        let retention = streambook_log::Retention::Forever;
        let spec = streambook_log::TopicSpec { name: def.topic(), partitions: def.partitions, retention };
        to.ensure_topic(&spec).await.unwrap();
        for number in 0..def.partitions {
            let here = TopicPartition::new(def.topic(), streambook_model::position::Partition(number));
            let other = |record: streambook_log::Record| match (&here, record.offset) == (at, offset) {
                true => replacement.clone(),
                false => NewRecord::new(record.key, record.value),
            };
            let records = records(&from, &here).await.into_iter().map(other).collect();
            to.append(&here, records).await.unwrap();
        }
    }
    for processor in processors() {
        let name = format!("task.{}", processor.name());
        let pairs = from.state(&name).unwrap().range(&[], None, usize::MAX).unwrap();
        let state = to.state(&name).unwrap();
        let write = |(key, value)| StateWrite { state: state.clone(), key, value: Some(value) };
        let commit = Commit { writes: pairs.into_iter().map(write).collect(), appends: Vec::new() };
        to.commit(&commit).unwrap();
    }
}

/// The key of the first stored value of the ledger's accounts, with its value.
fn some_state(log: &EmbeddedLog) -> (Bytes, Bytes) {
    let pairs = log.state("task.book").unwrap().range(&[], None, usize::MAX).unwrap();
    pairs.into_iter().find(|(key, _)| key.get(2).is_some_and(|table| *table >= 200)).unwrap()
}

fn write_state(log: &EmbeddedLog, key: Bytes, value: Option<Bytes>) {
    let state = log.state("task.book").unwrap();
    log.commit(&Commit { writes: vec![StateWrite { state, key, value }], appends: Vec::new() }).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_removed_or_added_state_value_is_found_and_its_key_named() {
    let whole = World::new().await;
    let forge = |change: fn(&EmbeddedLog, Bytes, Bytes) -> Bytes| {
        let world = whole.copy();
        async move {
            let log = world.open();
            let (key, value) = some_state(&log);
            let key = change(&log, key, value);
            drop(log);
            let found = difference(&world).await;
            assert!(found.what.contains("the stored state of book/"), "{found:?}");
            assert!(found.what.contains(&hex::encode(&key[3..])), "{found:?} {}", hex::encode(&key));
        }
    };
    forge(|log, key, value| {
        let mut changed = value.to_vec();
        *changed.last_mut().unwrap() ^= 1;
        write_state(log, key.clone(), Some(changed.into()));
        key
    })
    .await;
    forge(|log, key, _| {
        write_state(log, key.clone(), None);
        key
    })
    .await;
    forge(|log, key, value| {
        let key = Bytes::from([key.as_ref(), b"more"].concat());
        write_state(log, key.clone(), Some(value));
        key
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_states_more_than_its_inbox_holds_is_found() {
    let world = World::new().await;
    let log = world.open();
    let at = busy(&log, topics::BOOK_INBOX).await;
    let end = log.written_end(&at).unwrap();
    let store = TaskStore::open(std::sync::Arc::clone(&log), "book", at.partition);
    store.unwrap().commit(end.plus(2), Vec::new()).unwrap();
    drop(log);
    let found = difference(&world).await;
    assert_eq!((found.what.as_str(), found.offset), ("an inbox has lost records", Some(end.0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trimmed_inbox_is_never_called_right() {
    let world = World::new().await;
    let log = world.open();
    let at = busy(&log, topics::BOOK_INBOX).await;
    log.trim(&at, Offset(1)).await.unwrap();
    drop(log);
    let report = verified(&world).await;
    assert_eq!((report.outcome(), report.outcome().exit_code()), (Outcome::Incomplete, 2), "{report:#?}");
    assert!(report.unverified[0].contains(&format!("book/{}", at.partition)), "{report:#?}");
    assert!(crate::verify::present::text(&report).lines().last().unwrap().starts_with("verify: incomplete"));
}

#[tokio::test(flavor = "multi_thread")]
async fn trimmed_public_topics_are_compared_by_what_is_kept_and_sql_still_in_full() {
    let world = World::new().await;
    let log = world.open();
    for topic in [topics::LEDGER_TRANSACTIONS, topics::PAYMENTS_EVENTS, topics::WEBHOOKS_OUTBOX] {
        log.trim(&busy(&log, topic).await, Offset(2)).await.unwrap();
    }
    log.trim(&busy(&log, topics::REGISTRY_EVENTS).await, Offset(1_000)).await.unwrap();
    drop(log);
    let report = verified(&world).await;
    assert_eq!(report.outcome(), Outcome::Ok, "{report:#?}");
    assert_eq!(report.notes.len(), 4, "{report:#?}");
    tamper(&world.database(), "UPDATE ledger_entries SET amount = amount || '0' WHERE line = 1").await;
    assert!(difference(&world).await.what.starts_with("amount of a row of ledger_entries"));
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_a_task_has_not_taken_yet_are_a_note() {
    let world = World::new().await;
    let log = world.open();
    super::world::trade(&log, 1).await;
    drop(log);
    let report = verified(&world).await;
    assert_eq!(report.outcome(), Outcome::Ok, "{report:#?}");
    assert!(report.notes[0].contains("has not taken the last"), "{report:#?}");
}

/// Flips a byte in each of the log's files in turn, where they hold something of a ledger record.
#[tokio::test(flavor = "multi_thread")]
async fn a_byte_changed_in_the_engines_files_is_found() {
    let world = World::without_sql(3).await;
    let file = std::fs::read_dir(world.path().join("log/store")).unwrap();
    let journal =
        file.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "jnl"));
    let journal = journal.min().unwrap();
    let mut content = std::fs::read(&journal).unwrap();
    let needle = b"usd";
    let at = content.windows(needle.len()).position(|window| window == needle).unwrap();
    content[at] ^= 1;
    std::fs::write(&journal, content).unwrap();
    let report = world.verify_closed().await.unwrap();
    assert_eq!(report.outcome().exit_code(), 1);
    assert!(report.first_difference.as_ref().unwrap().what.contains("damaged"), "{report:?}");
}

/// What nobody can decode is put aside by its task: that is no difference, and the replay puts it aside as well.
#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_record_that_cannot_be_decoded_is_a_note_and_elsewhere_a_difference() {
    let world = World::new().await;
    let log = world.open();
    let inbox = busy(&log, topics::BOOK_INBOX).await;
    append(&log, &inbox, NewRecord::new("key", "no record")).await;
    drop(log);
    world.trade_on(0).await;
    let report = verified(&world).await;
    assert_eq!(report.outcome(), Outcome::Ok, "{report:#?}");
    assert!(report.notes.iter().any(|note| note.contains("cannot be decoded")), "{report:#?}");
    let log = world.open();
    append(&log, &busy(&log, topics::PAYMENTS_EVENTS).await, NewRecord::new("key", "no record")).await;
    drop(log);
    assert!(difference(&world).await.what.contains("cannot be decoded"));
}
