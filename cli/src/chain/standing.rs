//! How a chain stands, as its log says.

use serde::{Deserialize, Serialize};
use streambook_connectors::chain;
use streambook_log::{Log, partitioner::partition_of};
use streambook_model::{
    chain::ChainId,
    id::PaymentId,
    message::Message,
    records::chain::{ChainFork, ChainStatus},
    topics,
};
use streambook_runtime::health::{Condition, Health};

use super::log::last;

/// Searches that are done and shown, of each chain.
const SEARCHES_SHOWN: usize = 10;

/// How a chain stands, as its log says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Standing {
    pub(crate) chain: u64,
    pub(crate) head: Option<u64>,
    pub(crate) finalized: Option<u64>,
    pub(crate) halted: Option<String>,
    pub(crate) fork: Option<String>,
    /// Searches of old blocks, the last ones.
    pub(crate) backfills: Vec<Searched>,
    /// What its connector and its task say of themselves where they run, as `/readyz` does.
    pub(crate) troubles: Vec<String>,
}

/// A search of old blocks, as the log says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Searched {
    pub(crate) request: u64,
    pub(crate) payment: PaymentId,
    pub(crate) state: String,
    /// Transfers that were found and had not been reported before.
    pub(crate) reported: Option<u32>,
    pub(crate) problem: Option<String>,
}

/// What the log says last of a chain: its public status, and the fork that was found.
pub(super) async fn of(log: &dyn Log, chain: ChainId) -> anyhow::Result<Standing> {
    let status = last(log, chain, topics::CHAIN_TRANSFERS, |message| match message {
        Message::ChainStatus(status) if status.chain == chain => Some(status),
        _ => None,
    });
    let status: Option<ChainStatus> = status.await?;
    // A fork counts only when it was found after the chain was last rebuilt.
    let fork = last(log, chain, topics::CHAIN_INBOX, |message| match message {
        Message::ChainFork(fork) if fork.chain == chain => Some(Some(fork)),
        Message::ChainRebuild(rebuild) if rebuild.chain == chain => Some(None),
        _ => None,
    });
    let fork: Option<ChainFork> = fork.await?.flatten();
    let halted = status.as_ref().and_then(|status| status.halted.clone());
    let describe = |fork: ChainFork| {
        format!(
            "the nodes have block {} ({}) where block {} ({}) was final",
            fork.found_number, fork.found_hash, fork.floor_number, fork.floor_hash
        )
    };
    Ok(Standing {
        chain: chain.0,
        head: status.as_ref().map(|status| status.head_number.0),
        finalized: status.as_ref().and_then(|status| status.finalized_number).map(|number| number.0),
        fork: fork.filter(|_| halted.is_some()).map(describe),
        halted,
        backfills: searches(log, chain).await?,
        troubles: Vec::new(),
    })
}

/// Why the running parts of a chain are not well.
pub(super) fn troubles(health: &Health, chain: ChainId) -> Vec<String> {
    let partition = partition_of(chain.to_string().as_bytes(), topics::CHAIN_INBOX.partitions);
    let (connector, task) = (format!("chain/{chain}"), format!("reorg/{partition}"));
    let is_of_chain = |name: &str| {
        name == task
            || name.strip_prefix(&connector).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let conditions = health.conditions().into_iter().filter(|(name, _)| is_of_chain(name));
    let said = conditions.filter_map(|(name, condition)| match condition {
        Condition::Running => None,
        Condition::Troubled { reason } | Condition::Stopped { reason } => Some(format!("{name}: {reason}")),
    });
    said.collect()
}

/// What is open, and what became of the last searches.
async fn searches(log: &dyn Log, chain: ChainId) -> anyhow::Result<Vec<Searched>> {
    let mut requests = chain::backfill::Requests::new(chain);
    requests.read(log).await?;
    let closed = requests.closed().collect::<Vec<_>>();
    let closed = closed.into_iter().rev().take(SEARCHES_SHOWN).rev().map(|closed| Searched {
        request: closed.request,
        payment: closed.payment,
        state: "done".to_owned(),
        reported: Some(closed.reported),
        problem: closed.problem.clone(),
    });
    let open = requests.open().map(|asked| Searched {
        request: asked.request,
        payment: asked.payment,
        state: "open".to_owned(),
        reported: None,
        problem: None,
    });
    Ok(closed.chain(open).collect())
}
