//! What is known of one node's conduct, and when it may be asked again. Guarantee: a pure value over the time it is
//! given; a failing node is asked again later and later (doubling, capped, with jitter), a node that serves another
//! chain never; many requests that fail together count as one failure.

use std::time::{Duration, Instant};

use super::rpc::Fault;

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
        self.failures = 0;
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
        if failure.fault == Fault::WrongChain {
            self.refused = Some(failure.error.clone());
        }
        if self.is_pausing(now) {
            return;
        }
        self.last_error = Some(failure.error);
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
    use super::{Asked, Failure, Health, Schedule};
    use crate::chain::rpc::Fault;
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
    fn a_node_of_another_chain_is_never_asked_again() {
        let (now, mut health) = (Instant::now(), Health::default());
        health.failed(now, failure(Asked::Other, Fault::WrongChain), &SCHEDULE, 0);
        health.succeeded(now + Duration::from_secs(1_000));
        assert!(!health.is_usable(now + Duration::from_secs(100_000)) && health.retry_at().is_none());
    }
}
