//! The commands, one file each.

mod admin;
mod bench;
mod chain;
mod cluster;
mod config;
mod demo;
#[cfg(test)]
mod deploy_tests;
mod replay;
mod run;
mod schemas;
mod status;
mod topics;
mod up;
mod verify;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};

pub(crate) use self::up::told_to_stop;
use crate::config::{Config, load};

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run everything in one process, on the embedded log, with SQLite or PostgreSQL.
    Up(up::Up),
    /// Run chosen parts, of many processes on a cluster.
    Run(run::Run),
    /// Show what every process on a cluster says of itself.
    Status(status::Status),
    /// Set up a Fluvio cluster.
    #[command(subcommand)]
    Cluster(cluster::Cluster),
    /// Show money flowing on a local chain, and prove the books.
    Demo(demo::Demo),
    /// Prove that the books are right: replay every inbox, compare every output and the SQL sink.
    Verify(verify::Verify),
    /// Rebuild a sink from the log.
    #[command(subcommand)]
    Replay(replay::Replay),
    /// Look into the log.
    #[command(subcommand)]
    Topics(topics::Topics),
    /// How chains stand, and the way out of a halted one.
    #[command(subcommand)]
    Chain(chain::Chain),
    /// Create, list and revoke API keys of a running Streambook.
    #[command(subcommand)]
    Keys(admin::Keys),
    /// Create and list merchants of a running Streambook.
    #[command(subcommand)]
    Merchants(admin::Merchants),
    /// Create, list and delete webhook endpoints of a running Streambook.
    #[command(subcommand)]
    Endpoints(admin::Endpoints),
    /// Check and print the configuration.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Measure the log, the pipeline and the HTTP surface.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Check the schemas of the records against their history.
    #[command(subcommand)]
    Schemas(schemas::Schemas),
}

impl Command {
    /// Does it.
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Up(command) => command.run().await,
            Self::Run(command) => command.run().await,
            Self::Status(command) => command.run().await,
            Self::Cluster(command) => command.run().await,
            Self::Demo(command) => command.run().await,
            Self::Verify(command) => command.run().await,
            Self::Replay(command) => command.run().await,
            Self::Topics(command) => command.run().await,
            Self::Chain(command) => command.run().await,
            Self::Keys(command) => command.run().await,
            Self::Merchants(command) => command.run().await,
            Self::Endpoints(command) => command.run().await,
            Self::Config(command) => command.run(),
            Self::Bench(command) => command.run().await,
            Self::Schemas(command) => command.run(),
        }
    }
}

/// Where the configuration comes from.
#[derive(Args, Clone)]
pub(crate) struct Source {
    /// The configuration file; without one the defaults hold.
    #[arg(long, value_name = "FILE", env = "STREAMBOOK_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// The data directory, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

impl Source {
    /// Reads and checks the configuration.
    pub(crate) fn load(&self) -> anyhow::Result<Config> {
        let mut config = load(self.config.as_deref(), std::env::vars())?;
        if let Some(dir) = &self.data {
            config.data.dir.clone_from(dir);
        }
        Ok(config)
    }
}
