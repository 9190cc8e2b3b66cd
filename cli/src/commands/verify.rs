//! `streambook verify`.

use std::process::ExitCode;

use clap::Args;
use streambook_log::LogError;

use super::Source;
use crate::{
    output,
    system::{self, Layout},
    verify::{self, VerifyFailure, present},
};

/// What the command ends with when nothing could be said.
const COULD_NOT_VERIFY: u8 = 2;

/// Prove that the books are right.
#[derive(Args)]
#[command(
    after_help = "Exit code: 0 everything is right, 1 something differs, 2 not everything could be verified.\n\
Where `streambook up` runs on the directory, that process is asked, and goes on meanwhile.\n\
Example:\n  streambook verify --data ./data"
)]
pub(crate) struct Verify {
    #[command(flatten)]
    source: Source,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.verify().await {
            Ok(code) => Ok(code),
            Err(error) => {
                output::failed(&error);
                Ok(ExitCode::from(COULD_NOT_VERIFY))
            }
        }
    }

    async fn verify(&self) -> anyhow::Result<ExitCode> {
        let config = self.source.load()?;
        let sql = Layout::of(&config).sql;
        let mut bar = present::Bar::new();
        let options = system::log_options(&config);
        let processors = system::processors();
        let verified = verify::verify_directory(options, &processors, Some(&sql), &mut bar);
        let report = match Box::pin(verified).await {
            // Another process has it: that one looks at its own log, by the same code.
            Err(VerifyFailure::Open(LogError::InUse { .. })) => {
                verify::live::ask(&config.data.dir, &mut bar).await?
            }
            verified => verified?,
        };
        drop(bar);
        match self.json {
            true => output::json(&report)?,
            false => output::line(present::text(&report)),
        }
        Ok(ExitCode::from(report.outcome().exit_code()))
    }
}
