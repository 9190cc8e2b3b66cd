//! Thousands of seeds: each is another history of faults, and each must end right.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use streambook_simulation::{
    faults::Faults,
    run::{run, run_all},
};

/// Seeds of one run of the test; `SEEDS=10000 FIRST=2000` asks for other ones.
const SEEDS: u64 = 2_000;
/// How often the test says how far it is.
const PROGRESS: Duration = Duration::from_secs(20);

/// Every kind of fault that must have happened over all seeds, so that none of them is silently switched off.
const KINDS: [&str; 50] = [
    "API instance stuck",
    "Stripe event repeated",
    "acknowledgement lost",
    "administration repeated",
    "block at a deadline",
    "blocks canonical again",
    "card refund",
    "card refund failed",
    "chain rebuilt",
    "claimed transaction looked up",
    "claimed transaction matched",
    "claimed transaction refused",
    "command appended twice",
    "command delayed",
    "commit torn",
    "configuration changed",
    "completed within a tolerance",
    "conflicting Stripe event",
    "conflicting block",
    "connector appended twice",
    "connector stopped",
    "crash between steps",
    "deep reorganisation",
    "dispute lost",
    "dispute opened",
    "dispute won",
    "final transfer taken back",
    "fork below finality",
    "exact amount given again and matched",
    "exact amount matched",
    "key reused for another request",
    "machine crashed",
    "node failed",
    "node lagged",
    "node stuck",
    "outputs delivered again",
    "paid before its watch",
    "reorganisation",
    "reorganisation just above finality",
    "request retried",
    "search answered in parts",
    "search answered twice",
    "search asked for",
    "task stuck",
    "transfer found by a search",
    "transfer put aside by a search",
    "transfer to a shared address put aside",
    "two owners",
    "unsynced writes lost",
    "zombie went on",
];

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Past the test harness, which shows what is printed only when a test fails.
fn say(line: &str) {
    let mut stderr = std::io::stderr();
    // What cannot be said changes nothing about the seeds.
    drop(stderr.write_all(format!("{line}\n").as_bytes()));
}

#[test]
fn every_seed_ends_as_the_oracle_says_and_keeps_every_invariant() {
    let (first, seeds) = (setting("FIRST").unwrap_or(0), setting("SEEDS").unwrap_or(SEEDS));
    let (mut faults, mut failures, mut done) = (Faults::default(), Vec::new(), 0_u64);
    let (began, mut said) = (Instant::now(), Instant::now());
    run_all(
        first..first + seeds,
        None,
        || true,
        |_, result| {
            done += 1;
            match result {
                Ok(report) => faults.add(&report.faults),
                Err(failure) => {
                    say(&failure.to_string());
                    failures.push(failure.seed);
                }
            }
            if said.elapsed() >= PROGRESS || done == seeds {
                said = Instant::now();
                let (seconds, failed) = (began.elapsed().as_secs(), failures.len());
                say(&format!("simulation: {done} of {seeds} seeds in {seconds} s, {failed} fail"));
            }
        },
    );
    faults.iter().for_each(|(kind, count)| say(&format!("simulation: {count:>9}  {kind}")));
    failures.sort_unstable();
    assert!(failures.is_empty(), "of {seeds} seeds these fail: {failures:?}");
    if seeds >= 500 {
        let missing: Vec<_> =
            KINDS.iter().filter(|kind| faults.iter().all(|(found, _)| found != **kind)).collect();
        assert!(missing.is_empty(), "these faults never happened: {missing:?}");
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [1, 2, 3] {
        let runs = [run(seed, None), run(seed, None)].map(|run| format!("{run:?}"));
        assert_eq!(runs[0], runs[1], "seed {seed}");
    }
}
