//! How fast a chain is caught up with and how long it will still take. Guarantee: integers only, over the time it is
//! given; the rate is that of the last seconds, not of the whole way, so it follows a node that becomes slower.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Serialize;

/// The time the rate is measured over.
const WINDOW: Duration = Duration::from_secs(15);
/// Samples closer together than this are one.
const SAMPLE: Duration = Duration::from_millis(250);

/// How fast, and how long still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Speed {
    /// Blocks a second.
    pub blocks_per_second: u64,
    /// Seconds until the head is reached, should it stay where it is.
    pub seconds_left: u64,
}

/// Heights and when they were reached.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    samples: VecDeque<(Instant, u64)>,
}

impl Progress {
    /// Takes note of a height that was reached.
    pub fn reached(&mut self, height: u64, now: Instant) {
        if self.samples.back().is_some_and(|(at, _)| now.saturating_duration_since(*at) < SAMPLE) {
            return;
        }
        self.samples.push_back((now, height));
        while self.samples.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > WINDOW) {
            self.samples.pop_front();
        }
    }

    /// The speed towards `to`; `None` before there is enough to tell.
    pub fn speed(&self, to: u64) -> Option<Speed> {
        let ((begun, low), (ended, high)) = (self.samples.front()?, self.samples.back()?);
        let millis = u64::try_from(ended.saturating_duration_since(*begun).as_millis()).ok()?;
        let per_second = high.saturating_sub(*low).saturating_mul(1_000).checked_div(millis)?;
        let left = to.saturating_sub(*high).checked_div(per_second)?;
        Some(Speed { blocks_per_second: per_second, seconds_left: left })
    }

    /// The head was reached: the next way is measured anew.
    pub fn arrived(&mut self) {
        self.samples.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let (start, mut progress) = (Instant::now(), Progress::default());
        assert_eq!(progress.speed(1_000), None);
        for second in 0..10_u64 {
            progress.reached(second * 100, start + Duration::from_secs(second));
        }
        assert_eq!(progress.speed(1_900), Some(Speed { blocks_per_second: 100, seconds_left: 10 }));
        for second in 10..40_u64 {
            progress.reached(900 + (second - 9) * 10, start + Duration::from_secs(second));
        }
        assert_eq!(progress.speed(1_300).map(|speed| speed.blocks_per_second), Some(10));
        progress.arrived();
        assert_eq!(progress.speed(2_000), None);
    }
}
