//! Spreads jobs over the processor's cores, or does them on one thread that rests half of its time where the log's owner has
//! the right of way. Results come back in the order of the jobs, and the first difference is that
//! of the first job that has one, whatever the threads' timing.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{
    manner::Manner,
    progress::{Progress, Stage},
    report::{Halt, VerifyFailure},
};

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// What a job shares with those who wait for it.
#[derive(Debug)]
pub(crate) struct Work {
    done: AtomicU64,
    cancelled: AtomicBool,
    next: AtomicUsize,
    /// The first job that found something; later ones need not go on.
    halted: AtomicUsize,
    manner: Manner,
}

/// One job's view.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn<'w> {
    work: &'w Work,
    index: usize,
    /// Since when this thread has not rested.
    since: &'w Cell<Instant>,
}

impl Turn<'_> {
    /// Counts records as done, and rests where others have the right of way; fails when this job's result is no longer
    /// wanted.
    pub(crate) fn done(&self, records: u64) -> Result<(), VerifyFailure> {
        self.work.done.fetch_add(records, Relaxed);
        if let Some(rest) = self.work.manner.rest(self.since.get().elapsed()) {
            std::thread::sleep(rest);
            self.since.set(Instant::now());
        }
        let wanted = !self.work.cancelled.load(Relaxed) && self.index <= self.work.halted.load(Relaxed);
        if wanted { Ok(()) } else { Err(VerifyFailure::Cancelled) }
    }
}

/// Stops the threads when whoever waits goes away.
struct CancelOnDrop(Arc<Work>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancelled.store(true, Relaxed);
    }
}

type Results<T> = Arc<Mutex<Vec<(usize, Result<T, Halt>)>>>;

/// Runs all jobs; gives their results in the jobs' order, or the first job's halt.
pub(crate) async fn run<J, T>(
    jobs: Vec<J>,
    (stage, total, manner): (Stage, u64, Manner),
    progress: &mut dyn Progress,
    job: impl Fn(&J, Turn<'_>) -> Result<T, Halt> + Send + Sync + 'static,
) -> Result<Vec<T>, Halt>
where
    J: Send + Sync + 'static,
    T: Send + 'static,
{
    let work = Arc::new(Work {
        done: AtomicU64::new(0),
        cancelled: AtomicBool::new(false),
        next: AtomicUsize::new(0),
        halted: AtomicUsize::new(usize::MAX),
        manner,
    });
    let guard = CancelOnDrop(Arc::clone(&work));
    let results: Results<T> = Arc::default();
    let shared = Arc::new((jobs, job));
    let threads = manner.threads().min(shared.0.len().max(1));
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..threads {
        let (shared, work, results) = (Arc::clone(&shared), Arc::clone(&work), Arc::clone(&results));
        running.spawn_blocking(move || take_jobs(&shared.0, &shared.1, &work, &results));
    }
    loop {
        progress.update(stage, work.done.load(Relaxed), total);
        match tokio::time::timeout(TELL_EVERY, running.join_next()).await {
            Ok(None) => break,
            Ok(Some(ended)) => ended.map_err(VerifyFailure::Worker)?,
            Err(_) => {}
        }
    }
    progress.update(stage, work.done.load(Relaxed), total);
    drop(guard);
    let mut results = std::mem::take(&mut *results.lock());
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

fn take_jobs<J, T>(
    jobs: &[J],
    job: &impl Fn(&J, Turn<'_>) -> Result<T, Halt>,
    work: &Work,
    results: &Mutex<Vec<(usize, Result<T, Halt>)>>,
) {
    let since = Cell::new(Instant::now());
    loop {
        let index = work.next.fetch_add(1, Relaxed);
        let Some(input) = jobs.get(index) else { return };
        if work.cancelled.load(Relaxed) || index > work.halted.load(Relaxed) {
            return;
        }
        let result = job(input, Turn { work, index, since: &since });
        if result.is_err() {
            work.halted.fetch_min(index, Relaxed);
        }
        results.lock().push((index, result));
    }
}
