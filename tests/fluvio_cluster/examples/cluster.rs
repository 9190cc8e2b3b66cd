//! A Fluvio cluster on loopback to try things on: prints its endpoint and then does what standard input says, a line each:
//! `kill 0`, `start 0` (with its copies brought in step), `freeze 1`, `thaw 1`, `kill controller`, `start controller`. It ends,
//! servers and data with it, at the end of input.
//!
//! ```sh
//! FLUVIO_RUN=…/fluvio-run cargo run -p streambook-fluvio-cluster --example cluster -- 2
//! ```
#![allow(clippy::print_stdout, reason = "it is a program for a terminal")]

use std::process::ExitCode;

use streambook_fluvio_cluster::{Cluster, Reached, program};

#[tokio::main]
async fn main() -> ExitCode {
    let Some(program) = program() else { return ExitCode::FAILURE };
    let servers = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(2);
    let mut cluster = Cluster::start(&program, servers, Reached::Directly).await;
    println!("{}", cluster.endpoint());
    // Nothing else runs on this thread while it waits.
    for line in std::io::stdin().lines().map_while(Result::ok) {
        println!("{}", if obey(&mut cluster, &line).await { "done" } else { "not understood" });
    }
    ExitCode::SUCCESS
}

async fn obey(cluster: &mut Cluster, line: &str) -> bool {
    let Some((what, whom)) = line.trim().split_once(' ') else { return false };
    let server = whom.parse().ok().filter(|server| *server < cluster.servers());
    match (what, server) {
        ("kill", Some(server)) => cluster.kill(server),
        ("start", Some(server)) => {
            cluster.rejoin(server).await;
        }
        ("freeze", Some(server)) => cluster.freeze(server),
        ("thaw", Some(server)) => cluster.thaw(server),
        ("kill", None) if whom == "controller" => cluster.kill_controller(),
        ("start", None) if whom == "controller" => cluster.start_controller_again(),
        _ => return false,
    }
    true
}
