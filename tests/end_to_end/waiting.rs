//! Waiting for a state, with an end. A probe that is not there yet says what it saw, and the last of that is part of the
//! failure.

use std::time::{Duration, Instant};

/// How long a state may take. Far more than it needs on a quiet machine; a busy one is no failure.
const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(25);

/// Looks until the probe gives a value; says what it saw last when the time is up.
pub(crate) async fn until<T>(mut probe: impl AsyncFnMut() -> Result<T, String>) -> Result<T, String> {
    let end = Instant::now() + LIMIT;
    loop {
        let seen = match probe().await {
            Ok(value) => return Ok(value),
            Err(seen) => seen,
        };
        if Instant::now() > end {
            return Err(format!("not within {} s; last seen: {seen}", LIMIT.as_secs()));
        }
        tokio::time::sleep(PAUSE).await;
    }
}
