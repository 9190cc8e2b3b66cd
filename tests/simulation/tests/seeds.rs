//! Thousands of seeds: each is another history of faults, and each must end right.

use streambook_simulation::{
    faults::Faults,
    run::{run, run_all},
};

/// Seeds of one run of the test; the environment variable `SEEDS` asks for another number. Without optimisation a seed
/// takes ten times as long, so such a build plays fewer.
const SEEDS: u64 = if cfg!(debug_assertions) { 150 } else { 2_000 };

/// Every kind of fault that must have happened over all seeds, so that none of them is silently switched off.
const KINDS: [&str; 19] = [
    "Stripe event repeated",
    "acknowledgement lost",
    "administration repeated",
    "blocks canonical again",
    "command appended twice",
    "configuration changed",
    "connector appended twice",
    "connector stopped",
    "crash between steps",
    "deep reorganisation",
    "machine crashed",
    "node failed",
    "node lagged",
    "outputs delivered again",
    "reorganisation",
    "request retried",
    "two owners",
    "unsynced writes lost",
    "zombie went on",
];

#[test]
fn every_seed_ends_as_the_oracle_says_and_keeps_every_invariant() {
    let seeds = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    let (mut faults, mut failures) = (Faults::default(), Vec::new());
    run_all(
        0..seeds,
        None,
        || true,
        |_, result| match result {
            Ok(report) => faults.add(&report.faults),
            Err(failure) => failures.push((failure.seed, failure.to_string())),
        },
    );
    failures.sort();
    faults.iter().for_each(|(kind, count)| println!("{count:>9}  {kind}"));
    assert!(failures.is_empty(), "{} of {seeds} seeds fail; the first: {}", failures.len(), failures[0].1);
    if seeds >= 100 {
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
