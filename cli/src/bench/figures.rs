//! From samples to figures. Statistics about time and bytes are the one place with floating point; no money is here.
#![expect(clippy::float_arithmetic, reason = "statistics about time and bytes, not money")]

use std::time::Duration;

use serde::Serialize;

/// How long something took, over many samples, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Latency {
    pub(crate) samples: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

impl Latency {
    /// Of these samples; all zero where there are none.
    pub(crate) fn of(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        let at = |per_mille: usize| {
            let index = (samples.len() * per_mille).div_ceil(1_000).saturating_sub(1);
            samples.get(index).map_or(0.0, |sample| rounded(sample.as_secs_f64() * 1_000.0))
        };
        Self {
            samples: samples.len() as u64,
            p50_ms: at(500),
            p90_ms: at(900),
            p99_ms: at(990),
            max_ms: at(1_000),
        }
    }
}

/// How many a second.
pub(super) fn per_second(count: u64, took: Duration) -> f64 {
    rounded(count as f64 / took.as_secs_f64().max(1e-9))
}

/// Megabytes (10^6 bytes) a second.
pub(super) fn megabytes_per_second(bytes: u64, took: Duration) -> f64 {
    rounded(bytes as f64 / 1e6 / took.as_secs_f64().max(1e-9))
}

/// One number by another; 0 where there is nothing to divide by.
pub(super) fn ratio(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { rounded(part / whole) }
}

/// One count by another.
pub(super) fn each(total: u64, of: u64) -> f64 {
    ratio(total as f64, of as f64)
}

/// A duration in seconds.
pub(super) fn seconds(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64())
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_and_not_below_their_share() {
        let latency = Latency::of((1..=200).rev().map(Duration::from_millis).collect());
        assert_eq!(
            (latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.max_ms),
            (100.0, 180.0, 198.0, 200.0)
        );
        assert_eq!(Latency::of(vec![Duration::from_millis(7)]).p99_ms, 7.0);
        assert_eq!(Latency::of(Vec::new()).max_ms, 0.0);
    }
}
