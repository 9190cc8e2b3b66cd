//! The local chain that the demo pays on: anvil where it is installed, else the built-in development chain. Both are
//! driven over JSON-RPC, and differ only in how things are asked for, which a [`Dialect`] knows.
//!
//! The demo mines itself, so it owns the chain's clock: blocks come at an interval, carry the wall clock's time plus an
//! offset that can be raised, and stop while somebody holds the chain quiet.

mod anvil;
mod dev;
mod rpc;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use streambook_devchain::DevNode;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use self::{
    anvil::Anvil,
    rpc::{Call, Rpc, quantity},
};

/// EIP-155 id of local chains.
pub(super) const CHAIN_ID: u64 = 31_337;
/// Decimal places of the test token.
pub(super) const DECIMALS: u8 = 6;
/// Pause between two blocks.
pub(super) const BLOCK_TIME: Duration = Duration::from_millis(250);
/// How long a transaction may take into a block.
const INCLUSION_WAIT: Duration = Duration::from_secs(30);
/// How often its receipt is asked for.
const LOOK: Duration = Duration::from_millis(50);

/// A movement of a token to an address.
#[derive(Debug, Clone)]
pub(super) struct Transfer {
    pub(super) token: String,
    pub(super) to: String,
    /// In the token's smallest unit.
    pub(super) units: u128,
}

/// How a node is asked.
trait Dialect: Send + Sync {
    /// A transaction with one transfer, for the next block.
    fn transfer(&self, transfer: &Transfer) -> anyhow::Result<Call>;
    /// One transaction with several transfers, for the next block.
    fn together(&self, transfers: &[Transfer]) -> anyhow::Result<Call>;
    /// A block at this time, in Unix seconds.
    fn mine(&self, timestamp: u64) -> Call;
    /// Replaces the last `depth` blocks; the first new one carries these transfers, each in a transaction of its own, and
    /// what was in the old ones is gone.
    fn reorg(&self, depth: u64, carried: &[Transfer]) -> anyhow::Result<Call>;
}

/// What has to be ended.
enum Node {
    Anvil(Anvil),
    Dev(DevNode),
}

/// The contracts on the chain.
struct Tokens {
    /// The one Streambook accepts.
    accepted: String,
    /// One that it has never heard of.
    unlisted: String,
}

/// When the next block is.
struct Clock {
    /// Seconds the chain is ahead of the wall clock.
    ahead: u64,
    /// The head's time.
    last: u64,
}

/// A running local chain.
pub(super) struct Chain {
    name: String,
    rpc: Rpc,
    dialect: Box<dyn Dialect>,
    tokens: Tokens,
    clock: Mutex<Clock>,
    /// Held for one transaction or block at a time: a node that numbers an account's transactions for several callers at
    /// once can give two of them the same number, and then one is lost.
    sending: Mutex<()>,
    node: Node,
}

impl Chain {
    /// Starts anvil where it is installed, else the development chain, and puts the test tokens on it.
    pub(super) async fn start() -> anyhow::Result<Self> {
        match anvil::find() {
            Some(program) => {
                anvil::start(&program).await.with_context(|| format!("anvil ({})", program.display()))
            }
            None => dev::start().await.context("the development chain"),
        }
    }

    /// What it is, for people.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where it answers.
    pub(super) fn url(&self) -> &str {
        self.rpc.url()
    }

    /// The accepted token's contract.
    pub(super) fn token(&self) -> &str {
        &self.tokens.accepted
    }

    /// A transfer of the accepted token.
    pub(super) fn payment(&self, to: &str, units: u128) -> Transfer {
        Transfer { token: self.tokens.accepted.clone(), to: to.to_owned(), units }
    }

    /// A transfer of a token that nobody has listed.
    pub(super) fn unlisted(&self, to: &str, units: u128) -> Transfer {
        Transfer { token: self.tokens.unlisted.clone(), ..self.payment(to, units) }
    }

    /// Sends a transaction with one transfer; gives its hash.
    pub(super) async fn send(&self, transfer: &Transfer) -> anyhow::Result<String> {
        let _one = self.sending.lock().await;
        self.rpc.text(self.dialect.transfer(transfer)?).await
    }

    /// Sends one transaction with several transfers; gives its hash.
    pub(super) async fn send_together(&self, transfers: &[Transfer]) -> anyhow::Result<String> {
        let _one = self.sending.lock().await;
        self.rpc.text(self.dialect.together(transfers)?).await
    }

    /// Waits until a transaction is in a block; gives the block's height.
    pub(super) async fn included(&self, transaction: &str) -> anyhow::Result<u64> {
        let end = Instant::now() + INCLUSION_WAIT;
        while Instant::now() < end {
            if let Some(receipt) = self.rpc.receipt(transaction).await? {
                if receipt["status"] != "0x1" {
                    bail!("transaction {transaction} has failed on the chain");
                }
                return quantity(&receipt["blockNumber"]);
            }
            tokio::time::sleep(LOOK).await;
        }
        bail!("transaction {transaction} is in no block after {} s", INCLUSION_WAIT.as_secs())
    }

    /// Makes blocks until it is told to stop, or one cannot be made.
    pub(super) async fn mine_on(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        let mut ticks = tokio::time::interval(BLOCK_TIME);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = ticks.tick() => self.quiet().await.mine().await?,
            }
        }
    }

    /// Holds the chain: no block is made but on request, until the handle is dropped.
    pub(super) async fn quiet(&self) -> Quiet<'_> {
        Quiet { chain: self, clock: self.clock.lock().await }
    }

    /// Puts the chain's time so many seconds ahead of the wall clock, from the next block on.
    pub(super) async fn advance(&self, seconds: u64) {
        let mut clock = self.clock.lock().await;
        clock.ahead = clock.ahead.max(seconds);
    }

    /// Ends the node.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        match self.node {
            Node::Anvil(anvil) => anvil.end(),
            Node::Dev(node) => node.shutdown().await.context("the development chain did not end well"),
        }
    }
}

/// A chain that makes blocks on request only.
pub(super) struct Quiet<'a> {
    chain: &'a Chain,
    clock: MutexGuard<'a, Clock>,
}

impl Quiet<'_> {
    /// Makes a block of what was sent.
    pub(super) async fn mine(&mut self) -> anyhow::Result<()> {
        let timestamp = wall_clock()?.saturating_add(self.clock.ahead).max(self.clock.last);
        let _one = self.chain.sending.lock().await;
        self.chain.rpc.call(self.chain.dialect.mine(timestamp)).await?;
        self.clock.last = timestamp;
        Ok(())
    }

    /// Replaces every block from this height on by others, of which the first carries these transfers. Gives how many were
    /// replaced.
    pub(super) async fn reorg(&mut self, from: u64, carried: &[Transfer]) -> anyhow::Result<u64> {
        let (head, _) = self.chain.rpc.head().await?;
        let depth = head.saturating_add(1).saturating_sub(from);
        if depth == 0 {
            bail!("the chain's head {head} is below block {from}");
        }
        self.chain.rpc.call(self.chain.dialect.reorg(depth, carried)?).await?;
        self.clock.last = self.chain.rpc.head().await?.1;
        Ok(depth)
    }
}

fn wall_clock() -> anyhow::Result<u64> {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(elapsed.context("the machine's clock is before 1970")?.as_secs())
}

#[cfg(test)]
mod tests;
