//! `streambook chain backfill`.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use streambook_model::{bytes::TxHash, chain::BlockNumber, id::PaymentId, time::Timestamp};

use super::{super::Source, By, another, answer};
use crate::{
    chain::{self, Answer, Request},
    output,
};

/// Arguments of `chain backfill`.
#[derive(Args)]
pub(crate) struct Backfill {
    #[command(flatten)]
    source: Source,
    /// The payment whose address is looked for. What is found at an address that payments share is matched as when it came.
    #[arg(long)]
    payment: PaymentId,
    /// Blocks of an earlier time are not searched (RFC 3339). Without it, --block or --transaction all are, down to the
    /// chain's `start_block`.
    #[arg(long, group = "how_far", value_parser = time)]
    since: Option<Timestamp>,
    /// Blocks of a lower height are not searched.
    #[arg(long, group = "how_far")]
    block: Option<u64>,
    /// Only this transaction is looked up.
    #[arg(long, group = "how_far")]
    transaction: Option<TxHash>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn time(text: &str) -> Result<Timestamp, String> {
    serde_json::from_value(json!(text))
        .map_err(|error| format!("write a time as 2026-11-01T00:00:00Z ({error})"))
}

impl Backfill {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.source.load()?;
        let request = chain::Backfill {
            payment: self.payment,
            since: self.since,
            from: self.block.map(BlockNumber),
            transaction: self.transaction,
        };
        let (searching, by) = match answer(&config, Request::Backfill(request)).await? {
            (Answer::Searching(searching), by) => (searching, by),
            (other, _) => return Err(another(&other)),
        };
        if self.json {
            output::json(&searching)?;
        } else {
            output::line(format!(
                "transfers to {} on chain {} are searched for",
                searching.address, searching.chain
            ));
            output::note(match by {
                By::Stopped => "Start `streambook up`. `streambook chain status` says what became of it.",
                By::Running | By::Cluster => "`streambook chain status` says what became of it.",
            });
        }
        Ok(ExitCode::SUCCESS)
    }
}
