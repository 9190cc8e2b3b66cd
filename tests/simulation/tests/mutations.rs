//! Each deliberate defect is caught within some seeds: the checks are not there for show.

use std::sync::atomic::{AtomicBool, Ordering};

use streambook_simulation::{
    mutation::Mutation,
    run::{Failure, run_all},
};

/// The most seeds a defect may survive.
const SEEDS: u64 = 600;

#[test]
fn every_defect_is_caught() {
    let mut missed = Vec::new();
    println!("| defect | caught by | at seed |\n|---|---|---|");
    for mutation in Mutation::ALL {
        let mut caught: Option<(u64, Box<Failure>)> = None;
        let found = AtomicBool::new(false);
        run_all(
            0..SEEDS,
            Some(mutation),
            || !found.load(Ordering::Relaxed),
            |seed, result| {
                if let Err(failure) = result {
                    found.store(true, Ordering::Relaxed);
                    caught = caught.take().filter(|(first, _)| *first < seed).or(Some((seed, failure)));
                }
            },
        );
        match caught {
            Some((seed, failure)) => {
                println!("| {mutation:?} | `{}` | {seed} |", failure.violation.invariant);
            }
            None => missed.push(mutation),
        }
    }
    assert!(missed.is_empty(), "nothing catches {missed:?} within {SEEDS} seeds");
}
