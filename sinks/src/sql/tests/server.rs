//! The PostgreSQL server of these tests: one for the whole suite, a database for each test; a server of its own for who
//! kills it. Where PostgreSQL is missing, that is said; where all parts must be there, it fails.

#[path = "../../../../tests/end_to_end/postgres.rs"]
mod postgres;

use std::{
    io::Write,
    path::PathBuf,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

pub(super) use self::postgres::Server;

/// It is gone with this process, and its files with the next run.
static SERVER: LazyLock<Option<Server>> = LazyLock::new(|| {
    let server = start(&["fsync=off"])?;
    // So that no two tests make the roles at one time.
    server.sql("postgres", "CREATE ROLE streambook_writer NOLOGIN; CREATE ROLE streambook_reader NOLOGIN");
    Some(server)
});

/// Whether there is a server.
pub(super) fn is_there() -> bool {
    SERVER.is_some()
}

/// An empty database, by its address.
pub(super) fn database() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    shared().database(&format!("test_{}", NEXT.fetch_add(1, Relaxed)))
}

/// The server of the whole suite.
pub(super) fn shared() -> &'static Server {
    SERVER.as_ref().expect("there is a server")
}

/// A server of a test's own.
pub(super) fn start(settings: &[&str]) -> Option<Server> {
    match postgres::programs() {
        Some(programs) => Some(Server::start(&programs, &folder(), settings)),
        None => missing(),
    }
}

/// Not below the build: another user than this one's must be able to enter it.
fn folder() -> PathBuf {
    std::env::temp_dir().join("streambook-tests")
}

fn missing() -> Option<Server> {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let missing = format!(
        "NOT RUN: {test}: PostgreSQL's server is missing (/usr/lib/postgresql, or the folder STREAMBOOK_POSTGRES names): run \
         tests/setup/install"
    );
    let is_set = |name| std::env::var(name).is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
    assert!(!is_set("CI") && !is_set("STREAMBOOK_REQUIRE_PARTS"), "{missing}");
    // Not `eprintln!`: the harness would keep it to itself, since the test passes.
    std::io::stderr().write_all(format!("{missing}\n").as_bytes()).unwrap();
    None
}
