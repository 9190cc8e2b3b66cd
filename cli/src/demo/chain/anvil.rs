//! Anvil as a child process: a real EVM with a real ERC-20 contract, paid from its unlocked test accounts.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use serde_json::json;
use tokio::sync::{Mutex, oneshot};

use super::{CHAIN_ID, Call, Chain, Clock, DECIMALS, Dialect, Node, Rpc, Tokens, Transfer, wall_clock};
use crate::demo::token::{self, Contract};

/// How long anvil may take until it listens.
const START_WAIT: Duration = Duration::from_secs(30);
/// What the payer is given, in smallest units.
const FORTUNE: u128 = 1_000_000_000_000_000_000;
/// Gas of a transaction with one transfer; more than any needs, so that nothing has to be estimated.
const TRANSFER_GAS: &str = "0x493e0";
/// Gas of everything else.
const LARGE_GAS: &str = "0x2dc6c0";

/// Where anvil is: what `ANVIL` names, or the first on `PATH`. None where neither is a file.
pub(super) fn find() -> Option<PathBuf> {
    let named = std::env::var_os("ANVIL").map(PathBuf::from).filter(|path| path.is_file());
    let listed = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|dir| dir.join("anvil")).find(|path| path.is_file())
    };
    named.or_else(listed)
}

/// The process, in a group of its own: a Ctrl-C in the terminal is the demo's to handle. Dropping it ends it.
pub(super) struct Anvil {
    child: Child,
}

impl Anvil {
    fn spawn(program: &Path) -> anyhow::Result<(Self, ChildStdout)> {
        let mut command = Command::new(program);
        command
            .args(["--host", "127.0.0.1", "--port", "0", "--no-mining", "--chain-id"])
            .arg(CHAIN_ID.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn().context("cannot be started")?;
        let output = child.stdout.take().context("its output cannot be read")?;
        Ok((Self { child }, output))
    }

    /// Ends it and what it started (npm's `anvil` is a wrapper around the program), by their process group.
    pub(super) fn end(mut self) -> anyhow::Result<()> {
        self.kill().context("anvil could not be ended")
    }

    fn kill(&mut self) -> std::io::Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        let group = format!("-{}", self.child.id());
        // Where there is no `kill` program, the process alone is ended below.
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        // It has ended already, or nothing more can be done about it here.
        let _ = self.kill();
    }
}

pub(super) async fn start(program: &Path) -> anyhow::Result<Chain> {
    let (anvil, output) = Anvil::spawn(program)?;
    let address = listening(output).await?;
    let rpc = Rpc::new(format!("http://{address}"))?;
    let version = rpc.text(Call::new("web3_clientVersion", json!([]))).await?;
    let (dialect, tokens) = deploy(&rpc).await?;
    let clock = Mutex::new(Clock { ahead: 0, last: rpc.head().await?.1 });
    Ok(Chain {
        name: version,
        rpc,
        dialect: Box::new(dialect),
        tokens,
        clock,
        sending: Mutex::default(),
        node: Node::Anvil(anvil),
    })
}

/// Waits for the line that says where it listens. The thread reads on afterwards, so that anvil is never held up by a full
/// pipe, and ends with it.
async fn listening(output: ChildStdout) -> anyhow::Result<String> {
    let (found, address) = oneshot::channel();
    std::thread::spawn(move || {
        let mut found = Some(found);
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let Some(address) = line.strip_prefix("Listening on ") else { continue };
            if let Some(found) = found.take() {
                // Nobody waits any more where starting took too long, and then anvil is ended.
                let _ = found.send(address.trim().to_owned());
            }
        }
    });
    let waited = tokio::time::timeout(START_WAIT, address).await;
    let waited = waited.with_context(|| format!("does not listen after {} s", START_WAIT.as_secs()))?;
    waited.context("ended before it listened")
}

struct Unlocked {
    contract: Contract,
    routing: Contract,
    payer: String,
    router: String,
}

async fn deploy(rpc: &Rpc) -> anyhow::Result<(Unlocked, Tokens)> {
    let accounts = rpc.call(Call::new("eth_accounts", json!([]))).await?;
    let account =
        |index: usize| accounts[index].as_str().map(str::to_owned).context("has no unlocked accounts");
    let (owner, payer) = (account(0)?, account(1)?);
    let (contract, routing) = (Contract::token()?, Contract::router()?);
    let accepted =
        create(rpc, &owner, &contract, &token::token_arguments("USD Coin", "USDC", DECIMALS)?).await?;
    let unlisted = create(rpc, &owner, &contract, &token::token_arguments("Junk", "JUNK", DECIMALS)?).await?;
    let router = create(rpc, &owner, &routing, "").await?;
    let fortune = [token::address(&payer)?, token::number(FORTUNE)];
    for token in [&accepted, &unlisted] {
        run(rpc, call(&owner, Some(token), &contract.call("mint(address,uint256)", &fortune)?, LARGE_GAS))
            .await?;
    }
    let allowance = [token::address(&router)?, token::number(FORTUNE)];
    let approval = contract.call("approve(address,uint256)", &allowance)?;
    run(rpc, call(&payer, Some(&accepted), &approval, LARGE_GAS)).await?;
    Ok((Unlocked { contract, routing, payer, router }, Tokens { accepted, unlisted }))
}

async fn create(rpc: &Rpc, owner: &str, contract: &Contract, arguments: &str) -> anyhow::Result<String> {
    let receipt =
        run(rpc, call(owner, None, &format!("{}{arguments}", contract.creation()), LARGE_GAS)).await?;
    receipt["contractAddress"].as_str().map(str::to_owned).context("a test contract has no address")
}

/// Sends a transaction and makes the block it is in.
async fn run(rpc: &Rpc, transaction: Call) -> anyhow::Result<serde_json::Value> {
    let hash = rpc.text(transaction).await?;
    rpc.call(mine(wall_clock()?.max(rpc.head().await?.1))).await?;
    match rpc.receipt(&hash).await? {
        Some(receipt) if receipt["status"] == "0x1" => Ok(receipt),
        Some(_) => bail!("the transaction {hash} that prepares the test token has failed"),
        None => bail!("the transaction {hash} that prepares the test token is in no block"),
    }
}

fn request(from: &str, to: Option<&str>, data: &str, gas: &str) -> serde_json::Value {
    match to {
        Some(to) => json!({ "from": from, "to": to, "data": data, "gas": gas }),
        None => json!({ "from": from, "data": data, "gas": gas }),
    }
}

fn call(from: &str, to: Option<&str>, data: &str, gas: &str) -> Call {
    Call::new("eth_sendTransaction", json!([request(from, to, data, gas)]))
}

fn mine(timestamp: u64) -> Call {
    Call::new("evm_mine", json!([{ "timestamp": timestamp }]))
}

impl Unlocked {
    fn data(&self, transfer: &Transfer) -> anyhow::Result<String> {
        let arguments = [token::address(&transfer.to)?, token::number(transfer.units)];
        self.contract.call("transfer(address,uint256)", &arguments)
    }
}

impl Dialect for Unlocked {
    fn transfer(&self, transfer: &Transfer) -> anyhow::Result<Call> {
        Ok(call(&self.payer, Some(&transfer.token), &self.data(transfer)?, TRANSFER_GAS))
    }

    fn together(&self, transfers: &[Transfer]) -> anyhow::Result<Call> {
        let data = self.routing.call("pay((address,address,uint256)[])", &token::payments(transfers)?)?;
        Ok(call(&self.payer, Some(&self.router), &data, LARGE_GAS))
    }

    fn mine(&self, timestamp: u64) -> Call {
        mine(timestamp)
    }

    /// As many blocks as before: `anvil_reorg` replaces them one for one.
    fn reorg(&self, depth: u64, carried: &[Transfer]) -> anyhow::Result<Call> {
        let mut placed = Vec::new();
        for transfer in carried {
            let transaction =
                request(&self.payer, Some(&transfer.token), &self.data(transfer)?, TRANSFER_GAS);
            placed.push(json!([transaction, 0]));
        }
        Ok(Call::new("anvil_reorg", json!([depth, placed])))
    }
}
