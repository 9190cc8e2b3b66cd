//! The settings of a topic on the cluster: what it is made with, and whether one that is there would lose data.

use fluvio::metadata::topic::{
    CleanupPolicy, CompressionAlgorithm, SegmentBasedPolicy, TopicSpec as Spec, TopicStorageConfig,
};

use super::requests::LARGEST_ANSWER;
use crate::{LogError, Retention, TopicSpec};

/// A century, in seconds: as far as the engine's retention goes.
const FOREVER_SECONDS: u32 = 100 * 365 * 86_400;
/// More than any disk.
const FOREVER_BYTES: u64 = 1 << 60;
const SEGMENT_BYTES: u32 = LARGEST_ANSWER.unsigned_abs();
/// The shortest retention the engine takes.
const LEAST_SECONDS: u32 = 10;

/// What a topic is made with.
pub(super) fn wanted(spec: &TopicSpec, replication: u16) -> Spec {
    let mut wanted = Spec::new_computed(u32::from(spec.partitions), u32::from(replication), None);
    wanted.set_cleanup_policy(CleanupPolicy::Segment(SegmentBasedPolicy {
        time_in_seconds: least_seconds(spec.retention),
    }));
    wanted.set_storage(TopicStorageConfig {
        segment_size: Some(SEGMENT_BYTES),
        max_partition_size: Some(least_bytes(spec.retention)),
    });
    wanted.set_compression_type(CompressionAlgorithm::None);
    wanted
}

/// How long the engine must keep records, rounded up. It drops whole segments once their newest record is older.
fn least_seconds(retention: Retention) -> u32 {
    match retention {
        Retention::Forever | Retention::Bytes { .. } => FOREVER_SECONDS,
        Retention::Age { max_ms } => {
            u32::try_from(max_ms.div_ceil(1_000)).unwrap_or(u32::MAX).clamp(LEAST_SECONDS, FOREVER_SECONDS)
        }
    }
}

/// How large a partition must be able to grow. What the engine puts around small records can be more than they are, and it drops
/// whole segments.
fn least_bytes(retention: Retention) -> u64 {
    match retention {
        Retention::Forever | Retention::Age { .. } => FOREVER_BYTES,
        Retention::Bytes { max_per_partition } => max_per_partition
            .saturating_mul(4)
            .saturating_add(4 * u64::from(SEGMENT_BYTES))
            .min(FOREVER_BYTES),
    }
}

/// Refuses a topic that is not what is asked for, where the difference would lose records.
pub(super) fn check(found: &Spec, spec: &TopicSpec, replication: u16) -> Result<(), LogError> {
    let has = u16::try_from(found.partitions()).unwrap_or(u16::MAX);
    if has != spec.partitions {
        let topic = spec.name.clone();
        return Err(LogError::PartitionCount { topic, has, asked: spec.partitions });
    }
    match difference(found, spec.retention, replication) {
        None => Ok(()),
        Some((setting, found, wanted)) => Err(LogError::TopicSettings {
            topic: spec.name.clone(),
            setting,
            found: found.into(),
            wanted: wanted.into(),
        }),
    }
}

fn difference(
    found: &Spec,
    retention: Retention,
    replication: u16,
) -> Option<(&'static str, String, String)> {
    let replicas = found.replication_factor().unwrap_or(0);
    if replicas < u32::from(replication) {
        return Some(("replication factor", replicas.to_string(), format!("at least {replication}")));
    }
    let storage = found.get_storage();
    let segment = storage.and_then(|storage| storage.segment_size);
    if segment.is_none_or(|segment| segment > SEGMENT_BYTES) {
        return Some(("segment size", or_default(segment), format!("at most {SEGMENT_BYTES} bytes")));
    }
    if segment.is_some_and(|segment| segment < SEGMENT_BYTES) {
        return Some((
            "segment size",
            or_default(segment),
            format!("{SEGMENT_BYTES} bytes, to hold any record"),
        ));
    }
    let (seconds, least) = (found.retention_secs(), least_seconds(retention));
    if seconds < least {
        return Some(("retention by age", format!("{seconds} s"), format!("at least {least} s")));
    }
    let (bytes, least) = (storage.and_then(|storage| storage.max_partition_size), least_bytes(retention));
    if bytes.is_none_or(|bytes| bytes < least) {
        return Some(("retention by size", or_default(bytes), format!("at least {least} bytes")));
    }
    if !matches!(found.get_compression_type(), CompressionAlgorithm::None | CompressionAlgorithm::Any) {
        let found = format!("{:?}", found.get_compression_type());
        return Some(("compression", found, "None".to_owned()));
    }
    if found.get_deduplication().is_some() {
        return Some(("deduplication", "a filter".to_owned(), "none".to_owned()));
    }
    None
}

fn or_default(setting: Option<impl ToString>) -> String {
    setting.map_or_else(|| "the server's default".to_owned(), |bytes| bytes.to_string())
}

#[cfg(test)]
mod tests {
    use streambook_model::position::TopicName;

    use super::*;

    fn spec(retention: Retention) -> TopicSpec {
        TopicSpec { name: TopicName::new("t").unwrap(), partitions: 3, retention }
    }

    #[test]
    fn what_is_made_is_accepted() {
        let retentions =
            [Retention::Forever, Retention::Age { max_ms: 1_500 }, Retention::Bytes { max_per_partition: 9 }];
        for retention in retentions {
            let spec = spec(retention);
            let made = wanted(&spec, 2);
            assert!(check(&made, &spec, 2).is_ok());
            assert!(check(&made, &spec, 1).is_ok(), "more copies than asked for");
            assert_eq!(made.validate_config(), None);
        }
    }

    #[test]
    fn what_would_lose_records_is_refused_by_name() {
        let spec = spec(Retention::Forever);
        let change = |change: &dyn Fn(&mut Spec)| {
            let mut found = wanted(&spec, 2);
            change(&mut found);
            match check(&found, &spec, 2) {
                Err(LogError::TopicSettings { setting, .. }) => setting,
                other => panic!("{other:?}"),
            }
        };
        let policy = |seconds| CleanupPolicy::Segment(SegmentBasedPolicy { time_in_seconds: seconds });
        let storage =
            |segment_size, max_partition_size| TopicStorageConfig { segment_size, max_partition_size };
        assert_eq!(change(&|found| found.set_cleanup_policy(policy(7 * 86_400))), "retention by age");
        assert_eq!(change(&|found| found.set_storage(storage(None, Some(1 << 60)))), "segment size");
        assert_eq!(change(&|found| found.set_storage(storage(Some(1 << 30), Some(1 << 60)))), "segment size");
        assert_eq!(change(&|found| found.set_storage(storage(Some(1 << 20), Some(1 << 60)))), "segment size");
        assert_eq!(change(&|found| found.set_storage(storage(Some(16 << 20), None))), "retention by size");
        assert_eq!(
            change(&|found| found.set_storage(storage(Some(16 << 20), Some(1 << 30)))),
            "retention by size"
        );
        assert_eq!(change(&|found| found.set_compression_type(CompressionAlgorithm::Zstd)), "compression");
        assert_eq!(
            change(&|found| *found = {
                let mut one = wanted(&spec, 1);
                one.set_system(found.is_system());
                one
            }),
            "replication factor"
        );
        let four = TopicSpec { partitions: 4, ..spec.clone() };
        assert!(matches!(
            check(&wanted(&spec, 2), &four, 2),
            Err(LogError::PartitionCount { has: 3, asked: 4, .. })
        ));
        let shorter = wanted(&TopicSpec { retention: Retention::Age { max_ms: 60_000 }, ..spec.clone() }, 2);
        assert!(check(&shorter, &spec, 2).is_err());
    }
}
