//! `streambook chain status / rebuild / backfill`: how the chains of a log stand, the way out where one is halted
//! because the nodes have left a block that was final, and the search for what was sent to a payment long ago.

mod backfill;
mod log;
mod rebuild;
mod standing;
mod status;

use std::process::ExitCode;

use clap::Subcommand;

use self::{backfill::Backfill, rebuild::Rebuild, status::Status};

/// How chains stand, and the way out of a halted one.
#[derive(Subcommand)]
pub(crate) enum Chain {
    /// Show how each chain stands: head, finality, and why it is halted where it is.
    #[command(after_help = "Example:\n  streambook chain status --config streambook.toml")]
    Status(Status),
    /// Let a halted chain go on from the last block that is right. Stop `streambook up` first; on a cluster, the process that
    /// runs `chain`.
    #[command(
        after_help = "Example:\n  streambook chain rebuild --chain 1           shows the block that log and nodes have in common\n  streambook chain rebuild --chain 1 --yes     goes on from there"
    )]
    Rebuild(Rebuild),
    /// Search old blocks for what was sent to a payment. Stop `streambook up` first; it searches when it is started again. On a
    /// cluster the process that runs `chain` searches at once.
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
