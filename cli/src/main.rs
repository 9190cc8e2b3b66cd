//! The `streambook` command: wires the parts together and is the operator's way in.
//!
//! Every command exits non-zero with one clear line on an error, and takes `--json` where it prints results.

mod bench;
mod chain;
mod commands;
mod config;
mod control;
mod demo;
mod output;
mod system;
mod verify;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

use crate::commands::Command;

/// Records are made by one thread and dropped by another, which the C library's allocator is slow at: a quarter of the time
/// of a payment. SQLite is given this one as well (`override`).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Turns chain blocks, Stripe events and API calls into a ledger that can be trusted.
#[derive(Parser)]
#[command(name = "streambook", version, propagate_version = true)]
#[command(
    after_help = "Example:\n  streambook demo --exit     money flowing on a local chain, then the books and their proof"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::failed(&anyhow::Error::new(error).context("cannot start")),
    };
    match runtime.block_on(arguments.command.run()) {
        Ok(code) => code,
        Err(error) => output::failed(&error),
    }
}
