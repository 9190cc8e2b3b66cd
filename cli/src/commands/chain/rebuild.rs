//! `streambook chain rebuild`.

use std::process::ExitCode;

use clap::Args;

use super::{super::Source, By, another, answer};
use crate::{
    chain::{self, Answer, Rebuilt, Request},
    output,
};

/// Arguments of `chain rebuild`.
#[derive(Args)]
pub(crate) struct Rebuild {
    #[command(flatten)]
    source: Source,
    /// The chain's EIP-155 id.
    #[arg(long)]
    chain: u64,
    /// The last block that is right, by its height on the branch in the log; without it the highest one that all nodes
    /// that answer have as well.
    #[arg(long)]
    block: Option<u64>,
    /// Do it, and not only say what would be done.
    #[arg(long)]
    yes: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Rebuild {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.source.load()?;
        let request = chain::Rebuild { chain: self.chain, block: self.block, yes: self.yes };
        match answer(&config, Request::Rebuild(request)).await? {
            (Answer::Rebuilt(rebuilt), _) if self.json => output::json(&rebuilt)?,
            (Answer::Rebuilt(rebuilt), by) => report(&rebuilt, by),
            (other, _) => return Err(another(&other)),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn report(rebuilt: &Rebuilt, by: By) {
    let verb = if rebuilt.done { "goes on" } else { "would go on" };
    output::line(format!(
        "chain {} {verb} from block {} ({}); {} blocks above it are taken back",
        rebuilt.chain, rebuilt.block, rebuilt.hash, rebuilt.taken_back
    ));
    output::note(match (rebuilt.done, by) {
        (true, by) => format!(
            "{}Payments that were credited above that block are reversed, those that were final too, until they come again.",
            match by {
                By::Stopped => "Start `streambook up`. ",
                By::Running => "",
                By::Cluster => "Start the process that runs `chain`. ",
            }
        ),
        (false, By::Cluster) => {
            "Nothing was changed. With --yes it is; stop the process that runs `chain` before that."
                .to_owned()
        }
        (false, _) => "Nothing was changed. With --yes it is.".to_owned(),
    });
}
