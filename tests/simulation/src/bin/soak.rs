//! Plays seeds for as long as told, and says how many and what was done to them.
//!
//! `soak --seeds N --seconds S --seed X` stops at whichever comes first; `SEED=x soak` replays one seed.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a command")]

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use streambook_simulation::{
    faults::Faults,
    run::{Report, run, run_all},
};

/// How often it says how far it is.
const PROGRESS: Duration = Duration::from_secs(10);

struct Asked {
    seeds: u64,
    limit: Duration,
    first: u64,
}

fn main() -> ExitCode {
    if let Ok(seed) = std::env::var("SEED") {
        return match seed.parse() {
            Ok(seed) => replay(seed),
            Err(_) => usage(),
        };
    }
    asked(std::env::args().skip(1)).map_or_else(usage, |asked| soak(&asked))
}

fn usage() -> ExitCode {
    eprintln!("usage: soak [--seeds N] [--seconds S] [--seed FIRST], or SEED=x soak");
    ExitCode::from(2)
}

fn asked(arguments: impl Iterator<Item = String>) -> Option<Asked> {
    let mut asked = Asked { seeds: u64::MAX, limit: Duration::from_secs(60), first: 0 };
    let mut arguments = arguments;
    let mut timed = false;
    while let Some(name) = arguments.next() {
        let value = arguments.next()?.parse().ok()?;
        match name.as_str() {
            "--seeds" => asked.seeds = value,
            "--seconds" => (asked.limit, timed) = (Duration::from_secs(value), true),
            "--seed" => asked.first = value,
            _ => return None,
        }
    }
    if asked.seeds < u64::MAX && !timed {
        asked.limit = Duration::MAX;
    }
    Some(asked)
}

fn replay(seed: u64) -> ExitCode {
    match run(seed, None) {
        Ok(report) => {
            println!(
                "seed {seed} holds: {:?} engine, {} steps, {} records",
                report.engine, report.steps, report.records
            );
            print("faults", &report.faults);
            print("payments at the end", &report.statuses);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Default)]
struct Sum {
    seeds: u64,
    records: usize,
    payments: usize,
    transactions: usize,
    faults: Faults,
    statuses: Faults,
}

impl Sum {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.records += report.records;
        self.payments += report.payments;
        self.transactions += report.transactions;
        self.faults.add(&report.faults);
        self.statuses.add(&report.statuses);
    }
}

fn soak(asked: &Asked) -> ExitCode {
    let began = Instant::now();
    let (mut sum, mut failures, mut said) = (Sum::default(), 0_u64, Instant::now());
    let seeds = asked.first..asked.first.saturating_add(asked.seeds);
    run_all(
        seeds,
        None,
        || began.elapsed() < asked.limit,
        |_, result| {
            match result {
                Ok(report) => sum.add(&report),
                Err(failure) => {
                    failures += 1;
                    println!("{failure}\n");
                }
            }
            if said.elapsed() >= PROGRESS {
                said = Instant::now();
                println!("{}", so_far(sum.seeds, failures, began.elapsed()));
            }
        },
    );
    println!("{}", so_far(sum.seeds, failures, began.elapsed()));
    println!("{} records, {} payments, {} ledger transactions", sum.records, sum.payments, sum.transactions);
    print("faults", &sum.faults);
    print("payments at the end", &sum.statuses);
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn so_far(hold: u64, fail: u64, took: Duration) -> String {
    let tenths = u128::from(hold + fail) * 10_000 / took.as_millis().max(1);
    let (whole, tenth, seconds) = (tenths / 10, tenths % 10, took.as_secs());
    format!("{hold} seeds hold, {fail} fail, {whole}.{tenth} seeds a second over {seconds} s")
}

fn print(title: &str, counts: &Faults) {
    println!("{title}:");
    for (kind, count) in counts.iter() {
        println!("  {count:>9}  {kind}");
    }
}
