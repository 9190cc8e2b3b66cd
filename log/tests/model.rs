//! Random sequences of operations on the embedded log, compared with a few lines of plain vectors.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of a test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use streambook_log::embedded::{Commit, EmbeddedLog, EmbeddedOptions, StateWrite};
use streambook_log::{
    Log, LogError, NewRecord, Offset, Partition, ReadLimit, Retention, TopicName, TopicPartition, TopicSpec,
    Visibility,
};

const PARTITIONS: u16 = 3;

#[derive(Debug, Clone)]
enum Step {
    Append { partition: u16, values: Vec<Vec<u8>> },
    Commit { writes: Vec<(u8, Option<u8>)>, appends: Vec<(u16, Vec<Vec<u8>>)> },
    Read { partition: u16, from: u64, records: usize },
    Trim { partition: u16, before: u64 },
    Reopen,
}

#[derive(Default)]
struct Model {
    /// Every value ever appended, and the first offset.
    partitions: BTreeMap<u16, (Vec<Vec<u8>>, u64)>,
    state: BTreeMap<u8, u8>,
}

fn values() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..6)
}

fn step() -> impl Strategy<Value = Step> {
    let partition = 0..PARTITIONS;
    let write = (0..6_u8, any::<Option<u8>>());
    prop_oneof![
        4 => (partition.clone(), values()).prop_map(|(partition, values)| Step::Append { partition, values }),
        4 => (prop::collection::vec(write, 0..5), prop::collection::vec((partition.clone(), values()), 0..4))
            .prop_map(|(writes, appends)| Step::Commit { writes, appends }),
        4 => (partition.clone(), 0..40_u64, 0..12_usize)
            .prop_map(|(partition, from, records)| Step::Read { partition, from, records }),
        1 => (partition, 0..30_u64).prop_map(|(partition, before)| Step::Trim { partition, before }),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_what_a_list_per_partition_is(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(&steps));
    }
}

async fn run(steps: &[Step]) {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, mut model) = (open(dir.path()).await, Model::default());
    for step in steps {
        match step {
            Step::Append { partition, values } => append(&log, &mut model, *partition, values).await,
            Step::Commit { writes, appends } => commit(&log, &mut model, writes, appends),
            Step::Read { partition, from, records } => read(&log, &model, *partition, *from, *records).await,
            Step::Trim { partition, before } => trim(&log, &mut model, *partition, *before).await,
            Step::Reopen => {
                drop(log);
                log = open(dir.path()).await;
            }
        }
    }
    drop(log);
    log = open(dir.path()).await;
    compare(&log, &model).await;
}

/// Little memory for recent records, so that reads come from the tables as well.
async fn open(path: &Path) -> Arc<EmbeddedLog> {
    let log =
        EmbeddedLog::open(EmbeddedOptions { recent_bytes: 1_500, ..EmbeddedOptions::new(path) }).unwrap();
    let name = TopicName::new("t").unwrap();
    log.ensure_topic(&TopicSpec { name, partitions: PARTITIONS, retention: Retention::Forever })
        .await
        .unwrap();
    log
}

fn at(partition: u16) -> TopicPartition {
    TopicPartition::new(TopicName::new("t").unwrap(), Partition(partition))
}

fn records(values: &[Vec<u8>]) -> Vec<NewRecord> {
    values.iter().map(|value| NewRecord::new("", value.clone())).collect()
}

async fn append(log: &EmbeddedLog, model: &mut Model, partition: u16, values: &[Vec<u8>]) {
    let appended = log.append(&at(partition), records(values)).await.unwrap();
    let (expected, _) = model.partitions.entry(partition).or_default();
    assert_eq!(appended.base, Offset(u64::try_from(expected.len()).unwrap()));
    expected.extend_from_slice(values);
    log.synced(&appended).await.unwrap();
}

fn commit(
    log: &EmbeddedLog,
    model: &mut Model,
    writes: &[(u8, Option<u8>)],
    appends: &[(u16, Vec<Vec<u8>>)],
) {
    let state = log.state("s").unwrap();
    let write = |(key, value): &(u8, Option<u8>)| StateWrite {
        state: state.clone(),
        key: vec![*key].into(),
        value: value.map(|value| vec![value].into()),
    };
    let commit = Commit {
        writes: writes.iter().map(write).collect(),
        appends: appends.iter().map(|(partition, values)| (at(*partition), records(values))).collect(),
    };
    let committed = log.commit(&commit).unwrap();
    for ((partition, values), base) in appends.iter().zip(&committed.bases) {
        let (expected, _) = model.partitions.entry(*partition).or_default();
        assert_eq!(*base, Offset(u64::try_from(expected.len()).unwrap()));
        expected.extend_from_slice(values);
    }
    for (key, value) in writes {
        match value {
            Some(value) => model.state.insert(*key, *value),
            None => model.state.remove(key),
        };
    }
}

async fn read(log: &EmbeddedLog, model: &Model, partition: u16, from: u64, records: usize) {
    let limit = ReadLimit { records, bytes: usize::MAX };
    let found = log.read(&at(partition), Offset(from), limit, Visibility::Written).await;
    let empty = (Vec::new(), 0);
    let (expected, first) = model.partitions.get(&partition).unwrap_or(&empty);
    if from < *first {
        assert!(matches!(found, Err(LogError::Trimmed { first: said, .. }) if said == Offset(*first)));
        return;
    }
    let expected: Vec<_> = expected.iter().skip(usize::try_from(from).unwrap()).take(records).collect();
    let found = found.unwrap();
    assert_eq!(
        found.iter().map(|record| record.value.to_vec()).collect::<Vec<_>>().iter().collect::<Vec<_>>(),
        expected
    );
    assert!(found.iter().zip(from..).all(|(record, offset)| record.offset == Offset(offset)));
}

async fn trim(log: &EmbeddedLog, model: &mut Model, partition: u16, before: u64) {
    log.trim(&at(partition), Offset(before)).await.unwrap();
    let (values, first) = model.partitions.entry(partition).or_default();
    *first = (*first).max(before.min(u64::try_from(values.len()).unwrap()));
}

async fn compare(log: &EmbeddedLog, model: &Model) {
    for (partition, (_, first)) in &model.partitions {
        read(log, model, *partition, *first, 1_000_000).await;
    }
    let state = log.state("s").unwrap().range(b"", None, 1_000).unwrap();
    let state: Vec<(u8, u8)> = state.iter().map(|(key, value)| (key[0], value[0])).collect();
    assert_eq!(state, model.state.clone().into_iter().collect::<Vec<_>>());
}
