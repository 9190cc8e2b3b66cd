//! A process of a Streambook that many processes share: started on a directory of its own, killed, frozen, stopped.
//! Whatever becomes of the test, it does not outlive it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command},
};

use crate::{command, settings::Settings, waiting};

/// Lines of the log that a failure shows.
const TAIL: usize = 40;

/// One process: its parts, its directory, where it listens once it runs.
pub(crate) struct Part {
    child: Option<Child>,
    name: String,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    config: PathBuf,
    directory: PathBuf,
    /// Where its health is, once it runs.
    health: String,
}

impl Part {
    /// A process of this name in a directory below `place`, where `streambook.toml` is; started by [`Part::start`].
    pub(crate) fn new(name: &str, arguments: &str, settings: &Settings, place: &Path) -> Self {
        Self {
            child: None,
            name: name.to_owned(),
            arguments: arguments.split(' ').map(str::to_owned).collect(),
            environment: settings.environment.clone(),
            config: place.join("streambook.toml"),
            directory: place.join(name),
            health: String::new(),
        }
    }

    /// Starts it, and waits until it says where it listens. Gives what it printed.
    pub(crate) async fn start(&mut self) -> String {
        assert!(self.child.is_none(), "{} runs already", self.name);
        fs::create_dir_all(&self.directory).unwrap();
        let out = self.directory.join("out.txt");
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        let mut command = command::streambook();
        command.arg("run").args(&self.arguments).arg("--config").arg(&self.config);
        command.arg("--data").arg(self.directory.join("data")).args(["--name", &self.name]);
        command.args(["--listen", "127.0.0.1:0"]);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        self.child = Some(command.stdout(File::create(&out).unwrap()).stderr(log).spawn().unwrap());
        let child = &mut self.child;
        let said = waiting::until(async || {
            let ended = child.as_mut().and_then(|child| child.try_wait().unwrap());
            assert!(ended.is_none(), "it ended with {ended:?} instead of starting");
            let said = fs::read_to_string(&out).unwrap();
            if said.contains("metrics  ") { Ok(said) } else { Err(format!("printed {said:?}")) }
        });
        let said = said.await;
        let said =
            said.unwrap_or_else(|seen| panic!("{} does not start: {seen}\n{}", self.name, self.log_tail()));
        let health = said.lines().find_map(|line| line.strip_prefix("health"));
        health.expect("it says where its health is").trim().clone_into(&mut self.health);
        said
    }

    /// What it says of its health; nothing when all is well.
    pub(crate) async fn trouble(&self) -> Option<String> {
        match reqwest::get(&self.health).await {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(answer.text().await.unwrap_or_default()),
            Err(error) => Some(error.to_string()),
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Stands still, with its connections open.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Goes on.
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Asks it to stop, and waits until it has: what it had decided is sent then.
    pub(crate) async fn stop(&mut self) {
        self.signal("-TERM");
        let mut child = self.child.take().expect("it runs");
        let ended =
            waiting::until(async || child.try_wait().unwrap().ok_or_else(|| "it still runs".to_owned()))
                .await;
        assert!(
            ended.is_ok_and(|status| status.success()),
            "{} did not stop\n{}",
            self.name,
            self.log_tail()
        );
    }

    fn signal(&self, signal: &str) {
        let child = self.child.as_ref().expect("it runs");
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    }

    /// Loses its store: state, outbox, everything.
    pub(crate) fn lose_store(&self) {
        assert!(self.child.is_none(), "it runs");
        fs::remove_dir_all(self.directory.join("data")).unwrap();
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn log(&self) -> PathBuf {
        self.directory.join("log.jsonl")
    }

    /// The end of its log.
    pub(crate) fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = log.lines().filter(|line| !line.contains("\"INFO\"")).collect();
        let tail = lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default();
        format!("the end of {}'s log:\n{}", self.name, tail.join("\n"))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
