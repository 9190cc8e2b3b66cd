//! `streambook chain rebuild`.

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;
use streambook_connectors::chain::{self, BlockId, ChainConfig, ancestor};
use streambook_model::{
    bytes::BlockHash,
    chain::{BlockNumber, ChainId},
    meta::Meta,
    records::chain::ChainRebuild,
};
use streambook_runtime::clock;

use super::{
    super::Source,
    log::{append, open_stopped, process},
    standing::standing,
};
use crate::output;

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
        let named = config.chain.iter().find(|chain| chain.id == self.chain);
        let named = named.with_context(|| format!("there is no [[chain]] with id {}", self.chain))?;
        let log = open_stopped(&config).await?;
        let chain = ChainId(self.chain);
        let before = standing(&*log, chain).await?;
        if before.halted.is_none() {
            bail!("chain {chain} is not halted, so there is nothing to rebuild");
        }
        let branch = chain::branch(&*log, chain).await?;
        let root = match self.block {
            Some(number) => at(&branch, number)?,
            None => in_common(named, &branch).await?,
        };
        self.report(&branch, root, process(config.log.engine))?;
        if self.yes {
            append(log, chain, rebuild(chain, root)).await?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn report(&self, branch: &[BlockId], root: BlockId, process: &str) -> anyhow::Result<()> {
        let taken_back = branch.iter().filter(|block| block.number > root.number).count();
        if self.json {
            return output::json(&json!({
                "chain": self.chain, "block": root.number, "hash": root.hash, "taken_back": taken_back, "done": self.yes,
            }));
        }
        let verb = if self.yes { "goes on" } else { "would go on" };
        output::line(format!(
            "chain {} {verb} from block {} ({}); {taken_back} blocks above it are taken back",
            self.chain, root.number, root.hash
        ));
        output::note(if self.yes {
            format!(
                "Start {process}. Payments that were credited above that block are reversed, those that were final too, until \
                 they come again."
            )
        } else {
            format!("Nothing was changed. With --yes it is; stop {process} before that.")
        });
        Ok(())
    }
}

fn at(branch: &[BlockId], number: u64) -> anyhow::Result<BlockId> {
    let (highest, lowest) =
        (branch.first().map(|block| block.number), branch.last().map(|block| block.number));
    let found = branch.iter().find(|block| block.number == number).copied();
    found.with_context(|| {
        let height = |height: Option<u64>| height.map_or_else(|| "?".to_owned(), |height| height.to_string());
        format!(
            "the log's branch goes from block {} to {}: name one of those",
            height(lowest),
            height(highest)
        )
    })
}

/// The highest block of the branch that every node that answers has as well.
async fn in_common(config: &ChainConfig, branch: &[BlockId]) -> anyhow::Result<BlockId> {
    let problems = |errors: Vec<chain::ConfigError>| {
        anyhow::anyhow!(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    };
    let settings = config.check().map_err(problems)?;
    let found = ancestor::in_common(&settings, branch).await?;
    found.context(
        "the nodes have none of the blocks that the log's branch still holds: the fork is deeper than this can mend",
    )
}

fn rebuild(chain: ChainId, root: BlockId) -> ChainRebuild {
    let now = clock::system()();
    let id = format!("{chain}:rebuild:{}:{}", root.hash, now.millis());
    let meta = Meta { source: None, id, occurred_at: now, recorded_at: now, cause: None, trace: None };
    ChainRebuild { meta, chain, number: BlockNumber(root.number), hash: BlockHash::new(root.hash.0) }
}
