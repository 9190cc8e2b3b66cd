//! `streambook verify`.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use super::Source;
use crate::{
    output,
    system::{self, Layout},
    verify::{self, Outcome, present},
};

/// What the command ends with when nothing could be said.
const COULD_NOT_VERIFY: u8 = 2;

/// Prove that the books are right.
#[derive(Args)]
#[command(
    after_help = "Exit code: 0 everything is right, 1 something differs, 2 not everything could be verified.\n\
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
        let layout = Layout::of(&config);
        if !layout.log.exists() {
            bail!("there is no log in {}: name the data directory with --data", config.data.dir.display());
        }
        let log = system::open_log(&config).await?;
        let sql = layout.sql.path()?;
        let sql = sql.exists().then_some(sql.as_path());
        let report = verify::verify(log, &system::processors(), sql, &mut present::Bar::new()).await?;
        match self.json {
            true => output::json(&report)?,
            false => output::line(present::text(&report)),
        }
        Ok(match report.outcome() {
            Outcome::Ok => ExitCode::SUCCESS,
            Outcome::Differs => ExitCode::FAILURE,
            Outcome::Incomplete => ExitCode::from(COULD_NOT_VERIFY),
        })
    }
}
