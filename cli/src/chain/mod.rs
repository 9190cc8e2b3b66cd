//! What an operator asks of chains: how they stand, a search of old blocks, and that a halted one goes on. The same code answers
//! from a log that nobody else has open, and in the process that has it open ([`control`](crate::control)).

mod backfill;
mod log;
mod rebuild;
mod standing;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use streambook_connectors::chain::ChainConfig;
use streambook_log::Log;
use streambook_model::chain::ChainId;
use streambook_runtime::health::Health;
use tokio::sync::Mutex;

pub(crate) use self::{
    backfill::{Backfill, Searching},
    log::append,
    rebuild::{Rebuild, Rebuilt},
    standing::{Searched, Standing},
};
use crate::system::Connectors;

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// How every chain stands.
    Status,
    /// A search of old blocks.
    Backfill(Backfill),
    /// A halted chain goes on.
    Rebuild(Rebuild),
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// To [`Request::Status`].
    Status(Vec<Standing>),
    /// To [`Request::Backfill`].
    Searching(Searching),
    /// To [`Request::Rebuild`].
    Rebuilt(Rebuilt),
}

/// The configured chains, and their log.
pub(crate) struct Chains {
    log: Arc<dyn Log>,
    configured: Vec<ChainConfig>,
    running: Option<Running>,
    /// One request at a time: what one has appended is there before another looks.
    turn: Mutex<()>,
}

/// What the process that runs the chains has beside their log.
pub(crate) struct Running {
    /// Where a rebuilt chain's connector begins anew.
    pub(crate) connectors: Connectors,
    /// How the parts are.
    pub(crate) health: Health,
}

impl Chains {
    /// Of a log; `running` in the process that runs them.
    pub(crate) fn new(log: Arc<dyn Log>, configured: Vec<ChainConfig>, running: Option<Running>) -> Self {
        Self { log, configured, running, turn: Mutex::default() }
    }

    /// Does what is asked.
    pub(crate) async fn answer(&self, request: Request) -> anyhow::Result<Answer> {
        let _turn = self.turn.lock().await;
        match request {
            Request::Status => Ok(Answer::Status(self.standings().await?)),
            Request::Backfill(asked) => Ok(Answer::Searching(asked.ask(self).await?)),
            Request::Rebuild(asked) => Ok(Answer::Rebuilt(asked.ask(self).await?)),
        }
    }

    async fn standings(&self) -> anyhow::Result<Vec<Standing>> {
        let mut standings = Vec::new();
        for chain in &self.configured {
            let mut standing = standing::of(&*self.log, ChainId(chain.id)).await?;
            standing.troubles = self
                .running
                .as_ref()
                .map_or_else(Vec::new, |running| standing::troubles(&running.health, ChainId(chain.id)));
            standings.push(standing);
        }
        Ok(standings)
    }
}
