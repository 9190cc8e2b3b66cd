//! The webhooks' settings and their checks.

use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// `[webhooks]` of the configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhooksConfig {
    /// Networks that endpoints may be in although they are private, and that plain HTTP may go to.
    pub allowed_networks: Vec<IpNet>,
    /// How long one attempt may take, connecting and reading the answer included, in milliseconds.
    pub timeout_ms: u64,
    /// Bytes of an answer that are read; the rest is not waited for.
    pub response_limit_bytes: usize,
    /// Attempts under way at once, all endpoints together.
    pub max_in_flight: usize,
    /// Attempts under way at once to one endpoint.
    pub max_in_flight_per_endpoint: usize,
    /// Seconds to wait after the first, second, … failed attempt. After the last, the message is given up and kept.
    pub retry_after_seconds: Vec<u32>,
}

impl Default for WebhooksConfig {
    /// Ten attempts over about three days, as the Standard Webhooks specification recommends.
    fn default() -> Self {
        Self {
            allowed_networks: Vec::new(),
            timeout_ms: 15_000,
            response_limit_bytes: 16 * 1024,
            max_in_flight: 64,
            max_in_flight_per_endpoint: 8,
            retry_after_seconds: vec![5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400],
        }
    }
}

/// More retries than anyone waits for.
const RETRIES_MAX: usize = 50;

impl WebhooksConfig {
    /// Everything that is wrong with it, each with its key and the remedy.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |right: bool, problem: &str| {
            if !right {
                problems.push(problem.to_owned());
            }
        };
        check((100..=120_000).contains(&self.timeout_ms), "timeout_ms must be 100 to 120000");
        check(self.response_limit_bytes <= 1 << 20, "response_limit_bytes must be at most 1048576");
        check((1..=10_000).contains(&self.max_in_flight), "max_in_flight must be 1 to 10000");
        let share = 1..=self.max_in_flight.max(1);
        check(
            share.contains(&self.max_in_flight_per_endpoint),
            "max_in_flight_per_endpoint must be 1 to max_in_flight",
        );
        check(
            self.retry_after_seconds.len() <= RETRIES_MAX,
            "retry_after_seconds must have at most 50 pauses",
        );
        problems
    }

    /// How long one attempt may take.
    pub(super) const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}
