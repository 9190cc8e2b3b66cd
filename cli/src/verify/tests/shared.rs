//! A log that many processes share, right and tampered with.

use std::{path::Path, sync::Arc, time::Duration};

use streambook_log::{Log, NewRecord, Record, Retention, TopicSpec, embedded::EmbeddedLog};
use streambook_model::{
    codec,
    message::Message,
    meta::{Meta, Source},
    money::Amount,
    position::{Offset, Partition, TopicPartition},
    records::checkpoint::{Checkpoint, CheckpointInput, CheckpointSource},
    time::Timestamp,
    topics,
};
use streambook_sinks::sql::SqlConfig;

use super::{
    cluster::{Cluster, copy_with, forged, same, source},
    world::{self, MERCHANTS, PAYMENTS, busy, processors, records, tamper},
};
use crate::verify::{
    Asked,
    mirror::Patience,
    progress::{Progress, Silent, Stage},
    report::{Difference, Outcome, Report},
    verify_as,
};

/// Nothing is under way here, so there is nothing to wait for.
const SHORT: Patience = Patience { settle: Duration::ZERO, arrival: Duration::from_millis(300) };

async fn verified(log: &Arc<EmbeddedLog>, sql: Option<&SqlConfig>) -> Report {
    let log = Arc::<EmbeddedLog>::clone(log);
    verify_as(Asked::Shared(log, SHORT), &processors(), sql, &mut Silent).await.unwrap()
}

/// What is found where one partition holds something else.
async fn found(
    cluster: &Cluster,
    at: &TopicPartition,
    change: impl Fn(Vec<Record>) -> Vec<NewRecord>,
) -> Difference {
    let directory = tempfile::tempdir().unwrap();
    let log = copy_with(&cluster.log, (directory.path(), at), change).await;
    let report = verified(&log, None).await;
    assert_eq!(report.outcome(), Outcome::Differs, "{report:#?}");
    report.first_difference.unwrap()
}

/// Where a partition has the record of this number, as a receiver takes it.
fn place(records: &[Record], number: u64) -> Offset {
    let mut last = 0;
    for record in records {
        if source(record).seq == last + 1 {
            last += 1;
        }
        if last == number {
            return record.offset;
        }
    }
    panic!("there is no number {number}");
}

fn is_at(found: &Difference, at: &TopicPartition, offset: Offset) {
    let place = (found.topic.as_deref(), found.partition, found.offset);
    assert_eq!(place, (Some(at.topic.as_str()), Some(at.partition.0), Some(offset.0)), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_log_is_right_with_everything_in_it_and_in_sql() {
    let mut cluster = Cluster::new().await;
    cluster.receive_noise().await;
    let report = verified(&cluster.log, Some(&cluster.sql())).await;
    assert_eq!(report.outcome(), Outcome::Ok, "{report:#?}");
    let counts = report.counts;
    assert_eq!((counts.tasks, counts.payments, counts.books), (49, PAYMENTS, MERCHANTS), "{counts:?}");
    let least = counts.transactions + counts.entries + 2 * counts.payments;
    assert!(counts.transactions >= 2 * PAYMENTS && counts.sql_rows > least, "{counts:?}");
    assert!(counts.outputs > counts.payments && counts.state_keys == 0, "{counts:?}");
    let notes = report.notes.join("\n");
    assert!(notes.contains("were sent again") && notes.contains("came before one"), "{notes}");
    assert!(notes.contains("cannot be decoded") && notes.contains("states are in"), "{notes}");
    assert!(!notes.contains("not in the log yet") && report.unverified.is_empty(), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_has_not_sent_yet_is_a_note() {
    let (cluster, directory) = (Cluster::new().await, tempfile::tempdir().unwrap());
    let at = busy(&cluster.log, topics::LEDGER_TRANSACTIONS).await;
    let log = copy_with(&cluster.log, (directory.path(), &at), |records| {
        let last = records.iter().map(|record| source(record).seq).max();
        records.into_iter().filter(|record| Some(source(record).seq) != last).map(same).collect()
    });
    let log = log.await;
    let report = verified(&log, None).await;
    assert_eq!(report.outcome(), Outcome::Ok, "{report:#?}");
    assert!(
        report.notes.iter().any(|note| note.starts_with("1 outputs were not in the log yet")),
        "{report:#?}"
    );
    // A row that is made of it is of a record that the log does not have.
    let report = verified(&log, Some(&cluster.sql())).await;
    let found = report.first_difference.unwrap();
    assert!(found.what.contains("is past the records"), "{found:#?}");
}

/// A process says that a receiver has taken so many records of a task there, and is so far itself.
async fn say(log: &EmbeddedLog, receiver: &str, at: &TopicPartition, next: u64, source: Option<Source>) {
    let spec = TopicSpec {
        name: topics::CHECKPOINTS.topic(),
        partitions: topics::CHECKPOINTS.partitions,
        retention: Retention::Forever,
    };
    log.ensure_topic(&spec).await.unwrap();
    let now = Timestamp::from_millis(1);
    let meta = Meta {
        source: None,
        id: "word".into(),
        occurred_at: now,
        recorded_at: now,
        cause: None,
        trace: None,
    };
    let sources = source.into_iter();
    let sources =
        sources.map(|source| CheckpointSource { task: source.task, seq: source.seq, chain: source.chain });
    let input = CheckpointInput {
        topic: at.topic.to_string(),
        partition: at.partition.0,
        next_offset: next,
        sources: sources.collect(),
    };
    let word = Checkpoint {
        meta,
        process: "p".into(),
        address: String::new(),
        receiver: receiver.into(),
        condition: "running".into(),
        reason: None,
        inputs: vec![input],
    };
    let value = codec::encode(&Message::from(word)).unwrap();
    let to = TopicPartition::new(topics::CHECKPOINTS.topic(), Partition(0));
    let said = log.append(&to, vec![NewRecord::new("p", value)]).await.unwrap();
    log.synced(&said).await.unwrap();
}

/// The log without the last record of a task, and that record's lineage.
async fn without_last(
    cluster: &Cluster,
    directory: &Path,
    at: &TopicPartition,
) -> (Arc<EmbeddedLog>, Source) {
    let all = records(&cluster.log, at).await;
    let last = all.iter().map(source).max_by_key(|source| source.seq).unwrap();
    let log = copy_with(&cluster.log, (directory, at), |records| {
        records.into_iter().filter(|record| source(record).seq != last.seq).map(same).collect()
    });
    (log.await, last)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_record_that_somebody_has_taken_is_missed() {
    let (cluster, directory) = (Cluster::new().await, tempfile::tempdir().unwrap());
    let at = busy(&cluster.log, topics::LEDGER_TRANSACTIONS).await;
    let (log, last) = without_last(&cluster, directory.path(), &at).await;
    say(&log, "sql", &at, 1, Some(last.clone())).await;
    let found = verified(&log, None).await.first_difference.unwrap();
    assert_eq!(found.what, format!("a record of {} that sql has taken is missing", last.task), "{found:#?}");
    assert_eq!(found.expected, format!("number {}", last.seq));
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_a_task_has_taken_are_missed_at_the_end_of_its_inbox() {
    let cluster = Cluster::new().await;
    let at = busy(&cluster.log, topics::BOOK_INBOX).await;
    let end = records(&cluster.log, &at).await.len() as u64;
    say(&cluster.log, &format!("book/{}", at.partition), &at, end, None).await;
    assert_eq!(verified(&cluster.log, None).await.outcome(), Outcome::Ok);
    say(&cluster.log, &format!("book/{}", at.partition), &at, end + 1, None).await;
    let found = verified(&cluster.log, None).await.first_difference.unwrap();
    assert_eq!(found.what, "the log has lost records at its end", "{found:#?}");
    is_at(&found, &at, Offset(end));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_and_does_not_come_is_not_claimed_to_be_right() {
    let (cluster, directory) = (Cluster::new().await, tempfile::tempdir().unwrap());
    let at = busy(&cluster.log, topics::LEDGER_TRANSACTIONS).await;
    let (log, last) = without_last(&cluster, directory.path(), &at).await;
    let (receiver, number) = last.task.split_once('/').unwrap();
    assert_eq!(receiver, "book");
    let inbox = TopicPartition::new(topics::BOOK_INBOX.topic(), Partition(number.parse().unwrap()));
    let end = records(&log, &inbox).await.len() as u64;
    say(&log, &last.task, &inbox, end, None).await;
    let report = verified(&log, None).await;
    assert_eq!(report.outcome(), Outcome::Incomplete, "{report:#?}");
    let expected = format!("{at}: outputs of {} up to number {} have been decided", last.task, last.seq);
    assert!(report.unverified.iter().any(|text| text.starts_with(&expected)), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_is_missing_is_found() {
    let cluster = Cluster::new().await;
    for topic in [topics::LEDGER_TRANSACTIONS, topics::PAYMENTS_EVENTS] {
        let at = busy(&cluster.log, topic).await;
        let lineage = records(&cluster.log, &at).await;
        let missing = 4;
        let found = found(&cluster, &at, |records| {
            records.into_iter().filter(|record| source(record).seq != missing).map(same).collect()
        });
        let found = found.await;
        let early = lineage.iter().find(|record| source(record).seq > missing).unwrap().offset;
        let gone = lineage.iter().filter(|record| record.offset < early && source(record).seq == missing);
        assert!(found.what.contains("is missing, and later ones are there"), "{found:#?}");
        assert!(found.expected.starts_with("number 4 "), "{found:#?}");
        is_at(&found, &at, Offset(early.0 - gone.count() as u64));
    }
}

/// The content of a transaction with one amount raised.
fn raised(content: &[u8]) -> Vec<u8> {
    let Message::LedgerTransaction(mut it) = codec::decode(content).unwrap() else { panic!() };
    it.entries[0].amount = Amount::new(it.entries[0].amount.units() + 1).unwrap();
    codec::encode(&it.into()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_amount_is_found_however_well_it_is_hashed() {
    let cluster = Cluster::new().await;
    let at = busy(&cluster.log, topics::LEDGER_TRANSACTIONS).await;
    let original = records(&cluster.log, &at).await;
    let well = found(&cluster, &at, |records| {
        forged(records, |_, contents| {
            let changed = raised(&contents[&4]);
            contents.insert(4, changed);
        })
    });
    let well = well.await;
    assert!(well.what.contains("is not what was recorded") && well.expected != well.found, "{well:#?}");
    is_at(&well, &at, place(&original, 4));
    let badly = found(&cluster, &at, |records| {
        let change = |record: Record| {
            let source = source(&record);
            if source.seq != 4 {
                return same(record);
            }
            let content = raised(&codec::unstamp(&record.value, &source).unwrap());
            NewRecord::new(record.key, codec::stamp(&content, &source).unwrap())
        };
        records.into_iter().map(change).collect()
    });
    let badly = badly.await;
    assert!(badly.what.starts_with("a record is not what book/"), "{badly:#?}");
    is_at(&badly, &at, place(&original, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_outputs_in_each_others_place_are_found() {
    let cluster = Cluster::new().await;
    for topic in [topics::LEDGER_TRANSACTIONS, topics::PAYMENTS_EVENTS] {
        let at = busy(&cluster.log, topic).await;
        let original = records(&cluster.log, &at).await;
        let found = found(&cluster, &at, |records| {
            forged(records, |_, contents| {
                let (fourth, fifth) = (contents.remove(&4).unwrap(), contents.remove(&5).unwrap());
                contents.extend([(4, fifth), (5, fourth)]);
            })
        });
        let found = found.await;
        assert!(found.what.contains("is not what was recorded"), "{found:#?}");
        is_at(&found, &at, place(&original, 4));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_more_than_the_task_has_sent_is_found() {
    let cluster = Cluster::new().await;
    let at = busy(&cluster.log, topics::PAYMENTS_EVENTS).await;
    let end = records(&cluster.log, &at).await.len() as u64;
    let found = found(&cluster, &at, |records| {
        let last = records.iter().max_by_key(|record| source(record).seq).cloned().unwrap();
        let before = source(&last);
        let content = codec::unstamp(&last.value, &before).unwrap();
        let seq = before.seq + 1;
        let chain = codec::extend_chain(before.chain, seq, &content);
        let value = codec::stamp(&content, &Source { task: before.task, seq, chain }).unwrap();
        records.into_iter().map(same).chain([NewRecord::new(last.key, value)]).collect()
    });
    let found = found.await;
    assert!(found.what.contains("has never sent it"), "{found:#?}");
    is_at(&found, &at, Offset(end));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_number_with_two_contents_is_found() {
    let cluster = Cluster::new().await;
    let at = busy(&cluster.log, topics::LEDGER_TRANSACTIONS).await;
    let end = records(&cluster.log, &at).await.len() as u64;
    let found = found(&cluster, &at, |records| {
        let last = records.iter().max_by_key(|record| source(record).seq).cloned().unwrap();
        let before = source(&last);
        let content = raised(&codec::unstamp(&last.value, &before).unwrap());
        let chain = codec::extend_chain(before.chain, before.seq, &content);
        let value = codec::stamp(&content, &Source { chain, ..before }).unwrap();
        records.into_iter().map(same).chain([NewRecord::new(last.key, value)]).collect()
    });
    let found = found.await;
    assert!(found.what.contains("one number twice"), "{found:#?}");
    is_at(&found, &at, Offset(end));
}

/// The tasks have taken another command than the one that is there now.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_record_of_an_inbox_is_found() {
    let cluster = Cluster::new().await;
    let at = busy(&cluster.log, topics::BOOK_INBOX).await;
    let inbox = records(&cluster.log, &at).await;
    let create = |record: &Record| match codec::decode(&record.value) {
        Ok(Message::CreatePayment(create)) => Some(create),
        _ => None,
    };
    let changed = inbox.iter().find(|record| create(record).is_some()).unwrap().offset;
    let found = found(&cluster, &at, |records| {
        let change = |record: Record| match create(&record).filter(|_| record.offset == changed) {
            Some(mut it) => {
                it.amount = Amount::new(it.amount.units() + 1).unwrap();
                NewRecord::new(record.key, codec::encode(&it.into()).unwrap())
            }
            None => same(record),
        };
        records.into_iter().map(change).collect()
    });
    let found = found.await;
    let cause = format!("(of {at} offset {changed}) is not what was recorded");
    assert!(found.what.contains(&cause) && found.offset.is_some(), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_row_of_sql_is_found_with_its_record() {
    let cluster = Cluster::new().await;
    let at = busy(&cluster.log, topics::LEDGER_TRANSACTIONS).await;
    let offset = place(&records(&cluster.log, &at).await, 4);
    let position = (i64::from(at.partition.0) << 48) + i64::try_from(offset.0).unwrap();
    let tampered = async |sql: String, expect: &str| {
        let copy = tempfile::tempdir().unwrap();
        let database = copy.path().join("books.db");
        world::copy_files(cluster.database().parent().unwrap(), copy.path());
        tamper(&database, &sql).await;
        let report = verified(&cluster.log, Some(&SqlConfig::at(&database))).await;
        let found = report.first_difference.unwrap_or_else(|| panic!("{sql} is not found"));
        assert!(found.what.contains(expect), "{sql}: {found:#?}");
        found
    };
    let changed = format!("UPDATE ledger_entries SET amount = amount || '0' WHERE position = {position}");
    is_at(&tampered(changed, "amount of a row of ledger_entries").await, &at, offset);
    let deleted = format!("DELETE FROM ledger_transactions WHERE position = {position}");
    is_at(&tampered(deleted, "a row of ledger_transactions in SQL is missing").await, &at, offset);
    // The second record of every partition is early, and no row is made of it; nor is one of the last, which is a repeat.
    for place in [(i64::from(at.partition.0) << 48) + 1, position_of_last(&cluster, &at).await] {
        let columns = "line, account, asset, amount, balance, version";
        let added = format!(
            "INSERT INTO ledger_entries (position, {columns}) SELECT {place}, {columns} FROM ledger_entries LIMIT 1"
        );
        tampered(added, "a row of ledger_entries in SQL comes from no record").await;
    }
    let states = "UPDATE payments SET status = 'expired'".to_owned();
    tampered(states, "status of a row of payments").await;
    let balance = "UPDATE balances SET balance = '1' WHERE version > 1".to_owned();
    tampered(balance, "balance of a row of balances").await;
    tampered("UPDATE refunds SET amount = '99'".to_owned(), "amount of a row of refunds").await;
    let sources = "UPDATE sink_sources SET seq = seq - 1 WHERE topic = 'ledger.transactions'".to_owned();
    tampered(sources, "seq of a row of sink_sources").await;
}

async fn position_of_last(cluster: &Cluster, at: &TopicPartition) -> i64 {
    let count = records(&cluster.log, at).await.len();
    (i64::from(at.partition.0) << 48) + i64::try_from(count).unwrap() - 1
}

/// Lets tasks and sink go on once the copy is made.
struct GoesOn<'a> {
    cluster: &'a mut Cluster,
    has_gone_on: bool,
}

impl Progress for GoesOn<'_> {
    fn update(&mut self, stage: Stage, _: u64, _: u64) {
        if stage == Stage::Replay && !std::mem::replace(&mut self.has_gone_on, true) {
            let more = self.cluster.trade(PAYMENTS + 30);
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(more));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_goes_on_is_compared_as_far_as_it_stood_and_sql_as_far_as_it_is() {
    let mut cluster = Cluster::new().await;
    let (log, sql) = (Arc::<EmbeddedLog>::clone(&cluster.log), cluster.sql());
    let mut progress = GoesOn { cluster: &mut cluster, has_gone_on: false };
    let asked = Asked::Shared(log, SHORT);
    let report = verify_as(asked, &processors(), Some(&sql), &mut progress).await.unwrap();
    assert!(progress.has_gone_on);
    assert_eq!(report.outcome(), Outcome::Ok, "{report:#?}");
    assert_eq!(report.counts.payments, PAYMENTS);
    let more = verified(&cluster.log, Some(&sql)).await;
    assert_eq!((more.outcome(), more.counts.payments), (Outcome::Ok, PAYMENTS + 30), "{more:#?}");
}
