//! The example applications of `docs/topics.md`, in Rust and in Python, on the records of a real run: with the published
//! schema and an Avro library they come to the same balances as the ledger.

use std::{
    collections::BTreeMap,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    chain::TestChain, command, devchain::Development, money::token, parts, settings::CONFIRMATIONS,
    stage::Stage,
};

/// By account and asset, in the smallest unit.
type Balances = BTreeMap<String, BTreeMap<String, String>>;

#[tokio::test]
async fn the_example_applications_come_to_the_ledgers_balances() {
    let Some(python) = parts::python() else { return };
    let Some(example) = parts::example("downstream") else { return };
    let stage = paid().await;
    let data = stage.streambook.data();
    let expected = by_the_ledgers_own_account(&data);
    let sold: Vec<&str> = expected
        .iter()
        .filter(|(account, _)| account.contains("/merchant/") && account.ends_with("/available"))
        .filter_map(|(_, balances)| balances.values().next().map(String::as_str))
        .collect();
    assert_eq!(sold, ["-32337500"], "12.50 and 20.00 less the fee of 0.5%: {expected:#?}");

    let records = tail(&data, &["--format", "avro"]);
    let schema = parts::repository().join("schemas/avro/LedgerTransaction.avsc");
    let script = parts::repository().join("examples/downstream/balances.py");
    let python_command = || {
        let mut command = Command::new(&python);
        command.arg("-B").arg(&script).arg(&schema);
        command
    };
    let rust_command = || {
        let mut command = Command::new(&example);
        command.arg(&schema);
        command
    };
    assert_eq!(run(&mut python_command(), &records), expected, "Python");
    assert_eq!(run(&mut rust_command(), &records), expected, "Rust");

    let mut cut = records.clone();
    cut.pop();
    assert!(fails(Command::new(&example).arg(&schema), &cut).contains("the stream ends within a record"));
    let both: [(&str, &dyn Fn() -> Command); 2] = [("Python", &python_command), ("Rust", &rust_command)];
    for (name, command) in both {
        let sent_again = again(&records);
        assert_ne!(sent_again, records);
        assert_eq!(run(&mut command(), &sent_again), expected, "{name}: what was lost was sent again");
        let said = fails(&mut command(), &without_first(&records));
        assert!(said.contains("number 1 of book/") && said.contains("is missing"), "{name}: {said}");
    }
    let other = parts::repository().join("schemas/avro/PaymentEvent.avsc");
    assert!(fails(Command::new(&example).arg(&other), &records).contains("another schema"));
}

/// The records of a stream: each with its partition, offset and length.
fn frames(mut stream: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while !stream.is_empty() {
        let length = u32::from_be_bytes(stream[10..14].try_into().unwrap());
        let (frame, rest) = stream.split_at(14 + usize::try_from(length).unwrap());
        frames.push(frame.to_vec());
        stream = rest;
    }
    frames
}

/// The same stream as a cluster leaves it that lost the second record, whose sender sent everything again from there. The
/// first stays where it is, at offset 0.
fn again(stream: &[u8]) -> Vec<u8> {
    let frames = frames(stream);
    let early = frames[..1].iter().chain(&frames[2..]);
    early.chain(&frames).flatten().copied().collect()
}

/// The same without the first record, in whose place is the second.
pub(crate) fn without_first(stream: &[u8]) -> Vec<u8> {
    let mut frames = frames(stream);
    frames.remove(0);
    frames[0][2..10].fill(0);
    frames.concat()
}

/// Two payments paid and completed; the process is stopped.
async fn paid() -> Stage<Development> {
    let mut stage = Stage::<Development>::open().await.unwrap();
    for amount in ["12.50", "20.00"] {
        let payment = stage.ask(amount).await;
        stage.pay(&payment, token(amount)).await;
        stage.chain.mine(CONFIRMATIONS).await;
        stage.until_status(&payment, "completed").await;
    }
    stage.streambook.stop().await;
    stage
}

/// The last balance of each account, as the ledger states it beside each entry.
fn by_the_ledgers_own_account(data: &Path) -> Balances {
    let text = String::from_utf8(tail(data, &["--format", "json"])).unwrap();
    let mut balances = Balances::new();
    for line in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
        for entry in line.unwrap()["value"]["entries"].as_array().unwrap() {
            let part = |name: &str| entry[name].as_str().unwrap().to_owned();
            balances.entry(part("account")).or_default().insert(part("asset"), part("balance"));
        }
    }
    balances
}

fn tail(data: &Path, format: &[&str]) -> Vec<u8> {
    let mut command = command::streambook();
    command.args(["topics", "tail", "ledger.transactions", "--last", "1000000"]).args(format);
    let output = command.arg("--data").arg(data).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn feed(command: &mut Command, records: &[u8]) -> std::process::Output {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that ends before it has read everything says why on standard error.
    let _ = child.stdin.take().unwrap().write_all(records);
    child.wait_with_output().unwrap()
}

pub(crate) fn run(command: &mut Command, records: &[u8]) -> Balances {
    let output = feed(command, records);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

pub(crate) fn fails(command: &mut Command, records: &[u8]) -> String {
    let output = feed(command, records);
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}
