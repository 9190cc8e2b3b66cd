//! One seed: play it, let it come to rest, check it.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use streambook_model::{message::Message, records::chain::TransferStatus, topics};

use crate::{
    faults::Faults, history::History, invariants, machine::Engine, matching, mutation::Mutation, oracle,
    violation::Violation, world::World,
};

/// What a run was, for people.
#[derive(Debug, Clone)]
pub struct Report {
    /// The faults injected.
    pub faults: Faults,
    /// Which engine it ran on.
    pub engine: Engine,
    /// Actions of the schedule.
    pub steps: u64,
    /// Records in the log at the end.
    pub records: usize,
    /// Payments that were created.
    pub payments: usize,
    /// Ledger transactions.
    pub transactions: usize,
    /// The final statuses, by name.
    pub statuses: Faults,
}

/// A seed that broke a promise.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// Actions until then.
    pub steps: u64,
    /// What broke.
    pub violation: Violation,
    /// The payment's life, where it is about one.
    pub story: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {} after {} steps breaks {}\n{}", self.seed, self.steps, self.violation, self.story)?;
        write!(f, "\nreplay: SEED={} cargo run -p streambook-simulation --bin soak", self.seed)
    }
}

/// Plays many seeds on as many threads as the machine has cores, until `wanted` says no more; each seed is still
/// single-threaded. Every result is handed to `take`, in no particular order.
pub fn run_all(
    seeds: std::ops::Range<u64>,
    mutation: Option<Mutation>,
    wanted: impl Fn() -> bool + Sync,
    take: impl FnMut(u64, Result<Report, Box<Failure>>) + Send,
) {
    let (next, take) = (AtomicU64::new(seeds.start), Mutex::new(take));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while wanted() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let result = run(seed, mutation);
                    (*take.lock())(seed, result);
                }
            });
        }
    });
}

/// Plays a seed.
///
/// # Errors
/// The first promise that does not hold, with the payment's history.
pub fn run(seed: u64, mutation: Option<Mutation>) -> Result<Report, Box<Failure>> {
    let failed = |steps, violation, story| Box::new(Failure { seed, steps, violation, story });
    let mut world = World::new(seed, mutation).map_err(|violation| failed(0, violation, String::new()))?;
    let played = play(&mut world);
    let story = |world: &World, violation: &Violation| {
        let history =
            violation.payment.and_then(|payment| Some((payment, History::read(&world.machine).ok()?)));
        history.map_or_else(String::new, |(payment, history)| history.story(payment))
    };
    let history = match played {
        Ok(history) => history,
        Err(violation) => return Err(failed(world.steps, violation.clone(), story(&world, &violation))),
    };
    Ok(report(&world, &history))
}

fn play(world: &mut World) -> Result<History, Violation> {
    let actions = world.machine.random.between(100, 320);
    for _ in 0..actions {
        world.act()?;
    }
    world.come_to_rest()?;
    let history = History::read(&world.machine)?;
    invariants::check(world, &history)?;
    oracle::check(world, &history)?;
    Ok(history)
}

fn report(world: &World, history: &History) -> Report {
    let last: std::collections::BTreeMap<_, _> =
        history.events.iter().map(|event| (event.payment.id, event.payment.status)).collect();
    let mut statuses = Faults::default();
    for status in last.values() {
        statuses.count(name(*status));
    }
    let mut faults = world.machine.faults.clone();
    (0..final_transfers_taken_back(history)).for_each(|_| faults.count("final transfer taken back"));
    matching::count(history, &mut faults);
    (0..found_by_searches(history)).for_each(|_| faults.count("transfer found by a search"));
    Report {
        faults,
        engine: world.machine.engine,
        steps: world.steps,
        records: history.log.values().map(Vec::len).sum(),
        payments: last.len(),
        transactions: history.transactions().count(),
        statuses,
    }
}

/// Transfers that were final and that a rebuilt chain has left.
fn final_transfers_taken_back(history: &History) -> usize {
    let mut finals = std::collections::HashSet::new();
    let taken_back = history.transfers.iter().filter(|event| match event.status {
        TransferStatus::Finalized => {
            finals.insert((event.chain, event.inclusion));
            false
        }
        TransferStatus::Orphaned => finals.contains(&(event.chain, event.inclusion)),
        TransferStatus::Seen | TransferStatus::Confirmed => false,
    });
    taken_back.count()
}

/// Transfers that only a search of old blocks has found.
fn found_by_searches(history: &History) -> u32 {
    let mut closed = std::collections::BTreeMap::new();
    for entry in history.topic(topics::CHAIN_REQUESTS.name).flat_map(|(_, entries)| entries) {
        if let Message::BackfillClosed(search) = &entry.message {
            closed.insert((search.chain, search.request), search.reported);
        }
    }
    closed.values().sum()
}

const fn name(status: streambook_model::records::payment::PaymentStatus) -> &'static str {
    use streambook_model::records::payment::PaymentStatus as Status;
    match status {
        Status::Pending => "pending",
        Status::Confirming => "confirming",
        Status::Completed => "completed",
        Status::Expired => "expired",
        Status::Failed => "failed",
        Status::Canceled => "canceled",
        Status::Underpaid => "underpaid",
        Status::Overpaid => "overpaid",
        Status::PaidLate => "paid late",
        Status::Reversed => "reversed",
        Status::Disputed => "disputed",
    }
}
