//! `streambook chain status`.

use std::{collections::BTreeMap, process::ExitCode};

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use streambook_model::chain::ChainId;

use super::{
    super::Source,
    log::is_in_use,
    standing::{Searched, Standing, standing},
};
use crate::{output, system};

/// Arguments of `chain status`.
#[derive(Args)]
pub(crate) struct Status {
    #[command(flatten)]
    source: Source,
    /// The URL of the running Streambook, which is asked where it has the data directory open.
    #[arg(long, value_name = "URL", env = "STREAMBOOK_URL", default_value = "http://127.0.0.1:8080")]
    api: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.source.load()?;
        let log = match system::log_to_look_into(&config).await {
            Ok(log) => log,
            Err(error) if is_in_use(&error) => return self.ask().await,
            Err(error) => return Err(error),
        };
        let mut standings = Vec::new();
        for chain in &config.chain {
            standings.push(standing(&*log, ChainId(chain.id)).await?);
        }
        let halted = standings.iter().any(|standing| standing.halted.is_some());
        if self.json {
            output::json(&standings)?;
        } else {
            show(standings);
        }
        Ok(if halted { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    /// Asks the process that has the directory open.
    async fn ask(&self) -> anyhow::Result<ExitCode> {
        let url = format!("{}/readyz", self.api.trim_end_matches('/'));
        let asked = async { reqwest::get(&url).await?.json::<Value>().await };
        let answer =
            asked.await.with_context(|| format!("the data directory is in use and {url} does not answer"))?;
        let troubles = answer.get("not_ready").cloned().unwrap_or_default();
        let troubles: BTreeMap<String, String> = serde_json::from_value(troubles).context("/readyz")?;
        let of_chains = |name: &str| name.starts_with("chain/") || name.starts_with("reorg/");
        let troubles: BTreeMap<_, _> = troubles.into_iter().filter(|(name, _)| of_chains(name)).collect();
        let well = troubles.is_empty();
        if self.json {
            output::json(&json!({ "running": true, "not_ready": troubles }))?;
        } else if well {
            output::line("streambook is running, and every chain goes on");
        } else {
            output::table(&["part", "why"], troubles.into_iter().map(|(name, reason)| vec![name, reason]));
        }
        Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn show(standings: Vec<Standing>) {
    let searches = standings.iter().flat_map(|standing| {
        let row = |searched: &Searched| {
            let reported = searched.reported.map_or_else(String::new, |reported| reported.to_string());
            let problem = searched.problem.clone().unwrap_or_default();
            let (chain, request) = (standing.chain.to_string(), searched.request.to_string());
            vec![chain, request, searched.payment.to_string(), searched.state.into(), reported, problem]
        };
        standing.backfills.iter().map(row).collect::<Vec<_>>()
    });
    let searches: Vec<_> = searches.collect();
    let height = |height: Option<u64>| height.map_or_else(|| "none".to_owned(), |height| height.to_string());
    let row = |standing: Standing| {
        let why = [standing.halted, standing.fork].into_iter().flatten().collect::<Vec<_>>().join("; ");
        let state = if why.is_empty() { "goes on" } else { "halted" };
        vec![standing.chain.to_string(), state.into(), height(standing.head), height(standing.finalized), why]
    };
    output::table(&["chain", "", "head", "finalized", "why"], standings.into_iter().map(row));
    if !searches.is_empty() {
        output::line("");
        output::table(&["chain", "backfill", "payment", "", "transfers", "why not all"], searches);
    }
}
