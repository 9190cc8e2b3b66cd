//! One process of the cluster.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
};

use rustix::process::{Pid, Signal, kill_process};

/// A process that can be started, killed, frozen and started again.
pub(crate) struct Server {
    program: PathBuf,
    arguments: Vec<String>,
    folder: PathBuf,
    child: Option<Child>,
}

impl Server {
    /// Starts the program with these arguments. What it says goes into a file of its folder.
    pub(crate) fn start(program: &Path, folder: &Path, arguments: Vec<String>) -> Self {
        fs::create_dir_all(folder).unwrap();
        let mut server =
            Self { program: program.to_owned(), arguments, folder: folder.to_owned(), child: None };
        server.start_again();
        server
    }

    /// Starts it after it was killed.
    pub(crate) fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = || fs::File::options().create(true).append(true).open(self.folder.join("log")).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(&self.program).args(&self.arguments);
        command.stdin(Stdio::null()).stdout(log()).stderr(log()).current_dir(&self.folder);
        command.env("FLUVIO_METRIC_SPU", self.folder.join("metrics.sock"));
        command.env_remove("FLV_SPU_ID");
        self.child = Some(spawned(command));
    }

    /// Ends it at once, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    pub(crate) fn is_running(&self) -> bool {
        self.child.is_some()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
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
