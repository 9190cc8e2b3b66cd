//! How fast one node is asked. Guarantee: a node that never refused for the rate is not slowed down; one that did is held
//! to half of the rate at which it refused, then to a tenth more with every second in which it does not refuse again.
//! Requests that are refused together count once. A pure value over the time it is given.

use std::time::{Duration, Instant};

/// A rate above this is no limit any more.
const FREE: u32 = 10_000;
/// What the rate is measured and raised in.
const SECOND: Duration = Duration::from_secs(1);

/// A node's pace.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    per_second: Option<u32>,
    /// When the next request may start.
    next: Option<Instant>,
    /// The second that is being counted, and the requests begun in it and in the one before.
    counting: Option<Instant>,
    begun: u32,
    begun_before: u32,
    /// When the rate was last changed.
    changed: Option<Instant>,
}

impl Pace {
    /// The rate that the node is held to, in requests a second.
    pub fn per_second(&self) -> Option<u32> {
        self.per_second
    }

    /// Takes the next place in the row; gives when the request may start.
    pub fn reserve(&mut self, now: Instant) -> Instant {
        let start = self.next.map_or(now, |next| next.max(now));
        self.count(start);
        if let Some(per_second) = self.per_second {
            self.next = start.checked_add(SECOND / per_second.max(1));
        }
        start
    }

    /// The node refused a request for the rate, and may have said when to ask again.
    pub fn throttled(&mut self, now: Instant, retry_after: Option<Duration>) {
        if let Some(rest) = retry_after.and_then(|rest| now.checked_add(rest)) {
            self.next = Some(self.next.map_or(rest, |next| next.max(rest)));
        }
        if self.changed.is_some_and(|changed| now.saturating_duration_since(changed) < SECOND)
            && self.per_second.is_some()
        {
            return;
        }
        let measured = self.begun.max(self.begun_before).max(2);
        let held = self.per_second.map_or(measured, |held| held.min(measured));
        self.per_second = Some((held / 2).max(1));
        self.changed = Some(now);
    }

    /// The node answered.
    pub fn succeeded(&mut self, now: Instant) {
        let Some(per_second) = self.per_second else { return };
        if self.changed.is_some_and(|changed| now.saturating_duration_since(changed) < SECOND) {
            return;
        }
        let raised = per_second.saturating_add((per_second / 10).max(1));
        self.per_second = Some(raised).filter(|raised| *raised < FREE);
        self.changed = Some(now);
    }

    fn count(&mut self, start: Instant) {
        let elapsed = self.counting.map(|counting| start.saturating_duration_since(counting));
        match elapsed {
            Some(elapsed) if elapsed < SECOND => self.begun = self.begun.saturating_add(1),
            _ => {
                let recent = elapsed.is_some_and(|elapsed| elapsed < SECOND * 2);
                self.begun_before = if recent { self.begun } else { 0 };
                (self.counting, self.begun) = (Some(start), 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Pace;

    #[test]
    fn a_node_that_refuses_is_asked_half_as_often_and_then_slowly_more() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        for _ in 0..40 {
            assert_eq!(pace.reserve(start), start, "nothing is slowed down before the node refuses");
        }
        for _ in 0..8 {
            pace.throttled(start, None);
        }
        assert_eq!(pace.per_second(), Some(20), "refusals that come together count once");
        let places: Vec<_> = (0..3).map(|_| pace.reserve(start) - start).collect();
        assert_eq!(places, [0, 50, 100].map(Duration::from_millis));
        let later = start + Duration::from_secs(1);
        pace.succeeded(later);
        pace.succeeded(later);
        assert_eq!(pace.per_second(), Some(22));
    }

    #[test]
    fn a_node_that_says_when_to_ask_again_is_left_alone_until_then() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        pace.throttled(start, Some(Duration::from_secs(7)));
        assert_eq!(pace.reserve(start) - start, Duration::from_secs(7));
        assert_eq!(pace.per_second(), Some(1));
    }

    #[test]
    fn a_rate_that_no_node_reaches_is_no_limit() {
        let (mut now, mut pace) = (Instant::now(), Pace::default());
        pace.throttled(now, None);
        for _ in 0..200 {
            now += Duration::from_secs(1);
            pace.succeeded(now);
        }
        assert_eq!(pace.per_second(), None);
    }
}
