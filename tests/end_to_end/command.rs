//! The binary's other commands, run to their end.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

/// How long a command may run that must end by itself.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// How many milliseconds more `verify` may take for each record, unoptimised and beside other tests.
const VERIFY_MS: u64 = 5;

/// The real binary, or the one that `STREAMBOOK_BINARY` names, without anything this process's environment would configure.
pub(crate) fn streambook() -> Command {
    let named = std::env::var_os("STREAMBOOK_BINARY");
    let mut command = Command::new(named.unwrap_or_else(|| env!("CARGO_BIN_EXE_streambook").into()));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("STREAMBOOK_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// What a command ended with.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code; none when a signal ended it.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// Runs a command that must end by itself, and soon: one that does not is killed, and fails the test.
pub(crate) fn ends(command: &mut Command) -> Ended {
    ends_within(command, ENDS_WITHIN)
}

/// The same, of one that may take so long.
pub(crate) fn ends_within(command: &mut Command, limit: Duration) -> Ended {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let end = Instant::now() + limit;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            child.kill().unwrap();
            let ended = Ended::from(child.wait_with_output().unwrap());
            panic!("it should have ended, and ran: {command:?}: {ended:#?}");
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    child.wait_with_output().unwrap().into()
}

/// Runs a command on a data directory that no process has open.
pub(crate) fn run_on(data: &Path, arguments: &[&str]) -> Ended {
    ends(streambook().args(arguments).arg("--data").arg(data))
}

/// Proves the books, and gives the last line; anything but `verify: ok` fails the test.
pub(crate) fn verify_ok(data: &Path) -> String {
    let records: u64 = records(data).values().sum();
    let limit = ENDS_WITHIN + Duration::from_millis(records.saturating_mul(VERIFY_MS));
    let ended = ends_within(streambook().arg("verify").arg("--data").arg(data), limit);
    let last = ended.out.lines().last().unwrap_or_default();
    assert!(ended.code == Some(0) && last.starts_with("verify: ok"), "verify: {ended:#?}");
    last.to_owned()
}

/// How many records each topic has.
pub(crate) fn records(data: &Path) -> BTreeMap<String, u64> {
    let ended = run_on(data, &["topics", "list", "--json"]);
    assert_eq!(ended.code, Some(0), "topics list: {}", ended.err);
    let rows: Vec<Value> = serde_json::from_str(&ended.out).unwrap();
    rows.iter()
        .map(|row| (row["topic"].as_str().unwrap().to_owned(), row["records"].as_u64().unwrap()))
        .collect()
}
