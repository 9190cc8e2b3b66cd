//! `streambook config check / print`.

use std::process::ExitCode;

use clap::Subcommand;

use super::Source;
use crate::{config::DEFAULT_CONFIG, output};

/// Check and print the configuration.
#[derive(Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check a configuration without starting anything.
    #[command(after_help = "Example:\n  streambook config check --config streambook.toml")]
    Check {
        #[command(flatten)]
        source: Source,
    },
    /// Print the configuration as it is in force, environment included; secrets are left out.
    #[command(after_help = "Example:\n  streambook config print --default > streambook.toml")]
    Print {
        #[command(flatten)]
        source: Source,
        /// Print the commented default file instead.
        #[arg(long)]
        default: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

impl ConfigCommand {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Check { source } => {
                source.load()?;
                output::line("config: ok");
            }
            Self::Print { default: true, .. } => output::line(DEFAULT_CONFIG.trim_end()),
            Self::Print { source, json: true, .. } => output::json(&source.load()?)?,
            Self::Print { source, .. } => output::line(toml::to_string_pretty(&source.load()?)?.trim_end()),
        }
        Ok(ExitCode::SUCCESS)
    }
}
