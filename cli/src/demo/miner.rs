//! The task that makes the local chain's blocks.

use std::sync::Arc;

use anyhow::Context;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::chain::Chain;

/// The task that makes blocks. It ends when this is dropped.
pub(super) struct Miner {
    task: JoinHandle<anyhow::Result<()>>,
    stop: CancellationToken,
}

impl Miner {
    /// Starts it.
    pub(super) fn start(chain: &Arc<Chain>, stop: &CancellationToken) -> Self {
        let task = tokio::spawn(Arc::clone(chain).mine_on(stop.clone()));
        Self { task, stop: stop.clone() }
    }

    /// Waits until it ends by itself, which it does only when a block could not be made.
    pub(super) async fn failed(&mut self) -> anyhow::Error {
        match (&mut self.task).await {
            Ok(Ok(())) => anyhow::anyhow!("the chain makes no more blocks"),
            Ok(Err(error)) => error.context("the chain makes no more blocks"),
            Err(error) => anyhow::Error::new(error).context("the chain makes no more blocks"),
        }
    }

    /// Ends it.
    pub(super) async fn end(&mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        if self.task.is_finished() {
            return Ok(());
        }
        (&mut self.task).await.context("the task that makes blocks was aborted")?
    }
}

impl Drop for Miner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
