//! Limits: requests at work at one time, and requests a second for each address and each key.
//!
//! What is remembered of addresses and keys is bounded; what is forgotten begins again with a full burst.

use std::{
    hash::Hash,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::{InMemoryState, NotKeyed},
};
use moka::{policy::EvictionPolicy, sync::Cache};
use streambook_model::id::ApiKeyId;
use streambook_runtime::metrics::Metric;
use tokio::sync::Semaphore;

use crate::{config::ApiConfig, problem::Problem, state::ApiState};

type Limiter = RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;

/// The limits of this process.
pub(crate) struct Limits {
    in_flight: Semaphore,
    addresses: Rates<IpAddr>,
    keys: Rates<ApiKeyId>,
    exempt_loopback: bool,
}

/// What is left after a request that was let through, for the `RateLimit` headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    limit: u32,
    remaining: u32,
    reset_seconds: u64,
}

/// One rate for many.
struct Rates<K> {
    per_second: NonZeroU32,
    burst: NonZeroU32,
    known: Cache<K, Arc<Limiter>>,
}

impl<K: Hash + Eq + Send + Sync + Copy + 'static> Rates<K> {
    fn new(per_second: NonZeroU32, burst: NonZeroU32, most: u64) -> Self {
        let known = Cache::builder()
            .max_capacity(most)
            // The default policy may keep a new key out while the cache is full, which would leave it unlimited.
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(Duration::from_secs(3_600))
            .build();
        Self { per_second, burst, known }
    }

    /// Takes one request of the allowance.
    fn take(&self, of: K) -> Result<Allowance, Allowance> {
        let limiter = self.known.get_with(of, || Arc::new(self.limiter()));
        let limit = self.burst.get();
        match limiter.check() {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let used = u64::from(limit.saturating_sub(remaining));
                let reset_seconds = used.div_ceil(u64::from(self.per_second.get()));
                Ok(Allowance { limit, remaining, reset_seconds })
            }
            Err(not_until) => {
                let wait = not_until.wait_time_from(DefaultClock::default().now());
                Err(Allowance { limit, remaining: 0, reset_seconds: wait.as_secs() + 1 })
            }
        }
    }

    fn limiter(&self) -> Limiter {
        let quota = Quota::per_second(self.per_second).allow_burst(self.burst);
        RateLimiter::direct(quota).with_middleware()
    }
}

impl Limits {
    /// The limits that are configured.
    pub(crate) fn new(config: &ApiConfig) -> Self {
        let most = config.max_limited;
        Self {
            in_flight: Semaphore::new(config.max_in_flight),
            addresses: Rates::new(config.address_requests_per_second, config.address_burst, most),
            keys: Rates::new(config.key_requests_per_second, config.key_burst, most),
            exempt_loopback: config.exempt_loopback,
        }
    }

    /// Takes one request of a key's allowance.
    pub(crate) fn take_key(&self, key: ApiKeyId) -> Result<Allowance, Problem> {
        self.keys.take(key).map_err(|refused| too_many("key", refused))
    }

    fn take_address(&self, address: IpAddr) -> Result<(), Problem> {
        let address = address.to_canonical();
        if self.exempt_loopback && address.is_loopback() {
            return Ok(());
        }
        self.addresses.take(network(address)).map(drop).map_err(|refused| too_many("address", refused))
    }
}

impl Allowance {
    /// Writes the `RateLimit` headers (draft-ietf-httpapi-ratelimit-headers-07).
    pub(crate) fn write(self, headers: &mut HeaderMap) {
        for (name, value) in self.headers() {
            headers.insert(name, value);
        }
    }

    fn headers(self) -> [(HeaderName, HeaderValue); 3] {
        [
            (HeaderName::from_static("ratelimit-limit"), self.limit.into()),
            (HeaderName::from_static("ratelimit-remaining"), self.remaining.into()),
            (HeaderName::from_static("ratelimit-reset"), self.reset_seconds.into()),
        ]
    }
}

/// Whoever has one IPv6 address has its whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

fn too_many(of: &'static str, refused: Allowance) -> Problem {
    Metric::HttpRefused.count(1, &[("reason", format!("rate_{of}"))]);
    let seconds = refused.reset_seconds;
    let detail =
        format!("too many requests of this {of}: wait {seconds} s, then at most {} at once", refused.limit);
    let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail);
    let problem = problem.header(header::RETRY_AFTER, seconds.into());
    refused.headers().into_iter().fold(problem, |problem, (name, value)| problem.header(name, value))
}

/// Refuses a request while as many as may be are at work: the rest stays fast.
pub(crate) async fn shed_load(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    match state.limits().in_flight.try_acquire() {
        Ok(_permit) => next.run(request).await,
        Err(_) => {
            Metric::HttpRefused.count(1, &[("reason", "overload".to_owned())]);
            Problem::unavailable("overloaded", "too many requests at one time: try again").into_response()
        }
    }
}

/// Limits the requests of each address.
pub(crate) async fn limit_address(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    match peer.map_or(Ok(()), |address| state.limits().take_address(address)) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(exempt_loopback: bool) -> Limits {
        let one = NonZeroU32::MIN;
        Limits::new(&ApiConfig {
            address_requests_per_second: one,
            address_burst: one,
            exempt_loopback,
            ..ApiConfig::default()
        })
    }

    #[test]
    fn an_address_beyond_its_burst_is_refused_and_others_are_not() {
        let limits = limits(false);
        let take = |text: &str| {
            limits.take_address(text.parse().unwrap()).map_err(|problem| problem.status().as_u16())
        };
        assert_eq!((take("127.0.0.1"), take("127.0.0.1"), take("127.0.0.2")), (Ok(()), Err(429), Ok(())));
        assert_eq!(
            (take("2001:db8::1"), take("2001:db8::2"), take("2001:db8:0:1::1")),
            (Ok(()), Err(429), Ok(()))
        );
        assert_eq!(take("::ffff:127.0.0.1"), Err(429), "the same address in another form");
    }

    #[test]
    fn loopback_is_spared_only_where_configured() {
        let limits = limits(true);
        let take = |text: &str| limits.take_address(text.parse().unwrap()).is_ok();
        assert_eq!(
            [take("127.0.0.1"), take("127.0.0.1"), take("192.0.2.1"), take("192.0.2.1")],
            [true, true, true, false]
        );
    }
}
