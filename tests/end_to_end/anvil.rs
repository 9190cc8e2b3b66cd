//! Anvil: a real EVM with the contracts of `tests/contracts`, paid from an unlocked account.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    chain::{TestChain, Tokens, Transfer},
    parts,
};

/// How long anvil may take until it listens.
const START_WAIT: Duration = Duration::from_secs(60);
/// Gas of every transaction, so that nothing has to be estimated: what reverts is mined like the rest.
const GAS: &str = "0x2dc6c0";
/// What the payer has, in smallest units.
const FORTUNE: i128 = 1_000_000_000_000_000;

/// A running anvil.
pub(crate) struct Anvil {
    child: Child,
    client: reqwest::Client,
    url: String,
    payer: String,
    router: String,
    tokens: Tokens,
}

impl Drop for Anvil {
    fn drop(&mut self) {
        // It may have ended already; there is nothing else to do about it here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A compiled contract's file.
fn artifact(name: &str) -> Value {
    let path = parts::repository().join(format!("tests/contracts/{name}.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn word(value: i128) -> String {
    format!("{value:064x}")
}

fn address(text: &str) -> String {
    format!("{:0>64}", text.trim_start_matches("0x").to_lowercase())
}

/// The ABI's tail of a text of at most one word.
fn short_text(value: &str) -> String {
    format!("{}{:0<64}", word(i128::try_from(value.len()).unwrap()), hex::encode(value))
}

/// The data of a call.
fn call(contract: &str, signature: &str, words: &[String]) -> String {
    let artifact = artifact(contract);
    let selector = artifact["selectors"][signature].as_str();
    format!("{}{}", selector.unwrap_or_else(|| panic!("{contract} has no {signature}")), words.concat())
}

/// A tuple (token, to, value) in place.
fn payment(transfer: &Transfer) -> [String; 3] {
    [address(&transfer.token), address(&transfer.to), word(transfer.units)]
}

/// Starts the program and waits for the line that says where it listens. The thread reads on, so that anvil is never
/// held up by a full pipe.
fn spawn() -> Option<(Child, String)> {
    let mut command = Command::new(parts::anvil()?);
    command.args(["--host", "127.0.0.1", "--port", "0", "--no-mining", "--chain-id", "31337"]);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let output = child.stdout.take().unwrap();
    let (found, listening) = mpsc::sync_channel(16);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(address) = line.strip_prefix("Listening on ") {
                // Nobody waits any more once it was found.
                let _ = found.try_send(address.trim().to_owned());
            }
        }
    });
    let address = listening.recv_timeout(START_WAIT).expect("anvil does not say where it listens");
    Some((child, format!("http://{address}")))
}

impl Anvil {
    async fn rpc(&self, method: &str, params: Value) -> Value {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut answer: Value =
            self.client.post(&self.url).json(&body).send().await.unwrap().json().await.unwrap();
        assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        answer["result"].take()
    }

    async fn send(&self, from: &str, to: Option<&str>, data: String) -> String {
        let mut transaction = json!({ "from": from, "data": data, "gas": GAS });
        if let Some(to) = to {
            transaction["to"] = json!(to);
        }
        self.rpc("eth_sendTransaction", json!([transaction])).await.as_str().unwrap().to_owned()
    }

    async fn route(&self, signature: &str, words: &[String]) -> String {
        self.send(&self.payer, Some(&self.router), call("Router", signature, words)).await
    }

    /// Creates a contract and gives its address.
    async fn create(&self, owner: &str, contract: &str, arguments: &str) -> String {
        let code = format!("{}{arguments}", artifact(contract)["bytecode"].as_str().unwrap());
        let hash = self.send(owner, None, code).await;
        self.mine(1).await;
        let receipt = self.rpc("eth_getTransactionReceipt", json!([hash])).await;
        assert_eq!(receipt["status"], "0x1", "{contract} was not created: {receipt}");
        receipt["contractAddress"].as_str().unwrap().to_owned()
    }

    async fn deploy(&mut self) {
        let accounts = self.rpc("eth_accounts", json!([])).await;
        let owner = accounts[0].as_str().unwrap().to_owned();
        accounts[1].as_str().unwrap().clone_into(&mut self.payer);
        let arguments =
            |name, symbol| [word(96), word(160), word(6), short_text(name), short_text(symbol)].concat();
        self.tokens.accepted = self.create(&owner, "Token", &arguments("USD Coin", "USDC")).await;
        self.tokens.unlisted = self.create(&owner, "Token", &arguments("Junk", "JUNK")).await;
        self.router = self.create(&owner, "Router", "").await;
        for token in [&self.tokens.accepted, &self.tokens.unlisted] {
            let mint = call("Token", "mint(address,uint256)", &[address(&self.payer), word(FORTUNE)]);
            self.send(&owner, Some(token), mint).await;
            let approve = call("Token", "approve(address,uint256)", &[address(&self.router), word(FORTUNE)]);
            self.send(&self.payer, Some(token), approve).await;
        }
        self.mine(1).await;
    }
}

impl TestChain for Anvil {
    async fn start() -> Option<Self> {
        let (child, url) = spawn()?;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let tokens = Tokens { accepted: String::new(), unlisted: String::new() };
        let mut anvil = Self { child, client, url, payer: String::new(), router: String::new(), tokens };
        anvil.deploy().await;
        Some(anvil)
    }

    fn url(&self) -> String {
        self.url.clone()
    }

    fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    async fn transfer(&self, transfer: &Transfer) -> String {
        let words = [address(&transfer.to), word(transfer.units)];
        self.send(&self.payer, Some(&transfer.token), call("Token", "transfer(address,uint256)", &words))
            .await
    }

    async fn together(&self, transfers: &[Transfer]) -> String {
        let mut words = vec![word(32), word(i128::try_from(transfers.len()).unwrap())];
        words.extend(transfers.iter().flat_map(payment));
        self.route("pay((address,address,uint256)[])", &words).await
    }

    async fn undone(&self, transfer: &Transfer) -> String {
        self.route("payAndRevert((address,address,uint256))", &payment(transfer)).await
    }

    async fn after_lost_call(&self, lost: &Transfer, kept: &Transfer) -> String {
        let words = [payment(lost), payment(kept)].concat();
        self.route("payAfterLostCall((address,address,uint256),(address,address,uint256))", &words).await
    }

    async fn mine(&self, blocks: u64) {
        for _ in 0..blocks {
            self.rpc("evm_mine", json!([])).await;
        }
    }

    async fn advance(&self, seconds: u64) {
        self.rpc("evm_increaseTime", json!([seconds])).await;
    }

    async fn reorg(&self, depth: u64) {
        self.rpc("anvil_reorg", json!([depth, []])).await;
    }

    async fn reorg_with(&self, depth: u64, transaction: &str) {
        let raw = self.rpc("eth_getRawTransactionByHash", json!([transaction])).await;
        self.rpc("anvil_reorg", json!([depth, [[raw, depth - 1]]])).await;
    }

    async fn head(&self) -> u64 {
        let number = self.rpc("eth_blockNumber", json!([])).await;
        u64::from_str_radix(number.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    }
}
