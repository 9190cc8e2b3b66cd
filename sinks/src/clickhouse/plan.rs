//! What is written next: half-open ranges of offsets, stored before any row is inserted. The same plan read from the log
//! again gives the same rows, and its token is the same, so carrying it out twice is carrying it out once.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use streambook_log::TopicId;
use streambook_model::{
    position::{Offset, TopicName, TopicPartition},
    time::Timestamp,
};
use streambook_runtime::sink::Batch;

use super::error::ClickHouseError;

/// The topics' identities: offsets of a topic that was made again mean nothing to the one before.
pub(crate) type TopicIds = BTreeMap<TopicName, TopicId>;

/// Consecutive records of one partition: `first..next`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    /// The partition.
    pub(crate) from: TopicPartition,
    /// The first record.
    pub(crate) first: Offset,
    /// One past the last.
    pub(crate) next: Offset,
}

/// One batch. Batches are numbered from 1, and a plan is stored only after the one before it was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Its number.
    pub(crate) batch: u64,
    /// When it was made: a plan that is made again over emptied tables is another one.
    pub(crate) planned_at: Timestamp,
    /// What it consists of, in the order of the partitions.
    pub(crate) ranges: Vec<Range>,
}

impl Plan {
    /// The plan for a batch that was read from the log.
    pub(crate) fn of(number: u64, planned_at: Timestamp, batch: &Batch) -> Result<Self, ClickHouseError> {
        let range = |(from, first): (&TopicPartition, &Offset)| {
            let next = batch.after.get(from).copied().filter(|next| next > first);
            let contradiction = || ClickHouseError::Contradiction(format!("{from}: a batch without an end"));
            Ok(Range { from: from.clone(), first: *first, next: next.ok_or_else(contradiction)? })
        };
        let ranges = batch.before.iter().map(range).collect::<Result<_, ClickHouseError>>()?;
        Ok(Self { batch: number, planned_at, ranges })
    }

    /// Whether this is the plan for that batch.
    pub(crate) fn is_for(&self, batch: &Batch) -> bool {
        let same = |range: &Range| {
            batch.before.get(&range.from) == Some(&range.first)
                && batch.after.get(&range.from) == Some(&range.next)
        };
        self.ranges.len() == batch.before.len() && self.ranges.iter().all(same)
    }

    /// What the plan's inserts are known by.
    pub(crate) fn token(&self, topics: &TopicIds) -> String {
        let mut hash = Sha256::new();
        hash.update(self.batch.to_be_bytes());
        hash.update(self.planned_at.millis().to_be_bytes());
        for range in &self.ranges {
            let topic = topics.get(&range.from.topic).map_or([0; 16], |id| id.0);
            hash.update(topic);
            hash.update(range.from.partition.0.to_be_bytes());
            hash.update(range.first.0.to_be_bytes());
            hash.update(range.next.0.to_be_bytes());
        }
        hex::encode(hash.finalize().get(..16).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use streambook_model::{position::Partition, topics};

    use super::*;

    fn batch(next: u64) -> Batch {
        let from = TopicPartition::new(topics::PAYMENTS_EVENTS.topic(), Partition(3));
        Batch {
            records: Vec::new(),
            before: BTreeMap::from([(from.clone(), Offset(5))]),
            after: BTreeMap::from([(from, Offset(next))]),
        }
    }

    fn plan(number: u64, millis: i64, next: u64) -> Plan {
        Plan::of(number, Timestamp::from_millis(millis), &batch(next)).unwrap()
    }

    #[test]
    fn a_plan_is_for_its_batch_only() {
        assert!(plan(1, 0, 9).is_for(&batch(9)));
        assert!(!plan(1, 0, 9).is_for(&batch(8)));
    }

    #[test]
    fn the_token_tells_plans_apart_and_is_the_same_for_the_same() {
        let topics = TopicIds::new();
        let token = plan(1, 7, 9).token(&topics);
        assert_eq!(token, plan(1, 7, 9).token(&topics));
        for other in [plan(2, 7, 9), plan(1, 8, 9), plan(1, 7, 10)] {
            assert_ne!(token, other.token(&topics));
        }
        let other = TopicIds::from([(topics::PAYMENTS_EVENTS.topic(), TopicId([1; 16]))]);
        assert_ne!(token, plan(1, 7, 9).token(&other));
    }

    #[test]
    fn a_batch_without_an_end_is_refused() {
        assert!(Plan::of(1, Timestamp::default(), &batch(5)).is_err());
    }
}
