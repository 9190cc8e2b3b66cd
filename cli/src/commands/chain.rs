//! `streambook chain status / rebuild / backfill`: how the chains of a data directory stand, the way out where one is halted
//! because the nodes have left a block that was final, and the search for what was sent to a payment long ago.

use std::{collections::BTreeMap, process::ExitCode, sync::Arc};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};
use streambook_connectors::chain::{self, BlockId, ChainConfig, ancestor};
use streambook_log::{
    Log, LogError, ReadLimit, Visibility, embedded::EmbeddedLog, partitioner::partition_of,
};
use streambook_model::{
    bytes::{BlockHash, TxHash},
    chain::{BlockNumber, ChainId},
    codec,
    id::PaymentId,
    message::Message,
    meta::Meta,
    position::{Offset, TopicPartition},
    records::{
        backfill::RequestBackfill,
        chain::{ChainFork, ChainRebuild, ChainStatus, WatchAddress},
    },
    time::Timestamp,
    topics::{self, TopicDef},
};
use streambook_runtime::{clock, publisher::Publisher};

use super::Source;
use crate::{config::Config, output, system};

/// Records read at once, going backwards.
const CHUNK: u64 = 500;

/// Searches that are done and shown, of each chain.
const SEARCHES_SHOWN: usize = 10;

/// How chains stand, and the way out of a halted one.
#[derive(Subcommand)]
pub(crate) enum Chain {
    /// Show how each chain stands: head, finality, and why it is halted where it is.
    #[command(after_help = "Example:\n  streambook chain status --config streambook.toml")]
    Status(Status),
    /// Let a halted chain go on from the last block that is right. Stop `streambook up` first.
    #[command(
        after_help = "Example:\n  streambook chain rebuild --chain 1           shows the block that log and nodes have in common\n  streambook chain rebuild --chain 1 --yes     goes on from there"
    )]
    Rebuild(Rebuild),
    /// Search old blocks for what was sent to a payment. Stop `streambook up` first; it searches when it is started again.
    #[command(
        after_help = "Examples:\n  streambook chain backfill --payment pay_… --since 2026-11-01T00:00:00Z\n  streambook chain backfill --payment pay_… --block 23000000\n  streambook chain backfill --payment pay_… --transaction 0x…"
    )]
    Backfill(Backfill),
}

/// Arguments of `chain backfill`.
#[derive(Args)]
#[group(id = "how_far", multiple = false)]
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

impl Chain {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Status(command) => command.run().await,
            Self::Rebuild(command) => command.run().await,
            Self::Backfill(command) => command.run().await,
        }
    }
}

/// How a chain stands, as its log says.
#[derive(Debug, Serialize)]
struct Standing {
    chain: u64,
    head: Option<u64>,
    finalized: Option<u64>,
    halted: Option<String>,
    fork: Option<String>,
    /// Searches of old blocks, the last ones.
    backfills: Vec<Searched>,
}

/// A search of old blocks, as the log says.
#[derive(Debug, Serialize)]
struct Searched {
    request: u64,
    payment: PaymentId,
    state: &'static str,
    /// Transfers that were found and had not been reported before.
    reported: Option<u32>,
    problem: Option<String>,
}

impl Status {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.source.load()?;
        let log = match open(&config).await {
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

fn time(text: &str) -> Result<Timestamp, String> {
    serde_json::from_value(json!(text))
        .map_err(|error| format!("write a time as 2026-11-01T00:00:00Z ({error})"))
}

impl Backfill {
    async fn run(self) -> anyhow::Result<ExitCode> {
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
        };
        append(log, watch.chain, request).await?;
        if self.json {
            output::json(
                &json!({ "chain": watch.chain, "payment": self.payment, "address": watch.address }),
            )?;
        } else {
            let (chain, address) = (watch.chain, watch.address);
            output::line(format!("transfers to {address} on chain {chain} are searched for"));
            output::note("Start `streambook up`. `streambook chain status` says what became of it.");
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
            if let Some(watch) = found.await? {
                return Ok(watch);
            }
        }
        bail!(
            "no [[chain]] watches an address for {}: is it a chain payment of this data directory?",
            self.payment
        )
    }
}

/// What is open, and what became of the last searches.
async fn searches(log: &dyn Log, chain: ChainId) -> anyhow::Result<Vec<Searched>> {
    let mut requests = chain::backfill::Requests::new(chain);
    requests.read(log).await?;
    let closed = requests.closed().collect::<Vec<_>>();
    let closed = closed.into_iter().rev().take(SEARCHES_SHOWN).rev().map(|closed| Searched {
        request: closed.request,
        payment: closed.payment,
        state: "done",
        reported: Some(closed.reported),
        problem: closed.problem.clone(),
    });
    let open = requests.open().map(|asked| Searched {
        request: asked.request,
        payment: asked.payment,
        state: "open",
        reported: None,
        problem: None,
    });
    Ok(closed.chain(open).collect())
}

impl Rebuild {
    async fn run(self) -> anyhow::Result<ExitCode> {
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
        self.report(&branch, root)?;
        if self.yes {
            append(log, chain, rebuild(chain, root)).await?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn report(&self, branch: &[BlockId], root: BlockId) -> anyhow::Result<()> {
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
            "Start `streambook up`. Payments that were credited above that block are reversed, those that were final too, until \
             they come again."
        } else {
            "Nothing was changed. With --yes it is."
        });
        Ok(())
    }
}

async fn open(config: &Config) -> anyhow::Result<Arc<EmbeddedLog>> {
    if !system::Layout::of(config).log.exists() {
        bail!("there is no log in {}: name the data directory with --data", config.data.dir.display());
    }
    system::open_log(config).await
}

/// The log, which no other process may have open.
async fn open_stopped(config: &Config) -> anyhow::Result<Arc<EmbeddedLog>> {
    open(config).await.map_err(|error| {
        if is_in_use(&error) {
            error.context("stop `streambook up` first, and start it again afterwards")
        } else {
            error
        }
    })
}

fn is_in_use(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(LogError::InUse { .. })))
}

/// What the log says last of a chain: its public status, and the fork that was found.
async fn standing(log: &dyn Log, chain: ChainId) -> anyhow::Result<Standing> {
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
    })
}

/// The last record of the chain's partition that is wanted.
async fn last<T>(
    log: &dyn Log,
    chain: ChainId,
    topic: TopicDef,
    wanted: impl Fn(Message) -> Option<T>,
) -> anyhow::Result<Option<T>> {
    let partition = partition_of(chain.to_string().as_bytes(), topic.partitions);
    let from = TopicPartition::new(topic.topic(), partition);
    let bounds = log.bounds(&from, Visibility::Written).await?;
    let mut end = bounds.end.0;
    while end > bounds.first.0 {
        let start = end.saturating_sub(CHUNK).max(bounds.first.0);
        let (mut next, mut found) = (start, None);
        while next < end {
            let limit = ReadLimit { records: usize::try_from(end - next)?, ..ReadLimit::default() };
            let records = log.read(&from, Offset(next), limit, Visibility::Written).await?;
            let Some(last) = records.last() else { break };
            next = last.offset.0.saturating_add(1);
            for record in &records {
                found = wanted(codec::decode(&record.value)?).or(found);
            }
        }
        if found.is_some() {
            return Ok(found);
        }
        end = start;
    }
    Ok(None)
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

async fn append(log: Arc<EmbeddedLog>, chain: ChainId, record: impl Into<Message>) -> anyhow::Result<()> {
    let shared: Arc<dyn Log> = log.clone();
    let key = chain.to_string();
    let published = Publisher::new(shared).publish(topics::CHAIN_INBOX, key.as_bytes(), record).await?;
    Ok(log.synced(&published.appended).await?)
}
