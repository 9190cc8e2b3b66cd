//! The commands that look into the log, on a real Fluvio cluster beside the processes: they say what `up`'s say, make nothing
//! on a cluster that is not theirs, and the example applications come to the ledger's balances. And starts of processes that
//! must not work.
//!
//! What needs a cluster runs where `FLUVIO_RUN` names the server (`make test-fluvio`); elsewhere it says so.

use std::{collections::BTreeMap, fs, process::Command};

use serde_json::Value;
use streambook_fluvio_cluster::{Cluster, Reached};

use crate::{
    chain::TestChain,
    command,
    devchain::Development,
    downstream::{fails, run, without_first},
    money::token,
    parts,
    place::Place,
    settings::{CONFIRMATIONS, Settings, XPUB},
    shop::Shop,
    stage::Stage,
    streambook::Streambook,
};

/// Every part that SQLite allows in one process.
const ALL: &str = "run processors sql api chain webhooks stripe --name all";

fn on(cluster: &Cluster, mut settings: Settings) -> Settings {
    let log = format!("[log]\nengine = \"fluvio\"\nendpoint = \"{}\"\n", cluster.endpoint());
    settings.toml.push_str(&log);
    settings
}

/// What a command prints that must go well.
fn said(streambook: &Streambook, command: &str) -> Vec<u8> {
    let output = streambook.command(command).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn json(streambook: &Streambook, command: &str) -> Value {
    serde_json::from_slice(&said(streambook, command)).unwrap()
}

/// The last balance of each account, as the ledger states it beside each entry.
fn balances(lines: &[u8]) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut balances: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for line in serde_json::Deserializer::from_slice(lines).into_iter::<Value>() {
        for entry in line.unwrap()["value"]["entries"].as_array().unwrap() {
            let part = |name: &str| entry[name].as_str().unwrap().to_owned();
            balances.entry(part("account")).or_default().insert(part("asset"), part("balance"));
        }
    }
    balances
}

async fn paid(stage: &mut Stage<Development>, amount: &str) {
    let payment = stage.ask(amount).await;
    stage.pay(&payment, token(amount)).await;
    stage.chain.mine(CONFIRMATIONS).await;
    stage.until_status(&payment, "completed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_look_into_a_cluster_as_they_do_into_a_directory() {
    let Some(program) = streambook_fluvio_cluster::program() else { return };
    let (Some(python), Some(example)) = (parts::python(), parts::example("downstream")) else { return };
    let cluster = Cluster::start(&program, 2, Reached::Directly).await;
    let chain = Development::start().await.unwrap();
    let settings = on(&cluster, Settings::on(&chain));
    nothing_is_made_by_looking(&settings);
    let streambook = Streambook::start_as(settings, ALL).await;
    streambook.until_ready().await;
    let shop = Shop::open(&streambook, "shop").await;
    let mut stage = Stage { chain, streambook, shop };
    for amount in ["12.50", "20.00"] {
        paid(&mut stage, amount).await;
    }
    let streambook = &stage.streambook;

    let listed = json(streambook, "topics list --json");
    let records = |topic: &str| {
        let row = listed.as_array().unwrap().iter().find(|row| row["topic"] == topic).unwrap();
        row["records"].as_u64().unwrap()
    };
    let lines = said(streambook, "topics tail ledger.transactions --last 1000000");
    let count = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
    assert!(count >= 4 && count == records("ledger.transactions"), "{count}: {listed}");
    let described = json(streambook, "topics describe ledger.transactions --json");
    let ends = described["partitions"].as_array().unwrap();
    let sum: u64 = ends.iter().map(|partition| partition["end"].as_u64().unwrap()).sum();
    assert_eq!((ends.len(), sum), (16, count));
    assert_eq!(described["identity"].as_str().unwrap().len(), 32, "{described}");
    assert!(!said(streambook, "topics tail checkpoints --last 1").is_empty());

    let stream = said(streambook, "topics tail ledger.transactions --last 1000000 --format avro");
    let schema = parts::repository().join("schemas/avro/LedgerTransaction.avsc");
    let script = parts::repository().join("examples/downstream/balances.py");
    let expected = balances(&lines);
    assert_eq!(run(Command::new(&python).arg("-B").arg(script).arg(&schema), &stream), expected, "Python");
    assert_eq!(run(Command::new(&example).arg(&schema), &stream), expected, "Rust");
    assert!(fails(Command::new(&example).arg(&schema), &without_first(&stream)).contains("is missing"));

    let chains = json(streambook, "chain status --json");
    assert_eq!((&chains[0]["chain"], &chains[0]["halted"]), (&Value::from(31_337), &Value::Null), "{chains}");
    assert!(chains[0]["head"].as_u64().unwrap() >= CONFIRMATIONS, "{chains}");
    let refused = command::ends(&mut streambook.command("chain rebuild --chain 31337 --yes"));
    assert!(refused.code == Some(1) && refused.err.contains("is not halted"), "{refused:#?}");

    rebuilt(&mut stage).await;
}

/// A command that only looks finds nothing on a cluster where nothing has run, and makes nothing there.
fn nothing_is_made_by_looking(settings: &Settings) {
    let place = Place::new();
    let file = place.path().join("streambook.toml");
    fs::write(&file, &settings.toml).unwrap();
    for looks in ["topics list", "topics tail payments.events", "chain status", "status", "verify"] {
        let mut command = command::streambook();
        command
            .args(looks.split(' '))
            .arg("--config")
            .arg(&file)
            .arg("--data")
            .arg(place.path().join("none"));
        let ended = command::ends(&mut command);
        assert!(ended.code != Some(0) && ended.err.contains("no Streambook has run"), "{looks}: {ended:#?}");
    }
}

/// The SQL database is made again from the cluster while everything goes on, and the process carries it on.
async fn rebuilt(stage: &mut Stage<Development>) {
    let streambook = &stage.streambook;
    let refused = command::ends(&mut streambook.command("replay sql"));
    assert!(refused.code == Some(1) && refused.err.contains("--into"), "{refused:#?}");
    let new = streambook.file("rebuilt.db");
    let into = format!("sqlite://{}", new.display());
    let replay = said(streambook, &format!("replay sql --into {into} --json"));
    let replay: Value = serde_json::from_slice(&replay).unwrap();
    assert!(replay["records"].as_u64().unwrap() > 0, "{replay}");
    paid(stage, "5.00").await;
    stage.streambook.stop().await;
    stage.streambook.set("STREAMBOOK_SQL__URL", &into);
    stage.streambook.start_again().await;
    stage.streambook.until_ready().await;
    paid(stage, "7.00").await;
    stage.streambook.stop().await;
    let ended = command::ends(&mut stage.streambook.command("verify"));
    let last = ended.out.lines().last().unwrap_or_default();
    assert!(
        ended.code == Some(0) && last.starts_with("verify: ok") && last.contains("4 payments"),
        "{ended:#?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_belongs_to_its_cluster() {
    let Some(program) = streambook_fluvio_cluster::program() else { return };
    let cluster = Cluster::start(&program, 1, Reached::Directly).await;
    let one = |mut settings: Settings| {
        settings.toml = settings.toml.replace("[log]\n", "[log]\nreplication = 1\n");
        settings
    };
    let settings = one(on(&cluster, Settings::without_chain()));
    let mut streambook = Streambook::start_as(settings, "run processors sql api --name all").await;
    streambook.until_ready().await;
    streambook.stop().await;
    let other = Cluster::start(&program, 1, Reached::Directly).await;
    let mut command = streambook.command("run processors sql api --name all");
    let ended = command::ends(command.env("STREAMBOOK_LOG__ENDPOINT", other.endpoint()));
    assert!(ended.code == Some(1) && ended.err.contains("belongs to another log"), "{ended:#?}");
    let ended = command::ends(streambook.command("up").env("STREAMBOOK_LOG__ENGINE", "embedded"));
    assert!(ended.code == Some(1) && ended.err.contains("a process on a cluster"), "{ended:#?}");
    streambook.start_again().await;
    streambook.until_ready().await;
}

/// Starts a part without what it needs, and gives what was said.
fn refused(parts: &str, toml: &str) -> String {
    let place = Place::new();
    let file = place.path().join("streambook.toml");
    fs::write(&file, format!("[log]\nengine = \"fluvio\"\nendpoint = \"127.0.0.1:1\"\n{toml}")).unwrap();
    let mut command = command::streambook();
    command.arg("run").args(parts.split(' ')).arg("--config").arg(&file);
    let ended = command::ends(command.arg("--data").arg(place.path().join("data")));
    assert_eq!(ended.code, Some(1), "{parts}: {ended:#?}");
    ended.err
}

#[test]
fn a_part_without_its_configuration_is_refused_and_says_what_it_needs() {
    let chain = refused("chain", &format!("[wallet]\nxpub = \"{XPUB}\"\n"));
    assert!(chain.contains("add a [[chain]] section"), "{chain}");
    let clickhouse = refused("processors clickhouse", "");
    assert!(clickhouse.contains("[clickhouse] url"), "{clickhouse}");
    let stripe = refused("api stripe sql", "");
    assert!(stripe.contains("STREAMBOOK_STRIPE__WEBHOOK_SECRETS"), "{stripe}");
    let sqlite = refused("sql", "");
    assert!(sqlite.contains("SQLite serves one process"), "{sqlite}");
    let share = refused("processors --processes 0", "");
    assert!(share.contains("--processes"), "{share}");
}
