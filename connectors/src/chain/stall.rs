//! Notices that a chain stands still: its head, its `safe` or its `finalized` block has not moved for longer than the
//! operator allows. Guarantee: a pure value over the time it is given. What has never been seen is not missed here (a
//! chain that needs the `finalized` tag and has none is said to be so elsewhere), and a node that answers again and
//! again with the same block does not count as progress.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::types::BlockRef;

/// What stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Moving {
    /// The head.
    Head,
    /// The `safe` block.
    Safe,
    /// The `finalized` block.
    Finalized,
}

impl Moving {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Head, Self::Safe, Self::Finalized];

    /// Its name in alarms and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Safe => "safe",
            Self::Finalized => "finalized",
        }
    }
}

/// Something that stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Stall {
    /// What.
    pub what: Moving,
    /// At which height.
    pub number: u64,
    /// For how long, in seconds.
    pub seconds: u64,
}

/// How long each may stand still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StallLimits {
    /// The head.
    pub head: Duration,
    /// `safe` and `finalized`.
    pub finality: Duration,
}

/// When each last moved.
#[derive(Debug, Clone, Default)]
pub struct Watchdog {
    head: Option<(BlockRef, Instant)>,
    safe: Option<(BlockRef, Instant)>,
    finalized: Option<(BlockRef, Instant)>,
}

impl Watchdog {
    /// Takes note of where something is.
    pub fn note(&mut self, what: Moving, block: BlockRef, now: Instant) {
        let slot = match what {
            Moving::Head => &mut self.head,
            Moving::Safe => &mut self.safe,
            Moving::Finalized => &mut self.finalized,
        };
        if slot.is_none_or(|(known, _)| known != block) {
            *slot = Some((block, now));
        }
    }

    /// What has stood still for too long.
    pub fn stalls(&self, limits: StallLimits, now: Instant) -> Vec<Stall> {
        let watched = [
            (Moving::Head, self.head, limits.head),
            (Moving::Safe, self.safe, limits.finality),
            (Moving::Finalized, self.finalized, limits.finality),
        ];
        watched.into_iter().filter_map(|(what, seen, limit)| stall(what, seen?, limit, now)).collect()
    }
}

fn stall(what: Moving, (block, since): (BlockRef, Instant), limit: Duration, now: Instant) -> Option<Stall> {
    let stood = now.saturating_duration_since(since);
    (stood >= limit).then_some(Stall { what, number: block.number, seconds: stood.as_secs() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::keccak256;

    #[test]
    fn what_does_not_move_in_its_time_is_named_and_what_moves_is_not() {
        let limits = StallLimits { head: Duration::from_secs(60), finality: Duration::from_secs(600) };
        let block = |number: u64| BlockRef { number, hash: keccak256(number.to_be_bytes()) };
        let (start, mut dog) = (Instant::now(), Watchdog::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(dog.stalls(limits, at(10_000)), [], "nothing was ever seen");
        dog.note(Moving::Head, block(9), at(0));
        dog.note(Moving::Finalized, block(3), at(0));
        dog.note(Moving::Head, block(9), at(50));
        assert_eq!(dog.stalls(limits, at(59)), []);
        assert_eq!(dog.stalls(limits, at(61)), [Stall { what: Moving::Head, number: 9, seconds: 61 }]);
        dog.note(Moving::Head, block(10), at(62));
        assert_eq!(dog.stalls(limits, at(63)), []);
        let what: Vec<_> = dog.stalls(limits, at(700)).iter().map(|stall| stall.what).collect();
        assert_eq!(what, [Moving::Head, Moving::Finalized]);
    }
}
