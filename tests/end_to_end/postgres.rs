//! A PostgreSQL server of a test's own: a fresh directory, a socket in it, no port, ended with the process that started it.
//!
//! The server refuses to run as root, so root starts it as `nobody`. Shared by the tests of several crates, which is why it
//! uses nothing but the standard library.
#![allow(dead_code, reason = "not every crate's tests need all of it")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// How long the server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);
/// The superuser of the server.
const USER: &str = "streambook";
/// The number in the socket's name.
const PORT: u16 = 5432;

/// Where PostgreSQL's programs are: in the folder that `STREAMBOOK_POSTGRES` names, or where Debian puts them.
pub(crate) fn programs() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("STREAMBOOK_POSTGRES").map(PathBuf::from) {
        return named.join("postgres").is_file().then_some(named);
    }
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<_> =
        versions.filter_map(Result::ok).map(|version| version.path().join("bin")).collect();
    found.retain(|folder| folder.join("postgres").is_file());
    found.sort();
    found.pop()
}

/// A running server.
pub(crate) struct Server {
    programs: PathBuf,
    folder: PathBuf,
    settings: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// Makes a cluster below this folder, which everybody must be able to enter, and starts it with these settings. What
    /// tests that were killed have left in the folder is removed.
    pub(crate) fn start(programs: &Path, below: &Path, settings: &[&str]) -> Self {
        remove_left(below);
        let folder = below.join(format!("postgres-{}-{}", std::process::id(), unique()));
        fs::create_dir_all(&folder).unwrap();
        let mut server = Self { programs: programs.to_owned(), folder, settings: Vec::new(), child: None };
        server.settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        if is_root() {
            let owned = Command::new("chown").arg("nobody").arg(&server.folder).status().unwrap();
            assert!(owned.success(), "chown {}", server.folder.display());
        }
        fs::set_permissions(&server.folder, fs::Permissions::from_mode(0o700)).unwrap();
        let made = server
            .program("initdb")
            .args(["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C", "--username", USER, "-D"])
            .arg(server.data())
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        server.start_again();
        server
    }

    /// Starts it after it was stopped or killed.
    pub(crate) fn start_again(&mut self) {
        assert!(self.child.is_none(), "the server runs already");
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.data()).args(["-c", "listen_addresses=", "-c", "max_connections=300"]);
        command.args(["-p", &PORT.to_string(), "-c"]);
        command.arg(format!("unix_socket_directories={}", self.folder.display()));
        command.args(self.settings.iter().flat_map(|setting| ["-c", setting]));
        let log = fs::File::options().create(true).append(true).open(self.log()).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(spawned(command));
        self.until_ready();
    }

    /// The address of one of its databases.
    pub(crate) fn url(&self, database: &str) -> String {
        let socket = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://{USER}@{socket}:{PORT}/{database}")
    }

    /// Makes an empty database, and gives its address.
    pub(crate) fn database(&self, name: &str) -> String {
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(name)
    }

    /// Runs a statement as the superuser, and gives what it prints.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        let said = self.psql(database, sql);
        assert!(said.status.success(), "{sql}: {}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8_lossy(&said.stdout).trim().to_owned()
    }

    /// What the server refuses a statement with.
    pub(crate) fn refusal(&self, database: &str, sql: &str) -> String {
        let said = self.psql(database, sql);
        assert!(!said.status.success(), "the server should refuse {sql}");
        String::from_utf8_lossy(&said.stderr).into_owned()
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join(format!(".s.PGSQL.{PORT}"))
    }

    /// Ends it as a power cut would: SIGKILL to every process of it, so that nothing is written any more.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("the server runs");
        // A server process whose postmaster is gone ends by itself; a commit that one of them has begun may still happen.
        child.kill().unwrap();
        child.wait().unwrap();
        self.until_lone();
    }

    fn until_lone(&self) {
        let end = Instant::now() + PATIENCE;
        while self.has_processes() {
            assert!(Instant::now() < end, "processes of the server remain");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether any process works in the cluster's directory.
    fn has_processes(&self) -> bool {
        let data = self.data();
        let Ok(processes) = fs::read_dir("/proc") else { return false };
        processes
            .filter_map(Result::ok)
            .any(|process| fs::read_link(process.path().join("cwd")).is_ok_and(|folder| folder == data))
    }

    fn psql(&self, database: &str, sql: &str) -> std::process::Output {
        let mut command = self.program("psql");
        command.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            USER,
            "-d",
            database,
            "-c",
            sql,
        ]);
        command.arg("-h").arg(&self.folder).args(["-p", &PORT.to_string()]);
        command.stdin(Stdio::null()).output().unwrap()
    }

    fn until_ready(&self) {
        let end = Instant::now() + PATIENCE;
        while !self.psql("postgres", "SELECT 1").status.success() {
            let log = || fs::read_to_string(self.log()).unwrap_or_default();
            assert!(Instant::now() < end, "the server does not start:\n{}", log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.with_extension("log")
    }

    /// One of its programs, as a user it accepts, ended with the thread that starts it.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new("setpriv");
        if is_root() {
            command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
        }
        // SIGQUIT: an immediate shutdown, server processes included.
        command.args(["--pdeathsig", "QUIT", "--"]).arg(self.programs.join(name));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").current_dir("/");
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
        if thread::panicking() {
            eprintln!("PostgreSQL's log is kept for you to look at: {}", self.log().display());
        } else {
            // It is below a directory for temporary files; what cannot be removed is in nobody's way.
            let _ = fs::remove_file(self.log());
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Starts a program from a thread that stays: "ended with its parent" means the thread that started it.
fn spawned(mut command: Command) -> Child {
    let (send, receive) = mpsc::sync_channel(1);
    thread::spawn(move || {
        send.send(command.spawn().unwrap()).unwrap();
        loop {
            thread::park();
        }
    });
    receive.recv().unwrap()
}

/// Removes the directories of processes that are no more.
fn remove_left(below: &Path) {
    let Ok(entries) = fs::read_dir(below) else { return };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let rest = name.strip_prefix("postgres-");
        let owner = rest.and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            // Another test may be removing the same.
            let _ = fs::remove_dir_all(entry.path());
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
}

fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Relaxed)
}
