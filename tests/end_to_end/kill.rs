//! `kill -9` in the middle of traffic, again and again: what was acknowledged is there, every payment ends as it must, is
//! credited once, and every event is delivered at least once.
//!
//! The test keeps its own account of what it asked and paid, and compares only at the end. It shares no code with the
//! product. Round by round it draws from a seed, which a failure prints; `STREAMBOOK_KILL_SEED` gives it again, and
//! `STREAMBOOK_KILLS` says how often to kill.

use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    chain::TestChain,
    devchain::Development,
    settings::{CONFIRMATIONS, Settings},
    streambook::Streambook,
    traffic::{Traffic, World},
};

/// How often the process is killed, unless it is said otherwise.
const ROUNDS: usize = 6;

/// Kills, restarts, and has the chain change its mind, while the workers go on.
async fn disturb(streambook: &mut Streambook, world: &World, rounds: usize, random: &mut StdRng) {
    for _ in 0..rounds {
        tokio::time::sleep(Duration::from_millis(random.random_range(400..1_800))).await;
        if random.random_bool(0.5) {
            world.reorganise(random.random_range(1..=CONFIRMATIONS + 1));
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
        streambook.kill();
        streambook.start_again().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments_under_traffic_it_loses_and_doubles_nothing() {
    let seed =
        std::env::var("STREAMBOOK_KILL_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    eprintln!("kill: seed {seed}, given again by STREAMBOOK_KILL_SEED={seed}");
    let rounds = std::env::var("STREAMBOOK_KILLS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let mut random = StdRng::seed_from_u64(seed);
    let chain = Development::start().await.unwrap();
    let mut streambook = Streambook::start(Settings::on(&chain)).await;
    streambook.until_ready().await;
    let mut traffic = Traffic::start(&streambook, chain, &mut random).await;
    disturb(&mut streambook, &traffic.world, rounds, &mut random).await;
    traffic.end().await;
    eprintln!("kill: {} payments over {rounds} kills", traffic.world.payments());

    streambook.until_ready().await;
    let (began, before) = (Instant::now(), traffic.delivered());
    let events = traffic.until_all_is_right(&streambook).await;
    let (after, seconds) = (traffic.delivered(), began.elapsed().as_secs());
    eprintln!("kill: {events} events, each delivered; {} of them in the last {seconds} s", after - before);
    eprintln!("kill: {}", streambook.stop_and_verify().await);
}
