//! Programs that some tests need and `cargo` does not bring. A part that is missing is said on standard error, past the
//! harness; where all parts must be there (`CI` or `STREAMBOOK_REQUIRE_PARTS=1`) it fails the test.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

/// How to get every part.
const REMEDY: &str = "run tests/setup/install";

/// The repository's root.
pub(crate) fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Anvil, a real EVM.
pub(crate) fn anvil() -> Option<PathBuf> {
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let package = format!("tests/setup/node_modules/@foundry-rs/anvil-linux-{machine}/bin/anvil");
    find("anvil", "ANVIL", &package)
}

/// A Python with Stripe's and the Standard Webhooks libraries.
pub(crate) fn python() -> Option<PathBuf> {
    find("the tests' Python", "STREAMBOOK_PYTHON", ".venv/bin/python")
}

/// An example program of this package, which cargo builds beside the tests unless it is told to build one test alone.
pub(crate) fn example(name: &str) -> Option<PathBuf> {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("examples").join(name);
    if path.is_file() {
        return Some(path);
    }
    missing(&format!("the example {name}, got by cargo build --examples"), &path.display().to_string());
    None
}

fn find(part: &str, variable: &str, installed: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    let path = named.unwrap_or_else(|| repository().join(installed));
    if path.is_file() {
        return Some(path);
    }
    missing(&format!("{part}, got by {REMEDY}"), &path.display().to_string());
    None
}

/// Says that a part is missing, of which this was found; fails the test where all parts must be there.
pub(crate) fn missing(part: &str, found: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test").to_owned();
    let missing = format!("NOT RUN: {test}: this part is missing: {part} ({found})");
    assert!(!must_be_complete(), "{missing}");
    // Not `eprintln!`: the harness would keep it to itself, since the test passes.
    std::io::stderr().write_all(format!("{missing}\n").as_bytes()).unwrap();
}

fn must_be_complete() -> bool {
    let is_set = |name| std::env::var(name).is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
    is_set("CI") || is_set("STREAMBOOK_REQUIRE_PARTS")
}
