//! `streambook chain status`.

use std::process::ExitCode;

use clap::Args;

use super::{super::Source, another, answer};
use crate::{
    chain::{Answer, Request, Searched, Standing},
    output,
};

/// Arguments of `chain status`.
#[derive(Args)]
pub(crate) struct Status {
    #[command(flatten)]
    source: Source,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.source.load()?;
        let standings = match answer(&config, Request::Status).await? {
            (Answer::Status(standings), _) => standings,
            (other, _) => return Err(another(&other)),
        };
        let goes_on = |standing: &Standing| standing.halted.is_none() && standing.troubles.is_empty();
        let all_go_on = standings.iter().all(goes_on);
        if self.json {
            output::json(&standings)?;
        } else {
            show(standings);
        }
        Ok(if all_go_on { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn show(standings: Vec<Standing>) {
    let searches = standings.iter().flat_map(|standing| {
        let row = |searched: &Searched| {
            let reported = searched.reported.map_or_else(String::new, |reported| reported.to_string());
            let problem = searched.problem.clone().unwrap_or_default();
            let (chain, request) = (standing.chain.to_string(), searched.request.to_string());
            vec![chain, request, searched.payment.to_string(), searched.state.clone(), reported, problem]
        };
        standing.backfills.iter().map(row).collect::<Vec<_>>()
    });
    let searches: Vec<_> = searches.collect();
    let height = |height: Option<u64>| height.map_or_else(|| "none".to_owned(), |height| height.to_string());
    let row = |standing: Standing| {
        let is_halted = standing.halted.is_some();
        let why: Vec<_> =
            [standing.halted, standing.fork].into_iter().flatten().chain(standing.troubles).collect();
        let why = why.join("; ");
        let state = if is_halted {
            "halted"
        } else if why.is_empty() {
            "goes on"
        } else {
            "troubled"
        };
        vec![standing.chain.to_string(), state.into(), height(standing.head), height(standing.finalized), why]
    };
    output::table(&["chain", "", "head", "finalized", "why"], standings.into_iter().map(row));
    if !searches.is_empty() {
        output::line("");
        output::table(&["chain", "backfill", "payment", "", "transfers", "why not all"], searches);
    }
}
