//! `streambook up` as a child process: started on a directory of its own, stopped by a signal, killed, started again.
//! Whatever becomes of the test, the process does not outlive it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    api::{Address, Api},
    command,
    place::Place,
    settings::Settings,
    waiting::{self, Progress},
};

/// Lines of the log that a failure shows.
const TAIL: usize = 25;

/// A process and its directory.
pub(crate) struct Streambook {
    // First, so that the process has ended before its directory goes.
    child: Option<Child>,
    settings: Settings,
    /// The command that runs it.
    command: &'static str,
    address: Address,
    admin_key: String,
    starts: u32,
    place: Place,
}

impl Streambook {
    /// Starts one for the first time, and waits until it says where it listens and what its admin key is.
    pub(crate) async fn start(settings: Settings) -> Self {
        Self::start_in(Place::new(), settings).await
    }

    /// The same in this directory.
    pub(crate) async fn start_in(place: Place, settings: Settings) -> Self {
        Self::new(place, settings, "up").started().await
    }

    /// Starts one by this command, which runs the API and the registry among others.
    pub(crate) async fn start_as(settings: Settings, command: &'static str) -> Self {
        Self::new(Place::new(), settings, command).started().await
    }

    async fn started(mut self) -> Self {
        let said = self.start_again().await;
        let key = said.lines().map(str::trim).find(|line| line.starts_with("sk_live_"));
        self.admin_key = key.expect("the first start shows the admin key").to_owned();
        self
    }

    /// Starts the API of a Streambook that many processes share, by this command; the operator's key is known.
    pub(crate) async fn start_part(settings: Settings, command: &'static str, admin_key: &str) -> Self {
        let mut streambook = Self::new(Place::new(), settings, command);
        admin_key.clone_into(&mut streambook.admin_key);
        streambook.start_again().await;
        streambook
    }

    fn new(place: Place, settings: Settings, command: &'static str) -> Self {
        fs::write(place.path().join("streambook.toml"), &settings.toml).unwrap();
        let (address, admin_key) = (Arc::new(Mutex::new(String::new())), String::new());
        Self { child: None, settings, command, address, admin_key, starts: 0, place }
    }

    /// Starts it on the same directory, and gives what it printed.
    pub(crate) async fn start_again(&mut self) -> String {
        assert!(self.child.is_none(), "it runs already");
        self.starts += 1;
        let out = self.file(&format!("out-{}.txt", self.starts));
        self.child = Some(self.spawn(&out));
        let is_first = self.starts == 1 && self.admin_key.is_empty();
        let child = &mut self.child;
        let said = waiting::until(async || {
            let ended = child.as_mut().and_then(|child| child.try_wait().unwrap());
            assert!(ended.is_none(), "streambook ended with {ended:?} instead of starting");
            let said = fs::read_to_string(&out).unwrap();
            let is_done = said.contains("OpenAPI  ") && (!is_first || said.contains("curl"));
            if is_done { Ok(said) } else { Err(format!("printed {said:?}")) }
        });
        let said = match said.await {
            Ok(said) => said,
            Err(seen) => panic!("streambook does not start: {seen}\n{}", self.log_tail()),
        };
        let url = said.lines().find_map(|line| line.strip_prefix("API ")?.trim().strip_suffix("/v1"));
        *self.address.lock() = url.expect("it says where its API is").to_owned();
        said
    }

    fn spawn(&self, out: &Path) -> Child {
        let log = File::options().create(true).append(true).open(self.file("log.jsonl")).unwrap();
        let mut command = self.command(self.command);
        command.stdout(File::create(out).unwrap()).stderr(log).spawn().unwrap()
    }

    /// Sets a variable of the environment, from the next start on.
    pub(crate) fn set(&mut self, name: &'static str, value: &str) {
        self.settings.environment.push((name, value.to_owned()));
    }

    /// A command with this process's configuration and directory.
    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = command::streambook();
        command.args(name.split(' ')).arg("--config").arg(self.file("streambook.toml"));
        command.arg("--data").arg(self.data());
        command.envs(self.settings.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// A command that administers this process through its API.
    pub(crate) fn administration(&self, name: &str) -> Command {
        let mut command = command::streambook();
        command.args(name.split(' ')).args(["--api", &self.api().url(), "--key", &self.admin_key, "--json"]);
        command
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) async fn stop(&mut self) {
        let mut child = self.child.take().expect("it runs");
        let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "SIGTERM cannot be sent");
        let ended =
            waiting::until(async || child.try_wait().unwrap().ok_or_else(|| "it still runs".to_owned()));
        let ended: Result<ExitStatus, String> = ended.await;
        if !matches!(&ended, Ok(status) if status.success()) {
            child.kill().unwrap();
            panic!("asked to stop, streambook ended with {ended:?}\n{}", self.log_tail());
        }
    }

    /// Ends it as a power cut would: SIGKILL.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Runs `verify` beside it, without keeping this thread from anything else.
    pub(crate) async fn verify_beside(&self, arguments: &[&str]) -> command::Ended {
        let mut command = self.command("verify");
        command.args(arguments);
        // It works on one thread, which rests, beside a process that is busy.
        let within = Duration::from_secs(300);
        tokio::task::spawn_blocking(move || command::ends_within(&mut command, within)).await.unwrap()
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.file("data")
    }

    /// A file in its directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Its API, without a key.
    pub(crate) fn api(&self) -> Api {
        Api::new(Arc::clone(&self.address))
    }

    /// Its API, with the operator's key.
    pub(crate) fn admin(&self) -> Api {
        self.api().with_key(&self.admin_key)
    }

    /// Looks until the probe gives a value; a failure shows what it saw last and the end of the log.
    pub(crate) async fn until<T>(&self, what: &str, probe: impl AsyncFnMut() -> Result<T, String>) -> T {
        match waiting::until(probe).await {
            Ok(value) => value,
            Err(seen) => panic!("{what}: {seen}\n{}\n{}", self.process(), self.log_tail()),
        }
    }

    /// The same, of what takes the longer the more there is: it fails only when nothing advances any more.
    pub(crate) async fn while_advancing<T>(
        &self,
        what: &str,
        probe: impl AsyncFnMut() -> Result<T, Progress>,
    ) -> T {
        match waiting::while_advancing(probe).await {
            Ok(value) => value,
            Err(seen) => panic!("{what}: {seen}\n{}\n{}", self.process(), self.log_tail()),
        }
    }

    /// What the system says of its process, for a failure.
    fn process(&self) -> String {
        let Some(child) = &self.child else { return "it was not running".to_owned() };
        let said = |name| fs::read_to_string(format!("/proc/{}/{name}", child.id())).unwrap_or_default();
        // The last field of `stat` is how it ended, for one that has.
        let status = said("status");
        let state = status.lines().find(|line| line.starts_with("State:")).unwrap_or("State: gone");
        format!("its process: {state}; exit: {}", said("stat").split_whitespace().last().unwrap_or_default())
    }

    /// Waits until `/readyz` is as asked.
    pub(crate) async fn until_readiness(&self, what: &str, is: impl Fn(u16, &Value) -> bool) -> Value {
        let api = self.api();
        let probe = async || {
            let answer = api.try_send(api.request(reqwest::Method::GET, "/readyz")).await;
            let answer = answer.map_err(|error| format!("no answer: {error:?}"))?;
            if is(answer.status, &answer.body) { Ok(answer.body) } else { Err(answer.body.to_string()) }
        };
        self.until(what, probe).await
    }

    /// Waits until everything works.
    pub(crate) async fn until_ready(&self) {
        self.until_readiness("everything works", |status, _| status == 200).await;
    }

    /// Its metrics, as text.
    pub(crate) async fn metrics(&self) -> String {
        let request = self.api().request(reqwest::Method::GET, "/metrics");
        request.send().await.unwrap().text().await.unwrap()
    }

    /// The sum of a metric over its labels; none where it is not there.
    pub(crate) async fn metric(&self, name: &str) -> Option<f64> {
        let metrics = self.metrics().await;
        let of_this = |line: &&str| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
        };
        let values: Vec<f64> = metrics
            .lines()
            .filter(of_this)
            .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
            .collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// The end of its log.
    pub(crate) fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.file("log.jsonl")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default();
        format!("the end of its log:\n{}", tail.join("\n"))
    }

    /// Stops it, counts every topic's records, and starts it again.
    pub(crate) async fn records(&mut self) -> std::collections::BTreeMap<String, u64> {
        self.stop().await;
        let records = command::records(&self.data());
        self.start_again().await;
        self.until_ready().await;
        records
    }

    /// Stops it for good, proves its books, and gives what `verify` said.
    pub(crate) async fn stop_and_verify(mut self) -> String {
        self.stop().await;
        command::verify_ok(&self.data())
    }
}

impl Drop for Streambook {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended already; there is nothing else to do about it here.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
