//! Waiting for a state, with an end. A probe that is not there yet says what it saw, and the last of that is part of the
//! failure. What grows with the amount of work is waited for as long as it advances, however long that is in all.

use std::time::{Duration, Instant};

/// How long a state may take, or stand still. Far more than it needs on a quiet machine; a busy one is no failure.
const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(25);
/// What one look counts at most: a machine that was stopped for a while is no failure either.
const LOOK: Duration = Duration::from_secs(2);

/// How far something is that takes long.
pub(crate) struct Progress {
    /// What is done. The wait goes on as long as this grows beyond what it ever was.
    pub(crate) done: usize,
    /// What there is to say about the rest.
    pub(crate) seen: String,
}

/// Looks until the probe gives a value; says what it saw last when the time is up.
pub(crate) async fn until<T>(mut probe: impl AsyncFnMut() -> Result<T, String>) -> Result<T, String> {
    let still = async || probe().await.map_err(|seen| Progress { done: 0, seen });
    while_advancing(still).await
}

/// Looks until the probe gives a value, as long as what is done grows; says what it saw last when it stands still.
pub(crate) async fn while_advancing<T>(
    mut probe: impl AsyncFnMut() -> Result<T, Progress>,
) -> Result<T, String> {
    let (mut most, mut waited) = (0, Duration::ZERO);
    loop {
        let began = Instant::now();
        let Progress { done, seen } = match probe().await {
            Ok(value) => return Ok(value),
            Err(progress) => progress,
        };
        if done > most {
            (most, waited) = (done, Duration::ZERO);
        }
        if waited > LIMIT {
            return Err(format!("nothing advanced within {} s; last seen: {seen}", LIMIT.as_secs()));
        }
        // Looking takes no more than half of the time, so that what is looked at can go on.
        tokio::time::sleep(began.elapsed().clamp(PAUSE, LOOK)).await;
        waited += began.elapsed().min(LOOK);
    }
}
