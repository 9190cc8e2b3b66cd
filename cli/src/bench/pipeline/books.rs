//! The books' processes of a measurement on a cluster: this very program as `run processors`, each with its share of the
//! partitions. They end with the measurement, whatever becomes of it.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use parking_lot::Mutex;
use serde::Serialize;
use streambook_model::topics::SHARDS;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout_at},
};

/// How long a process may take to start and to be well.
const START_MOST: Duration = Duration::from_secs(120);
/// How often it is looked whether it is.
const LOOK: Duration = Duration::from_millis(100);

/// A cluster to measure on: a running one without any topic of Streambook's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ClusterChoice {
    /// Its controller's address.
    pub(crate) endpoint: String,
    /// Copies of every record.
    pub(crate) replication: u16,
    /// Processes that share the books.
    pub(crate) processes: u16,
}

/// The running processes.
pub(super) struct Books(Mutex<Vec<Child>>);

impl Books {
    /// Starts them with directories below this one, and returns once all are well.
    pub(super) async fn start(directory: &Path, cluster: &ClusterChoice) -> anyhow::Result<Self> {
        let config = directory.join("books.toml");
        std::fs::write(&config, settings(directory, cluster))
            .context("cannot write the processes' configuration")?;
        let (books, mut healths) = (Self(Mutex::default()), Vec::new());
        let until = Instant::now() + START_MOST;
        for number in 0..cluster.processes {
            let name = format!("books-{number}");
            let mut child = spawn(&config, &directory.join(&name), &name, cluster.processes)?;
            let out = child.stdout.take().context("a process without its output")?;
            books.0.lock().push(child);
            let said = timeout_at(until, health(out)).await;
            let said = said.with_context(|| format!("{name} does not start"))?;
            healths.push(said.with_context(|| format!("{name} ended instead of starting"))?);
        }
        for health in healths {
            timeout_at(until, well(&health))
                .await
                .with_context(|| format!("{health} does not become well"))?;
        }
        Ok(books)
    }

    /// Fails if one has ended.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        for child in &mut *self.0.lock() {
            if let Some(status) = child.try_wait()? {
                bail!("a process of the books has ended: {status}");
            }
        }
        Ok(())
    }

    /// Their process ids.
    pub(super) fn ids(&self) -> Vec<u32> {
        self.0.lock().iter().map(Child::id).collect()
    }
}

impl Drop for Books {
    fn drop(&mut self) {
        for child in &mut *self.0.lock() {
            // It may have ended already; there is nothing else to do about it here.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn settings(directory: &Path, cluster: &ClusterChoice) -> String {
    format!(
        "[log]\nengine = \"fluvio\"\nendpoint = \"{}\"\nreplication = {}\n[data]\nsecret_key_file = {:?}\n[api]\nlisten = \
         \"127.0.0.1:0\"\n[logging]\nformat = \"text\"\nlevel = \"error\"\n",
        cluster.endpoint,
        cluster.replication,
        directory.join("secret.key").display().to_string()
    )
}

fn spawn(config: &Path, data: &Path, name: &str, processes: u16) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe().context("where this program is")?);
    command.args(["run", "processors", "--name", name, "--partitions", &share(name, processes)?]);
    command.arg("--config").arg(config).arg("--data").arg(data);
    // What this process was told by its environment is not for them.
    let variables = std::env::vars_os().map(|(name, _)| name);
    for variable in variables.filter(|name| name.to_string_lossy().starts_with("STREAMBOOK_")) {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.spawn().context("cannot start this program again")
}

/// The partitions of a process, as `run --processes` shares them.
fn share(name: &str, of: u16) -> anyhow::Result<String> {
    ensure!((1..=SHARDS).contains(&of), "--processes: use 1 to {SHARDS}");
    let number: u16 = name.rsplit('-').next().unwrap_or_default().parse()?;
    Ok(format!("{}-{}", number * SHARDS / of, (number + 1) * SHARDS / of - 1))
}

/// Where a process says that its health is. What it says later is read as well, so that it is never held up.
fn health(out: ChildStdout) -> oneshot::Receiver<String> {
    let (found, health) = oneshot::channel();
    thread::spawn(move || {
        let mut found = Some(found);
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if let Some(url) = line.strip_prefix("health")
                && let Some(found) = found.take()
            {
                // Nobody waits for it any more where the measurement has ended.
                let _ = found.send(url.trim().to_owned());
            }
        }
    });
    health
}

async fn well(url: &str) {
    while !reqwest::get(url).await.is_ok_and(|answer| answer.status().is_success()) {
        sleep(LOOK).await;
    }
}
