//! A halted chain goes on from the last block that is right.

use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use streambook_connectors::chain::{self, BlockId, ChainConfig, ancestor};
use streambook_model::{
    bytes::BlockHash,
    chain::{BlockNumber, ChainId},
    meta::Meta,
    records::chain::ChainRebuild,
};
use streambook_runtime::clock;

use super::{Chains, log::append, standing};

/// In a running process: how long its task may take to take the record, and how often that is looked at.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What is asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Rebuild {
    /// The chain.
    pub(crate) chain: u64,
    /// The last block that is right; without it the highest one that all nodes that answer have as well.
    pub(crate) block: Option<u64>,
    /// Do it, and not only say what would be done.
    pub(crate) yes: bool,
}

/// What is done, or would be.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Rebuilt {
    pub(crate) chain: u64,
    pub(crate) block: u64,
    pub(crate) hash: BlockHash,
    pub(crate) taken_back: usize,
    pub(crate) done: bool,
}

impl Rebuild {
    pub(super) async fn ask(self, chains: &Chains) -> anyhow::Result<Rebuilt> {
        let named = chains.configured.iter().find(|chain| chain.id == self.chain);
        let named = named.with_context(|| format!("there is no [[chain]] with id {}", self.chain))?;
        let chain = ChainId(self.chain);
        if standing::of(&*chains.log, chain).await?.halted.is_none() {
            bail!("chain {chain} is not halted, so there is nothing to rebuild");
        }
        let branch = chain::branch(&*chains.log, chain).await?;
        let root = match self.block {
            Some(number) => at(&branch, number)?,
            None => in_common(named, &branch).await?,
        };
        let taken_back = branch.iter().filter(|block| block.number > root.number).count();
        if self.yes {
            go_on(chains, rebuild(chain, root)).await?;
        }
        let hash = BlockHash::new(root.hash.0);
        Ok(Rebuilt { chain: self.chain, block: root.number, hash, taken_back, done: self.yes })
    }
}

/// Appends the command. Where the chain's connector runs it stands still meanwhile, and begins anew from what the log says then.
async fn go_on(chains: &Chains, record: ChainRebuild) -> anyhow::Result<()> {
    let chain = record.chain;
    let Some(running) = &chains.running else { return append(&chains.log, chain, record).await };
    running.connectors.rebuild(record).await?;
    // Whoever asks next sees what became of it.
    let taken = async {
        while standing::of(&*chains.log, chain).await?.halted.is_some() {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(TAKEN_WITHIN, taken).await.unwrap_or_else(|_| {
        bail!(
            "the command is in the log, and chain {chain} is halted still: `/readyz` and dead.letters say why"
        )
    })
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
