//! `streambook verify`.

use std::process::ExitCode;

use clap::Args;
use streambook_log::LogError;

use super::Source;
use crate::{
    config::{Config, Engine},
    control, output,
    system::{self, Layout},
    verify::{self, Report, VerifyFailure, present},
};

/// What the command ends with when nothing could be said.
const COULD_NOT_VERIFY: u8 = 2;

/// Prove that the books are right.
#[derive(Args)]
#[command(
    after_help = "Exit code: 0 everything is right, 1 something differs, 2 not everything could be verified.\n\
Where `streambook up` runs on the directory, that process is asked, and goes on meanwhile. With [log] engine = \"fluvio\" \
the cluster's log is verified, while its processes go on.\n\
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
        let report = match config.log.engine {
            Engine::Embedded => own(&config).await?,
            Engine::Fluvio => shared(&config).await?,
        };
        match self.json {
            true => output::json(&report)?,
            false => output::line(present::text(&report)),
        }
        Ok(ExitCode::from(report.outcome().exit_code()))
    }
}

/// Verifies the log of the data directory.
async fn own(config: &Config) -> anyhow::Result<Report> {
    let (sql, processors, mut bar) = (Layout::of(config).sql, system::processors(), present::Bar::new());
    let options = system::log_options(config);
    let verified = verify::verify_directory(options, &processors, Some(&sql), &mut bar);
    match Box::pin(verified).await {
        // Another process has it: that one looks at its own log, by the same code.
        Err(VerifyFailure::Open(LogError::InUse { .. })) => {
            Ok(control::verify(&config.data.dir, &mut bar).await?)
        }
        verified => Ok(verified?),
    }
}

/// Verifies the log of the cluster. The SQL sink's database is where the configuration says, whichever process fills it.
async fn shared(config: &Config) -> anyhow::Result<Report> {
    let (sql, processors, mut bar) = (Layout::of(config).sql, system::processors(), present::Bar::new());
    let log = system::look(config).await?;
    Ok(Box::pin(verify::verify_shared(log, &processors, Some(&sql), &mut bar)).await?)
}
