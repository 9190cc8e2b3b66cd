//! One chain's connector, and how it begins anew. Guarantee: a command to rebuild the chain is appended only while the connector
//! stands still and all that it has observed is in the log, so what the log says is the same as if the process had been stopped,
//! the command appended, and the process started again.

use std::sync::Arc;

use streambook_connectors::chain::{self, ChainSettings, ChainStatus, Feed, Resume};
use streambook_log::Log;
use streambook_model::{chain::ChainId, records::chain::ChainRebuild};
use streambook_runtime::{
    health::{Condition, Health},
    step::chain_of,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{super::System, show::show};

/// Observations on their way to the log; a slow log slows the connector down.
const OBSERVATIONS: usize = 256;

/// A command to append while the connector stands still.
#[derive(Debug)]
pub(crate) struct Rebuild {
    pub(super) record: ChainRebuild,
    /// Hears when it is on disk.
    pub(super) done: oneshot::Sender<anyhow::Result<()>>,
}

/// What a chain's connector needs.
pub(super) struct Connector {
    pub(super) id: ChainId,
    pub(super) settings: ChainSettings,
    pub(super) log: Arc<dyn Log>,
    pub(super) health: Health,
    pub(super) stop: CancellationToken,
}

impl Connector {
    /// Runs until it is told to stop. One that has ended by itself, over a fork below finality, waits for a command.
    pub(super) async fn run(self, mut resume: Resume, mut asked: mpsc::Receiver<Rebuild>) {
        loop {
            let stop = self.stop.child_token();
            let mut parts = self.start(resume, &stop);
            let rebuild = self.stop.run_until_cancelled(asked.recv()).await.flatten();
            stop.cancel();
            while parts.join_next().await.is_some() {}
            let Some(Rebuild { record, done }) = rebuild else { return };
            let appended = crate::chain::append(&self.log, self.id, record).await;
            let resumed = chain::resume(&*self.log, self.id).await;
            // Who has asked may be gone; what was asked is done.
            drop(done.send(appended));
            resume = match resumed {
                Ok(resumed) => resumed,
                Err(error) => {
                    let reason = chain_of(&error);
                    return self.health.report(&format!("chain/{}", self.id), Condition::Stopped { reason });
                }
            };
            tracing::info!(chain = %self.id, "the connector begins anew");
            self.health.report(&self.feed(), Condition::Running);
        }
    }

    fn feed(&self) -> String {
        format!("chain/{}/feed", self.id)
    }

    /// The connector and its feed. They end once `stop` is cancelled, and all that was observed is appended.
    fn start(&self, resume: Resume, stop: &CancellationToken) -> JoinSet<()> {
        let mut parts = JoinSet::new();
        let (observations, received) = mpsc::channel(OBSERVATIONS);
        let (status, shown) = watch::channel(ChainStatus::starting(self.id.0));
        let feed = Feed::new(Arc::clone(&self.log), self.id, System::clock());
        let (name, health) = (self.feed(), self.health.clone());
        parts.spawn(show(self.id, shown, self.health.clone()));
        parts.spawn(async move {
            if let Err(error) = feed.run(received).await {
                health.report(&name, Condition::Stopped { reason: chain_of(&error) });
            }
        });
        let (settings, stop) = (self.settings.clone(), stop.clone());
        parts.spawn(async move {
            // Why it ended is in the status, which `show` reports.
            let _ = chain::run(settings, resume, observations, stop, status).await;
        });
        parts
    }
}
