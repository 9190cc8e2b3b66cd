//! Before anvil, a real EVM: all lies together while it reorganises, from depth 1 to 64.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};
use streambook_lying_node::Mix;

use crate::observed::{CHAIN, Observed, proxies, until_asked};
use crate::truth::Truth;

/// How long anvil may take until it listens.
const START_WAIT: Duration = Duration::from_secs(60);
const DEPTHS: [u64; 7] = [1, 2, 3, 8, 16, 32, 64];

struct Anvil {
    child: Child,
    url: String,
}

impl Drop for Anvil {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> Option<PathBuf> {
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let package = format!("../setup/node_modules/@foundry-rs/anvil-linux-{machine}/bin/anvil");
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join(package);
    let path = std::env::var_os("ANVIL").map_or(installed, PathBuf::from);
    if path.is_file() {
        return Some(path);
    }
    let missing = format!("NOT RUN: anvil is missing, got by tests/setup/install ({})", path.display());
    let required = ["CI", "STREAMBOOK_REQUIRE_PARTS"].iter().any(|name| std::env::var_os(name).is_some());
    assert!(!required, "{missing}");
    // Not `eprintln!`: the harness would keep it to itself, since the test passes.
    std::io::stderr().write_all(format!("{missing}\n").as_bytes()).unwrap();
    None
}

impl Anvil {
    fn start() -> Option<Self> {
        let mut command = Command::new(program()?);
        command.args(["--host", "127.0.0.1", "--port", "0", "--no-mining", "--chain-id", &CHAIN.to_string()]);
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
        Some(Self { child, url: format!("http://{address}") })
    }
}

fn artifact() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts/Token.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn word(value: u64) -> String {
    format!("{value:064x}")
}

async fn send(truth: &Truth, from: &str, to: Option<&str>, data: String) -> String {
    let mut transaction = json!({ "from": from, "data": data, "gas": "0x2dc6c0" });
    if let Some(to) = to {
        transaction["to"] = json!(to);
    }
    truth.call("eth_sendTransaction", json!([transaction])).await.as_str().unwrap().to_owned()
}

/// A token whose whole supply the first account has; gives its address and that account.
async fn deploy(node: &Truth) -> (String, String) {
    let accounts = node.call("eth_accounts", json!([])).await;
    let owner = accounts[0].as_str().unwrap().to_owned();
    let artifact = artifact();
    let text = |value: &str| {
        format!("{}{:0<64}", word(4), value.bytes().map(|byte| format!("{byte:02x}")).collect::<String>())
    };
    let arguments = [word(96), word(160), word(6), text("USDC"), text("USDC")].concat();
    let code = format!("{}{arguments}", artifact["bytecode"].as_str().unwrap());
    let hash = send(node, &owner, None, code).await;
    node.call("evm_mine", json!([])).await;
    let receipt = node.call("eth_getTransactionReceipt", json!([hash])).await;
    let token = receipt["contractAddress"].as_str().unwrap().to_owned();
    let selector = artifact["selectors"]["mint(address,uint256)"].as_str().unwrap().to_owned();
    let mint = format!("{selector}{:0>64}{}", owner.trim_start_matches("0x"), word(1_000_000_000));
    send(node, &owner, Some(&token), mint).await;
    node.call("evm_mine", json!([])).await;
    (token, owner)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reorganising_evm_behind_lying_nodes_reaches_the_log_as_it_is() {
    let Some(anvil) = Anvil::start() else { return };
    let (token, owner) = deploy(&Truth::of(&anvil.url, "0x")).await;
    let selector = artifact()["selectors"]["transfer(address,uint256)"].as_str().unwrap().to_owned();
    let nodes = proxies(&anvil.url, 3, &Mix::all(250)).await;
    let all: Vec<_> = nodes.iter().collect();
    let mut truth = Truth::of(&anvil.url, &token);
    truth.look().await;
    let observed = Observed::start(&token, &all).await;
    for (round, depth) in (1..).zip(DEPTHS) {
        for number in 0..=depth {
            let to = format!("{:0>64}", format!("{:x}", 0xbeef + number % 3));
            let transfer = format!("{selector}{to}{}", word(round * 1_000 + number));
            send(&truth, &owner, Some(&token), transfer).await;
            truth.call("evm_mine", json!([])).await;
        }
        truth.look().await;
        until_asked(&all, 30).await;
        // The transactions of the blocks that are taken back come again in other blocks, or not at all.
        truth.call("anvil_reorg", json!([depth, []])).await;
        truth.call("evm_mine", json!([])).await;
        truth.look().await;
        until_asked(&all, 30).await;
    }
    nodes.iter().for_each(|node| node.set_mix(Mix::honest()));
    let held = observed.until_complete(&truth).await;
    held.assert_true(&truth);
}
