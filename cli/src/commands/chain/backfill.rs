//! `streambook chain backfill`.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use serde_json::json;
use streambook_log::Log;
use streambook_model::{
    bytes::TxHash,
    chain::{BlockNumber, ChainId},
    id::PaymentId,
    message::Message,
    meta::Meta,
    records::{backfill::RequestBackfill, chain::WatchAddress},
    time::Timestamp,
    topics,
};
use streambook_runtime::clock;

use super::{
    super::Source,
    log::{append, last, open_stopped},
};
use crate::{
    config::{Config, Engine},
    output,
};

/// Arguments of `chain backfill`.
#[derive(Args)]
pub(crate) struct Backfill {
    #[command(flatten)]
    source: Source,
    /// The payment whose address is looked for.
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
        let log = open_stopped(&config).await?;
        let watch = self.watch(&config, &*log).await?;
        let now = clock::system()();
        let id = format!("{}:backfill:{}:{}", watch.chain, self.payment, now.millis());
        let request = RequestBackfill {
            meta: Meta { source: None, id, occurred_at: now, recorded_at: now, cause: None, trace: None },
            chain: watch.chain,
            payment: self.payment,
            address: watch.address,
            token: watch.token,
            since: self.since,
            from_number: self.block.map(BlockNumber),
            tx_hash: self.transaction,
            payer: None,
            exact: watch.exact,
        };
        append(log, watch.chain, request).await?;
        if self.json {
            output::json(
                &json!({ "chain": watch.chain, "payment": self.payment, "address": watch.address }),
            )?;
        } else {
            let (chain, address) = (watch.chain, watch.address);
            output::line(format!("transfers to {address} on chain {chain} are searched for"));
            output::note(match config.log.engine {
                Engine::Embedded => {
                    "Start `streambook up`. `streambook chain status` says what became of it."
                }
                Engine::Fluvio => "`streambook chain status` says what became of it.",
            });
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The payment's watch, as its book asked for it.
    async fn watch(&self, config: &Config, log: &dyn Log) -> anyhow::Result<WatchAddress> {
        for chain in &config.chain {
            let found = last(log, ChainId(chain.id), topics::CHAIN_INBOX, |message| match message {
                Message::WatchAddress(watch) if watch.payment == self.payment => Some(watch),
                _ => None,
            });
            let Some(watch) = found.await? else { continue };
            return Ok(watch);
        }
        bail!(
            "no [[chain]] watches an address for {}: is it a chain payment of this data directory?",
            self.payment
        )
    }
}
