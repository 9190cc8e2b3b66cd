//! The threads that tasks run on, apart from those that serve requests: a task holds its thread while it steps through
//! records and commits, and waits for the disk when the store is behind.

use std::{io, num::NonZero, thread::available_parallelism};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::JoinSet,
};

/// As many threads as the machine has cores. They end when this is dropped, each after the commit it is in.
pub struct TaskThreads {
    handle: Handle,
    /// Taken when this is dropped, and only then.
    runtime: Option<Runtime>,
}

impl TaskThreads {
    /// Starts the threads.
    ///
    /// # Errors
    /// The operating system gives no more threads.
    pub fn start() -> io::Result<Self> {
        let cores = available_parallelism().map_or(1, NonZero::get);
        let runtime =
            Builder::new_multi_thread().worker_threads(cores).thread_name("task").enable_time().build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Runs a task on these threads, as one of these parts.
    pub fn spawn(&self, parts: &mut JoinSet<()>, task: impl Future<Output = ()> + Send + 'static) {
        parts.spawn_on(task, &self.handle);
    }
}

impl Drop for TaskThreads {
    /// Does not wait: it may be dropped by a thread that drives other futures.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
