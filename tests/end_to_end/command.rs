//! The binary's other commands, run to their end.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// The real binary, without anything this process's environment would configure.
pub(crate) fn streambook() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_streambook"));
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

/// Runs a command on a data directory that no process has open.
pub(crate) fn run_on(data: &Path, arguments: &[&str]) -> Ended {
    streambook().args(arguments).arg("--data").arg(data).output().unwrap().into()
}

/// Proves the books; anything but `verify: ok` fails the test.
pub(crate) fn verify_ok(data: &Path) {
    let ended = run_on(data, &["verify"]);
    let last = ended.out.lines().last().unwrap_or_default();
    assert!(ended.code == Some(0) && last.starts_with("verify: ok"), "verify: {ended:#?}");
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
