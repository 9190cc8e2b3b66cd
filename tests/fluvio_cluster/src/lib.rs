//! A real Fluvio cluster of a test's own: a controller and some servers on free ports of `127.0.0.1`, in a directory
//! that goes with it, ended with the process that started them.
//!
//! The program is `fluvio-run`, which is not part of this repository: [`program`] finds it by `FLUVIO_RUN`, and
//! `docs/fluvio.md` says how to build it. Servers can be killed, frozen, and started again with their data, and clients can
//! be made to reach them through a proxy that cuts connections. It panics where a test cannot go on.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "it is part of tests")]

mod cluster;
mod proxy;
mod server;

use std::{io::Write, path::PathBuf};

pub use cluster::{Cluster, Reached, number_of};
pub use proxy::Proxy;

/// `fluvio-run`, by `FLUVIO_RUN`. Where it is missing, [`missing`] says so.
pub fn program() -> Option<PathBuf> {
    let named = std::env::var_os("FLUVIO_RUN").map(PathBuf::from);
    let found = named.filter(|path| path.is_file());
    if found.is_none() {
        missing(
            "the Fluvio server (FLUVIO_RUN names the program fluvio-run; docs/fluvio.md says how to build it)",
        );
    }
    found
}

/// The controller of a running cluster that tests may make topics on, by `FLUVIO_ENDPOINT`.
pub fn endpoint() -> Option<String> {
    std::env::var("FLUVIO_ENDPOINT").ok().filter(|endpoint| !endpoint.is_empty())
}

/// Says that a part is missing, or fails the test where a cluster was asked for (`make test-fluvio`). Elsewhere nothing can
/// ask for it, not even CI: the server is in no package registry.
pub fn missing(part: &str) {
    let thread = std::thread::current();
    let missing = format!("NOT RUN: {}: this part is missing: {part}", thread.name().unwrap_or("a test"));
    assert!(std::env::var_os("STREAMBOOK_REQUIRE_FLUVIO").is_none(), "{missing}");
    // Past the harness, which would keep it to itself, since the test passes.
    std::io::stderr().write_all(format!("{missing}\n").as_bytes()).unwrap();
}
