//! The real engine: the server that `CLICKHOUSE_URL` names, or ClickHouse in a process of its own
//! (`tests/tools/clickhouse.py`), which can be told to fail, killed, and started again on its data.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::clickhouse::ClickHouseConfig;

/// How to get the engine.
const REMEDY: &str = "run tests/setup/install, or name a server with CLICKHOUSE_URL";

/// A server to test with.
pub(super) struct Engine {
    url: String,
    process: Mutex<Option<Process>>,
    // Removes the data when the test ends.
    data: Option<TempDir>,
}

struct Process {
    child: Child,
    // The process ends when this closes, however this one ends.
    _stdin: Option<ChildStdin>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

impl Engine {
    /// The one that tests share, each in a database of its own. `None` where there is none, which is said.
    pub(super) fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Engine>> = OnceLock::new();
        let named = || std::env::var("CLICKHOUSE_URL").ok().filter(|url| !url.is_empty());
        let at = |url| Self { url, process: Mutex::new(None), data: None };
        SHARED.get_or_init(|| named().map(at).or_else(Self::own)).as_ref()
    }

    /// One of the test's own, to fail and to kill.
    pub(super) fn own() -> Option<Self> {
        let python = python()?;
        let data = tempfile::tempdir().unwrap();
        let (process, url) = start(&python, data.path(), 0);
        Some(Self { url, process: Mutex::new(Some(process)), data: Some(data) })
    }

    /// The settings to reach a database of this server with.
    pub(super) fn config(&self, database: &str) -> ClickHouseConfig {
        let variable = |name, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
        ClickHouseConfig {
            url: self.url.clone(),
            database: database.to_owned(),
            user: variable("CLICKHOUSE_USER", "default"),
            password: variable("CLICKHOUSE_PASSWORD", ""),
            timeout_seconds: 20,
            batch_age_ms: 0,
            ..ClickHouseConfig::default()
        }
    }

    /// The answer to a query, as tab-separated text.
    pub(super) async fn ask(&self, database: &str, sql: &str) -> String {
        let config = self.config(database);
        let request = reqwest::Client::new()
            .post(format!("{}/?database={database}", self.url))
            .header("X-ClickHouse-User", config.user)
            .header("X-ClickHouse-Key", config.password)
            .body(sql.to_owned());
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{sql}: {text}");
        text
    }

    /// The next thing that goes wrong, at a statement that matches.
    pub(super) async fn plan(&self, fault: Value) {
        let answer = reqwest::Client::new().put(format!("{}/fault", self.url)).json(&fault).send().await;
        assert!(answer.unwrap().status().is_success());
    }

    /// Whether it has gone wrong. A process that was told to kill itself no longer answers.
    pub(super) async fn has_failed(&self) -> bool {
        let Ok(answer) = reqwest::get(format!("{}/statements", self.url)).await else { return true };
        answer.json::<Value>().await.is_ok_and(|answer| answer["fault"] == "done")
    }

    /// Waits until what was planned has gone wrong.
    pub(super) async fn fails(&self) {
        for _ in 0..600 {
            if self.has_failed().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the fault was never reached");
    }

    /// Kills the process, if it is still there, and starts it again on its data and its port.
    pub(super) fn restart(&self) {
        let mut process = self.process.lock();
        drop(process.take());
        let port = self.url.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap();
        let data = self.data.as_ref().unwrap().path();
        *process = Some(start(&python().unwrap(), data, port).0);
    }

    /// Whether the process has ended.
    pub(super) fn is_dead(&self) -> bool {
        let mut process = self.process.lock();
        process.as_mut().is_none_or(|process| process.child.try_wait().unwrap().is_some())
    }
}

/// A fault of this kind at the statement that matches, after leaving out some.
pub(super) fn fault(what: &str, at: &str, skip: u32) -> Value {
    json!({ "what": what, "match": at, "skip": skip, "delay_ms": 400 })
}

fn start(python: &Path, data: &Path, port: u16) -> (Process, String) {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tools/clickhouse.py");
    let mut child = Command::new(python)
        .arg("-B")
        .arg(tool)
        .args(["--with-parent", "--port", &port.to_string(), "--data"])
        .arg(data.join("clickhouse"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
    let process = Process { child, _stdin: stdin };
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).expect("the engine did not start; see its message above");
    (process, ready["url"].as_str().unwrap().to_owned())
}

/// A Python that has the engine. One that is missing is said past the harness, and fails the test where every part must be
/// there.
fn python() -> Option<PathBuf> {
    let named = std::env::var_os("STREAMBOOK_PYTHON").map(PathBuf::from);
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin/python");
    let path = named.unwrap_or(installed);
    let has = |path: &Path| {
        Command::new(path).args(["-c", "import chdb"]).output().is_ok_and(|run| run.status.success())
    };
    if has(&path) {
        return Some(path);
    }
    let thread = std::thread::current();
    let missing = format!(
        "NOT RUN: {}: {} has no chdb-core (ClickHouse): {REMEDY}",
        thread.name().unwrap_or("a test"),
        path.display()
    );
    let is_set = |name| std::env::var(name).is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
    assert!(!is_set("CI") && !is_set("STREAMBOOK_REQUIRE_PARTS"), "{missing}");
    std::io::stderr().write_all(format!("{missing}\n").as_bytes()).unwrap();
    None
}
