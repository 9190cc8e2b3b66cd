//! Starts that must not work, and starts without a node: each says what is wrong, where, and what is allowed.

use std::fs;

use serde_json::Value;

use crate::{
    chain::TestChain,
    command,
    devchain::Development,
    gate::Gate,
    money::token,
    place::Place,
    settings::{Settings, XPUB},
    shop::Shop,
    streambook::Streambook,
};

/// Starts with a configuration that must be refused, and gives what was said.
fn refused(toml: &str) -> String {
    let place = Place::new();
    let (file, data) = (place.path().join("wrong.toml"), place.path().join("data"));
    fs::write(&file, toml).unwrap();
    let mut command = command::streambook();
    let ended = command::ends(command.arg("up").arg("--config").arg(&file).arg("--data").arg(&data));
    assert_eq!(ended.code, Some(1), "{toml}\n{ended:#?}");
    assert!(!data.exists(), "a refused start leaves nothing behind");
    assert!(ended.err.contains(&file.display().to_string()), "it does not name the file: {}", ended.err);
    ended.err
}

#[track_caller]
fn refused_with(toml: &str, said: &[&str]) {
    let error = refused(toml);
    for part in said {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

fn chain(rest: &str) -> String {
    format!("[wallet]\nxpub = \"{XPUB}\"\n[[chain]]\nid = 31337\nrpc = [\"http://127.0.0.1:1\"]\n{rest}")
}

#[test]
fn a_wrong_configuration_is_refused_with_file_key_and_what_is_allowed() {
    refused_with("[api]\nlissten = \"127.0.0.1:0\"\n", &["lissten", "listen"]);
    refused_with("[api]\nlisten = \"nowhere\"\n", &["listen"]);
    refused_with("[api]\nmax_waiting = 0\n", &["api.max_waiting", "1 to 1000000"]);
    refused_with("[api\n", &["TOML"]);
    refused_with("[fees]\nparts_per_million = 1000001\n", &["parts_per_million", "1000000"]);
    refused_with("[fees]\nparts_per_million = 0.5\n", &["parts_per_million"]);
    refused_with("[webhooks]\ntimeout_ms = 1\n", &["[webhooks] timeout_ms", "100 to 120000"]);
    refused_with("[stripe]\ncurrencies = [\"USD\"]\n", &["currencies", "USD", "lower-case"]);
    refused_with("[wallet]\nxpub = \"xpub123\"\n", &["[wallet] xpub"]);
    refused_with("[unknown]\nkey = 1\n", &["unknown"]);
    refused_with("[[asset]]\nid = \"coins\"\nscale = 31\n", &["scale", "coins", "30"]);
}

#[test]
fn a_wrong_chain_is_refused_with_file_key_and_what_is_allowed() {
    refused_with(&chain("tokens = []\n"), &["31337", "confirmations", "finality"]);
    refused_with(&chain("confirmations = 0\ntokens = []\n"), &["confirmations", "is 0", "1 or more"]);
    refused_with(&chain("confirmations = 3\nfinality = \"finalized\"\ntokens = []\n"), &["finality"]);
    refused_with(&chain("finality = \"soon\"\ntokens = []\n"), &["finalized"]);
    let token = |asset, decimals| {
        let address = "0x5FbDB2315678afecb367f032d93F642f64180aa3";
        chain(&format!(
            "confirmations = 3\ntokens = [{{ asset = \"{asset}\", address = \"{address}\", decimals = {decimals} }}]\n"
        ))
    };
    refused_with(&token("usdc:1", 6), &["tokens[0].asset", "usdc:1", "chain's id"]);
    refused_with(&token("usdc:31337", 31), &["tokens[0].decimals", "at most 30"]);
    let no_wallet = "[[chain]]\nid = 31337\nrpc = [\"http://127.0.0.1:1\"]\nconfirmations = 3\ntokens = []\n";
    refused_with(no_wallet, &["[wallet] xpub", "extended public key"]);
    let scheme = chain("confirmations = 3\ntokens = []\n").replace("http://", "ws://");
    refused_with(&scheme, &["rpc[0]", "http://"]);
}

#[tokio::test]
async fn a_second_process_on_the_same_directory_is_refused_and_the_first_goes_on() {
    let streambook = Streambook::start(Settings::without_chain()).await;
    let second = command::ends(&mut streambook.command("up"));
    assert_eq!(second.code, Some(1), "{second:#?}");
    let log = streambook.data().join("log");
    assert!(
        second.err.contains(&log.display().to_string()),
        "it does not name the directory: {}",
        second.err
    );
    assert!(second.err.contains("process"), "it does not say why: {}", second.err);
    streambook.until_ready().await;
    Shop::open(&streambook, "still open").await;
    streambook.stop_and_verify().await;
}

#[tokio::test]
async fn a_node_that_is_down_is_named_in_readyz_and_all_goes_on_when_it_is_back() {
    let chain = Development::start().await.unwrap();
    let gate = Gate::before(&chain.url()).await;
    let settings = Settings::with_node(gate.url(), &chain.tokens().accepted);
    let streambook = Streambook::start(settings).await;
    let is_named = |status: u16, body: &Value| {
        let reason = body["not_ready"]["chain/31337"].as_str().unwrap_or_default();
        status == 503 && reason.contains(gate.url().trim_start_matches("http://"))
    };
    streambook.until_readiness("the node that is down is named", is_named).await;
    let metrics = streambook.metrics().await;
    assert!(metrics.lines().any(|line| line.contains("node") && line.ends_with(" 0")), "{metrics}");
    // Everything else works meanwhile.
    let shop = Shop::open(&streambook, "patient shop").await;
    let payment = shop.ask("5", 600).await;
    let transfer = crate::chain::Transfer {
        token: chain.tokens().accepted.clone(),
        to: payment.address.clone(),
        units: token("5"),
    };
    chain.transfer(&transfer).await;
    chain.mine(3).await;
    assert_eq!(shop.payment(&payment.id).await["status"], "pending");
    gate.open();
    streambook.until_ready().await;
    let probe = async || {
        let now = shop.payment(&payment.id).await;
        if now["status"] == "completed" { Ok(()) } else { Err(now.to_string()) }
    };
    streambook.until("what was paid meanwhile is completed", probe).await;
    streambook.stop_and_verify().await;
}

#[tokio::test]
async fn a_node_of_another_chain_is_named_with_both_ids() {
    let chain = Development::with_id(5).await;
    let streambook = Streambook::start(Settings::on(&chain)).await;
    let is_named = |status: u16, body: &Value| {
        let reason = body["not_ready"]["chain/31337"].as_str().unwrap_or_default();
        status == 503 && reason.contains("chain 5") && reason.contains("31337")
    };
    streambook.until_readiness("the wrong chain is named", is_named).await;
    streambook.stop_and_verify().await;
}
