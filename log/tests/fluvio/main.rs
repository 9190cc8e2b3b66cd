//! The Fluvio engine against real clusters that lose servers, stand still, are cut off, and keep what is wrong.
//!
//! Each test has a cluster of its own. Where the server's program is missing, each says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "these are tests"
)]

mod backlog;
mod copies;
mod damage;
mod ends;
mod load;
mod outages;
mod refusals;
mod world;
