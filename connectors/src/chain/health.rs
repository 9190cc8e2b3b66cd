//! What is known of one node's conduct, and when it may be asked again. Guarantee: a pure value over the time it is
//! given; a failing node is asked again later and later (doubling, capped, with jitter), a node that serves another
//! chain never; many requests that fail together count as one failure. Every failure also costs points, a lie the most,
//! which come back with what the node does right: a node whose [`score`](Health::score) is clearly below another's is
//! asked after it, whatever the order of preference.

use std::time::{Duration, Instant};

use alloy_primitives::BlockHash;
use serde::Serialize;

use super::rpc::Fault;
use super::types::BlockId;

/// Pauses between two attempts: `first`, doubled with each failure, never above `longest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// The pause after the first failure.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
}

impl Schedule {
    /// The pause after the given number of failures in a row. `jitter` (any number) takes away up to a quarter of
    /// it, so that many clients of a node do not come back together.
    pub fn pause(&self, failures: u32, jitter: u64) -> Duration {
        let doubled =
            self.first.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
        let pause = doubled.min(self.longest);
        let quarter = u64::try_from(pause.as_nanos() / 4).unwrap_or(u64::MAX);
        pause.saturating_sub(Duration::from_nanos(jitter.checked_rem(quarter).unwrap_or(0)))
    }
}

/// What a node was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A block with its receipts.
    Block,
    /// Its chain, its head, or the block behind a tag.
    Other,
}

/// A node's failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What the node was asked for.
    pub asked: Asked,
    /// What the failure says of it.
    pub fault: Fault,
    /// The failure in words.
    pub error: String,
}

/// How often a node was found wanting, by what it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Marks {
    /// Answers that contradict themselves or are of another block.
    pub lies: u64,
    /// Times it did not have what another had announced.
    pub lags: u64,
    /// Times it was outvoted about a block, or left a branch that is final.
    pub contradictions: u64,
    /// Requests that failed.
    pub errors: u64,
    /// Refusals for the rate.
    pub throttled: u64,
    /// Times another node was asked as well because it took long.
    pub slow: u64,
}

/// The circuit breaker of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Breaker {
    /// It is asked.
    Closed,
    /// It rests after failures and is not asked.
    Open,
    /// It has rested and has to show that it works again.
    HalfOpen,
}

/// Points a node can lose; the score is a tenth of those it has not lost.
const POINTS: u32 = 1_000;
/// Nodes within so much of each other's score are asked in the order of preference.
const SCORE_STEP: u32 = 25;

fn cost(fault: Fault) -> u32 {
    match fault {
        Fault::Lying | Fault::Forked => 400,
        Fault::Rejecting => 150,
        Fault::Unavailable => 80,
        Fault::Lagging => 60,
        Fault::Throttled => 20,
        Fault::WrongChain => POINTS,
    }
}

/// A node's record.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// Failures to answer about the chain, its head or its tags, since it last did.
    pub failures: u32,
    /// Failures to send a block that is believed, since it last did. Counted apart, because a node that lags or lies
    /// answers about its head all the time.
    pub block_failures: u32,
    /// The latest failure in words, cleared when the node works again.
    pub last_error: Option<String>,
    /// The height of the head that the node last reported.
    pub head: Option<u64>,
    /// Set for good when the node serves another chain.
    pub refused: Option<String>,
    /// True once the node said that it serves the right chain; asked anew after each failure, since what stands
    /// behind a URL may have changed.
    pub identified: bool,
    /// What it did wrong since the start.
    pub marks: Marks,
    lost: u32,
    latency: Option<Duration>,
    /// The head with which the node was first found behind others, and when.
    behind: Option<(BlockHash, Instant)>,
    /// When it last answered.
    answered_at: Option<Instant>,
    /// Set while it rests for something that takes its word away: a lie, or a branch below finality.
    discredited: bool,
    /// How often in a row it was not waited for any longer.
    slow_in_a_row: u32,
    retry_at: Option<Instant>,
}

impl Health {
    /// True when the node may be asked now.
    pub fn is_usable(&self, now: Instant) -> bool {
        self.refused.is_none() && !self.is_pausing(now)
    }

    /// When the node may be asked again; `None` when it may be asked now, or never.
    pub fn retry_at(&self) -> Option<Instant> {
        self.retry_at.filter(|_| self.refused.is_none())
    }

    /// 100 for a node that did nothing wrong of late, 0 for the worst.
    pub fn score(&self) -> u32 {
        POINTS.saturating_sub(self.lost) / 10
    }

    /// Nodes of a lower rank are asked first.
    pub fn rank(&self) -> u32 {
        self.lost / 10 / SCORE_STEP
    }

    /// How long it takes to answer, as a moving average.
    pub fn latency(&self) -> Option<Duration> {
        self.latency
    }

    /// The state of its circuit breaker.
    pub fn breaker(&self, now: Instant) -> Breaker {
        if !self.is_usable(now) {
            return Breaker::Open;
        }
        if self.failures > 0 || self.block_failures > 0 { Breaker::HalfOpen } else { Breaker::Closed }
    }

    /// It answered after so long.
    pub fn answered(&mut self, now: Instant, took: Duration) {
        self.slow_in_a_row = 0;
        self.answered_at = Some(now);
        self.latency = Some(self.latency.map_or(took, |average| (average * 7 + took) / 8));
    }

    /// It did not answer for so long that another node was asked as well.
    /// Says how often in a row that was so.
    pub fn was_slow(&mut self, waited: Duration) -> u32 {
        self.slow_in_a_row = self.slow_in_a_row.saturating_add(1);
        self.marks.slow = self.marks.slow.saturating_add(1);
        self.lose(5);
        let at_least = waited.max(self.latency.unwrap_or_default());
        self.latency = Some(self.latency.map_or(at_least, |average| (average * 7 + at_least) / 8));
        self.slow_in_a_row
    }

    /// More nodes say otherwise than agree with it.
    pub fn was_outvoted(&mut self) {
        self.marks.contradictions = self.marks.contradictions.saturating_add(1);
        self.lose(300);
    }

    /// True when its silence counts: it is no liar, and it answered not longer ago than `absent_after`, or the watch over it
    /// began not longer ago.
    pub fn has_a_say(&self, now: Instant, since: Instant, absent_after: Duration) -> bool {
        let heard = self.answered_at.unwrap_or(since);
        self.refused.is_none() && !self.discredited && now.saturating_duration_since(heard) < absent_after
    }

    /// It reports this head.
    pub fn reports(&mut self, head: BlockId) {
        self.head = Some(head.number);
        if self.behind.is_some_and(|(hash, _)| hash != head.hash) {
            self.behind = None;
        }
    }

    /// It reports this head while another node has a higher one. True when it has done so for longer than the limit: how long
    /// it had been there before says nothing, since a chain may make no block for a while.
    pub fn stands_still(&mut self, head: BlockId, now: Instant, limit: Duration) -> bool {
        self.reports(head);
        let (_, since) = *self.behind.get_or_insert((head.hash, now));
        now.saturating_duration_since(since) >= limit
    }

    /// It is not behind.
    pub fn keeps_up(&mut self) {
        self.behind = None;
    }

    /// It was ahead of all others alone, which an honest node is for moments and a node that invents blocks always.
    pub fn was_ahead_alone(&mut self) {
        self.lose(30);
    }

    fn lose(&mut self, points: u32) {
        self.lost = self.lost.saturating_add(points).min(POINTS);
    }

    fn mark(&mut self, fault: Fault) {
        let marks = &mut self.marks;
        let mark = match fault {
            Fault::Lying | Fault::WrongChain => &mut marks.lies,
            Fault::Lagging => &mut marks.lags,
            Fault::Forked => &mut marks.contradictions,
            Fault::Throttled => &mut marks.throttled,
            Fault::Unavailable | Fault::Rejecting => &mut marks.errors,
        };
        *mark = mark.saturating_add(1);
    }

    fn is_pausing(&self, now: Instant) -> bool {
        self.retry_at.is_some_and(|at| now < at)
    }

    /// True when nothing failed since the node was last asked.
    pub fn is_spotless(&self) -> bool {
        self.identified && self.refused.is_none() && self.failures == 0 && self.block_failures == 0
    }

    /// A request succeeded. One that was on its way when another failed does not end the pause.
    pub fn succeeded(&mut self, now: Instant) {
        if self.is_pausing(now) {
            return;
        }
        self.lost = self.lost.saturating_sub(self.lost / 64 + 1);
        self.failures = 0;
        self.discredited = false;
        self.retry_at = None;
        if self.block_failures == 0 {
            self.last_error = None;
        }
    }

    /// A block of the node was verified: it is honest again.
    pub fn verified(&mut self, now: Instant) {
        if !self.is_pausing(now) {
            self.block_failures = 0;
        }
        self.succeeded(now);
    }

    /// A request failed.
    pub fn failed(&mut self, now: Instant, failure: Failure, schedule: &Schedule, jitter: u64) {
        self.identified = false;
        self.mark(failure.fault);
        if failure.fault == Fault::WrongChain {
            self.refused = Some(failure.error.clone());
        }
        if self.is_pausing(now) {
            return;
        }
        self.last_error = Some(failure.error);
        self.lose(cost(failure.fault));
        self.discredited = matches!(failure.fault, Fault::Lying | Fault::Forked);
        let count = match failure.asked {
            Asked::Block => &mut self.block_failures,
            Asked::Other => &mut self.failures,
        };
        *count = count.saturating_add(1);
        let pause = match failure.fault {
            // Each of its blocks is right in itself, so nothing else would make it rest for longer.
            Fault::Forked => schedule.longest,
            _ => schedule.pause(*count, jitter),
        };
        self.retry_at = now.checked_add(pause);
    }
}

#[cfg(test)]
mod tests {
    use super::{Asked, Breaker, Failure, Health, Schedule};
    use crate::chain::{rpc::Fault, types::BlockId};
    use alloy_primitives::keccak256;
    use std::time::{Duration, Instant};

    const SCHEDULE: Schedule =
        Schedule { first: Duration::from_millis(100), longest: Duration::from_secs(60) };

    fn failure(asked: Asked, fault: Fault) -> Failure {
        Failure { asked, fault, error: "error".into() }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_jitter_only_shortens() {
        let pauses: Vec<_> = [1, 2, 5, 11, 40, u32::MAX].map(|n| SCHEDULE.pause(n, 0).as_millis()).into();
        assert_eq!(pauses, [100, 200, 1_600, 60_000, 60_000, 60_000]);
        for jitter in [1, 7_777_777, u64::MAX] {
            let pause = SCHEDULE.pause(3, jitter);
            assert!(pause > Duration::from_millis(300) && pause <= Duration::from_millis(400), "{pause:?}");
        }
    }

    #[test]
    fn failures_that_come_together_count_once() {
        let (now, mut health) = (Instant::now(), Health::default());
        for _ in 0..16 {
            health.failed(now, failure(Asked::Other, Fault::Unavailable), &SCHEDULE, 0);
        }
        assert_eq!(health.failures, 1);
        assert!(!health.is_usable(now) && health.is_usable(now + Duration::from_millis(100)));
    }

    #[test]
    fn a_node_whose_head_works_and_whose_blocks_lie_pauses_longer_each_time() {
        let (mut now, mut health) = (Instant::now(), Health::default());
        let mut pauses = Vec::new();
        for _ in 0..4 {
            health.succeeded(now);
            health.failed(now, failure(Asked::Block, Fault::Lying), &SCHEDULE, 0);
            let until = health.retry_at().unwrap();
            pauses.push((until - now).as_millis());
            now = until;
        }
        assert_eq!(pauses, [100, 200, 400, 800]);
        assert_eq!(health.last_error.as_deref(), Some("error"));
        health.verified(now);
        assert_eq!((health.block_failures, health.last_error), (0, None));
    }

    #[test]
    fn a_lie_costs_the_place_in_the_row_and_honest_answers_give_it_back() {
        let (mut now, mut health) = (Instant::now(), Health::default());
        health.failed(now, failure(Asked::Other, Fault::Unavailable), &SCHEDULE, 0);
        assert_eq!((health.score(), health.rank()), (92, 0), "one failure is nothing");
        now += Duration::from_secs(100);
        health.failed(now, failure(Asked::Block, Fault::Lying), &SCHEDULE, 0);
        assert_eq!((health.score(), health.rank(), health.marks.lies), (52, 1, 1));
        assert_eq!(health.breaker(now), Breaker::Open);
        now += Duration::from_secs(100);
        assert_eq!(health.breaker(now), Breaker::HalfOpen);
        (0..100).for_each(|_| health.verified(now));
        assert_eq!((health.rank(), health.breaker(now), health.marks.lies), (0, Breaker::Closed, 1));
    }

    #[test]
    fn a_node_stands_still_when_it_stays_behind_others_and_not_when_the_chain_does() {
        let (start, limit) = (Instant::now(), Duration::from_secs(30));
        let at = |seconds| start + Duration::from_secs(seconds);
        let head = |number: u64| BlockId {
            number,
            hash: keccak256(number.to_be_bytes()),
            parent: keccak256(number.wrapping_sub(1).to_be_bytes()),
        };
        let mut health = Health::default();
        health.reports(head(9));
        assert!(!health.stands_still(head(9), at(1_000), limit), "nobody was ahead of it until now");
        assert!(!health.stands_still(head(9), at(1_029), limit));
        assert!(health.stands_still(head(9), at(1_030), limit));
        assert!(!health.stands_still(head(10), at(1_031), limit), "it moves");
        health.keeps_up();
        assert!(!health.stands_still(head(10), at(2_000), limit), "it was with the others meanwhile");
    }

    #[test]
    fn a_node_of_another_chain_is_never_asked_again() {
        let (now, mut health) = (Instant::now(), Health::default());
        health.failed(now, failure(Asked::Other, Fault::WrongChain), &SCHEDULE, 0);
        health.succeeded(now + Duration::from_secs(1_000));
        assert!(!health.is_usable(now + Duration::from_secs(100_000)) && health.retry_at().is_none());
    }
}
