//! The settings of the API (`[api]`), with their units in their names, and the check that refuses what cannot work.

use std::{net::SocketAddr, num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

/// The settings of the API. Every key has a default; unknown keys are errors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The longest a request may take as a whole, in milliseconds. Longer than `reply_timeout_ms` and `read_wait_ms`.
    pub request_timeout_ms: u64,
    /// How long a command waits for its answer before `202` says where to look, in milliseconds.
    pub reply_timeout_ms: u64,
    /// How long a caller may take to send its headers, in milliseconds.
    pub header_timeout_ms: u64,
    /// How long a caller may take to send its body, in milliseconds.
    pub body_timeout_ms: u64,
    /// How long a read waits for what the caller wrote, in milliseconds.
    pub read_wait_ms: u64,
    /// How long open requests may take to end when the server stops, in milliseconds.
    pub shutdown_timeout_ms: u64,
    /// The largest body, in bytes.
    pub body_limit_bytes: usize,
    /// The largest body at `/ingest/stripe`, in bytes.
    pub stripe_body_limit_bytes: usize,
    /// Open connections; further ones wait to be accepted.
    pub max_connections: usize,
    /// Requests at work at one time; further ones are refused with `503`.
    pub max_in_flight: usize,
    /// Commands waiting for their answers at one time; further ones are refused with `503`.
    pub max_waiting: usize,
    /// Requests a second that each key may make over time.
    pub key_requests_per_second: NonZeroU32,
    /// Requests that each key may make at once.
    pub key_burst: NonZeroU32,
    /// Requests a second that each address may make over time; an IPv6 /64 counts as one address.
    pub address_requests_per_second: NonZeroU32,
    /// Requests that each address may make at once.
    pub address_burst: NonZeroU32,
    /// Spares loopback addresses the limit for each address, for a proxy on the same machine.
    pub exempt_loopback: bool,
    /// Keys and addresses whose use is remembered; beyond it the longest unused are forgotten.
    pub max_limited: u64,
}

/// A setting that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("api.{key} is {value}: {remedy}")]
pub struct InvalidConfig {
    /// The key.
    pub key: &'static str,
    /// What it is.
    pub value: String,
    /// What it may be.
    pub remedy: &'static str,
}

const fn at_least_one(value: u32) -> NonZeroU32 {
    match NonZeroU32::new(value) {
        Some(value) => value,
        None => NonZeroU32::MIN,
    }
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            request_timeout_ms: 20_000,
            reply_timeout_ms: 10_000,
            header_timeout_ms: 10_000,
            body_timeout_ms: 10_000,
            read_wait_ms: 2_000,
            shutdown_timeout_ms: 15_000,
            body_limit_bytes: 64 << 10,
            stripe_body_limit_bytes: 1 << 20,
            max_connections: 4_096,
            max_in_flight: 2_048,
            max_waiting: 10_000,
            key_requests_per_second: at_least_one(200),
            key_burst: at_least_one(400),
            address_requests_per_second: at_least_one(400),
            address_burst: at_least_one(800),
            exempt_loopback: false,
            max_limited: 100_000,
        }
    }
}

impl ApiConfig {
    /// Checks the settings, the first wrong one is the error.
    pub fn validate(&self) -> Result<(), InvalidConfig> {
        let hour = 3_600_000;
        within("request_timeout_ms", self.request_timeout_ms, 100, hour, "use 100 to 3600000 milliseconds")?;
        within("reply_timeout_ms", self.reply_timeout_ms, 10, hour, "use 10 to 3600000 milliseconds")?;
        within("header_timeout_ms", self.header_timeout_ms, 100, hour, "use 100 to 3600000 milliseconds")?;
        within("body_timeout_ms", self.body_timeout_ms, 10, hour, "use 10 to 3600000 milliseconds")?;
        within("read_wait_ms", self.read_wait_ms, 0, hour, "use 0 to 3600000 milliseconds")?;
        within("shutdown_timeout_ms", self.shutdown_timeout_ms, 0, hour, "use 0 to 3600000 milliseconds")?;
        let sizes = (1 << 10, 16 << 20, "use 1024 to 16777216 bytes");
        within("body_limit_bytes", wide(self.body_limit_bytes), sizes.0, sizes.1, sizes.2)?;
        within("stripe_body_limit_bytes", wide(self.stripe_body_limit_bytes), sizes.0, sizes.1, sizes.2)?;
        let counts = (1, 1_000_000, "use 1 to 1000000");
        within("max_connections", wide(self.max_connections), counts.0, counts.1, counts.2)?;
        within("max_in_flight", wide(self.max_in_flight), counts.0, counts.1, counts.2)?;
        within("max_waiting", wide(self.max_waiting), counts.0, counts.1, counts.2)?;
        within("max_limited", self.max_limited, counts.0, counts.1, counts.2)?;
        self.validate_order()
    }

    fn validate_order(&self) -> Result<(), InvalidConfig> {
        let parts = self.reply_timeout_ms.saturating_add(self.read_wait_ms);
        let remedy = "use more than reply_timeout_ms and read_wait_ms together, or a command could not say 202 in time";
        within("request_timeout_ms", self.request_timeout_ms, parts.saturating_add(1), u64::MAX, remedy)
    }

    pub(crate) const fn reply_timeout(&self) -> Duration {
        Duration::from_millis(self.reply_timeout_ms)
    }

    pub(crate) const fn read_wait(&self) -> Duration {
        Duration::from_millis(self.read_wait_ms)
    }
}

fn wide(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

fn within(
    key: &'static str,
    value: u64,
    low: u64,
    high: u64,
    remedy: &'static str,
) -> Result<(), InvalidConfig> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(InvalidConfig { key, value: value.to_string(), remedy })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_a_wrong_setting_is_named_with_its_remedy() {
        assert_eq!(ApiConfig::default().validate(), Ok(()));
        let wrong = ApiConfig { max_waiting: 0, ..ApiConfig::default() };
        assert_eq!(wrong.validate().unwrap_err().to_string(), "api.max_waiting is 0: use 1 to 1000000");
        let order = ApiConfig { reply_timeout_ms: 20_000, ..ApiConfig::default() };
        assert_eq!(order.validate().unwrap_err().key, "request_timeout_ms");
    }

    #[test]
    fn unknown_keys_are_errors() {
        assert!(toml::from_str::<ApiConfig>("listen = \"127.0.0.1:1\"").is_ok());
        assert!(toml::from_str::<ApiConfig>("lissten = 1").unwrap_err().message().contains("lissten"));
    }
}
