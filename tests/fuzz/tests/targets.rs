//! A short run of every target: its corpus, then inputs that follow from the corpus and a seed. The same every time;
//! `SEED=7 CASES=100000 cargo test -p streambook-fuzz --test targets` looks elsewhere and longer.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "it is a test")]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
};

use streambook_fuzz::{corpus, mutate, target};
use streambook_simulation::random::Random;

/// Sets one case apart from the next in the stream of chance.
const STRIDE: u64 = 0x1000_0001;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Tries the corpus and `cases` more inputs, or the one that `CASE` names.
fn run(name: &str, cases: u64) {
    let (mut check, corpus) = ((target(name).unwrap().prepare)(), corpus::of(name));
    for (file, input) in &corpus {
        try_one(&mut check, input, || format!("corpus/{name}/{file}"));
    }
    let seed = setting("SEED").unwrap_or(0);
    let wanted = match setting("CASE") {
        Some(case) => case..case + 1,
        None => 0..setting("CASES").unwrap_or(cases),
    };
    println!("{name}: {} inputs of the corpus, cases {wanted:?} of seed {seed}", corpus.len());
    for case in wanted {
        let input = mutate::input(&corpus, &mut Random::new(seed ^ case.wrapping_mul(STRIDE)));
        try_one(&mut check, &input, || {
            let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{seed}-{case}"));
            std::fs::write(&file, &input).unwrap();
            format!(
                "case {case} of seed {seed}\nreplay: SEED={seed} CASE={case} cargo test -p streambook-fuzz --test targets \
                 {name}\nthe input is in {}; once it is understood it belongs into tests/fuzz/corpus/{name}/",
                file.display()
            )
        });
    }
}

fn try_one(check: &mut streambook_fuzz::Check, input: &[u8], what: impl Fn() -> String) {
    let tried = catch_unwind(AssertUnwindSafe(|| check(input)));
    assert!(tried.is_ok(), "the property does not hold for {}\n{}", what(), String::from_utf8_lossy(input));
}

#[test]
fn api() {
    run("api", 1_500);
}

#[test]
fn avro() {
    run("avro", 20_000);
}

#[test]
fn config() {
    run("config", 1_500);
}

#[test]
fn cursors() {
    run("cursors", 300);
}

#[test]
fn json_rpc() {
    run("json_rpc", 3_000);
}

#[test]
fn postings() {
    run("postings", 1_500);
}

#[test]
fn stripe_event() {
    run("stripe_event", 3_000);
}

#[test]
fn stripe_signature() {
    run("stripe_signature", 3_000);
}

#[test]
fn webhook_signature() {
    run("webhook_signature", 3_000);
}
