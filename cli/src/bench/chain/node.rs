//! Anvil as a child process, with a history of transfers. The token is the shortest contract that logs one: its bytecode is
//! put in place, so nothing has to be compiled or deployed.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use streambook_connectors::chain::ChainConfig;
use tokio::sync::oneshot;

/// The chain's id.
pub(super) const CHAIN: u64 = 31_337;
/// Where the token is.
pub(super) const TOKEN: &str = "0x00000000000000000000000000000000000a11ce";
/// Logs `Transfer(caller, first word of the call's data, second word)`:
/// `CALLDATACOPY(0, 32, 32)`, then `LOG3` of that word with the event's topic, the caller and the first word.
const CODE: &str = concat!(
    "0x60206020600037",
    "600035",
    "33",
    "7fddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef",
    "60206000a300",
);
/// How long anvil may take until it listens.
const START_WAIT: Duration = Duration::from_secs(30);

/// The process. Dropping it ends it.
pub(super) struct Node {
    child: Child,
    address: String,
    client: reqwest::Client,
}

/// What was prepared.
pub(super) struct History {
    /// The blocks' hashes, by height.
    pub(super) hashes: Vec<String>,
    /// The transfers in all of them.
    pub(super) transfers: u64,
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn find() -> anyhow::Result<PathBuf> {
    let named = std::env::var_os("ANVIL").map(PathBuf::from).filter(|path| path.is_file());
    let listed = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|dir| dir.join("anvil")).find(|path| path.is_file())
    };
    named
        .or_else(listed)
        .context("anvil is not on PATH: set ANVIL to the program (tests/setup/install brings it)")
}

impl Node {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let mut command = Command::new(find()?);
        command.args(["--host", "127.0.0.1", "--port", "0", "--no-mining", "--chain-id", &CHAIN.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context("anvil cannot be started")?;
        let output = child.stdout.take().context("anvil's output cannot be read")?;
        let (found, listening) = oneshot::channel();
        std::thread::spawn(move || {
            let mut found = Some(found);
            // Read to the end, so that anvil is never held up by a full pipe.
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let (Some(address), Some(found)) =
                    (line.strip_prefix("Listening on "), found.take_if(|_| line.starts_with("Listening on ")))
                {
                    // Nobody waits any more once the start has failed.
                    let _ = found.send(address.trim().to_owned());
                }
            }
        });
        let address = tokio::time::timeout(START_WAIT, listening).await;
        let client = reqwest::Client::builder().no_proxy().build()?;
        let address = address.context("anvil does not say where it listens")?.context("anvil ended")?;
        Ok(Self { child, address, client })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// The settings of a connector before this node.
    pub(super) fn config(&self, settings: Value) -> anyhow::Result<ChainConfig> {
        let mut config = json!({
            "id": CHAIN, "rpc": [self.url()], "confirmations": 1,
            "tokens": [{ "asset": format!("usdc:{CHAIN}"), "address": TOKEN, "decimals": 6 }],
        });
        if let (Some(config), Value::Object(settings)) = (config.as_object_mut(), settings) {
            config.extend(settings);
        }
        Ok(serde_json::from_value(config)?)
    }

    pub(super) fn web_socket(&self) -> String {
        format!("ws://{}", self.address)
    }

    pub(super) async fn call(&self, method: &str, params: Value) -> anyhow::Result<Value> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        self.send(&request).await.and_then(|answer| result(method, answer))
    }

    async fn send(&self, request: &Value) -> anyhow::Result<Value> {
        Ok(self.client.post(self.url()).json(request).send().await?.json().await?)
    }

    /// Mines a block; gives its hash.
    pub(super) async fn mine(&self) -> anyhow::Result<String> {
        self.call("evm_mine", json!([])).await?;
        let block = self.call("eth_getBlockByNumber", json!(["latest", false])).await?;
        Ok(block["hash"].as_str().context("a block without hash")?.to_owned())
    }

    /// The height of the head.
    pub(super) async fn head(&self) -> anyhow::Result<u64> {
        let number = self.call("eth_blockNumber", json!([])).await?;
        let number =
            number.as_str().and_then(|text| text.strip_prefix("0x")).context("a height that is no number")?;
        Ok(u64::from_str_radix(number, 16)?)
    }

    /// Sends a transfer to an address; it waits for a block. Gives the transaction's hash.
    pub(super) async fn pay(&self, to: u64, value: u64) -> anyhow::Result<String> {
        let accounts = self.call("eth_accounts", json!([])).await?;
        let payer = accounts[0].as_str().context("anvil has no accounts")?;
        let sent = self.call("eth_sendTransaction", json!([transaction(payer, to, value)])).await?;
        Ok(sent.as_str().context("a transaction without hash")?.to_owned())
    }

    /// Makes blocks of so many transactions with one transfer each.
    pub(super) async fn prepare(&self, blocks: u64, transfers: u64) -> anyhow::Result<History> {
        self.call("anvil_setCode", json!([TOKEN, CODE])).await?;
        let accounts = self.call("eth_accounts", json!([])).await?;
        let payer = accounts[0].as_str().context("anvil has no accounts")?.to_owned();
        let genesis = self.call("eth_getBlockByNumber", json!(["0x0", false])).await?;
        let mut hashes = vec![genesis["hash"].as_str().context("no genesis block")?.to_owned()];
        for number in 0..blocks {
            let sends: Vec<Value> = (0..transfers).map(|index| transfer(&payer, number, index)).collect();
            if let Value::Array(answers) = self.send(&Value::Array(sends)).await? {
                for answer in answers {
                    result("eth_sendTransaction", answer)?;
                }
            }
            hashes.push(self.mine().await?);
        }
        Ok(History { hashes, transfers: blocks.saturating_mul(transfers) })
    }
}

fn transfer(payer: &str, number: u64, index: u64) -> Value {
    let transaction = transaction(payer, 0x5_0000 + number % 97, number * 1_000 + index + 1);
    json!({ "jsonrpc": "2.0", "id": index, "method": "eth_sendTransaction", "params": [transaction] })
}

fn transaction(payer: &str, to: u64, value: u64) -> Value {
    let data = format!("0x{to:064x}{value:064x}");
    json!({ "from": payer, "to": TOKEN, "data": data, "gas": "0xc350" })
}

fn result(method: &str, mut answer: Value) -> anyhow::Result<Value> {
    if answer["error"].is_null() {
        return Ok(answer["result"].take());
    }
    bail!("anvil refuses {method}: {}", answer["error"]["message"])
}
