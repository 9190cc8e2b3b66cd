//! Spreads jobs over the processor's cores. Results come back in the order of the jobs, and the first difference is that
//! of the first job that has one, whatever the threads' timing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread::available_parallelism,
    time::Duration,
};

use parking_lot::Mutex;

use super::{
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
}

/// One job's view.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn<'w> {
    work: &'w Work,
    index: usize,
}

impl Turn<'_> {
    /// Counts records as done; fails when this job's result is no longer wanted.
    pub(crate) fn done(&self, records: u64) -> Result<(), VerifyFailure> {
        self.work.done.fetch_add(records, Relaxed);
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
    (stage, total): (Stage, u64),
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
    });
    let guard = CancelOnDrop(Arc::clone(&work));
    let results: Results<T> = Arc::default();
    let shared = Arc::new((jobs, job));
    let threads = available_parallelism().map_or(1, std::num::NonZero::get).min(shared.0.len().max(1));
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
    loop {
        let index = work.next.fetch_add(1, Relaxed);
        let Some(input) = jobs.get(index) else { return };
        if work.cancelled.load(Relaxed) || index > work.halted.load(Relaxed) {
            return;
        }
        let result = job(input, Turn { work, index });
        if result.is_err() {
            work.halted.fetch_min(index, Relaxed);
        }
        results.lock().push((index, result));
    }
}
