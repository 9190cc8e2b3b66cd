//! How long to wait before the next attempt: soon at first, then every two seconds.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy)]
pub(super) struct Backoff(Duration);

impl Backoff {
    pub(super) fn new() -> Self {
        Self(FIRST)
    }

    /// The next attempt is the first again.
    pub(super) fn reset(&mut self) {
        self.0 = FIRST;
    }

    /// Waits, longer each time.
    pub(super) async fn wait(&mut self) {
        let delay = self.0;
        self.0 = delay.saturating_mul(2).min(LONGEST);
        tokio::time::sleep(delay).await;
    }
}
