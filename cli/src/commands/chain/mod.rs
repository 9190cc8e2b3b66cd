//! `streambook chain status / rebuild / backfill`: how the chains of a log stand, the way out where one is halted
//! because the nodes have left a block that was final, and the search for what was sent to a payment long ago.

mod backfill;
mod rebuild;
mod status;

use std::process::ExitCode;

use clap::Subcommand;
use streambook_log::LogError;

use self::{backfill::Backfill, rebuild::Rebuild, status::Status};
use crate::{
    chain::{Answer, Chains, Request},
    config::{Config, Engine},
    control, system,
};

/// How chains stand, and the way out of a halted one. Where `streambook up` runs on the data directory, it is asked.
#[derive(Subcommand)]
pub(crate) enum Chain {
    /// Show how each chain stands: head, finality, why it is halted where it is, and the searches of old blocks.
    #[command(after_help = "Exit code: 0 every chain goes on, 1 one does not, or an error.\n\
Example:\n  streambook chain status --config streambook.toml")]
    Status(Status),
    /// Let a halted chain go on from the last block that is right. Where `streambook up` runs it goes on there at once; on a
    /// cluster stop the process that runs `chain` first.
    #[command(
        after_help = "Example:\n  streambook chain rebuild --chain 1           shows the block that log and nodes have in common\n  streambook chain rebuild --chain 1 --yes     goes on from there"
    )]
    Rebuild(Rebuild),
    /// Search old blocks for what was sent to a payment. Where `streambook up` runs, or on a cluster the process that runs
    /// `chain`, it searches at once.
    #[command(
        after_help = "Examples:\n  streambook chain backfill --payment pay_… --since 2026-11-01T00:00:00Z\n  streambook chain backfill --payment pay_… --block 23000000\n  streambook chain backfill --payment pay_… --transaction 0x…"
    )]
    Backfill(Backfill),
}

impl Chain {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Status(command) => command.run().await,
            Self::Rebuild(command) => command.run().await,
            Self::Backfill(command) => command.run().await,
        }
    }
}

/// Who has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// This command, from the log of a data directory that no process has open.
    Stopped,
    /// The process that has the directory open.
    Running,
    /// This command, from the log of a cluster.
    Cluster,
}

/// Has a request answered.
async fn answer(config: &Config, request: Request) -> anyhow::Result<(Answer, By)> {
    let by = match config.log.engine {
        Engine::Embedded => By::Stopped,
        Engine::Fluvio => By::Cluster,
    };
    match system::log_to_look_into(config).await {
        Ok(log) => Ok((Chains::new(log, config.chain.clone(), None).answer(request).await?, by)),
        // Another process has it: that one answers, by the same code.
        Err(error) if is_in_use(&error) => {
            Ok((control::ask_chains(&config.data.dir, request).await?, By::Running))
        }
        Err(error) => Err(error),
    }
}

fn is_in_use(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(LogError::InUse { .. })))
}

/// An answer to another request than this one.
fn another(answer: &Answer) -> anyhow::Error {
    anyhow::anyhow!("the running process answers something else ({answer:?}): is it of this version?")
}
