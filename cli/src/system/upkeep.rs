//! What is done now and then: retention of public topics, and a look at whether the log still accepts writes.

use std::{sync::Arc, time::Duration};

use streambook_log::embedded::EmbeddedLog;
use streambook_runtime::{
    clock,
    health::{Condition, Health},
    step::chain_of,
};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// How often the log is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Retention is enforced every so many looks.
const RETENTION_EVERY: u32 = 60;

/// Runs until it is told to stop. Without `trimming` nothing is trimmed: what a store on a shared log holds is its outbox.
pub(super) async fn run(
    log: Arc<EmbeddedLog>,
    trimming: Option<Arc<Mutex<()>>>,
    health: Health,
    stop: CancellationToken,
) {
    for look in 1_u32.. {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        // What is being verified is trimmed afterwards.
        let trimming = trimming.as_ref().filter(|_| look % RETENTION_EVERY == 0);
        let may_trim = trimming.and_then(|trimming| trimming.try_lock().ok());
        let checked = log.check().and_then(|()| if may_trim.is_some() { retain(&log) } else { Ok(()) });
        drop(may_trim);
        let condition = match checked {
            Ok(()) => Condition::Running,
            Err(error) => Condition::Stopped { reason: chain_of(&error) },
        };
        health.report("log", condition);
    }
}

fn retain(log: &EmbeddedLog) -> Result<(), streambook_log::LogError> {
    let now = u64::try_from(clock::system()().millis()).unwrap_or(0);
    tokio::task::block_in_place(|| log.enforce_retention(now))
}
